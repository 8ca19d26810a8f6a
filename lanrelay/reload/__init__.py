"""From one configuration to the next without losing a connection."""
