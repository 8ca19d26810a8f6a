"""
One HTTP request, from a client's stream to an origin and back; it knows no kind of listener.

An I{HTTP connection} is a client's. It has an I{application}, its listener, which gives it a I{sink} for each
request. The sink of most is an I{exchange}: one request, its answer, and the connection to the origin
meanwhile. A I{plain exchange} is the short way of those that concern no rule; it stands before the
connection. A I{route} tells an exchange how it travels. An I{upload} is the content of a request; a I{body
filter} changes or watches that of an answer: an event stream, or what is I{held} until it is whole. A
I{doubt} may have a request made again. An I{origin connection} carries one request after another; between
two of them it waits in a I{pool}.
"""
