"""
The straight way of a C{CONNECT} that is just what most are: plain, whole, the first that its client says, and
to what is on the loopback.

Such a tunnel has no use for what an L{HttpConnection} is made of: a wire, timers, a record of each field. It
takes 214,000 instructions from accept to close, by the general way 309,000 (a forward: 207,000). Nothing is
judged otherwise: who is plain says the general reader, and whatever else a client does first, and whatever
fails, goes to an L{HttpConnection} as if that had had the stream from the start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from lanrelay.addresses import IPAddress
from lanrelay.listeners.base import Client, Connection
from lanrelay.observe.session import Session
from lanrelay.transport.pump import Pump, join
from lanrelay.transport.stream import Stream, hand_over
from lanrelay.upstream.dial import Place, Target
from lanrelay.wire.events import ResponseHead
from lanrelay.wire.framing import UNTIL_CLOSE
from lanrelay.wire.plain_connect import read_plain_connect
from lanrelay.wire.writer import encode_response_head

if TYPE_CHECKING:
    from lanrelay.listeners.connect_proxy import ConnectProxyService
    from lanrelay.listeners.http import HttpConnection

Way = tuple[Place, IPAddress, int, str, str]
"""Where a head leads, with its address and port; as it was said, and what is reached."""

_HEADS: Final = 512  # of half a kilobyte at most


class StraightTunnels:
    """
    What the straight tunnels of a listener have in common.

    It remembers plain heads with where they lead, since clients say the same ones again and again, and
    neither the wire nor the rules would ever say otherwise.

    @param established: what is answered.
    """

    def __init__(self, service: ConnectProxyService, established: ResponseHead) -> None:
        environment = service.environment
        self.service = service
        self.name, self.kind = service.config.name, service.kind
        self.limits = service.pump_limits
        self.established = encode_response_head(
            established.status, established.reason, established.headers, framing=UNTIL_CLOSE
        )
        self.reactor = environment.reactor
        self.ledger = environment.ledger
        self.forbidden = environment.forbidden
        self.dialer = environment.dialer
        self._ways: dict[bytes, Way | None] = {}

    def begin(self, stream: Stream, client: Client) -> Connection:
        """Take over a stream that is parked and paused; whoever has it now."""
        tunnel = StraightTunnel(self, stream, client)
        hand_over(stream, tunnel)
        if not tunnel.settled:
            stream.resumeProducing()
        return tunnel if tunnel.settled else tunnel.general()

    def dial(self, head: bytes) -> tuple[Stream, Way] | None:
        """What a plain head leads to; C{None}: nothing is there at once, and nothing is left of it."""
        try:
            way = self._ways[head]
        except KeyError:
            way = self._judge(head)
        if way is None or self.forbidden(way[1], way[2]) is not None:
            return None
        upstream = self.dialer.reach_at_once(way[0])
        return None if upstream is None else (upstream, way)

    def _judge(self, head: bytes) -> Way | None:
        asked = read_plain_connect(head)
        if asked is None or asked.authority is None:
            return None  # who knows what is in it: it is not kept
        target = Target(asked.authority.host, asked.port)
        place = self.service.place_at_once(target)
        way = None if place is None else (place, place[0], target.port, str(target), place[3])
        if len(self._ways) >= _HEADS:
            self._ways.clear()
        self._ways[head] = way
        return way


@implementer(IProtocol, IHalfCloseableProtocol)
class StraightTunnel:
    """
    Hears the first that a client says; then it stands for the pump, or for nothing any more.

    @ivar settled: there is a tunnel, or the client has left; else it is an L{HttpConnection} that goes on.
    """

    __slots__ = ("_became", "_client", "_pump", "_session", "_stream", "_tunnels", "settled")

    _session: Session  # of a tunnel

    def __init__(self, tunnels: StraightTunnels, stream: Stream, client: Client) -> None:
        self._tunnels = tunnels
        self._stream = stream
        self._client = client
        self._became: HttpConnection | None = None
        self._pump: Pump | None = None
        self.settled = False

    def general(self, come: bytes = b"") -> HttpConnection:
        """From here on it is an L{HttpConnection}, always the same, which has read C{come}."""
        if self._became is None:
            self._became = self._tunnels.service.http_connection(self._client, come)
            hand_over(self._stream, self._became)
        return self._became

    # from the stream --------------------------------------------------------------------------------

    def makeConnection(self, transport: object) -> None:
        """The stream is known already."""

    def connectionMade(self) -> None:
        """Part of C{IProtocol}; nobody calls it."""

    def dataReceived(self, data: bytes) -> None:
        began = self._tunnels.reactor.seconds()
        try:
            dialed = self._tunnels.dial(data)
        except Exception:
            dialed = None  # the general way meets the same fault, and tells it
        if dialed is None:
            self.general(data)
        else:
            self._join(*dialed, began)

    def readConnectionLost(self) -> None:
        self.general().readConnectionLost()

    def writeConnectionLost(self) -> None:
        """Our side does not end before there is a pump."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.settled = True
        self._tunnels.service.gone(self)

    # the tunnel -------------------------------------------------------------------------------------

    def _join(self, upstream: Stream, way: Way, began: float) -> None:
        self.settled = True
        tunnels, stream = self._tunnels, self._stream
        _, _, _, target, address = way
        session = self._session = tunnels.ledger.open(
            tunnels.name, tunnels.kind, self._client.name, phase="dial"
        )
        session.method, session.status, session.tries = "CONNECT", 200, 1
        session.target, session.address = target, address
        # It began before it was clear that there is anything to tell.
        session.dialed = session.opened - began
        session.started -= session.dialed
        session.opened = session.last_active = began
        try:
            stream.pauseProducing()
            stream.write(tunnels.established)
            self._pump = join(
                tunnels.reactor, stream, upstream, session=session, limits=tunnels.limits, ended=self._ended
            )
        except Exception:
            tunnels.service.bug(session)
            raise  # whoever called logs it, and closes the connection

    def _ended(self) -> None:
        self._tunnels.service.gone(self)
        self._tunnels.ledger.close(self._session)

    # Connection -------------------------------------------------------------------------------------

    def drain(self) -> None:
        """A tunnel ends by itself."""

    def abort(self) -> None:
        if self._pump is not None:
            self._pump.abort()
