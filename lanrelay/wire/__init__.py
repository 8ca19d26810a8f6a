"""
The formats on the wire, bytes to events and back, without I/O.

A I{head} is a request line or a status line with its I{fields}. What is read is told in I{events}: a head,
parts of the body, its end. I{Plain} messages are those in which there is nothing to think about.
"""
