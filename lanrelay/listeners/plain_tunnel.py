"""
The plain way of a C{CONNECT} that is as most are: plain, whole, the first thing that its client sends, and to
a loopback address.

Such a tunnel has no use for what an L{HttpConnection} is made of: a wire, timers, a record of each field. It
takes 190,000 instructions from accept to close, by the general way 294,000 (a forward: 191,000). Nothing is
judged otherwise: the general reader says which heads are plain. Whatever else a client sends first, and
whatever fails, goes to an L{HttpConnection}, as if that had had the stream from the start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lanrelay.addresses import IPAddress
from lanrelay.listeners.service import Connection
from lanrelay.transport.abilities import abilities_of
from lanrelay.transport.client import Client
from lanrelay.transport.pump import join
from lanrelay.transport.stream import Stream
from lanrelay.upstream.dial import Nearby, Target
from lanrelay.wire.events import ResponseHead
from lanrelay.wire.framing import UNTIL_CLOSE
from lanrelay.wire.plain_connect import read_plain_connect
from lanrelay.wire.writer import encode_response_head

if TYPE_CHECKING:
    from lanrelay.listeners.connect_proxy import ConnectProxyService

Lead = tuple[Nearby, IPAddress, int, str, str]
"""Where a head leads, with its address and port; the target as it was written, and what is reached."""

_HEADS: Final = 512  # of half a kilobyte at most


class PlainTunnels:
    """
    What the plain tunnels of a listener have in common.

    It remembers where plain heads lead, since clients send the same ones again and again, and the wire and
    the rules would always give the same result.

    @param established: the answer.
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
        self._leads: dict[bytes, Lead | None] = {}

    def begin(self, stream: Stream, client: Client) -> Connection:
        """Take over a stream that is parked and paused; gives the connection that has it now."""
        able = abilities_of(stream)
        come = able.early()
        if come:
            began = self.reactor.seconds()
            try:
                dialed = self.dial(come)
            except Exception:
                dialed = None  # the general way meets the same fault, and reports it
            if dialed is not None:
                return PlainTunnel(self, stream, client, *dialed, began)
            able.put_back(come)
        return self.service.general(stream, client)

    def dial(self, head: bytes) -> tuple[Stream, Lead] | None:
        """What a plain head leads to; C{None} if it cannot be reached at once: then nothing is left open."""
        try:
            lead = self._leads[head]
        except KeyError:
            lead = self._judge(head)
        if lead is None or self.forbidden(lead[1], lead[2]) is not None:
            return None
        upstream = self.dialer.reach_at_once(lead[0])
        return None if upstream is None else (upstream, lead)

    def _judge(self, head: bytes) -> Lead | None:
        asked = read_plain_connect(head)
        if asked is None or asked.authority is None:
            return None  # it may hold anything, so it is not kept
        target = Target(asked.authority.host, asked.port)
        place = self.service.find_at_once(target)
        lead = None if place is None else (place, place[0], target.port, str(target), place[3])
        if len(self._leads) >= _HEADS:
            self._leads.clear()
        self._leads[head] = lead
        return lead


class PlainTunnel:
    """Stands for the pump before the listener."""

    __slots__ = ("_pump", "_session", "_tunnels")

    def __init__(
        self,
        tunnels: PlainTunnels,
        downstream: Stream,
        client: Client,
        upstream: Stream,
        lead: Lead,
        began: float,
    ) -> None:
        """@param began: the reactor's seconds before the dial."""
        self._tunnels = tunnels
        session = self._session = tunnels.ledger.open(tunnels.name, tunnels.kind, client.name, phase="dial")
        session.method, session.status, session.tries = "CONNECT", 200, 1
        _, _, _, session.target, session.address = lead
        # The session began with the dial, before there was a record of it.
        session.dialed = session.opened - began
        session.started -= session.dialed
        session.opened = session.last_active = began
        try:
            downstream.write(tunnels.established)
            self._pump = join(
                tunnels.reactor,
                downstream,
                upstream,
                session=session,
                limits=tunnels.limits,
                ended=self._ended,
            )
        except Exception:
            upstream.abortConnection()
            tunnels.service.bug(session)
            raise  # the caller logs it, and closes the connection

    def _ended(self) -> None:
        if not self._session.closed:
            self._tunnels.service.gone(self)
            self._tunnels.ledger.close(self._session)

    # Connection -------------------------------------------------------------------------------------

    def drain(self) -> None:
        """A tunnel ends by itself."""

    def retire(self) -> None:
        """It ends by itself."""

    def abort(self) -> None:
        self._pump.abort()
