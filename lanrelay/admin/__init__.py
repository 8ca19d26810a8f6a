"""The status endpoints."""
