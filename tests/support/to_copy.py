"""What the status page of a live relay gives clients to copy."""

from __future__ import annotations

import json
from typing import Any
from urllib.request import ProxyHandler, build_opener

from lanrelay.admin.usage import snippets
from tests.support.progress import PATIENCE


def fetched(admin: int, path: str) -> bytes:
    """@param admin: the port of the page."""
    with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{admin}{path}", timeout=PATIENCE) as answer:
        content: bytes = answer.read()
    return content


def lines(admin: int) -> dict[str, dict[str, str]]:
    """By listener and client, of the real document."""
    document: dict[str, Any] = json.loads(fetched(admin, "/status.json"))
    return {
        one["name"]: {
            each.client: each.text
            for each in snippets(
                one, [lead["url"] for lead in document["upstreams"] if lead["listener"] == one["name"]]
            )
        }
        for one in document["listeners"]
    }
