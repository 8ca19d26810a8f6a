"""
Streams: accepted, secured and joined.

A I{port} listens, and accepts I{streams}; a stream is what Twisted calls a transport, of our own making or
of Twisted's. A I{pump} joins two streams, moves what comes, and closes both.
"""
