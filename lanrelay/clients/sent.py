"""What an entry's client sends to the server: header fields and the way of speaking."""

from __future__ import annotations

import re
from typing import Literal

from lanrelay.clients.bridges import Spelling
from lanrelay.clients.finding import Finding
from lanrelay.clients.servers import texts
from lanrelay.edit.formats.tree import Table, text_of

UNKNOWN = "${...}"
"""A value that only the client can know."""


def headers(finding: Finding) -> dict[str, str]:
    """
    The fields that the entry names.

    A variable that the entry itself sets is written out. Another stays (C{${NAME}}): the client knows it.
    """
    server, spelled = finding.server, finding.spelling
    if spelled is None or spelled.bridge is None:
        found = dict(server.headers)
        if text_of(server.table.get("bearer_token_env_var")):
            found["Authorization"] = UNKNOWN
        if server.table.get("headersHelper") is not None:
            found.setdefault("Authorization", UNKNOWN)
        more = server.table.get("env_http_headers")
        if isinstance(more, Table):
            found.update(dict.fromkeys(texts(more), UNKNOWN))
        return found
    found = {}
    for option in spelled.options:
        if option.name in spelled.bridge.headers and option.values:
            name, value = field_of(option.values)
            found[name] = _expanded(value, finding)
        elif option.name in ("--bearer-token", "--oauth2Bearer") and option.values:
            found["Authorization"] = f"Bearer {_expanded(option.values[0], finding)}"
        elif option.name == "--header-file":
            found.setdefault("Authorization", UNKNOWN)
    bearer = server.environment.get(spelled.bridge.variables[1], "")
    if bearer:
        found.setdefault("Authorization", f"Bearer {bearer}")
    return {name: value for name, value in found.items() if name}


def transport(finding: Finding) -> Literal["http", "sse"] | None:
    """How it will speak to the server; C{None} where it tries."""
    spelled = finding.spelling
    if spelled is None or spelled.bridge is None:
        kind = finding.server.transport
        # Most clients try what an entry without a type speaks; some take it for SSE.
        return kind if kind in ("http", "sse") and (finding.server.type or kind == "sse") else None
    return _of_bridge(spelled)


def _of_bridge(spelled: Spelling) -> Literal["http", "sse"] | None:
    assert spelled.bridge is not None
    name = spelled.bridge.name
    option = spelled.option("--transport")
    word = option.values[0].lower() if option is not None and option.values else ""
    if name == "mcp-remote":
        return "sse" if word == "sse-only" else "http" if word == "http-only" else None
    if name == "supergateway":
        return "sse" if spelled.option("--sse") is not None else "http"
    if name == "mcp-proxy":
        return "http" if word.startswith("streamable") else "sse"
    return "sse" if word == "sse" else "http"


def field_of(values: tuple[str, ...]) -> tuple[str, str]:
    """A header field from the words of an option: two, or one with a colon."""
    if len(values) == 2:
        return values
    name, _, value = values[0].partition(":")
    return name.strip(), value.strip()


def _expanded(value: str, finding: Finding) -> str:
    known = finding.server.environment

    def replaced(found: re.Match[str]) -> str:
        text = known.get(found[1], found[0])
        return text if "${" not in text else found[0]

    return re.sub(r"\$\{(\w+)\}", replaced, value)
