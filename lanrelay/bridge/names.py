"""A target that is the name of a listener: the running relay tells where it listens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lanrelay.bridge.dial import Approach, HostPort
from lanrelay.bridge.loop import Steps, threaded
from lanrelay.bridge.messages import Fields
from lanrelay.bridge.target import DEFAULT_PATH, HttpTarget, Url

Listener = dict[str, Any]
"""One of C{listeners} in the relay's status."""

PIPES = ("tcp-forward",)
"""Kinds whose clients never speak HTTP; `tests.config.test_kinds` compares them with the table of kinds."""


class NotThere(Exception):
    """
    The listener cannot be used now.

    @ivar cause: a word of C{lanrelay doctor}.
    """

    def __init__(self, cause: str, said: str, remedy: str) -> None:
        super().__init__(f"{said} {remedy}")
        self.cause = cause
        self.said = said
        self.remedy = remedy


Ask = Callable[[], list[Listener]]
"""Asks the relay; blocks. Raises L{NotThere}."""


def is_pipe(kind: str, mcp: object) -> bool:
    """Whether bytes go through such a listener as they are."""
    return kind in PIPES or (kind == "exec" and not mcp)


def place_of(name: str, path: str, listeners: list[Listener]) -> Url:
    """
    Where a listener is.

    @param path: what was asked for; empty for the listener's own.
    @raise NotThere: there is no such listener, or it does not listen.
    """
    found = next((one for one in listeners if one.get("name") == name), None)
    if found is None:
        names = ", ".join(str(one.get("name")) for one in listeners) or "none"
        raise NotThere(
            "wrong_config",
            f"The running relay has no listener named {name}; it has {names}.",
            "Correct the name, or add the listener and run `lanrelay reload`.",
        )
    kind = str(found.get("kind"))
    addresses = [str(one) for one in found.get("addresses") or ()]
    if not addresses:
        raise NotThere(
            "not_running", f"The listener {name} does not listen.", "Run `lanrelay doctor` to see why."
        )
    address = addresses[0]
    pipe = is_pipe(kind, found.get("mcp"))
    secure = bool(found.get("tls"))
    path = "" if pipe else path or str(found.get("mcp") or DEFAULT_PATH)
    if address.startswith("unix:"):
        return Url("unix" if pipe else "http", HostPort("localhost", 0, address.removeprefix("unix:")), path)
    host, _, port = address.rpartition(":")
    scheme = ("tls" if secure else "tcp") if pipe else "https" if secure else "http"
    return Url(scheme, HostPort(host.strip("[]"), int(port)), path)


class NamedTarget(HttpTarget):
    """
    @param name: of the listener.
    @ivar asked: the path that was given after the name; empty for the listener's own.
    """

    def __init__(self, name: str, path: str, ask: Ask, *, own: Fields, secure: Any) -> None:
        super().__init__(
            Url("http", HostPort("127.0.0.1", 0), path or DEFAULT_PATH), own=own, via=None, secure=secure
        )
        self._name = name
        self.asked = path
        self._ask = ask
        self._known = False

    def is_a_pipe(self) -> None:
        """The file says so; where it is, the relay will tell."""
        self.url = Url("tcp", self.url.host_port, "")

    def knows(self, where: Url) -> None:
        """Whether the relay has been asked already."""
        self.url = where
        self._known = True

    def approach(self, until: float) -> Steps[Approach]:
        if not self._known:
            listeners = yield threaded(self._ask, until)
            if isinstance(listeners, TimeoutError):
                raise NotThere("not_running", "The relay does not answer.", "Run `lanrelay doctor`.")
            if isinstance(listeners, Exception):
                raise listeners
            self.knows(place_of(self._name, self.asked, listeners))
        return self._approach(self.url)

    def failed(self) -> None:
        super().failed()
        self._known = False  # the relay may have been started anew, with another port
