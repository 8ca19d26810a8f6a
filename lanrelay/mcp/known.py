"""What is known of the MCP server behind a listener, from what it says to its clients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

LONGEST: Final = 256 * 1024
"""Bytes of an answer that is looked at; a list of a hundred tools has some 60,000."""

TOLD_BY: Final = frozenset({"initialize", "server/discover", "tools/list"})
"""The methods whose answers tell of the server."""

_WORD_MAX: Final = 100
_MODERN: Final = "2026-07-28"
_META: Final = "io.modelcontextprotocol/"


class McpServer:
    """
    One server.

    @ivar server: its name as it says it; empty as long as it has told nothing.
    @ivar era: the version of the protocol that was agreed on last.
    @ivar tools: how many it has; C{None} as long as nobody has asked for all.
    """

    __slots__ = ("_listed", "era", "server", "tools", "version")

    def __init__(self) -> None:
        self.server = self.version = self.era = ""
        self.tools: int | None = None
        self._listed = 0  # of a list that goes on

    @property
    def known(self) -> bool:
        """Something is."""
        return bool(self.server or self.era) or self.tools is not None

    def answered(self, method: str, messages: Iterable[bytes | str], *, first: bool = True) -> None:
        """
        It has answered a request for C{method} by one of C{messages}.

        @param first: of a list, this is its first page.
        """
        for text in messages:
            result = _result(text)
            if result is not None:
                self.told(method, result, first=first)
                return

    def told(self, method: str, result: Mapping[str, Any], *, first: bool = True) -> None:
        """The same, already read."""
        if method == "initialize":
            self._is(_map(result.get("serverInfo")), _word(result.get("protocolVersion")))
        elif method == "server/discover":
            versions = result.get("supportedVersions")
            if isinstance(versions, list) and _MODERN in versions:
                self._is(_map(_map(result.get("_meta")).get(f"{_META}serverInfo")), _MODERN)
        elif method == "tools/list" and isinstance(result.get("tools"), list):
            self._listed = len(result["tools"]) + (0 if first else self._listed)
            if not result.get("nextCursor"):
                self.tools = self._listed

    def _is(self, info: Mapping[str, Any], era: str) -> None:
        name = _word(info.get("name"))
        if name and name != self.server:
            self.tools = None  # those of another one
        self.server, self.version = name or self.server, _word(info.get("version")) or self.version
        self.era = era or self.era


class McpServers:
    """
    The servers behind all listeners. What is known of one outlives a reload, if a listener leads to it as
    before.
    """

    def __init__(self) -> None:
        self._found: dict[tuple[str, ...], McpServer] = {}

    def of(self, listener: str, *leads_to: str) -> McpServer:
        """
        @param leads_to: what tells one server behind the listener from another.
        """
        return self._found.setdefault((listener, *leads_to), McpServer())

    def keep(self, servers: Iterable[McpServer]) -> None:
        """There are no others any more."""
        kept = {id(server) for server in servers}
        self._found = {key: one for key, one in self._found.items() if id(one) in kept}


def _result(text: bytes | str) -> Mapping[str, Any] | None:
    if len(text) > LONGEST:
        return None
    import json  # only here; a relay without MCP needs none

    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    result = found.get("result") if isinstance(found, dict) else None
    return result if isinstance(result, dict) else None


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _word(value: object) -> str:
    """A server's own word, on one line."""
    if not isinstance(value, str):
        return ""
    return "".join(each if each.isprintable() else "?" for each in value[:_WORD_MAX])
