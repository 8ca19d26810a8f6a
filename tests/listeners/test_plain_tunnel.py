"""A plain tunnel is what it is by the general way: each story is told twice, and must be the same."""

from __future__ import annotations

import re
from dataclasses import asdict
from ipaddress import ip_address
from typing import Any

from lanrelay.config import model
from lanrelay.errors import ConnectionRefused
from lanrelay.http.client import HttpConnection
from lanrelay.listeners import plain_tunnel
from lanrelay.listeners.plain_tunnel import PlainTunnel
from lanrelay.upstream import dial
from tests.support.listening import accept
from tests.support.memory import MemoryStream
from tests.support.proxying import ANY, ESTABLISHED, ProxyTestCase

CONNECT = b"CONNECT localhost:22 HTTP/1.1\r\nHost: localhost:22\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n\r\n"
REQUESTS = [
    *(CONNECT, CONNECT.replace(b"localhost", b"127.1"), CONNECT.replace(b"localhost", b"[::1]")),
    *(CONNECT.replace(b"localhost", b"LOCALHOST"), CONNECT.replace(b"localhost", b"nas.lan")),
    *(CONNECT.replace(b"1.1", b"1.0"), CONNECT[:-1], CONNECT[:9], b"\r\n" + CONNECT, b"nonsense\r\n\r\n"),
    *(CONNECT + b"early", CONNECT + CONNECT, CONNECT.replace(b"CONNECT localhost:22", b"CONNECT localhost")),
    *(
        CONNECT.replace(b"\r\n\r\n", b"\r\n" + field + b"\r\n\r\n")
        for field in (
            *(b"User-Agent: x", b"Proxy-Connection: close", b"Connection: close", b"Host: localhost:22"),
            *(b"Content-Length: 0", b"Content-Length: 2", b"Expect: 100-continue", b"Via: 1.1 x", b"X-A: b"),
            *(b"Proxy-Authorization: Basic eDp5", b"Transfer-Encoding: chunked", b"broken"),
        )
    ),
    b"GET http://127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
]

Step = tuple[str, Any]


class PlainTunnelTestCase(ProxyTestCase):
    maxDiff = None

    def setUp(self) -> None:
        super().setUp()
        self.listens = True
        self.upstreams: list[MemoryStream] = []
        self.patch(self.environment.dialer, "_may_be_at_once", True)
        self.patch(dial, "connect_at_once", self.connect_at_once)
        self.names.table["localhost"] = (ip_address("127.0.0.1"),)

    def connect_at_once(self, reactor: Any, family: int, name: Any) -> MemoryStream | None:
        if not self.listens:
            return None
        self.network.asked.append(str(name))
        stream = MemoryStream()
        stream.pauseProducing()
        self.upstreams.append(stream)
        return stream

    def begin(self, come: bytes | None, *, plain: bool = True, **keys: Any) -> None:
        """A client connects; what has C{come} by then is read as it is accepted."""
        self.clock.rightNow = 0.0
        self.service = self.proxy(**keys)
        if not plain:
            self.service._plain = None
        self.upstreams.clear()
        self.network.asked.clear()
        self.network.pending.clear()
        self.around.closed.clear()
        self.client = MemoryStream()
        if come:
            self.client.receive(come)
        accept(self.service, self.client)

    def told(self, come: bytes, steps: list[Step], **keys: Any) -> list[Any]:
        """What happens after each step, and what becomes of the sessions."""
        self.begin(come, **keys)
        [connection] = self.service._connections or [None]
        self.took = isinstance(connection, PlainTunnel)
        story = [self.seen()]
        for step, how in steps:
            getattr(self, f"do_{step}")(how)
            story.append(self.seen())
        for stream in (self.client, *self.upstreams):
            stream.lose()
        self.clock.advance(100_000)
        sessions = [asdict(session) for session in self.around.closed]
        for session in sessions:
            del session["id"], session["started"]
        self.assertEqual((len(self.around.ledger), self.service.open_connections), (0, 0))
        self.assertEqual((self.service._gate.open, self.clock.getDelayedCalls()), (0, []))
        return [story, sessions]

    def seen(self) -> Any:
        streams = [self.client, *self.upstreams]
        states = [(each.connected, each.closing, each.half_closed, each.reading) for each in streams]
        running = [(each.phase, each.target, each.received, each.sent) for each in self.around.ledger]
        out = [re.sub(rb"lanrelay-proxy-[0-9a-f]{8}|Date: .*?\r\n", b"", each.take()) for each in streams]
        return out, states, self.network.asked[:], running, self.service.open_connections

    def do_ask(self, data: bytes) -> None:
        self.client.receive(data)

    def do_answer(self, data: bytes) -> None:
        for stream in self.upstreams:
            stream.receive(data)

    def do_reached(self, data: None) -> None:
        for _ in self.network.pending[:]:
            self.upstreams.append(self.network.answer())

    def do_refused(self, data: None) -> None:
        for _ in self.network.pending[:]:
            self.network.refuse()

    def do_wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def do_leave(self, how: str) -> None:
        side, _, way = how.partition(" ")
        for stream in [self.client] if side == "client" else self.upstreams:
            if stream.connected:
                stream.receive_eof() if way == "in order" else stream.lose()

    def do_full(self, full: bool) -> None:
        for stream in (self.client, *self.upstreams):
            stream.full = full

    def do_listener(self, what: str) -> None:
        for connection in list(self.service._connections):
            getattr(connection, what)()

    def same(self, come: bytes, *steps: Step, took: bool | None = True, **keys: Any) -> list[Any]:
        general = self.told(come, list(steps), plain=False, **keys)
        plain = self.told(come, list(steps), **keys)
        if took is not None:
            self.assertEqual(self.took, took, come)
        self.assertEqual(plain, general)
        return plain


class StoryTests(PlainTunnelTestCase):
    def test_a_tunnel(self) -> None:
        for first, second in (("client", "upstream"), ("upstream", "client")):
            for one in ("in order", "lost"):
                story, [session] = self.same(
                    CONNECT,
                    *(("wait", 1), ("ask", b"ping"), ("wait", 1), ("answer", b"pong!"), ("wait", 1)),
                    *(("leave", f"{first} {one}"), ("wait", 1), ("leave", f"{second} in order")),
                )
                self.assertEqual(story[0][0], [ESTABLISHED, b""])
                self.assertEqual((session["received"], session["sent"], session["first_byte"]), (4, 5, 2.0))
                self.assertEqual(
                    (session["method"], session["status"], session["tries"]), ("CONNECT", 200, 1)
                )
                self.assertEqual((session["target"], session["address"]), ("localhost:22", "127.0.0.1:22"))

    def test_whatever_is_said_first(self) -> None:
        for listens in (True, False):
            self.listens = listens
            for request in REQUESTS:
                for how in ("reached", "refused"):
                    steps: list[Step] = [
                        (how, None),
                        ("ask", b"\n\r\n"),
                        ("answer", b"HTTP/1.1 200 OK\r\n\r\n"),
                    ]
                    self.same(request, *steps, ("leave", "client in order"), took=None)

    def test_which_are_taken(self) -> None:
        taken = []
        for request in REQUESTS:
            self.told(request, [])
            if self.took:
                taken.append(request)
        self.assertEqual(len(taken), 8)

    def test_a_head_that_comes_later_or_never(self) -> None:
        for steps in (
            [("ask", CONNECT), ("ask", b"ping"), ("leave", "client in order")],
            [("leave", "client in order")],
            [("leave", "client lost")],
            [("wait", 29), ("wait", 100)],
            [("ask", CONNECT[:9]), ("wait", 100)],
            [("listener", "drain")],
            [("listener", "abort")],
        ):
            self.same(b"", *steps, took=False)
        self.same(CONNECT[:9], ("wait", 100), took=False)
        self.same(CONNECT[:9], ("ask", CONNECT[9:] + b"ping"), took=False)

    def test_a_client_that_has_left_before_it_is_accepted(self) -> None:
        for come in (b"", CONNECT, CONNECT[:9], CONNECT + b"early"):
            stories = []
            for plain in (False, True):
                self.begin(None, plain=plain)
                for parked in (False, True):
                    client = self.client = MemoryStream()
                    client.receive(come)
                    client.lose() if parked else client.receive_eof()
                    accept(self.service, client)
                    stories.append(self.seen())
                    for stream in self.upstreams:
                        stream.lose()
                    self.clock.advance(1000)
                    self.assertEqual((self.service.open_connections, self.service._gate.open), (0, 0))
                    self.assertEqual((len(self.around.ledger), self.clock.getDelayedCalls()), (0, []))
            self.assertEqual(stories[:2], stories[2:], come)

    def test_who_does_not_read_is_not_read_from(self) -> None:
        self.same(
            CONNECT,
            *(("full", True), ("ask", b"ping"), ("answer", b"pong"), ("ask", b"more"), ("answer", b"more")),
            *(("full", False), ("leave", "upstream in order"), ("leave", "client in order")),
        )

    def test_silence_and_the_listeners_own_wishes(self) -> None:
        timeouts = model.Timeouts(tunnel=10.0, half_closed=5.0)
        self.same(CONNECT, ("wait", 9), ("ask", b"x"), ("wait", 9), ("wait", 2), timeouts=timeouts)
        self.same(CONNECT, ("leave", "client in order"), ("wait", 4), ("wait", 2), timeouts=timeouts)
        for what in ("drain", "abort"):
            self.same(CONNECT, ("listener", what), ("wait", 1), ("answer", b"pong"))

    def test_what_the_rules_say_each_time(self) -> None:
        word = model.DestinationRule(word="loopback")
        for keys in ({"deny": (word,)}, {"allow": ()}, {"allow": (word,)}):
            self.same(CONNECT, ("ask", b"ping"), took="deny" not in keys and bool(keys["allow"]), **keys)
        self.begin(CONNECT)
        self.assertEqual(self.client.take(), ESTABLISHED)
        self.forbidden[22] = "a page of the relay's own"
        client = MemoryStream()
        client.receive(CONNECT)
        self.answered(accept(self.service, client), 403)
        self.assertIn(self.forbidden[22], self.session().detail)

    def test_where_resolve_has_another_address_or_there_is_a_parent_or_a_password(self) -> None:
        self.same(CONNECT, ("reached", None), took=False, resolve={"localhost": (ip_address("10.0.0.1"),)})
        self.same(
            CONNECT,
            ("reached", None),
            took=False,
            parent=model.ParentProxy(scheme="socks5", host="192.168.1.1", port=1080),
        )
        self.same(CONNECT, took=False, auth=model.Auth(users={"x": model.Secret("y")}))


class OneTests(PlainTunnelTestCase):
    def test_what_does_not_answer_at_once_is_dialed_as_ever(self) -> None:
        self.listens = False
        self.begin(CONNECT)
        [connection] = self.service._connections
        self.assertIsInstance(connection, HttpConnection)
        self.assertEqual(self.network.asked, ["127.0.0.1:22"])
        self.network.pending.pop().errback(ConnectionRefused("refused"))
        self.answered(self.client, 502)
        self.assertEqual(self.session().error, "connection_refused")

    def test_what_has_come_already_needs_no_timer_for_the_head(self) -> None:
        self.begin(b"GET http://nas.lan/ HTTP/1.1\r\nHost: nas.lan\r\n\r\n")
        [dial] = self.clock.getDelayedCalls()
        self.assertEqual(dial.getTime(), model.Timeouts().connect)

    def test_a_fault_on_the_way_is_told_by_the_general_way(self) -> None:
        self.service = self.proxy()
        assert self.service._plain is not None
        self.patch(self.service._plain, "forbidden", None)
        client = MemoryStream()
        client.receive(CONNECT)
        accept(self.service, client)
        self.assertEqual(client.take(), ESTABLISHED)  # which is sound here

    def test_a_fault_in_the_join_closes_the_session(self) -> None:
        def fault(*streams: Any, **keys: Any) -> None:
            raise ValueError("a bug")

        self.patch(plain_tunnel, "join", fault)
        self.service = self.proxy()
        client = MemoryStream()
        client.receive(CONNECT)
        self.assertRaises(ValueError, accept, self.service, client)  # the stream's part is to tell it
        session = self.session()
        self.assertEqual((session.error, session.ended_by), ("proxy_internal_error", "relay"))
        self.assertEqual(len(self.around.ledger), 0)

    def test_heads_are_remembered_by_the_number_and_none_that_may_be_secret(self) -> None:
        secret = CONNECT.replace(b"\r\n\r\n", b"\r\nX-Token: secret\r\n\r\n")
        self.begin(secret)
        plain = self.service._plain
        assert plain is not None
        self.assertEqual(plain._leads, {})
        for port in range(1, 2000):
            plain._judge(CONNECT.replace(b":22", b":%d" % port))
        self.assertLessEqual(len(plain._leads), 512)
        self.assertIn(CONNECT.replace(b":22", b":1999"), plain._leads)

    def test_all_permitted_is_no_wish_for_anything_else(self) -> None:
        self.begin(CONNECT, allow=ANY)
        self.assertEqual(self.network.asked, ["('127.0.0.1', 22)"])
