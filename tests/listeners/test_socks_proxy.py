"""Tests of the SOCKS proxy, in memory: the real dialer and rules, on fake connections and names."""

from __future__ import annotations

import errno
from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import Deferred

from lanrelay import errors
from lanrelay.config import model
from lanrelay.errors import ConnectionRefused, DialTimeout, NoSuchName, Unroutable
from lanrelay.listeners.socks_proxy import EARLY_MAX, SocksProxyService, reply_to
from lanrelay.wire.socks5 import Reply, reply
from tests.support.listening import accept
from tests.support.memory import MemoryStream
from tests.support.proxying import ProxyTestCase

GREETING = b"\x05\x01\x00"
NAS = b"\x05\x01\x00\x03\x07nas.lan\x00\x16"
OPEN = b"\x05\x00" + reply(Reply.SUCCEEDED)


def ask(host: str, port: int) -> bytes:
    return GREETING + b"\x05\x01\x00\x03" + bytes([len(host)]) + host.encode() + port.to_bytes(2, "big")


class SocksCase(ProxyTestCase):
    def socks(self, **keys: Any) -> SocksProxyService:
        keys.setdefault("allow", (model.DestinationRule(word="any"),))
        config = model.SocksProxy(name="socks", listen=(model.LocalhostAddress(port=0),), **keys)
        service = SocksProxyService(self.environment, config)
        service.load()
        return service

    def setUp(self) -> None:
        super().setUp()
        self.service: Any = self.socks()

    def refused(self, client: MemoryStream, code: Reply) -> None:
        """It was answered with that code, and closes once the client has read it."""
        self.assertEqual(client.take(), b"\x05\x00" + reply(code))
        self.assertTrue(client.half_closed)
        client.receive_eof()
        self.assertTrue(client.closed)
        self.ended()

    def ended(self) -> None:
        """Nothing is left."""
        self.assertEqual(self.service.open_connections, 0)
        self.assertEqual(self.service._gate.open, 0)
        self.assertEqual(len(self.around.ledger), 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class TunnelTests(SocksCase):
    def tunnel(self) -> tuple[MemoryStream, MemoryStream]:
        client = self.send(GREETING + NAS)
        upstream = self.network.answer()
        self.assertEqual(client.take(), OPEN)
        return client, upstream

    def test_bytes_go_both_ways(self) -> None:
        client, upstream = self.tunnel()
        self.assertEqual(self.network.asked, ["192.168.1.20:22"])
        upstream.receive(b"SSH-2.0-server\r\n")
        client.receive(b"SSH-2.0-client\r\n")
        self.assertEqual((client.take(), upstream.take()), (b"SSH-2.0-server\r\n", b"SSH-2.0-client\r\n"))

    def test_step_by_step(self) -> None:
        client = self.send(GREETING)
        self.assertEqual(client.take(), b"\x05\x00")
        for byte in NAS:
            self.assertEqual(self.network.asked, [])
            client.receive(bytes([byte]))
        self.network.answer()
        self.assertEqual(client.take(), reply(Reply.SUCCEEDED))

    def test_addresses(self) -> None:
        for request, asked in (
            (b"\x05\x01\x00\x01\xc0\xa8\x01\x14\x00\x16", "192.168.1.20:22"),
            (b"\x05\x01\x00\x04\xfd" + bytes(14) + b"\x01\x00\x16", "[fd00::1]:22"),
            (b"\x05\x01\x00\x03\x08127.0x01\x00\x16", "127.0.0.1:22"),
        ):
            self.send(GREETING + request)
            self.assertEqual(self.network.asked[-1], asked)

    def test_what_the_client_sent_early_goes_first(self) -> None:
        client = self.send(GREETING + NAS + b"one ")
        client.receive(b"two ")
        upstream = self.network.answer()
        client.receive(b"three")
        self.assertEqual(upstream.take(), b"one two three")

    def test_a_client_that_says_all_before_the_dial_is_done_gets_its_answer(self) -> None:
        client = self.send(GREETING + NAS + b"question")
        client.receive_eof()
        upstream = self.network.answer()
        self.assertEqual(upstream.take(), b"question")
        self.assertTrue(upstream.half_closed)
        upstream.receive(b"answer")
        upstream.receive_eof()
        self.assertTrue(client.take().endswith(b"answer"))
        self.assertEqual((self.session().phase, self.session().ended_by), ("done", "downstream"))
        self.ended()

    def test_a_client_that_says_all_before_a_dial_that_fails_hears_why(self) -> None:
        client = self.send(GREETING + NAS + b"question")
        client.receive_eof()
        self.network.refuse()
        self.assertEqual(client.take()[2:4], bytes([5, Reply.REFUSED]))
        self.session()
        self.ended()

    def test_a_client_that_says_all_and_is_lost_cancels_the_dial(self) -> None:
        client = self.send(GREETING + NAS + b"question")
        client.receive_eof()
        client.lose()
        self.assertEqual(self.network.cancelled, 1)
        self.assertEqual(self.session().ended_by, "downstream")
        self.ended()

    def test_early_bytes_are_bounded(self) -> None:
        client = self.send(GREETING + NAS)
        client.receive(b"x" * EARLY_MAX)
        self.assertFalse(client.reading)
        client.receive(b"y")
        self.assertEqual(self.network.answer().take(), b"x" * EARLY_MAX + b"y")

    def test_half_close_goes_through(self) -> None:
        client, upstream = self.tunnel()
        client.receive_eof()
        self.assertTrue(upstream.half_closed)
        upstream.receive(b"the whole answer")
        upstream.receive_eof()
        self.assertEqual(client.take(), b"the whole answer")
        self.ended()

    def test_the_session_is_that_of_a_tunnel(self) -> None:
        client, upstream = self.tunnel()
        client.receive(b"abc")
        upstream.receive(b"defgh")
        client.receive_eof()
        upstream.receive_eof()
        session = self.session()
        self.assertEqual(
            (session.listener, session.kind, session.method, session.target, session.address),
            ("socks", "socks-proxy", "CONNECT", "nas.lan:22", "192.168.1.20:22"),
        )
        self.assertEqual((session.received, session.sent, session.phase, session.error), (3, 5, "done", ""))

    def test_fixed_names(self) -> None:
        self.service = self.socks(resolve={"wiki.lan": (ip_address("10.0.0.7"),)})
        self.send(ask("wiki.lan", 80))
        self.assertEqual((self.network.asked, self.names.asked), (["10.0.0.7:80"], []))

    def test_drain_lets_a_tunnel_end(self) -> None:
        client, upstream = self.tunnel()
        self.service.startService()
        stopped = self.service.stopService()
        self.assertNoResult(stopped)
        client.receive_eof()
        upstream.receive_eof()
        self.successResultOf(stopped)

    def test_abort_resets_a_tunnel(self) -> None:
        client, upstream = self.tunnel()
        self.service.abort()
        self.assertTrue(client.aborted and upstream.aborted)
        self.assertEqual(self.session().ended_by, "relay")
        self.ended()


class RefusalTests(SocksCase):
    def test_what_a_dial_came_to(self) -> None:
        def with_errno(number: int) -> Unroutable:
            error = Unroutable("no route")
            error.errno = number
            return error

        for error, code in (
            (ConnectionRefused("refused"), Reply.REFUSED),
            (DialTimeout("silence"), Reply.TTL_EXPIRED),
            (with_errno(errno.EHOSTUNREACH), Reply.HOST_UNREACHABLE),
            (with_errno(errno.ENETUNREACH), Reply.NETWORK_UNREACHABLE),
            (errors.LocalLimit("no descriptors"), Reply.GENERAL_FAILURE),
        ):
            client = self.send(GREETING + NAS)
            self.network.pending.pop(0).errback(error)
            self.refused(client, code)
            session = self.around.closed[-1]
            self.assertEqual((session.error, session.phase), (error.proxy_status, "dial"))
            self.assertEqual((session.ended_by, session.status), ("upstream", 0))
            self.assertTrue(session.detail.endswith("."))

    def test_codes_for_what_comes_seldom(self) -> None:
        parent_error = ConnectionRefused("refused")
        parent_error.parent = "http://proxy:3128"
        for error, code in (
            (errors.NameTimeout(), Reply.HOST_UNREACHABLE),
            (NoSuchName(), Reply.HOST_UNREACHABLE),
            (errors.PeerClosed(), Reply.GENERAL_FAILURE),
            (errors.RelayError(), Reply.GENERAL_FAILURE),
            (errors.ParentRefused(reply=5), Reply.REFUSED),
            (errors.ParentRefused(reply=99), Reply.GENERAL_FAILURE),
            (errors.ParentRefused(status=403), Reply.NOT_ALLOWED),
            (errors.ParentRefused(status=502), Reply.GENERAL_FAILURE),
            (parent_error, Reply.GENERAL_FAILURE),
        ):
            self.assertEqual(reply_to(error), code, error)

    def test_a_name_that_does_not_exist(self) -> None:
        self.refused(self.send(ask("nowhere.lan", 22)), Reply.HOST_UNREACHABLE)

    def test_rules(self) -> None:
        self.service = self.socks(deny=(model.DestinationRule(name="nas.lan"),))
        self.refused(self.send(GREETING + NAS), Reply.NOT_ALLOWED)
        self.assertEqual((self.names.asked, self.network.asked), ([], []))
        session = self.session()
        self.assertEqual((session.phase, session.ended_by), ("policy", "relay"))
        self.assertEqual(session.error, "http_request_denied")
        self.service = self.socks(allow=(model.DestinationRule(word="public"),))
        self.refused(self.send(GREETING + NAS), Reply.NOT_ALLOWED)
        self.assertEqual(self.network.asked, [])

    def test_the_relays_own_ports(self) -> None:
        self.forbidden[22] = "the admin page"
        self.refused(self.send(GREETING + NAS), Reply.NOT_ALLOWED)

    def test_what_is_not_supported(self) -> None:
        self.refused(self.send(GREETING + b"\x05\x02" + NAS[2:]), Reply.COMMAND_NOT_SUPPORTED)
        self.refused(self.send(GREETING + b"\x05\x01\x00\x02"), Reply.ADDRESS_TYPE_NOT_SUPPORTED)
        for session in self.around.closed:
            self.assertEqual((session.phase, session.ended_by), ("head", "downstream"))
            self.assertEqual(session.error, "http_request_error")

    def test_what_is_no_socks_5_is_closed_and_noted(self) -> None:
        client = self.send(b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertEqual((client.take(), client.closed), (b"", True))
        self.assertIn("HTTP", self.session().detail)
        self.ended()

    def test_a_client_that_does_not_close_is_reset(self) -> None:
        client = self.send(GREETING + NAS + b"early")
        self.network.refuse()
        client.receive(b"more")
        self.clock.advance(4.9)
        self.assertFalse(client.closed)
        self.clock.advance(0.2)
        self.assertTrue(client.aborted)
        self.ended()


class LoginTests(SocksCase):
    LOGIN = b"\x05\x02\x00\x02\x01\x05alice\x06secret"

    def setUp(self) -> None:
        super().setUp()
        self.service = self.socks(auth=model.Auth(users={"alice": model.Secret("secret")}))

    def test_the_right_one(self) -> None:
        client = self.send(self.LOGIN + NAS)
        self.network.answer()
        self.assertEqual(client.take(), b"\x05\x02\x01\x00" + reply(Reply.SUCCEEDED))

    def test_a_client_that_says_all_before_it_is_let_in_gets_its_answer(self) -> None:
        checking = self.checking()
        client = self.send(self.LOGIN + NAS + b"question")
        client.receive_eof()
        checking.callback(True)
        upstream = self.network.answer()
        self.assertEqual(upstream.take(), b"question")
        self.assertTrue(upstream.half_closed)
        upstream.receive(b"answer")
        upstream.receive_eof()
        self.assertTrue(client.take().endswith(b"answer"))
        self.assertEqual((self.session().phase, self.session().ended_by), ("done", "downstream"))
        self.ended()

    def test_a_client_that_leaves_before_it_is_let_in_has_gone(self) -> None:
        for said in (b"", NAS[:5], NAS):
            checking = self.checking()
            client = self.send(self.LOGIN + said)
            client.receive_eof()
            if not client.closed:
                checking.callback(True)
            self.assertTrue(client.closed, said)
            self.assertEqual(len(self.network.asked), self.network.cancelled)
            self.assertEqual(self.service.open_connections, 0)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def checking(self) -> Deferred[bool]:
        """What the next check of a password comes to."""
        checking: Deferred[bool] = Deferred()
        self.patch(self.service, "check", lambda *_: checking)
        return checking

    def test_a_wrong_one(self) -> None:
        client = self.send(self.LOGIN.replace(b"secret", b"secreT") + NAS)
        self.assertEqual(client.take(), b"\x05\x02\x01\x01")
        client.receive_eof()
        self.assertEqual((self.network.asked, self.names.asked), ([], []))
        session = self.session()
        self.assertEqual((session.phase, session.ended_by), ("policy", "relay"))
        self.assertNotIn("secre", session.detail)
        self.ended()

    def test_none(self) -> None:
        client = self.send(GREETING + NAS)
        self.assertEqual(client.take(), b"\x05\xff")
        client.receive_eof()
        self.assertIn("asks for a name", self.session().detail)
        self.ended()


class EndTests(SocksCase):
    def test_silence_is_closed_and_not_noted(self) -> None:
        client = accept(self.service)
        self.clock.advance(10.1)
        self.assertTrue(client.aborted)
        self.assertEqual(self.around.closed, [])
        self.ended()

    def test_a_slow_greeting_is_closed_and_noted(self) -> None:
        client = self.send(GREETING + NAS[:5])
        self.clock.advance(10.1)
        self.assertTrue(client.aborted)
        self.assertEqual((self.session().phase, self.session().ended_by), ("head", "downstream"))
        self.ended()

    def test_the_limit_ends_with_the_request(self) -> None:
        self.service = self.socks(timeouts=model.Timeouts(connect=60.0))
        client = self.send(GREETING + NAS)
        self.clock.advance(30)
        self.assertFalse(client.closed)

    def test_without_a_limit(self) -> None:
        self.service = self.socks(timeouts=model.Timeouts(head=None))
        client = accept(self.service)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        client.receive_eof()
        self.ended()

    def test_a_client_that_leaves_cancels_the_dial(self) -> None:
        client = self.send(GREETING + NAS)
        client.receive_eof()
        self.assertEqual(self.network.cancelled, 1)
        session = self.session()
        self.assertEqual((session.ended_by, session.phase, session.error), ("downstream", "dial", ""))
        self.ended()

    def test_a_client_that_ends_its_side_in_the_middle_is_noted(self) -> None:
        client = self.send(GREETING)
        client.receive_eof()
        self.assertEqual((self.session().phase, self.session().ended_by), ("head", "downstream"))
        self.ended()

    def test_a_client_that_leaves_in_the_middle_is_noted(self) -> None:
        client = self.send(GREETING)
        client.lose()
        self.assertEqual((self.session().phase, self.session().ended_by), ("head", "downstream"))
        self.ended()

    def test_drain_closes_what_has_not_begun_and_abort_the_rest(self) -> None:
        idle, dialing = accept(self.service), self.send(GREETING + NAS)
        self.service.startService()
        stopped = self.service.stopService()
        self.assertTrue(idle.aborted)
        self.assertFalse(dialing.closed)
        self.clock.advance(3.1)
        self.assertTrue(dialing.aborted)
        self.successResultOf(stopped)
        self.assertEqual(self.session().ended_by, "relay")
        self.ended()
