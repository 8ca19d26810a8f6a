"""A relay to look at, in memory: listeners that count as bound and started, without a port."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.admin.counters import Counters
from lanrelay.admin.watched import Watched
from lanrelay.config import model
from lanrelay.listeners.reverse_proxy import ReverseProxyService
from lanrelay.listeners.service import ListenerService
from lanrelay.listeners.tcp_forward import TcpForwardService
from lanrelay.transport.port import BoundSocket
from tests.support.listening import Surroundings, tcp_upstreams

ANY_PORT = model.TcpAddress(host=ip_address("127.0.0.1"), port=0)


class WatchedTestCase(SynchronousTestCase):
    """
    @ivar watched: what the endpoints look at; its listeners are those that the test makes.
    """

    def setUp(self) -> None:
        self.around = Surroundings()
        self.listeners: list[ListenerService] = []
        self.counters = Counters()
        self.around.ledger.observers.append(self.counters.note)
        self.watched = Watched(
            version="1.2.3",
            config=model.Config(path=Path("/etc/relay.yaml"), listeners=(), warnings=("mind the gap",)),
            started=1_800_000_000.0,
            reactor=self.around.clock,
            ledger=self.around.ledger,
            counters=self.counters,
            listeners=self.listeners,
        )

    def forward(self, *hosts: str, **keys: Any) -> TcpForwardService:
        """A forward, named after the first of its upstreams."""
        config = model.TcpForward(
            name=f"to-{hosts[0]}",
            listen=(ANY_PORT,),
            upstreams=tcp_upstreams(*((host, 5432) for host in hosts), **keys),
        )
        service = TcpForwardService(self.around.environment, config)
        self._started(service)
        return service

    def proxy(self, *routes: tuple[str, model.Upstream], **keys: Any) -> ReverseProxyService:
        """A reverse proxy C{web} without health checks, with one upstream for each of its routes."""
        config = model.ReverseProxy(
            name="web",
            listen=(ANY_PORT,),
            routes=tuple(
                model.Route(path=path, upstreams=model.Upstreams(members=(upstream,)))
                for path, upstream in routes
            ),
            **keys,
        )
        service = ReverseProxyService(self.around.environment, config)
        self._started(service)
        return service

    def _started(self, service: ListenerService) -> None:
        sock = socket.socket()
        self.addCleanup(sock.close)
        service.startService()
        service.bound.append(BoundSocket(socket=sock, address=ANY_PORT, name="127.0.0.1:5432"))
        self.listeners.append(service)


def https(host: str = "nas.lan", **keys: Any) -> model.Upstream:
    """An upstream with TLS."""
    return model.Upstream(url=model.UpstreamUrl(scheme="https", host=host, port=443), **keys)
