"""
What becomes of a head on its way through the relay.

A I{rule} judges heads, or changes them, and names the fields that it looks at. A I{view} shows a rule those
fields and no other. The I{rules} of one direction run in their order, each only on the heads that concern it;
a head that concerns none goes the plain way, which looks at nothing else.
"""
