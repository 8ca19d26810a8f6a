"""Upgrade with content, which uvicorn's usual parser takes for a second request."""

from __future__ import annotations

import json
import time
from typing import Any, ClassVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.support.desync import Client
from tests.support.progress import LIMIT, PATIENCE
from tests.support.relay import Relay
from tests.support.servers import AsgiServer

HIDDEN = b"GET /slow/hidden HTTP/1.1\r\nHost: localhost\r\nX: "


class UpgradeWithContentTests(TestCase):
    """The real uvicorn reads no content of a request with Upgrade: what follows it takes for another."""

    timeout = LIMIT
    listener: ClassVar[str] = "web"

    def setUp(self) -> None:
        self.server = AsgiServer().start()
        self.addCleanup(self.server.stop)
        self.relay = Relay(
            f"""
            listeners:
              web:
                type: reverse-proxy
                listen: 127.0.0.1:0
                upstream: {self.server.url}
                health: off
              proxy:
                type: connect-proxy
                listen: 127.0.0.1:0
            """
        ).start()
        self.addCleanup(self.relay.stop)
        self.port = self.relay.port(self.listener)
        self.before = b"" if self.listener == "web" else self.server.url.encode()

    def client(self, port: int) -> Client:
        client = Client(port)
        self.addCleanup(client.close)
        return client

    def asked(self) -> list[list[str]]:
        """What the server was asked, as itself says."""
        client = Client(self.server.port)
        try:
            client.send(b"GET /asked HTTP/1.1\r\nHost: localhost\r\n\r\n")
            [(_, content)] = client.hear([b"GET"]).answers
        finally:
            client.close()
        asked: list[list[str]] = json.loads(content)
        return asked

    def begun(self, path: str) -> bool:
        """Returns when the server has the head of a request for C{path}, or never gets it."""
        deadline = time.monotonic() + PATIENCE
        while path not in [each[1] for each in self.asked()]:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    def tried(self, number: int, upgrade: bytes, chunked: bool) -> list[str]:
        """Hide a request in the content of another, then ask as somebody else; what is wrong with it."""
        path = f"/slow/{number}"
        hidden = HIDDEN + b"y" * 20 + b"\r\n\r\n"
        framing, content = b"Content-Length: %d" % len(hidden), hidden
        if chunked:
            framing, content = b"Transfer-Encoding: chunked", b"%x\r\n%b\r\n0\r\n\r\n" % (len(hidden), hidden)
        attacker = self.client(self.port).send(
            b"POST %b%b HTTP/1.1\r\nHost: %b\r\nConnection: Upgrade\r\nUpgrade: %b\r\n%b\r\n\r\n"
            % (self.before, path.encode(), self.host, upgrade, framing)
        )
        if not self.begun(path):  # so that head and content come in two segments
            return [f"{upgrade!r}, {framing!r}: the server was not asked for {path}"]
        attacker.send(content)
        answers = attacker.hear([b"POST"]).answers
        innocent = self.client(self.port).send(
            b"GET %b/mine/%d HTTP/1.1\r\nHost: %b\r\n\r\n" % (self.before, number, self.host)
        )
        heard = innocent.hear([b"GET"]).answers
        wrong = []
        if answers != [(200, f"POST {path} ".encode() + hidden.strip())]:
            wrong.append(f"the attacker was answered {answers}")
        if heard != [(200, b"GET /mine/%d" % number)]:
            wrong.append(f"the innocent was answered {heard}")
        return [f"{upgrade!r}, {framing!r}: {each}" for each in wrong]

    @property
    def host(self) -> bytes:
        return b"localhost" if self.listener == "web" else self.server.address.encode()

    def run_all(self) -> None:
        wrong = []
        for number, upgrade in enumerate((b"foo", b"h2c, foo", b"websocket", b"h2c")):
            wrong += self.tried(2 * number, upgrade, False)
            wrong += self.tried(2 * number + 1, upgrade, True)
        if "/slow/hidden" in [path for _, path, _ in self.asked()]:
            wrong.append("the server was asked for what was hidden")
        self.assertEqual(wrong, [], "\n".join(wrong))

    def test_content_is_content(self) -> Deferred[Any]:
        return deferToThread(self.run_all)


class ForwardedUpgradeWithContentTests(UpgradeWithContentTests):
    """The same asked of the forward proxy, in absolute form."""

    listener = "proxy"
