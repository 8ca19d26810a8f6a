"""
The target that is a play: clients and origins of a listener in memory do what a script says, in any order.

Whatever they do, when all have gone nothing is left: no session, connection, timer or dial, and nothing was
logged as a bug.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from lanrelay.config import model
from lanrelay.errors import ConnectionRefused, DialTimeout
from lanrelay.listeners.connect_proxy import ConnectProxyService
from lanrelay.listeners.reverse_proxy import ReverseProxyService
from lanrelay.listeners.service import ListenerService
from lanrelay.listeners.tcp_forward import TcpForwardService
from tests.fuzz.targets import must
from tests.support.listening import Surroundings, accept, tcp_upstreams
from tests.support.memory import MemoryStream

LISTEN = (model.LocalhostAddress(port=0),)
CLIENTS = 3

_HEADS = {
    "web": b"%b /a HTTP/1.1\r\nHost: localhost\r\n",
    "proxy": b"%b http://nas.lan/a HTTP/1.1\r\nHost: nas.lan\r\n",
    "db": b"%b /a HTTP/1.1\r\nHost: nas.lan\r\n",
}
_TUNNEL = b"CONNECT nas.lan:22 HTTP/1.1\r\nHost: nas.lan:22\r\n\r\n"
_OK = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = _OK + b"Transfer-Encoding: chunked\r\n\r\n"
_SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
_EVENTS = _OK + b"Content-Type: text/event-stream\r\n\r\n"
_SAID_BY_ORIGINS = (
    _OK + b"Content-Length: 5\r\n\r\n", b"hello", _CHUNKED, b"5\r\nhello\r\n", b"0\r\n\r\n", _SWITCH,
    _OK + b"\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n", _EVENTS,
    b"event: endpoint\ndata: /m\n\n", b"garbage\r\n\r\n",
)  # fmt: skip


def make(random: Random) -> bytes:
    """A script: the first byte says which listener, each other one what happens next."""
    return random.randbytes(1) + bytes(random.choice(_LIKELY) for _ in range(random.randrange(4, 60)))


def check(script: bytes, random: Random) -> None:
    del random
    if not script:
        return
    failures: list[str] = []

    @implementer(ILogObserver)
    def watch(event: LogEvent) -> None:
        if "log_failure" in event:
            failures.append(event["log_failure"].getTraceback())

    globalLogPublisher.addObserver(watch)
    try:
        scene = Scene(("web", "proxy", "db")[script[0] % 3])
        for step in script[1:]:
            scene.act(step)
        scene.end()
    finally:
        globalLogPublisher.removeObserver(watch)
    must(not failures, "logged as a bug:", *failures)


class Scene:
    """One listener, its clients, and the origins that were dialed."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.around = Surroundings()
        self.service = self.listener(kind)
        self.clients: list[MemoryStream] = []
        self.origins: list[MemoryStream] = []
        self.stopped = False
        head = _HEADS[kind]
        self.words = (
            head % b"GET" + b"\r\n",
            head % b"POST" + b"Content-Length: 5\r\n\r\n",
            b"hello",
            head % b"PUT" + b"Transfer-Encoding: chunked\r\n\r\n",
            b"5\r\nhello\r\n",
            b"0\r\n\r\n",
            head % b"GET" + b"Connection: upgrade\r\nUpgrade: x\r\n\r\n",
            head % b"HEAD" + b"Connection: close\r\n\r\n",
            head % b"POST" + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
            _TUNNEL,
            head % b"GET",
            b"\x00\r\n\r\n",
        )

    def listener(self, kind: str) -> ListenerService:
        environment = self.around.environment
        if kind == "db":
            upstreams = tcp_upstreams(("nas.lan", 5432))
            return TcpForwardService(
                environment, model.TcpForward(name="db", listen=LISTEN, upstreams=upstreams)
            )
        if kind == "proxy":
            allow = (model.DestinationRule(word="any"),)
            return ConnectProxyService(
                environment, model.ConnectProxy(name="proxy", listen=LISTEN, allow=allow)
            )
        url = model.UpstreamUrl(scheme="http", host="nas.lan", port=80)
        route = model.Route(path="/", upstreams=model.Upstreams(members=(model.Upstream(url=url),)))
        timeouts = model.Timeouts(response=50.0, stream=50.0)
        web = model.ReverseProxy(name="web", listen=LISTEN, routes=(route,), timeouts=timeouts, max_body=8)
        return ReverseProxyService(environment, web)

    # --- what may happen ----------------------------------------------------------------------------------

    def act(self, step: int) -> None:
        """One thing; nothing happens if there is nobody to whom it could."""
        _ACTIONS[step % len(_ACTIONS)](self, step // len(_ACTIONS))

    def connect(self, _: int) -> None:
        if len(self.clients) < CLIENTS and not self.stopped:
            self.clients.append(accept(self.service))

    def client(self, which: int) -> MemoryStream | None:
        return self.clients[which % len(self.clients)] if self.clients else None

    def origin(self, which: int) -> MemoryStream | None:
        return self.origins[-1 - which % min(len(self.origins), 2)] if self.origins else None

    def answer_dial(self, _: int) -> None:
        if self.around.dialer.pending:
            self.origins.append(self.around.dialer.answer())

    def fail_dial(self, which: int) -> None:
        if self.around.dialer.pending:
            self.around.dialer.fail((ConnectionRefused, DialTimeout)[which % 2]("for the play"))

    def stop(self, _: int) -> None:
        if not self.stopped:
            self.stopped = True
            self.service.stopService()

    def abort(self, _: int) -> None:
        self.service.abort()

    # --- the end ------------------------------------------------------------------------------------------

    def end(self) -> None:
        """Everybody goes; nothing may be left once what was on its way has had its time to arrive."""
        for stream in (*self.clients, *self.origins):
            stream.full = False
        for client in self.clients:
            client.lose()
        self.stop(0)
        self.around.clock.advance(self.service.config.timeouts.close)
        ledger, service = self.around.ledger, self.service
        must(len(ledger) == 0, "sessions are left:", *ledger)
        must(service.open_connections == 0, "connections are left")
        must(service._gate.open == 0, "places at the gate are taken:", service._gate.open)
        must(
            not self.around.clock.getDelayedCalls(), "timers are left:", *self.around.clock.getDelayedCalls()
        )
        must(not self.around.dialer.pending, "dials are left")
        must(not any(origin.connected for origin in self.origins), "connections to origins are left")
        for group in getattr(service, "groups", ()):
            must(all(member.open == 0 for member in group.members), "an upstream counts as in use")
        for session in self.around.closed:
            must(session.ended_by != "", "nobody ended", session)
            must(
                (session.error == "") == (session.detail == ""),
                "an error without a word, or the reverse",
                session,
            )
            must(session.phase != "done" or session.error == "", "done with an error:", session)


Action = Callable[[Scene, int], None]


def _client_says(number: int) -> Action:
    def action(scene: Scene, which: int) -> None:
        client = scene.client(which)
        if client is not None:
            client.receive(scene.words[number])

    return action


def _origin_says(number: int) -> Action:
    def action(scene: Scene, which: int) -> None:
        origin = scene.origin(which)
        if origin is not None:
            origin.receive(_SAID_BY_ORIGINS[number])

    return action


def _to(side: str, do: Callable[[MemoryStream], Any]) -> Action:
    def action(scene: Scene, which: int) -> None:
        stream: MemoryStream | None = getattr(scene, side)(which)
        if stream is not None:
            do(stream)

    return action


def _advance(seconds: float) -> Action:
    return lambda scene, which: scene.around.clock.advance(seconds)


def _fill(stream: MemoryStream) -> None:
    stream.full = True


def _drain(stream: MemoryStream) -> None:
    stream.full = False


_ACTIONS: tuple[Action, ...] = (
    *[_client_says(number) for number in range(12)],
    *[_origin_says(number) for number in range(len(_SAID_BY_ORIGINS))],
    Scene.connect,
    Scene.answer_dial,
    Scene.fail_dial,
    *[_to(side, MemoryStream.receive_eof) for side in ("client", "origin")],
    *[_to(side, MemoryStream.lose) for side in ("client", "origin")],
    *[_to(side, _fill) for side in ("client", "origin")],
    *[_to(side, _drain) for side in ("client", "origin")],
    _advance(0.5),
    _advance(6),
    _advance(61),
    Scene.stop,
    Scene.abort,
)
_OFTEN = (Scene.connect, Scene.answer_dial)
# The bytes that a script is made of; a play without connections is none.
_LIKELY = [
    step
    for step in range(256)
    for _ in range(6 if _ACTIONS[step % len(_ACTIONS)] in _OFTEN else 1)
    if _ACTIONS[step % len(_ACTIONS)] not in (Scene.stop, Scene.abort) or step < len(_ACTIONS)
]
