"""Remembers what the server said: the client gets it while the server is away, and it is compared later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lanrelay.bridge.jsontext import NotJson
from lanrelay.bridge.request import Request
from lanrelay.bridge.rpc import Message, meaning, quoted

if TYPE_CHECKING:
    from lanrelay.bridge.seams import Remembered

LARGEST = 8 * 1024 * 1024
"""Bytes of an answer that is remembered: a list of a thousand tools has some 2 MB."""

_LISTS_GIVEN = 200


class Recall:
    def __init__(self, remembered: Remembered | None) -> None:
        self._remembered = remembered
        self._greeting = ""
        self.session = 0
        self.given: dict[tuple[str, ...], tuple[Request, str, int]] = {}
        """By its key, each list that the client has: its request, its result as it came, and the session."""

    def greet(self, hello: Message) -> None:
        """Remember from here on for the client that says this."""
        params = hello.params
        self._greeting = quoted([params.get("protocolVersion"), params.get("capabilities")])

    def server(self, kind: str) -> str | None:
        """
        What is known of the server.

        @param kind: C{era}, C{modern}, C{initialize} or C{discover}; the value is JSON.
        """
        key = (kind, self._greeting) if kind == "initialize" else (kind,)
        return self._get(key)

    def learn_server(self, kind: str, value: str) -> None:
        key = (kind, self._greeting) if kind == "initialize" else (kind,)
        if self._get(key) != value:
            self._put(key, value)

    def listed(self, request: Request) -> str | None:
        """The result that this list had."""
        key = self._key(request)
        if key in self.given:
            return self.given[key][1]
        return self._get(key)

    def learn_list(self, request: Request, result: str) -> bool:
        """Learn a list; gives whether it differs from what the client has."""
        key = self._key(request)
        given = self.given.get(key)
        differs = given is not None and not same(given[1], result)
        if self._get(key) != result:
            self._put(key, result)
        return differs

    def gave(self, request: Request, result: str, *, from_memory: bool = False) -> None:
        """The client has this list now."""
        key = self._key(request)
        self.given.pop(key, None)
        self.given[key] = (request, result, -1 if from_memory else self.session)
        while len(self.given) > _LISTS_GIVEN:
            del self.given[next(iter(self.given))]

    def of_old(self) -> list[Request]:
        """The lists that the client has from memory or from an earlier session; each is told once."""
        old = [key for key, (_, _, session) in self.given.items() if session != self.session]
        for key in old:
            request, result, _ = self.given[key]
            self.given[key] = (request, result, self.session)
        return [self.given[key][0] for key in old]

    def _key(self, request: Request) -> tuple[str, ...]:
        era = "modern" if request.modern else "legacy"
        params = {name: each for name, each in request.message.params.items() if name != "_meta"}
        greeting = quoted(sorted(request.message.meta)) if request.modern else self._greeting
        return ("list", era, greeting, request.method, quoted(params))

    def _get(self, key: tuple[str, ...]) -> str | None:
        value = self._remembered.get(key) if self._remembered is not None else None
        if value is None:
            return None
        try:
            text = value.decode("utf-8", "surrogatepass")
            meaning(text)
        except (UnicodeDecodeError, NotJson):
            return None
        return text

    def _put(self, key: tuple[str, ...], value: str) -> None:
        if self._remembered is not None and len(value) <= LARGEST:
            self._remembered.put(key, value.encode("utf-8", "surrogatepass"))


def same(one: str, other: str) -> bool:
    """Whether both texts mean the same."""
    if one == other:
        return True
    try:
        return bool(meaning(one) == meaning(other))
    except RecursionError:
        return False
