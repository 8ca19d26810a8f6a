"""
From one configuration to the next without losing a connection.

A I{plan} says, before anything is touched, which listeners are kept, which begin, and which end; a
I{change} carries it out in one turn of the reactor.
"""
