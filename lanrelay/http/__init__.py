"""
One HTTP request, from a client's stream to an origin and back; it knows no kind of listener.

An I{HTTP connection} is a client's. Its I{application} is its listener, which gives it a I{sink} for each
request. Mostly the sink is an I{exchange}: one request, its answer, and meanwhile the connection to the
origin. A I{plain exchange} stands before the connection; it is the short way for requests that concern no
rule. A I{route} tells an exchange how it travels. An I{upload} is the content of a request. A I{body filter}
changes or watches the content of an answer: an event stream, or content that is I{held} until it is whole. A
I{doubt} may have a request made again. An I{origin connection} carries one request after another, and waits
between them in a I{pool}.
"""
