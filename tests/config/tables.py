"""Every table of keys that the loader has, found by walking its modules."""

from __future__ import annotations

from lanrelay.config import document, listeners, reverse_proxy, upstreams
from lanrelay.config.place import Table


def _tables() -> list[Table]:
    found = [table for table, _ in listeners.KINDS.values()]
    for module in (document, listeners, reverse_proxy, upstreams):
        found += [value for value in vars(module).values() if isinstance(value, Table)]
    return list({id(table): table for table in found}.values())


TABLES = _tables()
