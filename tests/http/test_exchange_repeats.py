"""Which requests are sent a second time when their origin has gone, and which never are."""

from __future__ import annotations

from lanrelay.errors import ConnectionRefused
from lanrelay.upstream.dial import Dialed
from tests.http.test_exchange import GET, OK, POST, ExchangeTestCase
from tests.support.listening import accept
from tests.support.memory import MemoryStream


class RepeatTests(ExchangeTestCase):
    def warm(self) -> MemoryStream:
        """An idle origin connection."""
        origin = self.asked(GET)
        origin.receive(OK)
        self.client.take()
        return origin

    def test_a_get_on_a_stale_connection_is_sent_anew(self) -> None:
        stale = self.warm()
        self.client.receive(GET)
        stale.receive_eof()
        self.assertEqual(self.client.take(), b"")
        fresh = self.dialed()
        fresh.receive(OK)
        self.assertIn(b"200 OK", self.client.take())
        self.assertEqual(self.session.status, 200)

    def test_a_repeated_request_gets_a_new_connection(self) -> None:
        first = self.warm()
        other = accept(self.service)
        other.receive(GET)
        self.client.receive(GET)
        second = self.dialed()
        second.receive(OK)  # and is idle now
        self.client.take()
        first.receive_eof()
        self.assertEqual(len(self.around.dialer.pending), 1)

    def test_a_post_is_never_sent_twice(self) -> None:
        stale = self.warm()
        self.client.receive(POST + b"0123456789")
        self.assertIn(b"POST ", stale.take())
        stale.receive_eof()
        self.assertEqual(self.around.dialer.pending, [])
        self.assertIn(b"502 Bad Gateway", self.client.take())

    def test_a_bodyless_post_is_never_sent_twice(self) -> None:
        stale = self.warm()
        self.client.receive(b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        stale.receive_eof()
        self.assertEqual(self.around.dialer.pending, [])
        self.assertIn(b"502 Bad Gateway", self.client.take())

    def test_a_put_with_a_body_is_never_sent_twice(self) -> None:
        stale = self.warm()
        self.client.receive(POST.replace(b"POST", b"PUT") + b"0123456789")
        stale.receive_eof()
        self.assertIn(b"502 Bad Gateway", self.client.take())

    def test_a_post_of_which_nothing_was_sent_is_sent(self) -> None:
        self.client.receive(POST + b"0123456789")
        lost = MemoryStream()
        lost.lose()
        self.around.dialer.pending.pop(0).callback(Dialed(stream=lost, address="192.0.2.1:80"))
        origin = self.dialed()
        self.assertTrue(origin.take().endswith(b"0123456789"))

    def test_after_the_first_byte_of_an_answer_nothing_is_repeated(self) -> None:
        origin = self.asked(GET)
        origin.receive(b"HTTP/1.1 2")
        origin.receive_eof()
        self.assertEqual(self.around.dialer.pending, [])
        self.assertIn(b"error=http_response_incomplete", self.client.take())

    def test_what_costs_its_origin_the_life_is_sent_twice_at_most(self) -> None:
        for ended, said in (
            (MemoryStream.receive_eof, b"HTTP/1.1 502 nas.lan ended the connection without an answer\r\n"),
            (MemoryStream.lose, b"HTTP/1.1 502 Connection to nas.lan broke\r\n"),
        ):
            for method in (b"GET", b"DELETE", b"HEAD", b"OPTIONS"):
                request = GET.replace(b"GET", method)
                self.serve()
                ended(self.asked(request))  # a new connection: it died of this
                if ended == MemoryStream.receive_eof:
                    self.looked_for_tls()
                self.assertEqual(self.around.dialer.pending, [])
                self.assertIn(said, self.client.take())
                origin = self.warm()
                self.client.receive(request)
                ended(origin)  # a kept one may have closed for another reason
                ended(self.dialed())
                self.assertEqual(self.around.dialer.pending, [])
                self.assertIn(said, self.client.take())
                self.client.lose()
                self.assertAllOver()

    def test_it_is_sent_to_one_other_upstream(self) -> None:
        self.serve("one.lan", "two.lan", "three.lan")
        self.client.receive(GET)
        for _ in range(2):
            self.assertEqual(self.client.take(), b"")
            origin = self.dialed()
            self.assertIn(b"GET /a", origin.take())
            origin.receive_eof()
        self.assertEqual([target.host for target in self.around.dialer.asked[:2]], ["one.lan", "two.lan"])
        self.looked_for_tls()
        self.assertEqual(self.around.dialer.pending, [])
        self.assertIn(b"502 Bad Gateway", self.client.take())

    def test_it_is_not_sent_to_the_same_upstream_because_no_other_is_there(self) -> None:
        self.serve("one.lan", "two.lan")
        self.client.receive(GET)
        self.dialed().receive_eof()
        for _ in range(20):
            if self.around.dialer.pending:
                self.around.dialer.fail(ConnectionRefused("refused", target="two.lan:80"))
            self.clock.advance(0.5)
        self.assertEqual({target.host for target in self.around.dialer.asked[1:]}, {"two.lan"})
        self.assertIn(b"502 Bad Gateway", self.client.take())
        self.client.lose()
        self.assertAllOver()

    def test_of_what_was_not_sent_there_are_three_repeats(self) -> None:
        self.client.receive(GET)
        for _ in range(4):
            self.assertEqual(self.client.take(), b"")
            lost = MemoryStream()
            lost.lose()
            self.around.dialer.pending.pop(0).callback(Dialed(stream=lost, address="192.0.2.1:80"))
        self.assertEqual(self.around.dialer.pending, [])
        self.assertIn(b"502 Bad Gateway", self.client.take())
