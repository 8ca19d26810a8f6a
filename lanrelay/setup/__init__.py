"""Puts the relay where the system starts it: unit files, property lists, login items."""
