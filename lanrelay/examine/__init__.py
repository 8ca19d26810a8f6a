"""Looks at what a client would go through, layer by layer, and says what is wrong and what to do about it."""
