"""What only some streams can do, and only some of those who hear them, with what holds of all others."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from lanrelay.transport.splice import SharedPipe
    from lanrelay.transport.stream import Stream


class Abilities:
    """
    A L{Stream<lanrelay.transport.stream.Stream>} that can do more than every stream inherits this, and says
    what. Ask through L{abilities_of}.
    """

    __slots__ = ()

    # what was written

    @property
    def takes_views(self) -> bool:
        """C{write} takes a C{memoryview} too, and keeps no part of it."""
        return False

    @property
    def lent_at_most(self) -> int:
        """What it makes use of in one go, of a buffer that is lent to its producer."""
        return sys.maxsize

    @property
    def takes_pipes(self) -> bool:
        """It has C{write_pipe}."""
        return False

    def write_pipe(self, pipe: SharedPipe) -> None:
        """C{write} what C{pipe} holds; it is empty afterwards."""
        raise NotImplementedError

    @property
    def unsent(self) -> int | None:
        """How many bytes wait in this process; C{None} if it does not say."""
        return None

    @property
    def beneath(self) -> Stream | None:
        """The stream that has all that was written to this one and has not left."""
        return None

    # what has come

    def early(self) -> bytes:
        """What has come before anybody heard it; whoever takes none of it owes it to L{put_back}."""
        return b""

    def put_back(self, early: bytes) -> None:
        """What L{early} gave is for who hears the stream later."""
        raise NotImplementedError

    def holds_unread(self) -> bool:
        """Something has come, and been read from the kernel, that the protocol was not given yet."""
        return False

    # what TLS knows

    @property
    def shown(self) -> Any:
        """The peer's certificate as pyOpenSSL's C{X509}; C{None} if there is none."""
        return None

    @property
    def version(self) -> str:
        """The version of TLS; empty without TLS."""
        return ""

    @property
    def application_protocol(self) -> str:
        """What was agreed on by ALPN; empty for nothing."""
        return ""


class Hearer:
    """
    A stream's protocol that can do more than every protocol inherits this, and says what. Ask through
    L{hearer_of}.
    """

    __slots__ = ()

    @property
    def lent_at_most(self) -> int:
        """
        0: it is told by C{dataReceived}. Else by C{view_received}: in one go it makes use of so many bytes of
        a buffer that is the stream's.
        """
        return 0

    def view_received(self, view: memoryview, /) -> None:
        """C{view} is valid until this returns."""
        raise NotImplementedError

    @property
    def takes_pipes(self) -> bool:
        """Where much comes, C{pipe_received} may be called instead of L{view_received}."""
        return False

    def pipe_received(self, pipe: SharedPipe) -> None:
        """It has to be empty when this returns."""
        raise NotImplementedError

    def sending_failed(self) -> bool:
        """
        Nothing that is written leaves any more.

        @return: it wants what has come, before it is told of the loss.
        """
        return False


_NONE: Final = Abilities()
_ANY: Final = Hearer()


def abilities_of(stream: object) -> Abilities:
    """Of a stream of ours, of Twisted's or a test's."""
    return stream if isinstance(stream, Abilities) else _NONE


def hearer_of(protocol: object) -> Hearer:
    """The same for who hears a stream."""
    return protocol if isinstance(protocol, Hearer) else _ANY
