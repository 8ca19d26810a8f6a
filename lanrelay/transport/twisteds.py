"""Makes Twisted's own transports, which lose what has come when a send fails, deliver that first."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from twisted.internet.error import ConnectionLost
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.python.failure import Failure

from lanrelay.transport.abilities import hearer_of

if TYPE_CHECKING:
    from twisted.internet.tcp import Connection as _Beneath
else:
    _Beneath = object


class Telling(_Beneath):
    """
    As L{TcpStream<lanrelay.transport.tcp.TcpStream>}, for protocols that want what has come: it is
    told as they read, then C{connectionLost}. Mixed in by L{let_tell}.
    """

    _broken = False  # a send failed, or the reactor saw a hang-up while nothing was read
    _read_out = False  # a read has found the end
    _wanted = True  # it is not paused

    def startReading(self) -> None:
        self._wanted = True
        super().startReading()

    def stopReading(self) -> None:
        self._wanted = False
        super().stopReading()

    def write(self, data: bytes) -> None:
        if not self._broken:
            super().write(data)

    def doRead(self) -> Any:
        why = super().doRead()
        if why is not None:
            self._read_out = True
            if self._broken and why is CONNECTION_DONE:
                return CONNECTION_LOST  # the kernel reports an error once, then an end that seems orderly
        return why

    def readConnectionLost(self, reason: Failure) -> None:
        if self._read_out:
            super().readConnectionLost(reason)
        else:
            # A hang-up that was seen while nothing was read is told when reading goes on. Twisted would take
            # it for the end, and leave what has come unread.
            self.startReading()

    def connectionLost(self, reason: Failure) -> None:
        if (
            not (self._broken or self._read_out)
            and reason.check(ConnectionLost)
            and hearer_of(self.protocol).sending_failed()
        ):
            self._broken = True
            if self._wanted:
                self.startReading()  # the reactor has removed it
            return
        super().connectionLost(reason)


def let_tell(transport: Any) -> None:
    """Make C{transport}, which is of a class of Twisted's, a L{Telling} one."""
    kind: Any = type(transport)
    transport.__class__ = _telling(kind)


@cache
def _telling(kind: Any) -> type:
    return type(kind.__name__, (Telling, kind), {})
