"""The kinds of listener."""
