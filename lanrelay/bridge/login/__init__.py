"""
OAuth for `lanrelay stdio`, as MCP has it since 2025-06-18; most is imported when a server wants a login.

The I{carrier} here sits between dialogue and carrier. It adds the token to asks, and holds what was refused
for want of one until there is a new one. The I{flow} finds the I{metadata}, sends the person's I{browser} to
the login page, waits for its return at the I{callback}, and gets I{tokens}, which are kept for all copies and
later starts.
"""
