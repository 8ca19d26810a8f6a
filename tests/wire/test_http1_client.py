"""L{lanrelay.wire.http1.Http1Client}: what an origin is sent, and what may come back."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.errors import RemoteProtocolError
from lanrelay.wire.events import HTTP_1_0, HTTP_1_1, BodyPart, EndOfMessage, RequestHead, ResponseHead
from lanrelay.wire.headers import Headers
from lanrelay.wire.http1 import Http1Client
from tests.wire.feeding import outcome

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
CHUNKED_HEAD = (200, b"OK", HTTP_1_1, [(b"Transfer-Encoding", b"chunked")])


def asked(method: bytes = b"GET", *fields: tuple[bytes, bytes]) -> Http1Client:
    client = Http1Client()
    target = b"h:1" if method == b"CONNECT" else b"/"
    client.send(RequestHead(method=method, target=target, headers=Headers([(b"Host", b"a"), *fields])))
    client.send(EndOfMessage())
    return client


def upgrading() -> Http1Client:
    return asked(b"GET", (b"Connection", b"upgrade"), (b"Upgrade", b"websocket"))


def by(method: bytes) -> Callable[[], Http1Client]:
    return lambda: asked(method)


# RFC 9112 sections 4 to 7, as for requests.
REFUSED: list[tuple[str, bytes]] = [
    ("HTTP/0.9", b"<html>hello</html>"),
    ("something else", b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    ("ICY", b"ICY 200 OK\r\n\r\n"),
    ("TLS", b"\x15\x03\x01\x00\x02\x02\x16"),
    ("an empty line first", b"\r\n" + OK + b"\r\n"),
    ("HTTP/2.0", b"HTTP/2.0 200 OK\r\n\r\n"),
    ("lower case", b"http/1.1 200 OK\r\n\r\n"),
    ("two digits", b"HTTP/1.1 20 OK\r\n\r\n"),
    ("four digits", b"HTTP/1.1 2000 OK\r\n\r\n"),
    ("below 100", b"HTTP/1.1 099 OK\r\n\r\n"),
    ("a sign", b"HTTP/1.1 +20 OK\r\n\r\n"),
    ("two spaces", b"HTTP/1.1  200 OK\r\n\r\n"),
    ("a control byte in the reason", b"HTTP/1.1 200 O\x00K\r\n\r\n"),
    ("bare CR in the reason", b"HTTP/1.1 200 OK\rX: y\r\n\r\n"),
    ("LF after the status line alone", b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n"),
    ("LF after the status line, and no field", b"HTTP/1.1 200 OK\n\r\n"),
    ("an empty line with CRLF after LF", OK + b"X: y\n\r\n"),
    ("a bare LF in a field", OK + b"X: y\nZ: 1\r\n\r\n"),
    ("a bare LF in the second field", OK + b"A: b\r\nX: y\nZ: 1\n\n"),
    ("a CRLF among LFs", b"HTTP/1.1 200 OK\nX: y\nY: z\r\nContent-Length: 0\n\n"),
    ("a bare CR among LFs", b"HTTP/1.1 200 OK\nX: y\rz\nContent-Length: 0\n\n"),
    ("a bare CR in the reason before LFs", b"HTTP/1.1 200 O\rK\nContent-Length: 0\n\n"),
    ("CR CR LF before LFs", b"HTTP/1.1 200 OK\r\r\nContent-Length: 0\n\n"),
    ("a folded line with LF", b"HTTP/1.1 200 OK\nX: y\n z\n\n"),
    ("LF alone, and no status line", b"HTTP/1.1 2 OK\nX: y\n\n"),
    ("another protocol with LF", b"SSH-2.0-OpenSSH_9.6\n"),
    ("a folded line", OK + b"X: y\r\n z\r\n\r\n"),
    ("a space before the colon", OK + b"Content-Length : 0\r\n\r\n"),
    ("no colon", OK + b"X\r\n\r\n"),
    ("NUL", OK + b"X: \x00\r\n\r\n"),
    ("both", OK + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ("two lengths", OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n"),
    ("a list of lengths", OK + b"Content-Length: 1, 2\r\n\r\n"),
    ("lengths that are equal as numbers", OK + b"Content-Length: 1, 01\r\n\r\n"),
    ("equal lengths that are none", OK + b"Content-Length: x, x\r\n\r\n"),
    ("a length and an empty one", OK + b"Content-Length: 1,\r\n\r\n"),
    ("a blank before a chunk's size", CHUNKED + b" 1\r\nx\r\n0\r\n\r\n"),
    ("a blank within a chunk's size", CHUNKED + b"1 0\r\nx\r\n0\r\n\r\n"),
    ("blanks without end", CHUNKED + b"1" + b" " * 5000),
    ("LF after a chunk's size", CHUNKED + b"1\nx\r\n0\r\n\r\n"),
    ("a signed length", OK + b"Content-Length: +1\r\n\r\n"),
    ("a huge length", OK + b"Content-Length: 9999999999999999999\r\n\r\n"),
    ("gzip, chunked", OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n"),
    ("identity", OK + b"Transfer-Encoding: identity\r\n\r\n"),
    ("chunked twice", OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ("HTTP/1.0 chunked", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ("101 that was not asked for", b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n"),
    ("a fault after an interim head", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 2 OK\r\n\r\n"),
]

LENGTH_5 = (200, b"OK", HTTP_1_1, [(b"Content-Length", b"5")])

# A response, the method it answers, what it means, what is left on the connection, and whether it can go on.
ACCEPTED: list[tuple[str, bytes, bytes, tuple[object, ...], bool]] = [
    ("a length", b"GET", OK + b"Content-Length: 5\r\n\r\nhello", (LENGTH_5, b"hello", "end"), True),
    ("chunks", b"GET", CHUNKED + b"5;x\r\nhello\r\n0\r\n\r\n", (CHUNKED_HEAD, b"hello", "end"), True),
    (
        "a trailer",
        b"GET",
        CHUNKED + b"5\r\nhello\r\n0\r\nX: y\r\nContent-Length: 1\r\n\r\n",
        (CHUNKED_HEAD, b"hello", ("end", [(b"X", b"y")])),
        True,
    ),
    (
        "no reason",
        b"GET",
        b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
        ((200, b"", HTTP_1_1, [(b"Content-Length", b"0")]), "end"),
        True,
    ),
    (
        "a reason with obs-text",
        b"GET",
        b"HTTP/1.1 404 N\xe3o \t\r\nContent-Length: 0\r\n\r\n",
        ((404, b"N\xe3o \t", HTTP_1_1, [(b"Content-Length", b"0")]), "end"),
        True,
    ),
    ("HEAD", b"HEAD", OK + b"Content-Length: 5\r\n\r\n", (LENGTH_5, "end"), True),
    ("HEAD, chunked", b"HEAD", CHUNKED, (CHUNKED_HEAD, "end"), True),
    ("HEAD without either", b"HEAD", OK + b"\r\n", ((200, b"OK", HTTP_1_1, []), "end"), True),
    (
        "204 with a length",
        b"GET",
        b"HTTP/1.1 204 N\r\nContent-Length: 5\r\n\r\n",
        ((204, b"N", HTTP_1_1, [(b"Content-Length", b"5")]), "end"),
        True,
    ),
    (
        "204 with chunks",
        b"GET",
        b"HTTP/1.1 204 N\r\nTransfer-Encoding: chunked\r\n\r\n",
        ((204, b"N", HTTP_1_1, [(b"Transfer-Encoding", b"chunked")]), "end"),
        False,
    ),
    *(
        (
            f"LF alone in {data!r}",
            b"GET",
            data + b"hello",
            ((200, b"OK", HTTP_1_1, [(b"A", b"b"), (b"Content-Length", b"5")]), b"hello", "end"),
            True,
        )
        for data in (
            b"HTTP/1.1 200 OK\nA: b\nContent-Length: 5\n\n",
            OK + b"A: b\nContent-Length: 5\n\n",
        )
    ),
    (
        "LF alone, and in its content what ends another head",
        b"GET",
        OK + b"Content-Length: 5\n\n\r\n\r\n!",
        (LENGTH_5, b"\r\n\r\n!", "end"),
        True,
    ),
    (
        "interim heads with LF alone",
        b"GET",
        b"HTTP/1.1 103 E\nLink: x\n\nHTTP/1.1 100 Continue\n\n" + OK + b"Content-Length: 5\r\n\r\nhello",
        (
            (103, b"E", HTTP_1_1, [(b"Link", b"x")]),
            (100, b"Continue", HTTP_1_1, []),
            LENGTH_5,
            b"hello",
            "end",
        ),
        True,
    ),
    (
        "equal lengths",
        b"GET",
        OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        (LENGTH_5, b"hello", "end"),
        True,
    ),
    (
        "a list of equal lengths",
        b"GET",
        OK + b"Content-Length: 5, 5 ,5\r\n\r\nhello",
        (LENGTH_5, b"hello", "end"),
        True,
    ),
    (
        "blanks after a chunk's size",
        b"GET",
        CHUNKED + b"5  \r\nhello\r\n1\t;x=y\r\n!\r\n0 \t \r\n\r\n",
        (CHUNKED_HEAD, b"hello!", "end"),
        True,
    ),
    (
        "304 with a length",
        b"GET",
        b"HTTP/1.1 304 N\r\nContent-Length: 5\r\n\r\n",
        ((304, b"N", HTTP_1_1, [(b"Content-Length", b"5")]), "end"),
        True,
    ),
    (
        "Connection: close",
        b"GET",
        OK + b"Connection: x, CLOSE\r\nContent-Length: 0\r\n\r\n",
        ((200, b"OK", HTTP_1_1, [(b"Connection", b"x, CLOSE"), (b"Content-Length", b"0")]), "end"),
        False,
    ),
    (
        "HTTP/1.0",
        b"GET",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        ((200, b"OK", HTTP_1_0, [(b"Content-Length", b"0")]), "end"),
        False,
    ),
    (
        "HTTP/1.0 kept alive",
        b"GET",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n",
        ((200, b"OK", HTTP_1_0, [(b"Content-Length", b"0"), (b"Connection", b"keep-alive")]), "end"),
        True,
    ),
    (
        "interim heads",
        b"GET",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n",
        (
            (100, b"Continue", HTTP_1_1, []),
            (103, b"E", HTTP_1_1, [(b"Link", b"x")]),
            (200, b"OK", HTTP_1_1, [(b"Content-Length", b"0")]),
            "end",
        ),
        True,
    ),
    (
        "a CONNECT that is refused",
        b"CONNECT",
        b"HTTP/1.1 407 P\r\nContent-Length: 2\r\n\r\nno",
        ((407, b"P", HTTP_1_1, [(b"Content-Length", b"2")]), b"no", "end"),
        True,
    ),
]


class ReceivingTests(SynchronousTestCase):
    def test_what_is_refused(self) -> None:
        for what, data in REFUSED:
            result = outcome(asked, data)
            self.assertIsNotNone(result.error, what)
            self.assertNotIn("end", result.events, what)

    def test_what_is_understood(self) -> None:
        for what, method, data, events, reusable in ACCEPTED:
            result = outcome(by(method), data)
            self.assertEqual((result.error, result.events), (None, events), what)
            client = asked(method)
            client.receive(data)
            self.assertEqual(client.reusable, reusable, what)

    def test_bytes_after_a_response_poison(self) -> None:
        """They would be read as the answer to the next request."""
        for what, method, data, events, _ in ACCEPTED:
            for rest in (b"\r\n", b"x", OK + b"Content-Length: 0\r\n\r\n"):
                result = outcome(by(method), data + rest)
                self.assertEqual((result.events, result.unread), (events, b""), what)
                client = asked(method)
                client.receive(data + rest)
                self.assertFalse(client.reusable, what)
                client = asked(method)
                client.receive(data)
                client.receive(rest)
                self.assertFalse(client.reusable, what)
                request = RequestHead(method=b"GET", target=b"/", headers=Headers())
                self.assertRaises(RuntimeError, client.send, request)

    def test_bytes_before_a_request_poison(self) -> None:
        client = Http1Client()
        self.assertEqual(client.receive(OK), [])
        self.assertRaises(
            RuntimeError, client.send, RequestHead(method=b"GET", target=b"/", headers=Headers())
        )

    def test_content_until_the_connection_ends(self) -> None:
        head: tuple[object, ...] = (200, b"OK", HTTP_1_1, [])
        self.assertEqual(outcome(asked, OK + b"\r\nhello", eof=True).events, (head, b"hello", "end"))
        self.assertEqual(outcome(asked, OK + b"\r\n", eof=True).events, (head, "end"))
        client = asked()
        client.receive(OK + b"\r\nhello")
        client.receive_eof()
        self.assertTrue(client.response_complete)
        self.assertFalse(client.reusable)

    def test_a_response_cut_short(self) -> None:
        for data in (
            OK + b"Content-Length: 5\r\n\r\nhello",
            CHUNKED + b"5\r\nhello\r\n0\r\nX: y\r\n\r\n",
        ):
            for position in range(len(data)):
                client = asked()
                client.receive(data[:position])
                self.assertRaises(RemoteProtocolError, client.receive_eof)
                self.assertFalse(client.reusable)

    def test_the_end_of_an_idle_connection(self) -> None:
        for client in (Http1Client(), asked()):
            if client.request_complete:
                client.receive(OK + b"Content-Length: 0\r\n\r\n")
                self.assertTrue(client.reusable)
            self.assertEqual(len(client.receive_eof()), 1)
            self.assertFalse(client.reusable)
            request = RequestHead(method=b"GET", target=b"/", headers=Headers())
            self.assertRaises(RuntimeError, client.send, request)

    def test_heads_are_bounded(self) -> None:
        self.assertRaises(RemoteProtocolError, asked().receive, OK + b"X: " + b"y" * 70000)
        self.assertRaises(RemoteProtocolError, asked().receive, b"HTTP/1.1 200 " + b"y" * 70000)
        self.assertRaises(RemoteProtocolError, asked().receive, OK + b"X: y\r\n" * 201 + b"\r\n")

    def test_a_head_with_lf_alone_and_content_until_the_end(self) -> None:
        data = OK + b"Content-Type: text/plain\n\nhello\r\n\r\n"
        head: tuple[object, ...] = (200, b"OK", HTTP_1_1, [(b"Content-Type", b"text/plain")])
        self.assertEqual(outcome(asked, data, eof=True).events, (head, b"hello\r\n\r\n", "end"))
        self.assertEqual(outcome(asked, OK + b"\nhello", eof=True).events[1:], (b"hello", "end"))

    def test_heads_with_lf_alone_are_bounded(self) -> None:
        line = b"HTTP/1.1 200 OK\n"
        for data in (line + b"X: " + b"y" * 70000, line + b"X: y\n" * 201 + b"\n"):
            self.assertRaises(RemoteProtocolError, asked().receive, data)
        client = asked()
        for _ in range(65):
            last = client.receive(line + b"X: " if not client.head_begun else b"y" * 1000)
            self.assertEqual(last, [])
        self.assertRaises(RemoteProtocolError, client.receive, b"y" * 2000)
        client = asked()
        self.assertRaises(RemoteProtocolError, client.receive, b"HTTP/1.1 102 P\n\n" * 5000)

    def test_interim_heads_are_bounded(self) -> None:
        client = asked()
        self.assertRaises(RemoteProtocolError, client.receive, b"HTTP/1.1 102 Processing\r\n\r\n" * 5000)
        client = asked()
        self.assertEqual(len(client.receive(b"HTTP/1.1 102 Processing\r\n\r\n" * 1000)), 1000)


class SendingTests(SynchronousTestCase):
    def test_framing(self) -> None:
        table: list[tuple[list[tuple[bytes, bytes]], list[bytes], bytes]] = [
            ([], [], b"POST / HTTP/1.1\r\n\r\n"),
            (
                [(b"Content-Length", b"5")],
                [b"he", b"llo"],
                b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
            ),
            (
                [(b"Transfer-Encoding", b"chunked")],
                [b"hello", b"x" * 16],
                b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"5\r\nhello\r\n10\r\nxxxxxxxxxxxxxxxx\r\n0\r\n\r\n",
            ),
        ]
        for fields, parts, expected in table:
            client = Http1Client()
            out = client.send(RequestHead(method=b"POST", target=b"/", headers=Headers(fields)))
            for part in parts:
                out += client.send(BodyPart(data=part))
            self.assertFalse(client.request_complete)
            out += client.send(EndOfMessage())
            self.assertEqual(out, expected)
            self.assertTrue(client.request_complete)

    def test_http_1_1_is_always_sent(self) -> None:
        head = RequestHead(method=b"GET", target=b"/", headers=Headers(), version=HTTP_1_0)
        self.assertEqual(Http1Client().send(head), b"GET / HTTP/1.1\r\n\r\n")

    def test_trailers(self) -> None:
        client = Http1Client()
        fields = Headers([(b"Transfer-Encoding", b"chunked")])
        client.send(RequestHead(method=b"POST", target=b"/", headers=fields))
        end = EndOfMessage(trailers=Headers([(b"X", b"y")]))
        self.assertEqual(client.send(end), b"0\r\nX: y\r\n\r\n")

    def test_content_that_was_not_announced_is_a_bug(self) -> None:
        client = Http1Client()
        client.send(RequestHead(method=b"POST", target=b"/", headers=Headers()))
        self.assertRaises(RuntimeError, client.send, BodyPart(data=b"x"))

    def test_a_request_that_would_be_two_is_refused(self) -> None:
        for method, target in (
            (b"GET", b"/ HTTP/1.1\r\nHost: b\r\n\r\nGET /"),
            (b"GET", b"/ x"),
            (b"GET", b""),
            (b"GET", b"/#f"),
            (b"GET /", b"/"),
            (b"", b"/"),
        ):
            head = RequestHead(method=method, target=target, headers=Headers())
            self.assertRaises(ValueError, Http1Client().send, head)

    def test_a_request_with_two_framings_is_refused(self) -> None:
        fields = Headers([(b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"5")])
        self.assertRaises(
            ValueError, Http1Client().send, RequestHead(method=b"POST", target=b"/", headers=fields)
        )

    def test_one_exchange_after_another(self) -> None:
        client = asked()
        for method in (b"HEAD", b"GET", b"HEAD"):
            client.receive(OK + b"Content-Length: 0\r\n\r\n")
            self.assertTrue(client.reusable)
            client.send(RequestHead(method=method, target=b"/", headers=Headers()))
            self.assertFalse(client.reusable)
            client.send(EndOfMessage())
            self.assertFalse(client.reusable)

    def test_a_second_request_waits_for_the_first_answer(self) -> None:
        request = RequestHead(method=b"GET", target=b"/", headers=Headers())
        self.assertRaises(RuntimeError, asked().send, request)

    def test_a_connection_that_we_said_to_close_is_closed(self) -> None:
        client = asked(b"GET", (b"Connection", b"close"))
        client.receive(OK + b"Content-Length: 0\r\n\r\n")
        self.assertFalse(client.reusable)


class EarlyAnswerTests(SynchronousTestCase):
    def uploading(self) -> Http1Client:
        client = Http1Client()
        fields = Headers([(b"Content-Length", b"10")])
        client.send(RequestHead(method=b"POST", target=b"/", headers=fields))
        client.send(BodyPart(data=b"hello"))
        return client

    def test_it_is_read(self) -> None:
        client = self.uploading()
        events = client.receive(b"HTTP/1.1 413 Too Much\r\nContent-Length: 2\r\n\r\nno")
        self.assertEqual(len(events), 3)
        self.assertTrue(client.response_complete)
        self.assertFalse(client.reusable)

    def test_the_connection_goes_on_once_the_request_is_sent(self) -> None:
        client = self.uploading()
        client.receive(OK + b"Content-Length: 0\r\n\r\n")
        self.assertEqual(client.send(BodyPart(data=b"world")), b"world")
        client.send(EndOfMessage())
        self.assertTrue(client.reusable)

    def test_continue(self) -> None:
        client = self.uploading()
        (event,) = client.receive(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert isinstance(event, ResponseHead)
        self.assertEqual(event.status, 100)
        self.assertFalse(client.response_complete)


class SwitchTests(SynchronousTestCase):
    SWITCHING = b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"

    def test_101_ends_http(self) -> None:
        result = outcome(upgrading, self.SWITCHING + b"\x81\x00HTTP/1.1 2")
        self.assertEqual(len(result.events), 1)
        self.assertEqual((result.error, result.unread), (None, b"\x81\x00HTTP/1.1 2"))
        client = upgrading()
        client.receive(self.SWITCHING)
        self.assertTrue(client.switched)
        self.assertFalse(client.reusable)

    def test_101_waits_for_the_request(self) -> None:
        client = Http1Client()
        fields = Headers([(b"Connection", b"upgrade"), (b"Upgrade", b"x"), (b"Content-Length", b"5")])
        client.send(RequestHead(method=b"POST", target=b"/", headers=fields))
        self.assertRaises(RemoteProtocolError, client.receive, self.SWITCHING)

    def test_an_upgrade_that_is_refused_is_the_last_of_its_connection(self) -> None:
        """Who knows what the origin takes the next bytes for."""
        client = upgrading()
        client.receive(OK + b"Content-Length: 0\r\n\r\n")
        self.assertTrue(client.response_complete)
        self.assertFalse(client.switched)
        self.assertFalse(client.reusable)

    def test_connect(self) -> None:
        """RFC 9110 section 9.3.6: the framing fields of its 2xx are ignored."""
        for fields in (b"", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"):
            result = outcome(by(b"CONNECT"), OK + fields + b"\r\n\x16\x03\x01")
            self.assertEqual((len(result.events), result.unread), (1, b"\x16\x03\x01"))
