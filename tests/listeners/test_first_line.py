"""A web page's request is told from what programs are told, however it is cut."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.listeners.first_line import LONGEST, is_request

REQUESTS = (
    b"GET / HTTP/1.1\r\n",
    b"POST /a?b HTTP/1.1\n",
    b"OPTIONS * HTTP/1.0\r\n",
    b"CONNECT nas.lan:1 HTTP/1.1\r\n",
    b"PRI * HTTP/2.0\r\n",
    b"QUERY /x y z HTTP/1.1\r\nHost: a\r\n",
    b"GET http://a/ HTTP/9.9 \r\n",
)
OTHERS = (
    b'{"jsonrpc": "2.0", "method": "GET / HTTP/1.1"}\n',
    b"GET me a beer\n",
    b"hello HTTP/1.1 world\n",
    b"\n",
    b"\x00\x01",
    b" GET / HTTP/1.1\r\n",
    b"get",
    b"SELECT 1",
)


class FirstLineTests(SynchronousTestCase):
    def test_requests(self) -> None:
        for data in REQUESTS:
            self.assertIs(is_request(data), True, data)

    def test_what_programs_are_told(self) -> None:
        for data in OTHERS:
            self.assertIs(is_request(data), False, data)

    def test_no_part_of_a_request_that_a_browser_sends_is_let_through(self) -> None:
        for data in REQUESTS:
            if data.startswith((b"PRI", b"QUERY")):
                continue  # no page has a browser begin with these
            for end in range(len(data.partition(b"\n")[0])):
                self.assertIs(is_request(data[:end]), None, data[:end])

    def test_a_request_without_end_is_one(self) -> None:
        self.assertIs(is_request(b"GET /" + b"a" * LONGEST), True)
