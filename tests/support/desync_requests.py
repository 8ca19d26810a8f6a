"""The requests of both tables: those that are refused, and those that are passed on."""

from __future__ import annotations

from tests.support.desync_passed import RIGHT
from tests.support.desync_refused import CHUNKS, HEADS
from tests.support.desync_row import Row

__all__ = ["CHUNKS", "HEADS", "RIGHT", "ROWS", "Row"]

ROWS = HEADS + CHUNKS + RIGHT
