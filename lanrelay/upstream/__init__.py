"""
Reaching what stands behind the relay.

An I{upstream} is what the configuration names, with its trust and its health; a I{group} is those that
stand for one another. A I{dial} goes from a name to a connected stream: it resolves, I{races} the
addresses, goes by a I{parent} proxy if there is one, and does TLS.
"""
