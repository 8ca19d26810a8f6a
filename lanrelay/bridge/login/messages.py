"""What the parts of the login say to each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from lanrelay.bridge.loop import Steps
from lanrelay.bridge.messages import Failure, Fields


class NoLogin(Exception):
    """
    There will be no token. The text is a sentence.

    @ivar remedy: one more; may be empty.
    """

    def __init__(self, said: str, remedy: str = "") -> None:
        super().__init__(said)
        self.remedy = remedy


class Challenge(NamedTuple):
    """
    What a refusal says (RFC 6750 section 3).

    @ivar metadata: the URL of the resource's metadata.
    """

    metadata: str | None = None
    scope: str | None = None
    error: str | None = None


class Client(NamedTuple):
    """
    Who we are to an authorization server.

    @ivar id: empty: we register.
    @ivar port: of the callback; 0 for any.
    """

    id: str = ""
    secret: str = ""
    port: int = 0


class LoginAnswer(NamedTuple):
    status: int
    body: bytes


Fetch = Callable[[str, str, Fields, "bytes | None"], "Steps[LoginAnswer | Failure]"]
"""Makes one request: method, URL, fields, body. Follows no redirect."""
