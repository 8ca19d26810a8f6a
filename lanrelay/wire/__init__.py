"""The formats on the wire, bytes to events and back, without I/O."""
