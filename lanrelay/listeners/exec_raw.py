"""Starts a program for each connection, and joins its standard input and output with that."""

from __future__ import annotations

from typing import Any, Final

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from lanrelay.errors import ProgramEnded, RelayError, RequestDenied
from lanrelay.listeners.admission import explained
from lanrelay.listeners.exec_programs import Programs
from lanrelay.listeners.first_line import is_request
from lanrelay.transport.client import Client
from lanrelay.transport.drain import Drain
from lanrelay.transport.program import Program, outcome
from lanrelay.transport.pump import Pump, join
from lanrelay.transport.stream import Stream, hand_over

QUIET: Final = 0.05
"""
Seconds to wait for a client's first bytes before the program is started. A web page's request comes with its
connection, so no page can start a program. A program that speaks first is so much later.
"""


class ExecService(Programs):
    """C{type: exec} with C{protocol: raw}."""

    def connected(self, stream: Stream, client: Client) -> ExecConnection:
        connection = ExecConnection(self, stream, client)
        hand_over(stream, connection)
        connection.start()
        return connection


@implementer(IHalfCloseableProtocol)
class ExecConnection(Protocol):
    """
    A client, first without its program, then the owner of the pump that joins both.

    It ends when both are gone.
    """

    def __init__(self, service: Programs, stream: Stream, client: Client) -> None:
        self._service, self._stream = service, stream
        self._session = service.open_session(client, "head")
        self._session.target = service.leads_to()
        self._held = b""
        self._timer: Any = None
        self._program: Program | None = None
        self._program_over = self._streams_over = self._over = False
        self._pump: Pump | None = None
        self._drain: Drain | None = None

    def start(self) -> None:
        """Wait for the client's first bytes."""
        if self._streams_over:
            return
        self._timer = self._service.environment.reactor.callLater(QUIET, self._quiet)
        self._stream.resumeProducing()

    # --- before there is a program

    def dataReceived(self, data: bytes) -> None:
        self._held += data
        verdict = is_request(self._held)
        if verdict:
            self._refuse()
        elif verdict is False:
            self._run()

    def readConnectionLost(self) -> None:
        self._run()  # the pump is told of the end again

    def writeConnectionLost(self) -> None:
        """Part of C{IHalfCloseableProtocol}; before there is a program, our side never ends."""

    def _quiet(self) -> None:
        self._timer = None
        if not self._held:
            self._run()
        else:  # the client began as an HTTP request does
            wait = self._service.config.timeouts.head
            if wait is not None:
                self._timer = self._service.environment.reactor.callLater(wait, self._late)

    def _late(self) -> None:
        self._timer = None
        self._run()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stop_waiting()
        if self._pump is None:
            self._session.left(by="downstream")
            self._streams_over = self._program_over = True
            self._check()

    def _stop_waiting(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _refuse(self) -> None:
        denied = RequestDenied(
            "a request of HTTP, as a web page sends it",
            remedy="Set `protocol: mcp-http` if the program speaks MCP, and HTTP is meant.",
        )
        self._session.failed(denied, by="relay", detail=explained(denied))
        if self._pump is not None:
            self._pump.abort()
        else:
            self._stop_waiting()
            self._stream.abortConnection()

    # --- with the program

    def _run(self) -> None:
        self._stop_waiting()
        service, session = self._service, self._session
        reactor = service.environment.reactor
        self._stream.pauseProducing()
        session.phase = "dial"
        try:
            program = self._program = service.start_program(self._ended)
        except RelayError as error:
            session.failed(error, by="relay", detail=explained(error))
            self._stream.abortConnection()
            return
        session.address = f"pid {program.pid}"
        session.dialed = reactor.seconds() - session.opened
        program.stream.finished = self._finished
        program.stream.judge_input(is_request, self._refuse)
        held, self._held = self._held, b""
        self._pump = join(
            reactor,
            self._stream,
            program.stream,
            session=session,
            limits=service.pump_limits,
            to_upstream=held,
            ended=self._pumped,
        )

    def _finished(self) -> None:
        """
        The program has ended: the client may read its output as long as C{timeouts} let it, then it is
        closed.
        """
        if self._streams_over or self._pump is None or self._drain is not None:
            return
        assert self._program is not None
        limits, stream = self._service.pump_limits, self._program.stream
        limit = limits.half_closed if limits.half_closed is not None else float("inf")
        drain = Drain(self._service.environment.reactor, self._stream, limit, stream.loseConnection)
        if drain.waits:
            self._drain = drain

    def _pumped(self) -> None:
        self._streams_over = True
        drain, self._drain = self._drain, None
        if drain is not None:
            drain.cancel()
        self._check()

    def _ended(self, program: Program) -> None:
        self._program_over = True
        how = outcome(program.status)
        if how and not program.told_to_end:
            self._session.failed(ProgramEnded(how), by="upstream")
        self._check()

    def _check(self) -> None:
        if self._program_over and self._streams_over and not self._over:
            self._over = True
            self._service.environment.ledger.close(self._session)
            self._service.gone(self)

    # --- Connection

    def drain(self) -> None:
        if self._pump is None:
            self.abort()  # nothing has been sent yet

    def retire(self) -> None:
        """It ends by itself."""

    def abort(self) -> None:
        self._session.left(by="relay")
        if self._pump is not None:
            self._pump.abort()
        else:
            self._stop_waiting()
            self._stream.abortConnection()
        if self._program is not None:
            self._program.terminate()
