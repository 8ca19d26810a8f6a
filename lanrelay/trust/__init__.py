"""
Which certificates a peer may show, and which ones the relay shows.

A I{trust} is what is configured of an upstream; from it a I{context} of OpenSSL is made, which a handshake
asks for a I{judgement}: the chain, the name, the I{pins}. Certificates come from I{PEM} files, which are read
again when they change, from a I{keychain} of macOS, or from the system's roots.
"""
