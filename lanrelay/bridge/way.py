"""The fields that all ways of speaking with a server put on a request, and how long a request may take."""

from __future__ import annotations

from lanrelay.bridge.messages import Fields

ACCEPT = ("Accept", "application/json, text/event-stream")
ACCEPT_STREAM = ("Accept", "text/event-stream")
JSON = ("Content-Type", "application/json")
HANDSHAKE = 60.0
"""Seconds that a server may take to greet: some are started by the first request."""

PROBE = 10.0
"""Seconds that it may take for what costs it no work, as a ping."""

ACKNOWLEDGED = 60.0
"""Seconds that it may take to acknowledge what is no request."""

POST_FIELDS: Fields = (ACCEPT, JSON)
