"""
The control socket: the only place where the relay is asked to change or to do something.

A client sends a line of JSON, C{{"method": "probe", "name": "nas-db"}}, and gets lines of JSON: any number of
C{{"progress": ...}}, then one C{{"result": ...}} or C{{"error": "sentence"}}. Then it may ask again.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import struct
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from lanrelay.config import model
from lanrelay.config.control import is_believable, is_served
from lanrelay.errors import AlreadyRunning, RelayError, StartError
from lanrelay.listeners.service import Environment, ListenerService
from lanrelay.transport.client import Client
from lanrelay.transport.deadline import Deadline
from lanrelay.transport.stream import Stream, hand_over, handle_of

Json = dict[str, Any]
Tell = Callable[[object], object]
"""Sends a line of progress; returns C{False} if the client does not read, and should be sent less."""
Command = Callable[[Json, Tell], "object | Awaitable[object]"]
"""Gives the result of a request; raises L{Refused} for an error."""

LONGEST = 4096
"""Bytes of a request."""

UNKNOWN = -1
"""Stands for a user whom the system does not name."""

_IDLE = 60.0  # seconds until a client that asks nothing is disconnected
_UNREAD = 30.0  # seconds that an answer may wait to be read
_CONNECTIONS = 16


class Written(str):
    """A result that is JSON already; its line ends, if there are any, stand between its values."""

    __slots__ = ()


class Refused(RelayError):
    """A command cannot be carried out; the detail is a sentence for the client."""


class Taken(AlreadyRunning):
    """Somebody listens on the control socket."""


class ControlService(ListenerService):
    """
    Serves the control socket as a listener of its own.

    @param commands: by the name of the method.
    """

    kind = "control"
    relays: ClassVar[bool] = False

    def __init__(
        self, environment: Environment, config: model.Control, commands: Mapping[str, Command]
    ) -> None:
        listener = model.Listener(
            name="control",
            listen=tuple(model.UnixAddress(path=path) for path in config.paths[:1]),
            max_connections=_CONNECTIONS,
            timeouts=model.Timeouts(drain=1.0),
        )
        super().__init__(environment, listener)
        self.commands = commands
        self._control = config

    def leads_to(self) -> str:
        return "lanrelay status, reload, doctor"

    def start_error(self, error: StartError) -> StartError:
        """The control socket is no entry of C{listeners}, so the error's text says the place."""
        return StartError(f"control: {error.detail}", remedy=error.remedy)

    def load(self) -> None:
        """
        Read no files, but look for a relay with the same configuration, wherever its socket may be.

        @raise Taken: there is one.
        """
        super().load()
        if self.given is None:  # else this process has a socket already
            for path in self._control.paths:
                if is_believable(path):
                    self._check_that_nobody_listens(path)

    def bind(self) -> None:
        """
        Bind as any listener does; but where the configuration names no place, the relay may run without a
        socket.

        @raise StartError: also when a relay with the same configuration runs.
        """
        if self.given is not None and self.given.sockets:
            super().bind()
            return
        refused = StartError("no folder of this user's is short enough for a socket")
        for path in self._control.paths:
            try:
                if not self._control.named:
                    make_folder(path.parent)
                self._check_that_nobody_listens(path)
                self.open(model.UnixAddress(path=path), model.UnixAddress(path=path))
            except Taken:
                raise
            except StartError as error:
                refused = self.start_error(error)
            else:
                return
        if self._control.named:
            raise refused
        self.notes.append(f"lanrelay status, reload and probe will not find this relay: {refused}")

    def _check_that_nobody_listens(self, path: Path) -> None:
        pid = pid_of(path)
        if pid is not None:
            raise Taken(
                f"control: another relay has unix:{path}, pid {pid or 'unknown'}",
                remedy="stop it first, or `lanrelay reload` to have it read its configuration anew",
            )

    def connected(self, stream: Stream, client: Client) -> ControlConnection:
        connection = ControlConnection(self)
        hand_over(stream, connection)
        return connection


@implementer(IPushProducer)
class ControlConnection(Protocol):
    """One client; one request at a time, and the next one when the answer to it has left."""

    log = Logger()

    def __init__(self, service: ControlService) -> None:
        self._service = service
        self._buffer = b""
        self._running: Deferred[None] | None = None
        self._busy = False
        self._full = False
        self._draining = False
        self._lost = False
        self._deadline = Deadline(service.environment.reactor, self.abort)

    # --- from the stream ---

    def connectionMade(self) -> None:
        uid = peer_uid(self._stream)
        if uid is not None and uid not in (0, os.geteuid()):
            self.log.warn("control: refused a connection of user {uid}", uid=uid)
            self.abort()
            return
        self._stream.registerProducer(self, True)
        self._deadline.set(_IDLE)
        self._stream.resumeProducing()

    def dataReceived(self, data: bytes) -> None:
        self._buffer += data
        self._next()
        if len(self._buffer) > LONGEST:
            self._stream.pauseProducing()  # the client asks more before it has its answers

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost = True
        self._deadline.stop()
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
        self._service.gone(self)

    # --- one request after another ---

    def _next(self) -> None:
        while not (self._busy or self._full or self._lost or self._draining):
            line, newline, rest = self._buffer.partition(b"\n")
            if not newline:
                if len(self._buffer) > LONGEST:
                    self._send({"error": f"A request has at most {LONGEST} bytes."})
                    self._close()
                elif self._buffer[:1] not in (b"", b"{"):
                    self._close()  # the client does not speak this protocol
                return
            self._buffer = rest
            self._deadline.clear()
            self._busy = True
            self._running = Deferred.fromCoroutine(self._answer(line))
            self._running.addErrback(self._not_answered)
            self._running.addCallback(self._answered)

    async def _answer(self, line: bytes) -> None:
        request = _parsed(line)
        command = self._service.commands.get(str(request.get("method")))
        if command is None:
            raise Refused(f"There is no such method; there are {', '.join(self._service.commands)}.")
        result = command(request, self._progress)
        if isinstance(result, Awaitable):
            result = await result
        if isinstance(result, Written):
            self._write('{"result": ' + result.replace("\n", " ") + "}")
        else:
            self._send({"result": result})

    def _not_answered(self, failure: Failure) -> None:
        if failure.check(Refused):
            self._send({"error": str(failure.value)})
        elif failure.check(CancelledError):
            self._send({"error": "The relay is stopping."})
        else:
            self.log.failure("bug in a command on the control socket", failure)
            self._send({"error": "A fault in the relay itself; its log has more."})

    def _answered(self, result: None) -> None:
        self._busy = False
        self._running = None
        if self._lost:
            return
        if self._draining:
            self._close()
            return
        self._deadline.set(_UNREAD if self._full else _IDLE)
        self._stream.resumeProducing()
        self._next()

    def _progress(self, progress: object) -> bool:
        self._send({"progress": progress})
        return not self._full

    def _send(self, message: Json) -> None:
        self._write(json.dumps(message))

    def _write(self, line: str) -> None:
        if not self._lost:
            self._stream.write(line.encode("ascii") + b"\n")

    def _close(self) -> None:
        """Send what is buffered, then close."""
        self._draining = True
        self._deadline.set(_UNREAD)
        self._stream.unregisterProducer()  # else Twisted waits for a producer that is paused
        self._stream.loseConnection()

    # --- as the producer: whether the client reads ---

    def pauseProducing(self) -> None:
        self._full = True
        self._deadline.set(_UNREAD)

    def resumeProducing(self) -> None:
        self._full = False
        if self._busy:
            self._deadline.clear()
        else:
            self._deadline.set(_IDLE)
            self._next()

    def stopProducing(self) -> None:
        """The stream is lost; C{connectionLost} says so at once."""

    # --- Connection ---

    def drain(self) -> None:
        self._draining = True
        if not self._busy:
            self._close()
        elif self._running is not None:
            self._running.cancel()

    def retire(self) -> None:
        """Nothing to do: the connection ends by itself."""

    def abort(self) -> None:
        self._stream.abortConnection()

    @property
    def _stream(self) -> Stream:
        return self.transport  # type: ignore[return-value]


def _parsed(line: bytes) -> Json:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        request = None
    if not isinstance(request, dict):
        raise Refused("A request is a line of JSON, an object with a method.")
    return request


# --- who is there -----------------------------------------------------------------------------------------


def peer_uid(stream: object) -> int | None:
    """
    The user at the other end of a unix socket.

    @return: C{None} where there is no way to know, and C{UNKNOWN} where the system would not say.
    """
    sock = handle_of(stream)
    if sock is None:
        return None
    try:
        if hasattr(socket, "SO_PEERCRED"):
            _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            return int(uid)
        if sys.platform == "darwin":  # struct xucred of <sys/ucred.h>: version, uid, groups
            raw = sock.getsockopt(0, 0x001, 76)  # SOL_LOCAL, LOCAL_PEERCRED
            return int(struct.unpack_from("=II", raw)[1])
    except (OSError, struct.error):
        return UNKNOWN
    return None


def pid_of(path: Path, *, timeout: float = 1.0) -> int | None:
    """
    The process that listens at C{path}; blocks for C{timeout} at most.

    @return: C{None} if nobody listens, 0 if the system does not say who.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(timeout)
        try:
            asking.connect(os.fspath(path))
        except OSError:
            return 0 if _has_full_queue(path) else None
        try:
            asking.sendall(b'{"method": "hello"}\n')
            answer = b""
            while not answer.endswith(b"\n") and len(answer) < LONGEST:
                data = asking.recv(LONGEST)
                if not data:
                    break
                answer += data
            return int(json.loads(answer)["result"]["pid"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0


def _has_full_queue(path: Path) -> bool:
    try:
        return is_served(path)
    except OSError:
        return False


def make_folder(folder: Path) -> None:
    """
    A folder that is this user's own, so that nobody else can put a socket in the place of ours.

    @raise StartError: it cannot be had.
    """
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        pass  # as it mostly does; the owner is checked below
    except OSError as error:
        raise StartError(f"{folder} cannot be made: {error.strerror}") from error
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise StartError(
            f"{folder} is not a folder that this user alone may write to",
            remedy="remove it, or say `control: unix:PATH`",
        )
