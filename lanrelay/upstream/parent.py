"""A parent proxy: opens the way to a target on a connection to an HTTP or SOCKS 5 proxy."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final
from typing import Protocol as Shape

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from lanrelay.addresses import in_ascii
from lanrelay.config import model
from lanrelay.errors import DialError, ParentMalformed, ParentRefused, PeerClosed, RemoteProtocolError
from lanrelay.transport.stream import Parked, Stream, hand_over
from lanrelay.transport.unread import with_unread

if TYPE_CHECKING:
    from lanrelay.wire.http1 import Http1Client
    from lanrelay.wire.socks5 import Socks5Client

# Refusals that no other try mends: of credentials, and by rules.
_PERMANENT_STATUSES: Final = frozenset({400, 401, 403, 405, 407, 501})
_PERMANENT_REPLIES: Final = frozenset({2, 7, 8})


class Parent:
    """
    One configured parent proxy; holds no connection.

    @ivar name: its URL without credentials, for logs.
    @ivar host: and C{port}: where it listens.
    @ivar http: it speaks HTTP, so it can also be asked for C{http://} URLs.
    """

    def __init__(self, config: model.ParentProxy) -> None:
        self._config = config
        self.host, self.port = config.host, config.port
        self.http = config.scheme == "http"
        shown = f"[{config.host}]" if ":" in config.host else config.host
        self.name = f"{config.scheme}://{shown}:{config.port}"

    @property
    def authorization(self) -> bytes | None:
        """The value of Proxy-Authorization (RFC 7617), if there are credentials."""
        config = self._config
        if config.username is None:
            return None
        pair = f"{config.username}:{config.password or ''}".encode()
        return b"Basic " + base64.b64encode(pair)

    def open(self, stream: Stream, host: str, port: int) -> Deferred[Stream]:
        """
        Ask the parent for a way to C{host}; the stream that comes of it is parked and paused.

        The name goes to the parent, which resolves it. The caller bounds the wait: cancelled, or failed, the
        stream is closed.

        @param stream: a connection to the parent, parked and paused; taken over.
        Fails with L{ParentRefused}, L{ParentMalformed} or L{PeerClosed}.
        """
        conversation: _Conversation
        try:
            conversation = _HttpConnect(self, host, port) if self.http else _Socks(self._config, host, port)
        except ValueError as error:
            stream.abortConnection()
            failed: Deferred[Stream] = Deferred()
            failed.errback(ParentRefused(f"{error}", permanent=True))
            return failed
        return _Negotiation(conversation).run(stream)


class _Conversation(Shape):
    """What is said to a parent until the way is open."""

    def begin(self) -> bytes:
        """What to send first."""

    def receive(self, data: bytes) -> tuple[bytes, bool]:
        """
        What to send next, and whether the way is open.

        @raise DialError: it will not be.
        @raise RemoteProtocolError: this is no such proxy.
        """

    def take_unread(self) -> bytes:
        """What came from the other end already."""


class _HttpConnect:
    """CONNECT (RFC 9110 section 9.3.6); the head of the answer is bounded as that of any origin."""

    def __init__(self, parent: Parent, host: str, port: int) -> None:
        # Only a parent of this kind needs HTTP.
        from lanrelay.wire.authority import format_authority, parse_authority
        from lanrelay.wire.events import RequestHead
        from lanrelay.wire.headers import Headers
        from lanrelay.wire.http1 import Http1Client

        authority = format_authority(in_ascii(host), port)
        parse_authority(authority)  # a name from SOCKS can hold anything
        raw = authority.encode("ascii")
        fields = [(b"Host", raw)]
        if parent.authorization is not None:
            fields.append((b"Proxy-Authorization", parent.authorization))
        self._head = RequestHead(method=b"CONNECT", target=raw, headers=Headers(fields))
        self._wire: Http1Client = Http1Client()

    def begin(self) -> bytes:
        from lanrelay.wire.events import EndOfMessage

        return self._wire.send(self._head) + self._wire.send(EndOfMessage())

    def receive(self, data: bytes) -> tuple[bytes, bool]:
        from lanrelay.wire.events import ResponseHead

        for event in self._wire.receive(data):
            if isinstance(event, ResponseHead) and event.status >= 200:
                if event.status < 300:
                    return b"", True
                raise refused_by_status(event.status, event.reason)
        return b"", False

    def take_unread(self) -> bytes:
        return self._wire.take_unread()


def refused_by_status(status: int, reason: bytes) -> ParentRefused:
    """What an HTTP parent's answer means that is no success."""
    words = f"{status} {reason[:80].decode('latin-1')}".strip()
    return ParentRefused(f"it answered {words}", status=status, permanent=status in _PERMANENT_STATUSES)


class _Socks:
    def __init__(self, config: model.ParentProxy, host: str, port: int) -> None:
        from lanrelay.wire.socks5 import Socks5Client  # only a parent of this kind needs it

        self._wire: Socks5Client = Socks5Client(
            host, port, username=config.username, password=config.password
        )

    def begin(self) -> bytes:
        return self._wire.begin()

    def receive(self, data: bytes) -> tuple[bytes, bool]:
        wire = self._wire
        output = wire.receive(data)
        if wire.refusal:
            code = wire.code or 0
            permanent = wire.code is None or code in _PERMANENT_REPLIES
            raise ParentRefused(f"it answered: {wire.refusal}", reply=code, permanent=permanent)
        return output, wire.done

    def take_unread(self) -> bytes:
        return self._wire.take_unread()


class _Negotiation(Protocol):
    """The protocol of the stream until the parent has opened the way."""

    def __init__(self, conversation: _Conversation) -> None:
        self._conversation = conversation
        self._stream: Stream
        self._done: Deferred[Stream] | None = Deferred(self._cancelled)

    def run(self, stream: Stream) -> Deferred[Stream]:
        done = self._done
        assert done is not None
        self._stream = stream
        hand_over(stream, self)
        if self._done is not None:
            stream.write(self._conversation.begin())
            stream.resumeProducing()
        return done

    def dataReceived(self, data: bytes) -> None:
        if self._done is None:
            return
        try:
            output, is_open = self._conversation.receive(data)
        except DialError as error:
            self._fail(error)
        except RemoteProtocolError as error:
            self._fail(ParentMalformed(str(error)))
        else:
            if output:
                self._stream.write(output)
            if is_open:
                self._opened()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._fail(PeerClosed("it ended the connection before it had opened the way"))

    def _opened(self) -> None:
        self._stream.pauseProducing()
        stream = with_unread(self._stream, self._conversation.take_unread())
        hand_over(stream, Parked())
        done, self._done = self._done, None
        if done is not None:
            done.callback(stream)

    def _fail(self, error: DialError) -> None:
        done, self._done = self._done, None
        if done is not None:
            self._stream.abortConnection()
            done.errback(error)

    def _cancelled(self, _: Deferred[Stream]) -> None:
        self._done = None
        self._stream.abortConnection()
