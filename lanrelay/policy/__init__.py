"""
Who may do what: destinations and credentials.

I{Rules} say which names, addresses and ports may be reached, and which clients may come.
"""
