"""Streams: accepted, secured and joined."""
