"""The lanrelay command."""
