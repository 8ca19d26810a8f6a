"""What all ways of speaking with a server say in the head of a request, and how long each may take."""

from __future__ import annotations

from lanrelay.bridge.messages import Fields

ACCEPT = ("Accept", "application/json, text/event-stream")
ACCEPT_STREAM = ("Accept", "text/event-stream")
JSON = ("Content-Type", "application/json")
HANDSHAKE = 60.0
"""Seconds that a server may take to greet: some are begun when they are first asked."""

PROBE = 10.0
"""Seconds that it may take for what is no work."""

ACKNOWLEDGED = 60.0
"""Seconds that it may take to acknowledge what is no request."""

POST_FIELDS: Fields = (ACCEPT, JSON)
