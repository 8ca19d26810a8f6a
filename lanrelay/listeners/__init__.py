"""
The kinds of listener.

A I{listener service} has ports and the clients' connections; a subclass is a kind. A reverse proxy has
I{routes}, which say how its exchanges travel. The I{plain way} is a short one, for exchanges that concern no
rule, and for tunnels in which there is nothing to think about.
"""
