"""
The rules for MCP sessions: requests that end one, answers that begin one, and the ids by which the two sides
know it.
"""

from __future__ import annotations

from typing import Final

from lanrelay.passage.rule import Rule

_SESSION_ID: Final = frozenset({b"mcp-session-id"})

ENDS: Final = Rule(sees=_SESSION_ID, concerns=lambda fields, method: method == b"DELETE")
"""Concerns a request that ends its session; the exchange notes that."""

BEGINS: Final = Rule(
    looks_at=_SESSION_ID,
    change=lambda fields, asked: fields if asked.names is None else asked.names.for_client(fields),
)
"""Changes an answer that begins a session, or names it: the client gets the id that it knows."""

LOST: Final = Rule(statuses=frozenset({404}))
"""Concerns an answer by which the upstream may say that it has forgotten the session."""

NAMES: Final = Rule(
    sees=_SESSION_ID | {b"last-event-id"},
    beside=lambda asked: asked.names is not None,
    change=lambda fields, asked: fields if asked.names is None else asked.names.for_upstream(fields),
)
"""Changes a request of a session that was initialised anew: the upstream knows another id than the client."""
