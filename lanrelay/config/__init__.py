"""What the configuration file means, without I/O beyond reading it."""
