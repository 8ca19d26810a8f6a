"""Random input for as long as one likes: C{python -m tests.fuzz --seconds N}. See docs/testing.md."""
