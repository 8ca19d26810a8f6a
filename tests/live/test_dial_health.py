"""Checks and retries against servers that come and go on this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import DefaultOpenSSLContextFactory
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from lanrelay.cli.authority import Authority
from lanrelay.config import model
from lanrelay.errors import CheckFailed, ConnectionRefused
from lanrelay.upstream.balance import UpstreamGroup
from lanrelay.upstream.dial import Dialed, Dialer
from lanrelay.upstream.resolve import Resolver
from lanrelay.upstream.retry import try_each
from tests.support.progress import LIMIT

reactor: Any = _reactor


class Web(Protocol):
    def connectionMade(self) -> None:
        self.factory.open += 1

    def dataReceived(self, data: bytes) -> None:
        self.factory.requests.append(data)
        status = self.factory.status
        head = f"HTTP/1.1 {status} Whatever\r\nContent-Length: 300000\r\n\r\n".encode()
        self.transport.write(head + bytes(300000))  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.open -= 1


class Site(Factory):
    protocol = Web
    noisy = False

    def __init__(self) -> None:
        self.open = 0
        self.requests: list[bytes] = []
        self.status = 200


class ComingAndGoing(TestCase):
    timeout = LIMIT

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.authority = Authority(Path(folder.name))
        self.site = Site()
        self.resolver = Resolver(reactor)
        self.addCleanup(self.resolver.stop)
        self.listening: Any = None
        self.port = 0
        self.addCleanup(self.close)

    def open(self, *, tls: bool = False) -> None:
        if tls:
            issued = self.authority.issue("nas.test")
            context = DefaultOpenSSLContextFactory(str(issued.key), str(issued.cert))
            self.listening = reactor.listenSSL(self.port, self.site, context, interface="127.0.0.1")
        else:
            self.listening = reactor.listenTCP(self.port, self.site, interface="127.0.0.1")
        self.port = self.listening.getHost().port

    async def close(self) -> None:
        listening, self.listening = self.listening, None
        if listening is not None:
            await listening.stopListening()

    def group(self, *, scheme: str, **health: Any) -> UpstreamGroup:
        upstream = model.Upstream(
            url=model.UpstreamUrl(scheme=scheme, host="nas.test", port=self.port),  # type: ignore[arg-type]
            address=model.TargetAddress(host="127.0.0.1", port=self.port),
            trust=model.Trust(ca=(self.authority.root,)),
        )
        settings = {"interval": 0.1, "down_interval": 0.05, "timeout": 2, "fall": 2, **health}
        config = model.Upstreams(members=(upstream,), health=model.Health(**settings))
        group = UpstreamGroup(reactor, Dialer(reactor, self.resolver), config, model.Timeouts())
        group.load()
        self.addCleanup(group.stop)
        return group

    async def until(self, met: Callable[[], object]) -> None:
        while not met():
            await deferLater(reactor, 0.01)

    async def test_down_and_up_again(self) -> None:
        self.open()
        group = self.group(scheme="tcp")
        upstream = group.members[0]
        group.start()
        await deferLater(reactor, 0.8)
        self.assertTrue(upstream.up)
        await self.close()
        await self.until(lambda: not upstream.up)
        self.assertIsInstance(upstream.last_error, ConnectionRefused)
        self.open()
        await self.until(lambda: upstream.up)
        self.assertEqual([each.up for each in upstream.history], [False, True])
        group.stop()
        await self.until(lambda: self.site.open == 0)
        self.assertEqual(self.site.requests, [])

    async def test_tls_and_path(self) -> None:
        self.open(tls=True)
        self.site.status = 503
        group = self.group(scheme="https", path="/health")
        upstream = group.members[0]
        group.start()
        await self.until(lambda: not upstream.up)
        self.assertIsInstance(upstream.last_error, CheckFailed)
        self.site.status = 401
        await self.until(lambda: upstream.up)
        group.stop()
        await self.until(lambda: self.site.open == 0)
        self.assertTrue(self.site.requests[0].startswith(b"GET /health HTTP/1.1\r\nHost: nas.test:"))

    async def test_a_tls_connection_alone_is_ended_in_order(self) -> None:
        self.open(tls=True)
        group = self.group(scheme="tls")
        group.start()
        await deferLater(reactor, 0.8)
        self.assertTrue(group.members[0].up)
        self.assertIsNone(group.members[0].last_error)
        group.stop()
        await self.until(lambda: self.site.open == 0)

    async def test_a_request_waits_for_an_upstream_that_restarts(self) -> None:
        self.open()
        await self.close()
        group = self.group(scheme="tcp")
        tries = []
        dialing: Deferred[Dialed] = Deferred.fromCoroutine(
            try_each(reactor, group, lambda upstream: upstream.dial(), counted=lambda: tries.append(1))
        )
        await deferLater(reactor, 0.3)
        self.open()
        dialed = await dialing
        self.assertGreater(len(tries), 1)
        dialed.stream.abortConnection()
        await self.until(lambda: self.site.open == 0)
