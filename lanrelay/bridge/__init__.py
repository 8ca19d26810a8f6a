"""
`lanrelay stdio`: MCP on standard input and output, carried to a target. The standard library alone.

The I{dialogue} knows the protocol and does no I/O: lines of the client and answers of the server go in, lines
and I{asks} come out. The I{carrier} makes asks come true over sockets. The I{loop} moves bytes between
standard input, the dialogue, the carrier and standard output.
"""
