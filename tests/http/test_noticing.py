"""What a reverse proxy notices in passing of how its upstream is asked."""

from __future__ import annotations

from lanrelay.errors import HostRefused, TlsOnPlain
from lanrelay.upstream.upstream import Upstream
from tests.http.test_exchange import GET, OK
from tests.listeners.test_reverse_proxy import ReverseProxyTestCase, get
from tests.support.listening import accept
from tests.support.logs import Logged

ALERT = b"\x15\x03\x03\0\x02\x02\x0a"
HELLO = b"\x16\x03\x03\0\x7a\x02"


class NoticingTestCase(ReverseProxyTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.logged = Logged(self)

    @property
    def warnings(self) -> list[str]:
        return [line for line in self.logged.warnings if "nas.lan:80" in line]

    @property
    def upstream(self) -> Upstream:
        return self.service.routes[0].group.members[0]

    def says(self, status: str, content: bytes = b"", request: bytes = GET) -> bytes:
        """What the client is sent where the upstream says this."""
        self.client.receive(request)
        if self.around.dialer.pending:
            self.origin = self.dialed()
        self.origin.take()
        length = b"Content-Length: %d\r\n\r\n" % len(content)
        self.origin.receive(b"HTTP/1.1 %b\r\n%b%b" % (status.encode(), length, content))
        return self.client.take()


class HostTests(NoticingTestCase):
    def test_a_refused_host_is_noticed_and_passes(self) -> None:
        answer = self.says("421 Misdirected Request", b"Invalid Host header")
        self.assertTrue(answer.startswith(b"HTTP/1.1 421 Misdirected Request\r\n"))
        self.assertTrue(answer.endswith(b"\r\n\r\nInvalid Host header"))
        fault = self.upstream.noticed
        assert isinstance(fault, HostRefused)
        self.assertEqual((fault.host, fault.target), ("nas.lan", "nas.lan:80"))
        [warning] = self.warnings
        self.assertIn('the Host "nas.lan"', warning)
        self.assertIn("`host: preserve`", warning)

    def test_it_is_noticed_on_a_kept_connection_and_in_pieces(self) -> None:
        for at in range(0, 20, 3):
            self.serve()
            self.says("200 OK")
            self.says("200 OK")
            self.client.receive(GET)
            self.origin.take()
            head = b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n"
            said = b"13\r\nInvalid Host header\r\n0\r\n\r\n"
            self.origin.receive(head + said[:at])
            self.origin.receive(said[at:])
            self.assertTrue(self.client.take().endswith(b"0\r\n\r\n"))
            self.assertIsInstance(self.upstream.noticed, HostRefused)

    def test_another_refusal_is_the_clients(self) -> None:
        for status, content in (
            ("403 Forbidden", b"no"),
            ("400 Bad Request", b""),
            ("404 N", b"Invalid Host"),
        ):
            self.serve()
            self.says(status, content)
            self.assertIsNone(self.upstream.noticed)
        self.assertEqual(self.warnings, [])

    def test_the_log_says_it_once_and_a_good_answer_disproves_it(self) -> None:
        for _ in range(3):
            self.says("421 M")
            self.says("404 N")
            self.assertIsNotNone(self.upstream.noticed)
            self.says("200 OK")
            self.assertIsNone(self.upstream.noticed)
        self.assertEqual(len(self.warnings), 1)

    def test_with_the_clients_own_host_each_client_is_told_apart(self) -> None:
        self.serve(routes=(self.route("http://nas.lan", host="preserve"),))
        self.says("421 M", request=get(host="127.0.0.1:8080"))
        fault = self.upstream.noticed
        assert isinstance(fault, HostRefused)
        self.assertEqual((fault.host, fault.preserved), ("127.0.0.1:8080", True))
        self.says("200 OK", request=get(host="localhost:8080"))
        self.assertIsNotNone(self.upstream.noticed)
        self.says("200 OK", request=get(host="127.0.0.1:8080"))
        self.assertIsNone(self.upstream.noticed)
        self.assertIn("a name that the server lets in", self.warnings[0])


class SchemeTests(NoticingTestCase):
    def test_an_alert_is_no_malformed_answer(self) -> None:
        for at in (1, 2, len(ALERT)):
            self.serve()
            origin = self.asked(GET)
            origin.receive(ALERT[:at])
            answer = self.client.take()
            self.assertTrue(
                answer.startswith(b"HTTP/1.1 502 nas.lan:80 speaks TLS, and its URL says http\r\n")
            )
            self.assertIn(b"Write `https://` for `http://`", answer)
            self.assertIsInstance(self.upstream.noticed, TlsOnPlain)

    def test_one_connection_finds_out(self) -> None:
        for record, tls in ((HELLO, True), (ALERT, True), (b"HTTP/1.1 400 B\r\n", False), (b"", False)):
            self.serve()
            self.asked(GET).receive_eof()
            self.assertEqual(self.client.take(), b"")
            looking = self.dialed()
            self.assertEqual(looking.take()[:2], b"\x16\x03")
            if record:
                looking.receive(record)
            else:
                looking.receive_eof()
            self.assertTrue(looking.closed)
            self.assertEqual(b"speaks TLS" in self.client.take(), tls)
            # For a while it is known.
            self.asked(GET).receive_eof()
            self.assertEqual(self.around.dialer.pending, [])
            self.assertEqual(b"speaks TLS" in self.client.take(), tls)
            self.client.lose()
            self.assertAllOver()

    def test_it_waits_for_a_second(self) -> None:
        self.asked(GET).receive_eof()
        looking = self.dialed()
        self.clock.advance(1)
        self.assertTrue(looking.aborted)
        self.assertIn(b"ended the connection without an answer", self.client.take())
        self.client.lose()
        self.assertAllOver()

    def test_a_client_that_leaves_meanwhile(self) -> None:
        self.asked(GET).receive_eof()
        looking = self.dialed()
        self.client.lose()
        self.assertTrue(looking.aborted)
        self.assertAllOver()

    def test_who_has_answered_does_not_speak_tls(self) -> None:
        self.answered()
        self.client.receive(GET)
        self.origin.lose()
        self.asked_again = self.dialed()
        self.asked_again.receive_eof()
        self.assertEqual(self.around.dialer.pending, [])
        self.assertIn(b"ended the connection without an answer", self.client.take())

    def test_the_words_of_servers_pass_and_are_noticed(self) -> None:
        answer = self.says("400 Bad Request", b"Client sent an HTTP request to an HTTPS server.\n")
        self.assertTrue(answer.endswith(b"to an HTTPS server.\n"))
        self.assertIsInstance(self.upstream.noticed, TlsOnPlain)

    def test_a_new_listener_begins_anew(self) -> None:
        self.says("421 M")
        self.assertTrue(self.service.routes[0].noticing.found)
        self.serve()
        self.assertFalse(self.service.routes[0].noticing.found)
        self.client = accept(self.service)
        self.asked(GET).receive(OK)
