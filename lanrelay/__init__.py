"""A relay from loopback to the LAN."""
