"""Finds out, by one more connection, whether a port speaks TLS that has ended a plain one without a word."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from lanrelay.bridge.dial import Approach, dial
from lanrelay.bridge.loop import Loop, Start, Steps, now
from lanrelay.bridge.stream import Stream
from lanrelay.wire.tls_question import WITHIN, client_hello, is_tls


class SpeaksTls(Exception):
    """The port was spoken to in plain text, and speaks TLS; nothing was run there."""


def speaks_tls(loop: Loop, approach: Generator[Start, Any, Approach]) -> Steps[bool]:
    """
    Whether the port answers a TLS client with TLS.

    @param approach: the steps to what was spoken to in plain text.
    """
    try:
        stream = yield from dial(loop, (yield from approach), within=WITHIN)
    except Exception:
        return False  # then the user is told of the end of the first connection
    try:
        first: bytes = yield _first(stream, client_hello())
    finally:
        stream.close()
    return is_tls(first)


def _first(stream: Stream, said: bytes) -> Start:
    """Say it; gives the first two bytes of the answer, fewer at its end or after L{WITHIN}."""

    def start(loop: Loop, resume: Callable[[Any], None]) -> Callable[[], None]:
        came = b""

        def received(data: bytes) -> None:
            nonlocal came
            came += data[:2]
            if len(came) >= 2:
                over()

        def over(error: Exception | None = None) -> None:
            give_up()
            resume(came[:2])

        def give_up() -> None:
            timer.cancel()
            stream.close()

        timer = loop.at(now() + WITHIN, over)
        stream.received, stream.ended = received, over
        stream.write(said)
        stream.resume()
        return give_up

    return start
