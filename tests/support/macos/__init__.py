"""What real Macs have said, each file with its source: read by tests for want of a Mac."""

from __future__ import annotations

from pathlib import Path


def recorded(name: str) -> str:
    """The text of a file here, without the lines that say where it comes from."""
    lines = (Path(__file__).parent / f"{name}.txt").read_text("utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("#"))
