"""
The kinds of listener.

A I{listener service} has ports and the clients' connections; a subclass is a kind. An HTTP connection has
an I{application}, which gives it a I{sink} for each request. An I{exchange} is the sink of most: one
request, its answer, and the connection to the origin meanwhile. A I{route} says how the exchanges of a
reverse proxy travel. The I{straight way} is a short one, for exchanges that concern no rule.
"""
