"""Reaching what stands behind the relay."""
