"""How a client's HTTP connection ends, or leaves HTTP: now, after an answer, or by becoming a tunnel."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import TYPE_CHECKING, Any

from lanrelay.config.model import Timeouts
from lanrelay.http.answering import Answering
from lanrelay.http.client_stream import (
    ANSWERING,
    ASKED,
    CLOSING,
    GONE,
    LINGERING,
    TUNNEL,
    Leaving,
)
from lanrelay.transport.pump import Pump, PumpLimits, join
from lanrelay.transport.stream import Stream
from lanrelay.wire.http1 import Http1Server

if TYPE_CHECKING:
    from lanrelay.http.kept import KeptOrigins
    from lanrelay.http.origin import OriginConnection
    from lanrelay.observe.session import Session


class Ending(Answering):
    """
    The part of an L{HttpConnection<lanrelay.http.client.HttpConnection>} whose end its listener decides, and
    what ends with it.

    It calls C{gone} once, when the stream is gone. After L{take_over} the new owner says so: L{released}.

    @ivar aborted: whether the listener ended it, and not the client.
    @ivar kept: origin connections that serve only this client; C{None} until there is one.
    """

    __slots__ = ("_gone", "_late", "_pump", "aborted", "kept")

    def __init__(
        self, reactor: Any, timeouts: Timeouts, wire: Http1Server, gone: Callable[[Any], None]
    ) -> None:
        super().__init__(reactor, timeouts, wire)
        self.aborted = False
        self.kept: KeptOrigins | None = None
        self._gone = gone
        self._late = b""  # came while the sink was being told of events
        self._pump: Pump | None = None

    # --- as a tunnel ------------------------------------------------------------------------------

    def take_over(self) -> tuple[Stream, bytes]:
        """
        End HTTP on this connection: the caller owns the stream, which is paused, and the unread bytes.

        The caller hands the stream to another protocol and calls L{released} when it is gone.
        """
        self.uncork()
        self.state = TUNNEL
        self.sink = None
        self._let_go()
        self._deadline.stop()
        self._stream.unregisterProducer()
        self._stream.pauseProducing()
        return self._stream, self._wire.take_unread() + self._late

    def join(
        self,
        upstream: Stream,
        *,
        session: Session,
        limits: PumpLimits,
        to_downstream: bytes = b"",
        ended: Callable[[], object] | None = None,
    ) -> Pump:
        """
        Take over and join with C{upstream}; its C{done} fires when both are gone, after L{released}.

        @param ended: called at the same moment.

        From here on L{drain} waits for the tunnel, and L{abort} resets it.
        """
        stream, unread = self.take_over()
        self._pump = join(
            self._reactor,
            stream,
            upstream,
            session=session,
            limits=limits,
            to_upstream=unread,
            to_downstream=to_downstream,
            ended=self._tunnelled if ended is None else partial(self._tunnelled, ended),
        )
        return self._pump

    def _tunnelled(self, ended: Callable[[], object] | None = None) -> None:
        self.released()
        if ended is not None:
            ended()

    def released(self) -> None:
        """The stream that was taken over is gone."""
        if self.state is not GONE:
            self.state = GONE
            self._gone(self)

    # --- what ends with it ------------------------------------------------------------------------

    def keep(self, place: Hashable, origin: OriginConnection) -> bool:
        """Keep C{origin} for this client alone, until its next request to C{place}."""
        if self.state >= LINGERING:
            return False
        if self.kept is None:
            from lanrelay.http.kept import KeptOrigins  # few clients log in connections

            self.kept = KeptOrigins()
        self.kept.put(place, origin)
        return True

    def take_kept(self, place: Hashable) -> OriginConnection | None:
        """The connection that was kept for C{place}, if it is still good."""
        return None if self.kept is None else self.kept.take(place)

    def _let_go(self) -> None:
        if self.kept is not None:
            self.kept.close()

    # --- for the listener -------------------------------------------------------------------------

    def drain(self) -> None:
        """Close when what is under way has ended; at once if nothing is."""
        self.leaving = Leaving.NOW
        if self.state < LINGERING and not self._is_asked:
            self._close()

    def retire(self) -> None:
        """
        End with the next answer that begins, and say so in it: the client's next connection gets the new
        settings. To close an idle connection now could lose a request that is on its way.
        """
        self.leaving = self.leaving or Leaving.AFTER_NEXT

    def abort(self) -> None:
        """Reset the connection: an answer that was being sent looks cut."""
        self.aborted = True
        if self._pump is not None:
            self._pump.abort()
        elif self.state not in (GONE, TUNNEL):
            self._reset()

    def close_within(self, seconds: float) -> None:
        """End an idle connection: what was sent still arrives, if the client reads it in time."""
        if self.state not in (GONE, TUNNEL):
            self._close()
            if self.state is CLOSING:
                self._deadline.set(seconds)

    @property
    def idle(self) -> bool:
        """Whether no request is being answered: the connection is between two of them, or about to close."""
        return not (self._is_asked or self.state is TUNNEL)

    @property
    def _is_asked(self) -> bool:
        """Whether a request waits for the end of its answer."""
        return self.state is ASKED or self.state is ANSWERING
