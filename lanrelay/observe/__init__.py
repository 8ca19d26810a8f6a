"""
What happened, written down.

A I{session} is the record of one connection, or of one HTTP exchange, from its beginning to its line in the
log. The I{ledger} has all that are open, and closes each once.
"""
