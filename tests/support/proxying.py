"""A forward proxy in memory: the real dialer and rules, on connections and names that a test makes."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.addresses import IPAddress, parse_ip
from lanrelay.config import model
from lanrelay.errors import ConnectionRefused, NoSuchName
from lanrelay.listeners.connect_proxy import ConnectProxyService
from lanrelay.transport.stream import Stream
from lanrelay.upstream.dial import Dialer
from lanrelay.upstream.look_ups import LookUps
from lanrelay.upstream.race import SocketAddress
from tests.support.listening import Surroundings, accept
from tests.support.memory import MemoryStream

ANY = (model.DestinationRule(word="any"),)
CONNECT = b"CONNECT nas.lan:22 HTTP/1.1\r\nHost: nas.lan:22\r\n\r\n"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Names:
    """A resolver with a table; a name that is not in it does not exist."""

    def __init__(self) -> None:
        self.table: dict[str, tuple[IPAddress, ...]] = {"nas.lan": (ip_address("192.168.1.20"),)}
        self.asked: list[str] = []

    async def resolve(self, host: str, look_ups: LookUps | None = None) -> tuple[IPAddress, ...]:
        self.asked.append(host)
        literal = parse_ip(host)
        if literal is not None:
            return (literal,)
        if host not in self.table:
            raise NoSuchName(f"{host} does not exist")
        return self.table[host]


class Network:
    """Connections that the test makes or refuses."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.pending: list[Deferred[Stream]] = []
        self.cancelled = 0

    def __call__(self, reactor: Any, address: SocketAddress) -> Deferred[Stream]:
        self.asked.append(str(address))
        self.pending.append(Deferred(self._cancel))
        return self.pending[-1]

    def answer(self) -> MemoryStream:
        """The oldest connect succeeds; the stream that it gave."""
        stream = MemoryStream()
        stream.pauseProducing()
        self.pending.pop(0).callback(stream)
        return stream

    def refuse(self) -> None:
        """The oldest connect is refused."""
        self.pending.pop(0).errback(ConnectionRefused("refused"))

    def _cancel(self, connect: Deferred[Stream]) -> None:
        self.cancelled += 1
        self.pending.remove(connect)


class ProxyTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.around = Surroundings()
        self.clock = self.around.clock
        self.names = Names()
        self.network = Network()
        self.forbidden: dict[int, str] = {}
        dialer = Dialer(self.clock, self.names, connect=self.network)  # type: ignore[arg-type]
        self.environment = replace(
            self.around.environment, dialer=dialer, forbidden=lambda address, port: self.forbidden.get(port)
        )
        self.service = self.proxy()

    def proxy(self, **keys: Any) -> ConnectProxyService:
        keys.setdefault("allow", ANY)
        config = model.ConnectProxy(name="proxy", listen=(model.LocalhostAddress(port=0),), **keys)
        service = ConnectProxyService(self.environment, config)
        service.load()
        return service

    def send(self, data: bytes) -> MemoryStream:
        client = accept(self.service)
        client.receive(data)
        return client

    def answered(self, client: MemoryStream, status: int) -> str:
        """The answer's head and body, after a look at its status."""
        answer = client.take().decode()
        self.assertTrue(answer.startswith(f"HTTP/1.1 {status} "), answer)
        return answer

    def session(self) -> Any:
        [session] = self.around.closed
        return session
