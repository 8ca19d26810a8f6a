"""
Judges and changes heads on their way through the relay.

A I{rule} judges heads, or changes them, and names the fields that it looks at. A I{view} shows a rule those
fields and no others. The I{rules} of one direction run in their order, each only on heads that concern it. A
head that concerns none goes the plain way, which looks at nothing else.
"""
