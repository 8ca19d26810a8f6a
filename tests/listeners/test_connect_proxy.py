"""Tests of the forward proxy, in memory: the real dialer and rules, on fake connections and names."""

from __future__ import annotations

import base64
import re
from ipaddress import ip_address
from typing import Any

from lanrelay.config import model
from lanrelay.errors import StartError
from lanrelay.upstream.dial import Dialed, Target
from tests.support.listening import accept, without_via
from tests.support.memory import MemoryStream
from tests.support.proxying import ANY, CONNECT, ESTABLISHED, ProxyTestCase


class TunnelTests(ProxyTestCase):
    def tunnel(self, request: bytes = CONNECT) -> tuple[MemoryStream, MemoryStream]:
        client = self.send(request)
        upstream = self.network.answer()
        self.assertEqual(client.take(), ESTABLISHED)
        return client, upstream

    def test_bytes_go_both_ways(self) -> None:
        client, upstream = self.tunnel()
        self.assertEqual(self.network.asked, ["192.168.1.20:22"])
        upstream.receive(b"SSH-2.0-server\r\n")
        client.receive(b"SSH-2.0-client\r\n")
        self.assertEqual((client.take(), upstream.take()), (b"SSH-2.0-server\r\n", b"SSH-2.0-client\r\n"))

    def test_no_host_and_connection_close_do_not_end_it(self) -> None:
        for request in (
            b"CONNECT nas.lan:22 HTTP/1.0\r\n\r\n",
            b"CONNECT nas.lan:22 HTTP/1.1\r\n\r\n",
            b"CONNECT nas.lan:22 HTTP/1.0\r\nConnection: close\r\nProxy-Connection: close\r\n\r\n",
            b"CONNECT nas.lan:22 HTTP/1.1\r\nHost: nas.lan:22\r\nConnection: close\r\n\r\n",
        ):
            client, upstream = self.tunnel(request)
            client.receive(b"ping")
            upstream.receive(b"pong")
            self.assertEqual((upstream.take(), client.take()), (b"ping", b"pong"), request)
            self.assertFalse(client.closing or client.half_closed)

    def test_what_the_client_sent_early_goes_first(self) -> None:
        client = self.send(CONNECT + b"one ")
        client.receive(b"two ")
        upstream = self.network.answer()
        client.receive(b"three")
        self.assertEqual(upstream.take(), b"one two three")
        self.assertEqual(client.take(), ESTABLISHED)

    def test_what_is_on_the_loopback_is_joined_at_once_if_the_rules_permit_it(self) -> None:
        streams: list[MemoryStream] = []

        def dial_at_once(target: Target, *, permit: Any, fixed: Any) -> Dialed | None:
            if permit(ip_address("127.0.0.1")) is not None:
                return None
            streams.append(MemoryStream())
            return Dialed(streams[-1], f"127.0.0.1:{target.port}")

        self.patch(self.environment.dialer, "dial_at_once", dial_at_once)
        request = b"CONNECT localhost:22 HTTP/1.1\r\nHost: localhost:22\r\n\r\n"
        client = self.send(request + b"early")
        [upstream] = streams
        self.assertEqual((client.take(), upstream.take()), (ESTABLISHED, b"early"))
        client.receive_eof()
        upstream.receive_eof()
        session = self.session()
        self.assertEqual((session.status, session.address, session.received), (200, "127.0.0.1:22", 5))
        self.assertEqual((session.tries, session.dialed, session.phase), (1, 0.0, "done"))
        self.assertEqual((self.network.asked, self.service.open_connections), ([], 0))
        self.names.table["localhost"] = (ip_address("127.0.0.1"),)
        for keys in ({"deny": (model.DestinationRule(word="loopback"),)}, {"allow": ()}):
            self.service = self.proxy(**keys)
            self.answered(self.send(request), 403)
        self.assertEqual(len(streams), 1)

    def test_what_comes_early_is_bounded(self) -> None:
        client = self.send(CONNECT)
        for _ in range(100):
            client.receive(bytes(4096))
        self.assertFalse(client.reading)
        upstream = self.network.answer()
        self.assertEqual(len(upstream.take()), 100 * 4096)
        self.assertTrue(client.reading)

    def test_a_half_close_goes_through(self) -> None:
        client, upstream = self.tunnel()
        client.receive(b"question")
        client.receive_eof()
        self.assertTrue(upstream.half_closed)
        upstream.receive(b"late answer")
        upstream.receive_eof()
        self.assertEqual(client.take(), b"late answer")
        self.assertTrue(client.closed)
        self.assertEqual(self.service.open_connections, 0)

    def test_the_session_tells_the_whole_story(self) -> None:
        client = self.send(CONNECT + b"abc")
        self.clock.advance(0.25)
        upstream = self.network.answer()
        upstream.receive(b"defgh")
        client.receive_eof()
        upstream.receive_eof()
        session = self.session()
        self.assertEqual((session.method, session.target, session.path), ("CONNECT", "nas.lan:22", ""))
        self.assertEqual((session.address, session.dialed), ("192.168.1.20:22", 0.25))
        self.assertEqual((session.status, session.received, session.sent), (200, 3, 5))
        self.assertEqual((session.phase, session.error, session.ended_by), ("done", "", "downstream"))
        self.assertEqual(len(self.around.ledger), 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_client_that_leaves_first_cancels_the_dial(self) -> None:
        for leave in (MemoryStream.lose, MemoryStream.receive_eof):
            client = self.send(CONNECT)
            leave(client)
            self.assertEqual(self.network.pending, [])
            session = self.around.closed.pop()
            self.assertEqual((session.ended_by, session.error, session.phase), ("downstream", "", "dial"))
            self.assertEqual(client.take(), b"")
            self.assertEqual(self.service.open_connections, 0)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_client_that_says_all_before_the_dial_is_done_gets_its_answer(self) -> None:
        for late in (b"", b"question"):
            client = self.send(CONNECT + (b"" if late else b"question"))
            if late:
                client.receive(late)
            client.receive_eof()
            upstream = self.network.answer()
            self.assertEqual(upstream.take(), b"question")
            self.assertTrue(upstream.half_closed)
            upstream.receive(b"answer")
            upstream.receive_eof()
            self.assertEqual(client.take(), ESTABLISHED + b"answer")
            self.assertTrue(client.closed)
            session = self.around.closed.pop()
            self.assertEqual((session.ended_by, session.error, session.phase), ("downstream", "", "done"))
            self.assertEqual(self.service.open_connections, 0)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_client_that_says_all_before_a_dial_that_fails_hears_why(self) -> None:
        client = self.send(CONNECT + b"question")
        client.receive_eof()
        self.network.refuse()
        self.answered(client, 502)
        self.assertTrue(client.closed)
        self.assertEqual(self.service.open_connections, 0)

    def test_a_client_that_says_all_and_is_lost_cancels_the_dial(self) -> None:
        client = self.send(CONNECT + b"question")
        client.receive_eof()
        client.lose()
        self.assertEqual(self.network.pending, [])
        self.assertEqual(self.session().ended_by, "downstream")

    def test_abort_resets_both_sides(self) -> None:
        client, upstream = self.tunnel()
        self.service.abort()
        self.assertTrue(client.aborted)
        self.assertTrue(upstream.aborted)
        self.assertEqual(self.session().ended_by, "relay")

    def test_a_stop_lets_a_tunnel_end(self) -> None:
        self.service.startService()
        client, upstream = self.tunnel()
        stopped = self.service.stopService()
        self.assertNoResult(stopped)
        upstream.receive(b"the rest")
        upstream.receive_eof()
        client.receive_eof()
        self.assertEqual(client.take(), b"the rest")
        self.successResultOf(stopped)

    def test_a_stop_ends_what_takes_longer_than_drain(self) -> None:
        self.service.startService()
        client, _ = self.tunnel()
        dialing = self.send(CONNECT)
        idle = accept(self.service)
        stopped = self.service.stopService()
        self.assertTrue(idle.closed)
        self.clock.advance(3.1)
        self.successResultOf(stopped)
        self.assertTrue(client.aborted)
        self.assertTrue(dialing.aborted)
        self.assertEqual({session.ended_by for session in self.around.closed}, {"relay"})


class FailedConnectTests(ProxyTestCase):
    def test_a_bug_ends_the_session_and_is_not_hidden(self) -> None:
        def faulty(*arguments: object) -> None:
            raise ZeroDivisionError

        self.patch(self.service, "_denied", faulty)
        self.assertRaises(ZeroDivisionError, self.send, b"CONNECT nas.lan:443 HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual(len(self.around.ledger), 0)
        self.assertEqual(self.session().error, "proxy_internal_error")

    def test_the_answer_explains_and_the_connection_closes(self) -> None:
        client = self.send(CONNECT)
        self.network.refuse()
        answer = self.answered(client, 502)
        self.assertIn("error=connection_refused", answer)
        self.assertIn("Connection: close", answer)
        self.assertIn("nas.lan", answer.partition("\r\n\r\n")[2])
        self.assertTrue(client.closed)
        session = self.session()
        self.assertEqual(
            (session.status, session.error, session.ended_by, session.phase),
            (502, "connection_refused", "upstream", "dial"),
        )
        self.assertEqual(self.service.open_connections, 0)

    def test_early_tunnel_bytes_never_run_as_a_request(self) -> None:
        client = self.send(CONNECT + b"GET http://evil.lan/ HTTP/1.1\r\nHost: evil.lan\r\n\r\n")
        self.network.refuse()
        self.answered(client, 502)
        client.receive(b"GET http://evil.lan/ HTTP/1.1\r\nHost: evil.lan\r\n\r\n")
        self.assertEqual(client.take(), b"")
        self.assertEqual(self.names.asked, ["nas.lan"])
        self.assertTrue(client.half_closed or client.closed)
        client.receive_eof()
        self.assertTrue(client.closed)
        self.assertEqual(len(self.around.closed), 1)

    def test_a_name_that_does_not_exist(self) -> None:
        client = self.send(b"CONNECT nowhere.lan:22 HTTP/1.1\r\nHost: nowhere.lan\r\n\r\n")
        self.assertIn("error=dns_error", self.answered(client, 502))

    def test_no_answer_in_time_is_a_504(self) -> None:
        client = self.send(CONNECT)
        self.clock.advance(5.1)
        self.assertIn("error=connection_timeout", self.answered(client, 504))
        self.assertEqual(self.network.cancelled, 1)

    def test_targets_that_are_none(self) -> None:
        for target in (
            b"nas.lan",
            b"http://nas.lan/",
            b"nas.lan:0",
            b"nas.lan:99999",
            b"user@nas.lan:22",
            b"/",
        ):
            client = self.send(b"CONNECT " + target + b" HTTP/1.1\r\nHost: nas.lan\r\n\r\n")
            self.answered(client, 400)
            self.assertEqual(self.network.asked, [], target)
            session = self.around.closed.pop()
            self.assertEqual((session.status, session.ended_by, session.phase), (400, "downstream", "head"))

    def test_a_silent_client_and_half_a_head(self) -> None:
        silent = accept(self.service)
        half = self.send(b"CONNECT nas.lan:22 HTTP/1.1\r\n")
        self.clock.advance(10.1)
        self.assertTrue(silent.closed)
        self.answered(half, 408)


class RuleTests(ProxyTestCase):
    def refused(self, host: str, port: int = 22) -> str:
        client = self.send(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answer = self.answered(client, 403)
        session = self.around.closed.pop()
        self.assertEqual((session.status, session.ended_by, session.phase), (403, "relay", "policy"))
        self.assertTrue(client.closed)
        return answer

    def test_a_denied_name_is_not_even_looked_up(self) -> None:
        self.service = self.proxy(deny=(model.DestinationRule(name="nas.lan"),))
        for host in ("nas.lan", "NAS.lan", "nas.lan."):
            self.assertIn("error=http_request_denied", self.refused(host))
        self.assertEqual(self.names.asked, [])

    def test_each_address_is_judged_and_only_good_ones_are_dialed(self) -> None:
        self.service = self.proxy(allow=(model.DestinationRule(word="private"),))
        self.names.table["both.lan"] = (ip_address("203.0.113.1"), ip_address("10.0.0.9"))
        self.send(b"CONNECT both.lan:22 HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual(self.network.asked, ["10.0.0.9:22"])
        self.clock.advance(1)
        self.assertEqual(self.network.asked, ["10.0.0.9:22"])

    def test_a_name_that_leads_to_a_denied_address(self) -> None:
        self.service = self.proxy(allow=(model.DestinationRule(word="private"),))
        self.names.table["rebound.example"] = (ip_address("127.0.0.1"),)
        self.assertIn("error=destination_ip_prohibited", self.refused("rebound.example"))
        self.assertEqual(self.network.asked, [])

    def test_spellings_do_not_get_around_a_rule(self) -> None:
        self.service = self.proxy(deny=(model.DestinationRule(word="loopback"),))
        for host in (
            "127.0.0.1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "127.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
        ):
            self.refused(host)
        self.assertEqual(self.network.asked, [])

    def test_the_relay_s_own_pages_are_refused_whatever_is_allowed(self) -> None:
        self.forbidden[28081] = "it is the relay's own admin page"
        self.service = self.proxy(allow=(*ANY, model.DestinationRule(name="nas.lan")))
        for host in ("127.0.0.1", "nas.lan"):
            self.assertIn("admin page", self.refused(host, 28081))
        client = self.send(b"GET http://127.0.0.1:28081/status.json HTTP/1.1\r\nHost: x\r\n\r\n")
        self.answered(client, 403)
        self.assertEqual(self.network.asked, [])

    def test_resolve_answers_instead_of_dns_and_is_judged(self) -> None:
        fixed = {"nas.lan": (ip_address("10.9.9.9"),), "self.lan": (ip_address("127.0.0.1"),)}
        self.service = self.proxy(resolve=fixed, deny=(model.DestinationRule(word="loopback"),))
        self.send(CONNECT)
        self.assertEqual(self.network.asked, ["10.9.9.9:22"])
        self.refused("self.lan")
        self.assertEqual(self.names.asked, [])


class AuthTests(ProxyTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.service = self.proxy(auth=model.Auth(users={"alice": model.Secret("secret")}))

    def credentials(self, text: str) -> bytes:
        return b"Proxy-Authorization: Basic " + base64.b64encode(text.encode()) + b"\r\n\r\n"

    def test_none_and_wrong_ones_are_407(self) -> None:
        for request in (
            CONNECT,
            CONNECT[:-2] + self.credentials("alice:wrong"),
            b"GET http://nas.lan/ HTTP/1.1\r\nHost: nas.lan\r\n\r\n",
        ):
            client = self.send(request)
            answer = self.answered(client, 407)
            self.assertIn('Proxy-Authenticate: Basic realm="lanrelay"', answer)
            self.assertEqual(client.closed, request.startswith(b"CONNECT"))
        self.assertEqual(self.names.asked, [])
        self.assertEqual({session.error for session in self.around.closed}, {"http_request_denied"})

    def test_right_ones_open_a_tunnel(self) -> None:
        client = self.send(CONNECT[:-2] + self.credentials("alice:secret"))
        self.network.answer()
        self.assertEqual(client.take(), ESTABLISHED)

    def test_they_are_neither_forwarded_nor_noted(self) -> None:
        self.send(b"GET http://nas.lan/ HTTP/1.1\r\nHost: nas.lan\r\n" + self.credentials("alice:secret"))
        origin = self.network.answer()
        self.assertEqual(without_via(origin.take()), b"GET / HTTP/1.1\r\nHost: nas.lan\r\n\r\n")
        [session] = self.around.ledger
        self.assertNotIn("alice", repr(session))

    def test_a_bad_file_names_the_listener(self) -> None:
        error = self.assertRaises(StartError, self.proxy, auth=model.Auth(file=self._missing()))
        assert isinstance(error, StartError)
        self.assertEqual(error.listener, "proxy")

    def _missing(self) -> Any:
        from pathlib import Path

        return Path(self.mktemp())


class RequestTests(ProxyTestCase):
    def test_origin_form_is_told_what_this_is(self) -> None:
        for request in (b"GET / HTTP/1.1", b"POST /mcp HTTP/1.1", b"OPTIONS * HTTP/1.1"):
            client = self.send(request + b"\r\nHost: localhost:28080\r\n\r\n")
            answer = self.answered(client, 400)
            self.assertIn("HTTP_PROXY", answer)
        self.assertEqual(self.network.asked, [])
        self.assertEqual(self.around.closed[0].path, "/")

    def test_https_is_told_to_use_connect(self) -> None:
        client = self.send(b"GET https://nas.lan/ HTTP/1.1\r\nHost: nas.lan\r\n\r\n")
        self.assertIn("CONNECT", self.answered(client, 400))

    def test_absolute_form_goes_on_in_origin_form(self) -> None:
        client = self.send(
            b"GET http://nas.lan:8080/a?b=c HTTP/1.1\r\nHost: other.lan\r\nX-One: 1\r\n"
            b"Proxy-Connection: keep-alive\r\nConnection: x-hop\r\nX-Hop: 1\r\nCookie: a=b\r\n\r\n"
        )
        self.assertEqual(self.network.asked, ["192.168.1.20:8080"])
        origin = self.network.answer()
        self.assertEqual(
            without_via(origin.take()),
            b"GET /a?b=c HTTP/1.1\r\nHost: nas.lan:8080\r\nX-One: 1\r\nCookie: a=b\r\n\r\n",
        )
        origin.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\nhi")
        answer = without_via(client.take())
        self.assertRegex(answer, rb"\AHTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: [^\r]+ GMT\r\n\r\nhi\Z")
        session = self.session()
        self.assertEqual((session.method, session.target), ("GET", "http://nas.lan:8080"))
        self.assertEqual((session.path, session.status, session.phase), ("/a", 200, "done"))
        self.assertTrue(origin.closed)
        self.assertFalse(client.closing)

    def test_each_request_may_name_another_host(self) -> None:
        self.names.table["tv.lan"] = (ip_address("192.168.1.30"),)
        client = accept(self.service)
        for host in (b"nas.lan", b"tv.lan", b"nas.lan"):
            client.receive(b"GET http://%b HTTP/1.1\r\nHost: %b\r\n\r\n" % (host, host))
            origin = self.network.answer()
            self.assertEqual(without_via(origin.take()), b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host)
            origin.receive(b"HTTP/1.1 204 No Content\r\n\r\n")
            self.assertTrue(client.take().startswith(b"HTTP/1.1 204"))
        self.assertEqual(self.network.asked, ["192.168.1.20:80", "192.168.1.30:80", "192.168.1.20:80"])

    def test_an_upload_streams(self) -> None:
        client = self.send(
            b"PUT http://nas.lan/f HTTP/1.1\r\nHost: nas.lan\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n"
        )
        origin = self.network.answer()
        self.assertEqual(
            without_via(origin.take()),
            b"PUT /f HTTP/1.1\r\nHost: nas.lan\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        )
        client.receive(b"2\r\nde\r\n0\r\n\r\n")
        self.assertEqual(origin.take(), b"2\r\nde\r\n0\r\n\r\n")

    def test_http_1_0_gets_a_host(self) -> None:
        client = self.send(b"GET http://nas.lan/ HTTP/1.0\r\n\r\n")
        origin = self.network.answer()
        self.assertEqual(without_via(origin.take(), b"1.0"), b"GET / HTTP/1.1\r\nHost: nas.lan\r\n\r\n")
        origin.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        self.assertTrue(client.closed)

    def test_options_without_a_path_becomes_a_star(self) -> None:
        self.send(b"OPTIONS http://nas.lan HTTP/1.1\r\nHost: nas.lan\r\n\r\n")
        self.assertTrue(self.network.answer().take().startswith(b"OPTIONS * HTTP/1.1\r\n"))

    def test_a_request_that_was_here_before_is_a_loop(self) -> None:
        self.send(b"GET http://nas.lan/ HTTP/1.1\r\nHost: nas.lan\r\n\r\n")
        head = self.network.answer().take()
        via = re.search(rb"Via: [^\r]+", head)
        assert via is not None
        client = self.send(b"GET http://nas.lan/ HTTP/1.1\r\nHost: nas.lan\r\n%b\r\n\r\n" % via[0])
        answer = client.take()
        self.assertIn(b" 502 ", answer)
        self.assertIn(b"error=proxy_loop_detected;", answer)

    def test_a_websocket_in_absolute_form(self) -> None:
        client = self.send(
            b"GET http://nas.lan/ws HTTP/1.1\r\nHost: nas.lan\r\nUpgrade: h2c, websocket\r\n"
            b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQ\r\n\r\n"
        )
        origin = self.network.answer()
        self.assertEqual(
            without_via(origin.take()),
            b"GET /ws HTTP/1.1\r\nHost: nas.lan\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        )
        origin.receive(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello"
        )
        self.assertEqual(
            without_via(client.take()),
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello",
        )
        client.receive(b"back")
        self.assertEqual(origin.take(), b"back")

    def test_an_origin_that_is_not_there(self) -> None:
        client = self.send(b"GET http://nas.lan/ HTTP/1.1\r\nHost: nas.lan\r\n\r\n")
        self.network.refuse()
        self.assertIn("error=connection_refused", self.answered(client, 502))
        self.assertFalse(client.closing)
        self.assertEqual(self.session().ended_by, "upstream")

    def test_a_client_that_leaves_cancels_the_dial(self) -> None:
        client = self.send(b"GET http://nas.lan/ HTTP/1.1\r\nHost: nas.lan\r\n\r\n")
        client.lose()
        self.assertEqual(self.network.cancelled, 1)
        self.assertEqual(self.session().ended_by, "downstream")
        self.assertEqual(self.clock.getDelayedCalls(), [])
