"""Where the browser comes back to: a port on 127.0.0.1 that lives as long as the login."""

from __future__ import annotations

import hmac
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from lanrelay.bridge.login.messages import NoLogin
from lanrelay.bridge.login.metadata import printable
from lanrelay.bridge.loop import READ, Loop, Start, now
from lanrelay.bridge.stream import Stream

PATH = "/callback"

_LONGEST = 16 * 1024
"""Bytes of a request; browsers send some 2 kB, and a code has some hundred."""

_MOST = 16
"""Connections at once; browsers open some for nothing."""

_WITHIN = 10.0
"""Seconds for a request."""

_ANSWER = """HTTP/1.1 {status}\r
Content-Type: text/html; charset=utf-8\r
Content-Length: {length}\r
Content-Security-Policy: default-src 'none'\r
Referrer-Policy: no-referrer\r
X-Content-Type-Options: nosniff\r
Cache-Control: no-store\r
Connection: close\r
\r
"""
_PAGE = "<!doctype html><html lang=en><meta charset=utf-8><title>lanrelay</title><p>{sentence}</html>"


class Callback:
    """
    @param port: 0 for any.
    @ivar url: the redirect URI.
    @raise OSError: the port is taken.
    """

    def __init__(self, loop: Loop, port: int) -> None:
        self._loop = loop
        self._listening = socket.create_server(("127.0.0.1", port))
        self._listening.setblocking(False)
        self.port: int = self._listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}{PATH}"
        self._open: set[Stream] = set()
        self._told: Callable[[Any], None] | None = None
        self._state = ""
        self._issuer = ""
        self._names_itself = False
        loop.watch(self._listening.fileno(), READ, self._accept)

    def code(self, *, state: str, issuer: str, names_itself: bool, until: float) -> Start:
        """Wait for the code; gives it, or L{NoLogin} as a value; C{TimeoutError} at C{until}."""
        self._state, self._issuer, self._names_itself = state, issuer, names_itself

        def start(loop: Loop, resume: Callable[[Any], None]) -> Callable[[], None]:
            def give_up() -> None:
                timer.cancel()
                self._told = None

            def told(value: Any) -> None:
                give_up()
                resume(value)

            timer = loop.at(until, lambda: told(TimeoutError()))
            self._told = told
            return give_up

        return start

    def close(self) -> None:
        """Close the port; answers still go out."""
        self._loop.forget(self._listening.fileno())
        self._listening.close()

    def _accept(self, _: int) -> None:
        try:
            accepted, _peer = self._listening.accept()
        except OSError:
            return
        if len(self._open) >= _MOST:
            accepted.close()
            return
        accepted.setblocking(False)
        stream = Stream(self._loop, accepted)
        self._open.add(stream)
        received = bytearray()

        def close() -> None:
            timer.cancel()
            self._open.discard(stream)
            stream.close()

        def more(data: bytes) -> None:
            received.extend(data)
            if b"\r\n\r\n" in received or len(received) > _LONGEST:
                stream.received = lambda _: None
                status, sentence, result = self._judge(bytes(received))
                page = _PAGE.format(sentence=sentence)
                head = _ANSWER.format(status=status, length=len(page))
                stream.flushed = close
                stream.write(f"{head}{page}".encode())
                if result is not None and self._told is not None:
                    self._told(result)

        timer = self._loop.at(now() + _WITHIN, close)
        stream.received = more
        stream.ended = lambda _: close()
        stream.resume()

    def _judge(self, request: bytes) -> tuple[str, str, str | NoLogin | None]:
        """Status and sentence for the browser; and the code, or why there is none."""
        lines = request.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        method, _, rest = lines[0].partition(" ")
        url = urlsplit(rest.partition(" ")[0])
        hosts = [line[5:].strip() for line in lines[1:] if line[:5].lower() == "host:"]
        if hosts != [f"127.0.0.1:{self.port}"]:
            return "421 Misdirected Request", "This is no page.", None
        if method != "GET" or url.path != PATH:
            return "404 Not Found", "This is no page.", None
        query = {name: values[0] for name, values in parse_qs(url.query).items() if len(values) == 1}
        # A request without our state does not come from the page that was opened: the login goes on.
        if not self._state or not hmac.compare_digest(query.get("state", "").encode(), self._state.encode()):
            return "400 Bad Request", "This login was not asked for.", None
        # Compared letter by letter with the name in its metadata (RFC 9207 section 2.4), an empty path, too.
        named = query.get("iss")
        if named != self._issuer and (named is not None or self._names_itself):
            sentence = "Another authorization server than the one that was asked has answered."
            return "400 Bad Request", sentence, NoLogin(sentence)
        if "error" in query:
            said = query.get("error_description") or query["error"]
            failed = NoLogin(f"The login was refused: {printable(said)}.")
            return "200 OK", "The login was refused. You can close this page.", failed
        if not query.get("code"):
            return "400 Bad Request", "The code is missing.", NoLogin("The login page gave no code.")
        return "200 OK", "You are logged in, and can close this page.", query["code"]
