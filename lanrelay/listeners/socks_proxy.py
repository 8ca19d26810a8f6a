"""The forward proxy for programs that speak SOCKS 5."""

from __future__ import annotations

import errno
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from lanrelay.errors import (
    AddressDenied,
    ConnectionRefused,
    DialError,
    DialTimeout,
    Fault,
    GreetingError,
    LeadsBack,
    NameServerFailed,
    NameTimeout,
    NoDestination,
    NoSuchName,
    ParentRefused,
    RelayError,
    RequestDenied,
    Unroutable,
)
from lanrelay.listeners.admission import explained
from lanrelay.listeners.forward_proxy import ForwardProxyService
from lanrelay.observe.session import TARGET, Phase, Session, Side, brief
from lanrelay.transport.client import Client
from lanrelay.transport.pump import Pump, join
from lanrelay.transport.stream import Stream, hand_over
from lanrelay.upstream.dial import Target
from lanrelay.wire.authority import format_authority
from lanrelay.wire.socks5 import PHRASES, Login, Reply, Request, Socks5Server, SocksError, reply

EARLY_MAX = 64 * 1024
"""Bytes that are kept of a client that does not wait for its reply; then it is paused, as with a CONNECT."""

_GREETING, _CHECKING, _DIALING, _TUNNEL, _CLOSING, _GONE = range(6)


class SocksProxyService(ForwardProxyService):
    """C{type: socks-proxy}."""

    def connected(self, stream: Stream, client: Client) -> SocksConnection:
        connection = SocksConnection(self, client)
        hand_over(stream, connection)
        return connection


@implementer(IHalfCloseableProtocol)
class SocksConnection(Protocol):
    """
    A client: its greeting, perhaps its login, its request and the dial; then the pump has its stream.

    C{timeouts.head} is the time from the accept to the end of the request. The client is read also during the
    check of a password and the dial, so that its leaving is noticed and cancels them. But one that has sent
    something for its destination by then, and ends its side, waits for the answer.
    """

    log = Logger()

    def __init__(self, service: SocksProxyService, client: Client) -> None:
        self._service = service
        self._client = client
        self._wire = Socks5Server(login=service.credentials is not None)
        self._state = _GREETING
        self._stream: Stream
        self._session: Session | None = None
        self._checking: Deferred[bool] | None = None
        self._dialing: Deferred[None] | None = None
        self._early = b""
        self._read_ended = False
        self._pump: Pump | None = None
        self._aborted = False
        self._timer: Any = None

    # --- from the stream --------------------------------------------------------------------------

    def connectionMade(self) -> None:
        self._stream = self.transport  # type: ignore[assignment]
        self._stream.resumeProducing()
        if self._state == _GREETING:
            self._set_timer()

    def dataReceived(self, data: bytes) -> None:
        if self._state == _GREETING:
            try:
                self._listen(data)
            except SocksError as error:
                self._refuse(error, error.answer, phase="head", by="downstream")
        elif self._state in (_CHECKING, _DIALING):
            self._early += data
            if len(self._early) >= EARLY_MAX:
                self._stream.pauseProducing()

    def readConnectionLost(self) -> None:
        self._read_ended = True
        if self._state not in (_CHECKING, _DIALING) or not (self._early or self._wire.buffered):
            self._stream.loseConnection()  # else the pump is told

    def writeConnectionLost(self) -> None:
        """The last bytes have left; now the client may end its side."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        state, self._state = self._state, _GONE
        self._stop_timer()
        if state == _GREETING and self._wire.begun:
            self._note(GreetingError("the client left before its request was whole"), "head", by="downstream")
        elif state == _CHECKING:
            checking, self._checking = self._checking, None
            if checking is not None:
                checking.cancel()
        elif state == _DIALING:
            session, dialing = self._session, self._dialing
            assert session is not None
            session.left(by="relay" if self._aborted else "downstream")
            if dialing is not None:
                dialing.cancel()  # ends in _not_connected
        self._service.gone(self)

    # --- what is said -------------------------------------------------------------------------------

    def _listen(self, data: bytes) -> None:
        while self._state == _GREETING:
            output, said = self._wire.receive(data)
            if output:
                self._stream.write(output)
            if isinstance(said, Request):
                self._requested(Target(said.host, said.port))
            elif said is None or not self._let_in(said):
                return
            data = b""

    def _set_timer(self) -> None:
        timeout = self._service.config.timeouts.head
        if timeout is not None:
            self._timer = self._service.environment.reactor.callLater(timeout, self._too_late, timeout)

    def _let_in(self, login: Login) -> bool:
        """Whether the client is let in already."""
        try:
            good = self._service.check(login.username, login.password, self._client)
        except RequestDenied as error:
            self._turn_away(error)
            return False
        if isinstance(good, bool):
            return self._judged(good)
        self._stop_timer()
        self._state = _CHECKING
        self._checking = good
        good.addCallbacks(self._checked, self._not_checked)
        return False

    def _judged(self, good: bool) -> bool:
        if good:
            self._stream.write(self._wire.login_answer(good=True))
        else:
            denied = RequestDenied(
                "the credentials are wrong",
                http_status=407,
                remedy="Use a name and a password from auth of this listener.",
            )
            self._turn_away(denied)
        return good

    def _turn_away(self, error: RelayError) -> None:
        self._refuse(error, self._wire.login_answer(good=False), phase="policy", by="relay")

    def _checked(self, good: bool) -> None:
        self._checking = None
        self._state = _GREETING
        if self._judged(good):
            self._set_timer()
            early, self._early = self._early, b""
            if not self._read_ended:
                self._stream.resumeProducing()
            self.dataReceived(early)
            if self._read_ended and self._state in (_GREETING, _DIALING):
                self.readConnectionLost()  # as if the end had come only now

    def _not_checked(self, failure: Failure) -> None:
        self._checking = None
        if failure.check(CancelledError):
            return
        error = failure.value
        if not isinstance(error, RelayError):
            self.log.failure("bug in a login of {listener}", failure, listener=self._service.config.name)
            error = Fault()
        self._turn_away(error)

    def _requested(self, target: Target) -> None:
        self._stop_timer()
        self._state = _DIALING
        self._early = self._wire.take_unread()
        session = self._session = self._open_session("dial")
        session.method = "CONNECT"
        session.target = brief(format_authority(target.host, target.port), TARGET)
        self._dialing = Deferred.fromCoroutine(self._dial(target, session))
        self._dialing.addErrback(self._not_connected, session)

    async def _dial(self, target: Target, session: Session) -> None:
        service = self._service
        dialed = await service.dial(target, session, self._client)
        self._dialing = None
        self._state = _TUNNEL
        stream = self._stream
        stream.pauseProducing()
        stream.write(reply(Reply.SUCCEEDED))
        early, self._early = self._early, b""
        self._pump = join(
            service.environment.reactor,
            stream,
            dialed.stream,
            session=session,
            limits=service.pump_limits,
            to_upstream=early,
        )
        self._pump.done.addCallback(self._pumped, session)

    def _not_connected(self, failure: Failure, session: Session) -> None:
        self._dialing = None
        error = failure.value
        if failure.check(CancelledError):
            self._service.environment.ledger.close(session)
            return
        if not isinstance(error, DialError):
            self.log.failure("bug in a tunnel of {listener}", failure, listener=session.listener)
            error = Fault()
        by: Side = "upstream" if isinstance(error, DialError) else "relay"
        session.failed(error, by=by, detail=explained(error))
        self._service.environment.ledger.close(session)
        self._answer_and_close(reply(reply_to(error)))

    def _pumped(self, result: None, session: Session) -> None:
        self._state = _GONE
        self._service.environment.ledger.close(session)
        self._service.gone(self)

    # --- ends -----------------------------------------------------------------------------------------

    def _refuse(self, error: RelayError, answer: bytes, *, phase: Phase, by: Side) -> None:
        self._note(error, phase, by=by)
        self._answer_and_close(answer)

    def _note(self, error: RelayError, phase: Phase, *, by: Side) -> None:
        session = self._open_session(phase)
        session.failed(error, by=by, detail=explained(error))
        self._service.environment.ledger.close(session)

    def _open_session(self, phase: Phase) -> Session:
        return self._service.open_session(self._client, phase)

    def _answer_and_close(self, answer: bytes) -> None:
        """
        Send the last bytes, and let the client read them: a close while it still sends would have its kernel
        throw them away. RFC 1928 section 6 allows ten seconds.
        """
        self._stop_timer()
        self._state = _CLOSING
        if not answer:
            self._stream.loseConnection()
            return
        self._stream.write(answer)
        close = self._service.config.timeouts.close
        self._timer = self._service.environment.reactor.callLater(close, self._not_closed)
        self._stream.loseWriteConnection()
        if self._state == _CLOSING:
            self._stream.resumeProducing()

    def _too_late(self, timeout: float) -> None:
        self._timer = None
        if self._wire.begun:
            error = GreetingError(f"the request did not come within {timeout:g} s", 408)
            self._note(error, "head", by="downstream")
        self._state = _CLOSING
        self._stream.abortConnection()

    def _not_closed(self) -> None:
        self._timer = None
        self._stream.abortConnection()

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    # --- Connection -----------------------------------------------------------------------------------

    def drain(self) -> None:
        if self._state in (_GREETING, _CHECKING):
            self.abort()

    def retire(self) -> None:
        """It ends by itself."""

    def abort(self) -> None:
        self._aborted = True
        if self._pump is not None:
            self._pump.abort()
        else:
            if self._state == _GREETING:
                self._state = _CLOSING  # so that the end does not count as the client's leaving
            self._stream.abortConnection()


def reply_to(error: RelayError) -> Reply:
    """The reply code for a dial that failed."""
    if isinstance(error, ParentRefused):
        if error.reply and error.reply in PHRASES:  # 0 would mean success
            return Reply(error.reply)
        return Reply.NOT_ALLOWED if error.status == 403 else Reply.GENERAL_FAILURE
    if isinstance(error, DialError) and error.parent:
        return Reply.GENERAL_FAILURE  # nothing is known of the destination itself
    if isinstance(error, (AddressDenied, LeadsBack, NoDestination)):
        return Reply.NOT_ALLOWED
    if isinstance(error, ConnectionRefused):
        return Reply.REFUSED
    if isinstance(error, Unroutable):
        unreachable = error.errno in (errno.ENETUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL)
        return Reply.NETWORK_UNREACHABLE if unreachable else Reply.HOST_UNREACHABLE
    if isinstance(error, (NoSuchName, NameServerFailed, NameTimeout)):
        return Reply.HOST_UNREACHABLE
    if isinstance(error, DialTimeout):
        return Reply.TTL_EXPIRED  # no code is nearer; microsocks answers the same
    return Reply.GENERAL_FAILURE
