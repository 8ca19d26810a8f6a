"""Reads a C{tcp-forward}."""

from __future__ import annotations

from lanrelay.config import model, upstreams
from lanrelay.config.listeners import LISTENER, Reader
from lanrelay.config.place import Fields, Key, Table

TABLE = Table(
    "tcp-forward",
    {
        "upstream": Key(upstreams.FORWARD_UPSTREAMS, required=True),
        **upstreams.GROUP.keys,
    },
    extends=LISTENER,
)


def _build(fields: Fields, more: dict[str, object]) -> model.Listener:
    members = fields.get("upstream", ())
    group = upstreams.group(fields, members, always_checked=False)
    return fields.build(
        model.TcpForward, without=("type", "upstream", *upstreams.GROUP.keys), upstreams=group, **more
    )


READER = Reader(TABLE, _build)
