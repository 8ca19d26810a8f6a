"""An origin that writes down what it is asked, and a client that says exactly what it is told to."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

import h11

from tests.support.progress import PATIENCE


@dataclass(frozen=True)
class Asked:
    """
    One whole request as the origin understood it.

    @ivar connection: the number of the connection that it came on.
    """

    connection: int
    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    trailers: tuple[tuple[bytes, bytes], ...]

    @property
    def said(self) -> bytes:
        """In one line."""
        return b" ".join(part for part in (self.method, self.target, self.body) if part)

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.headers if key == name]


@dataclass(frozen=True)
class Reply:
    """
    What the origin says to C{/r} instead of its usual answer.

    @ivar parts: sent one after another; the second not before the client's side has had the first.
    @ivar then: C{keep} goes on with the connection, C{close} and C{reset} end it.
    @ivar early: it is sent as soon as the head has come.
    """

    parts: tuple[bytes, ...]
    then: str = "keep"
    early: bool = False


class Recorder:
    """
    An HTTP/1.1 origin on a free port; h11, which is strict and not ours, says what came.

    It answers each request with its own target, so that an answer shows which reaches the wrong client.

    @ivar asked: whole requests, in the order in which they were whole.
    @ivar broken: bytes that h11 refused, or that were no request: there must never be any.
    @ivar partial: how many requests broke off, as they do when a client is refused in the middle.
    @ivar reply: for C{/r}.
    @ivar said: the reply was sent.
    @ivar go_on: set by the client's side when the second part of a reply may come.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.broken: list[str] = []
        self.partial = 0
        self.reply = Reply(())
        self.go_on = threading.Event()
        self.said = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port: int = self._listening.getsockname()[1]
        self._count = 0
        self._open: set[socket.socket] = set()
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def forget(self) -> None:
        """Begin anew; connections stay."""
        self.asked.clear()
        self.broken.clear()
        self.partial = 0
        self.go_on.clear()
        self.said.clear()

    def close(self) -> None:
        self.go_on.set()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for peer in list(self._open):
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
        self._accepting.join(PATIENCE)

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listening.accept()
            except OSError:
                return
            self._count += 1
            self._open.add(peer)
            threading.Thread(target=self._serve, args=(peer, self._count), daemon=True).start()

    def _serve(self, peer: socket.socket, number: int) -> None:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            data = b""
            while (rest := self._one(peer, number, data)) is not None:
                data = rest
        except OSError:
            self.partial += 1
        finally:
            self._open.discard(peer)
            peer.close()

    def _one(self, peer: socket.socket, number: int, data: bytes) -> bytes | None:
        """Take one request; gives the bytes after it, or C{None} at the end of the connection."""
        wire = h11.Connection(h11.SERVER)
        if data:
            wire.receive_data(data)
        head: h11.Request | None = None
        body = b""
        ended = False
        while True:
            try:
                event = wire.next_event()
            except h11.RemoteProtocolError as error:
                if ended:
                    self.partial += head is not None
                else:
                    self.broken.append(f"{error}: {data!r}")
                return None
            if event is h11.NEED_DATA:
                data = peer.recv(65536)
                ended = not data
                wire.receive_data(data)
            elif isinstance(event, h11.Request):
                head = event
                if event.target == b"/r" and self.reply.early:
                    return self._say(peer, b"")
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                asked = Asked(
                    connection=number,
                    method=bytes(head.method),
                    target=bytes(head.target),
                    headers=tuple((bytes(name), bytes(value)) for name, value in head.headers),
                    body=body,
                    trailers=tuple((bytes(name), bytes(value)) for name, value in event.headers),
                )
                self.asked.append(asked)
                behind = bytes(wire.trailing_data[0])
                if asked.target == b"/r":
                    return self._say(peer, behind)
                answer = b"you asked for " + asked.target
                peer.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"
                    % (len(answer), b"" if asked.method == b"HEAD" else answer)
                )
                return behind
            else:
                return None  # h11.ConnectionClosed

    def _say(self, peer: socket.socket, behind: bytes) -> bytes | None:
        reply = self.reply
        for number, part in enumerate(reply.parts):
            if number:
                self.go_on.wait(PATIENCE)
            peer.sendall(part)
        self.said.set()
        if reply.then == "keep":
            return behind
        if reply.then == "reset":
            if len(reply.parts) > 1:
                self.go_on.wait(PATIENCE)  # a reset overtakes what was not read yet
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return None


@dataclass
class Heard:
    """
    What a client was told.

    @ivar answers: status and content of each whole response.
    @ivar heads: their fields, with the status as C{:status}; also of the one that was cut.
    @ivar interim: the statuses of interim responses.
    @ivar cut: the last response broke off: its end did not come, or a reset.
    @ivar closed: the connection was ended by the other side.
    """

    answers: list[tuple[int, bytes]] = field(default_factory=list)
    heads: list[dict[bytes, list[bytes]]] = field(default_factory=list)
    interim: list[int] = field(default_factory=list)
    cut: bool = False
    closed: bool = False

    @property
    def statuses(self) -> tuple[int, ...]:
        return tuple(status for status, _ in self.answers)


class Client:
    """A blocking client that reads answers with h11; what h11 refuses raises."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.heard = Heard()
        self._rest = b""

    def send(self, *parts: bytes) -> Client:
        """Each part in a packet of its own."""
        for part in parts:
            try:
                self.socket.sendall(part)
            except (BrokenPipeError, ConnectionResetError):
                break  # the answer to the first part has come already
        return self

    def hear(self, methods: Iterable[bytes], *, event: threading.Event | None = None) -> Heard:
        """Read one answer for each of C{methods}, or until the end."""
        for method in methods:
            if not self._answer(method, event):
                break
        return self.heard

    def hear_all(self, method: bytes = b"GET", *, event: threading.Event | None = None) -> Heard:
        """Read answers until the other side ends."""
        while self._answer(method, event):
            pass
        return self.heard

    def close(self) -> None:
        self.socket.close()

    def _answer(self, method: bytes, went_on: threading.Event | None) -> bool:
        """One answer; C{False} at the end of the connection."""
        wire = h11.Connection(h11.CLIENT, max_incomplete_event_size=200_000)
        wire.send(h11.Request(method=method, target=b"/", headers=[(b"Host", b"a")]))
        wire.send(h11.EndOfMessage())
        data = self._rest
        self._rest = b""
        if data:
            wire.receive_data(data)
        begun = bool(data)
        status, body = 0, b""
        while True:
            try:
                event = wire.next_event()
            except h11.RemoteProtocolError:
                if self.heard.closed:
                    self.heard.cut = begun
                    return False
                raise
            if event is h11.NEED_DATA:
                try:
                    data = self.socket.recv(65536)
                except ConnectionResetError:
                    self.heard.cut = self.heard.closed = True
                    return False
                begun = begun or bool(data)
                if begun and went_on is not None:
                    went_on.set()
                if not data:
                    self.heard.closed = True
                    if not begun:
                        return False
                wire.receive_data(data)
            elif isinstance(event, h11.InformationalResponse):
                self.heard.interim.append(event.status_code)
                if event.status_code == 101:
                    self._rest = bytes(wire.trailing_data[0])
                    self.heard.answers.append((101, b""))
                    return False
            elif isinstance(event, h11.Response):
                status = event.status_code
                fields: dict[bytes, list[bytes]] = {b":status": [b"%d" % status]}
                for name, value in event.headers:
                    fields.setdefault(bytes(name), []).append(bytes(value))
                self.heard.heads.append(fields)
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self._rest = bytes(wire.trailing_data[0])
                self.heard.answers.append((status, body))
                return not self.heard.closed
            else:
                return False
