"""Makes a tunnel of an exchange whose origin switches protocols: HTTP is over, on both sides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lanrelay.errors import UpgradeFailed
from lanrelay.transport.pump import PumpLimits

if TYPE_CHECKING:
    from lanrelay.http.exchange import Exchange
    from lanrelay.http.origin import OriginConnection
    from lanrelay.wire.events import ResponseHead


def switch(exchange: Exchange, head: ResponseHead) -> None:
    """
    Give the client C{head}, a 101, and both streams to the pump; the session closes when that is over.

    An origin that was not asked to switch is refused.
    """
    origin = exchange.origin
    assert origin is not None
    if not exchange.upgrade:
        exchange.refuse_response(UpgradeFailed("the upstream switched protocols without being asked"))
        return
    session, route, connection = exchange.session, exchange.route, exchange.connection
    timeouts = route.timeouts
    session.status = 101
    session.first_byte = route.reactor.seconds() - session.opened
    connection.send_head(route.response_head(exchange, head))
    exchange.origin = None
    exchange.over = True
    stream, unread = origin.take_over()
    limits = PumpLimits(idle=timeouts.stream, half_closed=timeouts.half_closed, close=timeouts.close)
    pump = connection.join(stream, session=session, limits=limits, to_downstream=unread)
    pump.done.addCallback(_pumped, exchange, origin)


def _pumped(result: None, exchange: Exchange, origin: OriginConnection) -> None:
    origin.released()
    exchange.route.ledger.close(exchange.session)
