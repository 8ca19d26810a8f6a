"""
The kinds of listener.

A I{listener service} has ports and the clients' connections; each kind is a subclass. A reverse proxy has
I{routes}, which say how its exchanges travel. The I{plain way} is a shorter one, for exchanges that concern
no rule, and for tunnels that need no decision.
"""
