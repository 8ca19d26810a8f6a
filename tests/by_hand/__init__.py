"""What takes longer, or more of a machine, than a run of all tests has: each is a program of its own."""
