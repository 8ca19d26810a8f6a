"""What nobody thought of: random bytes, and an independent strict parser as the judge of what we send."""

from __future__ import annotations

from itertools import pairwise

import h11
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.errors import RemoteProtocolError
from lanrelay.passage.intermediary import request_to_forward, response_to_forward
from lanrelay.passage.places import Places, Site, cookie_to_relay
from lanrelay.wire.authority import parse_authority
from lanrelay.wire.events import (
    HTTP_1_1,
    BodyPart,
    ConnectionClosed,
    EndOfMessage,
    Event,
    RequestHead,
    ResponseHead,
)
from lanrelay.wire.headers import Headers
from lanrelay.wire.http1 import Http1Client, Http1Server
from lanrelay.wire.sse import EndpointRewriter, EventBoundary
from tests.support.properties import HealthCheck, example, given, settings
from tests.wire.feeding import Wire, feed, told

quick = settings(max_examples=150, suppress_health_check=list(HealthCheck), database=None)

TOKEN = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
tokens = st.text(TOKEN, min_size=1, max_size=20).map(str.encode)
values = st.binary(max_size=40).map(
    lambda raw: bytes(byte for byte in raw if byte == 9 or (byte >= 32 and byte != 127)).strip(b" \t")
)
fields = st.lists(
    st.tuples(tokens, values).filter(
        lambda pair: (
            pair[0].lower()
            not in (b"host", b"content-length", b"transfer-encoding", b"connection", b"expect", b"upgrade")
        )
    ),
    max_size=6,
)
contents = st.lists(st.binary(min_size=1, max_size=50), max_size=5)

# Fragments whose combinations come near to HTTP, and past its edges.
FRAGMENTS = [
    b"GET / HTTP/1.1\r\n",
    b"POST /x HTTP/1.1\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"Host: a\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: upgrade\r\nUpgrade: x\r\n",
    b"\r\n",
    b"\r",
    b"\n",
    b"5\r\nhello\r\n",
    b"0\r\n",
    b"0\r\n\r\n",
    b"5;x=y",
    b"hello",
    b" ",
    b"\t",
    b"\x00",
    b":",
    b"\xff",
    b"ffffffffffffffffffff",
]
# What stands before them, so that they are not all broken in their first line.
STARTS = [
    b"",
    b"GET / HTTP/1.1\r\nHost: a\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
]
nearly = st.builds(
    lambda start, rest: start + b"".join(rest),
    st.sampled_from(STARTS),
    st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=4), max_size=14),
)
cuts = st.lists(st.integers(0, 200), max_size=6)


def cut(data: bytes, positions: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(position for position in positions if position < len(data))})
    return [data[start:end] for start, end in pairwise(edges)]


def client(method: bytes = b"GET") -> Http1Client:
    wire = Http1Client()
    wire.send(RequestHead(method=method, target=b"/", headers=Headers([(b"Upgrade", b"x")])))
    wire.send(EndOfMessage())
    return wire


class RandomBytesTests(SynchronousTestCase):
    def pieces_do_not_matter(self, whole: Wire, cut_up: Wire, data: bytes, positions: list[int]) -> None:
        first = feed(whole, [data] if data else [], eof=True)
        second = feed(cut_up, cut(data, positions), eof=True)
        self.assertEqual(first, second)

    @quick
    @given(nearly, cuts)
    @example(b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", [60])
    def test_requests(self, data: bytes, positions: list[int]) -> None:
        self.pieces_do_not_matter(Http1Server(), Http1Server(), data, positions)

    @quick
    @given(nearly, cuts, st.sampled_from([b"GET", b"HEAD"]))
    def test_responses(self, data: bytes, positions: list[int], method: bytes) -> None:
        self.pieces_do_not_matter(client(method), client(method), data, positions)

    @quick
    @given(nearly)
    def test_whole_connections(self, data: bytes) -> None:
        """Every request that is understood is answered, until an error or the end."""
        server = Http1Server()
        try:
            events = server.receive(data)
            while events:
                if any(isinstance(event, EndOfMessage) for event in events):
                    server.send(ResponseHead(status=204))
                    server.send(EndOfMessage())
                    events = server.start_next_cycle() if server.ready_for_next else []
                else:
                    events = []
            server.receive_eof()
        except RemoteProtocolError:
            pass

    @quick
    @given(st.binary(max_size=60))
    def test_authorities(self, data: bytes) -> None:
        try:
            parsed = parse_authority(data)
        except ValueError:
            return
        self.assertEqual(parse_authority(str(parsed)), parsed)

    @quick
    @given(
        st.lists(st.sampled_from([b"event: endpoint", b"data: /x", b"\r", b"\n", b": c", b"\xef\xbb\xbf"]))
    )
    def test_event_streams(self, parts: list[bytes]) -> None:
        """Rewritten to itself, a stream is byte-identical, and ends where it ends."""
        rewriter, whole, piecewise = EndpointRewriter(lambda url: url), EventBoundary(), EventBoundary()
        out = b"".join([*(rewriter.feed(part) for part in parts), rewriter.finish()])
        self.assertEqual(out, b"".join(parts))
        whole.feed(out)
        for part in parts:
            piecewise.feed(part)
        self.assertEqual(whole.at_boundary, piecewise.at_boundary)

    @quick
    @given(values)
    def test_cookies_and_locations(self, value: bytes) -> None:
        here = Site.at("http", "localhost:8080", b"/p")
        places = Places(upstream=Site.at("https", "lan-host", b"/v1"), relay=here)
        for result in (cookie_to_relay(value, places), places.to_relay(value), places.to_upstream(value)):
            Headers([(b"X", result)])


def meant_by_h11(role: type[h11.SERVER] | type[h11.CLIENT], data: bytes, ask: bytes = b"") -> list[object]:
    """What h11 understands: one message whole, and nothing behind it."""
    connection = h11.Connection(role)
    if role is h11.CLIENT:
        connection.send(h11.Request(method=ask, target=b"/", headers=[(b"Host", b"a")]))
        connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    said: list[object] = []
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            said.append((bytes(event.method), bytes(event.target), lowered(event.headers)))
        elif isinstance(event, h11.InformationalResponse | h11.Response):
            said.append((event.status_code, lowered(event.headers)))
        elif isinstance(event, h11.Data):
            if said and isinstance(said[-1], bytes):
                said[-1] += bytes(event.data)
            else:
                said.append(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage):
            said.append(("end", lowered(event.headers)))
            if connection.trailing_data[0]:
                raise AssertionError("h11 sees a second message")
            return said
        else:
            raise AssertionError(f"h11 says {event}")


def lowered(pairs: object) -> list[tuple[bytes, bytes]]:
    return [(bytes(name).lower(), bytes(value)) for name, value in pairs]  # type: ignore[attr-defined]


class JudgedByH11Tests(SynchronousTestCase):
    """RFC 9112 by other hands: what we send on is the one message that we meant."""

    @quick
    @given(tokens.filter(lambda m: m not in (b"CONNECT", b"HEAD")), fields, contents, st.booleans(), cuts)
    def test_requests_that_we_forward(
        self,
        method: bytes,
        pairs: list[tuple[bytes, bytes]],
        content: list[bytes],
        chunked: bool,
        positions: list[int],
    ) -> None:
        length = sum(len(part) for part in content)
        framing = (b"Transfer-Encoding", b"chunked") if chunked else (b"Content-Length", str(length).encode())
        sender = Http1Client()
        head = RequestHead(
            method=method, target=b"/x?y=%20", headers=Headers([(b"Host", b"a"), *pairs, framing])
        )
        data = sender.send(head)
        for part in content:
            data += sender.send(BodyPart(data=part))
        data += sender.send(EndOfMessage())

        server = Http1Server()
        events: list[Event] = []
        for part in cut(data, positions):
            events += server.receive(part)
        self.assertTrue(server.request_complete)
        self.assertEqual(server.buffered, 0)

        forwarded = Http1Client()
        out = b""
        for event in events:
            if isinstance(event, RequestHead):
                event = RequestHead(
                    method=event.method, target=event.target, headers=request_to_forward(event)
                )
            assert not isinstance(event, ResponseHead | ConnectionClosed)
            out += forwarded.send(event)

        head_again, *rest = meant_by_h11(h11.SERVER, out)
        assert isinstance(head_again, tuple)
        self.assertEqual(head_again[:2], (method, b"/x?y=%20"))
        end_to_end = {name.lower() for name, _ in request_to_forward(head)}
        self.assertEqual({name for name, _ in head_again[2]}, end_to_end)
        body = b"".join(content)
        self.assertEqual(rest, [body, ("end", [])] if body else [("end", [])])

    @quick
    @given(
        st.integers(200, 599),
        st.sampled_from([b"GET", b"HEAD", b"POST"]),
        fields,
        contents,
        st.sampled_from([b"length", b"chunked", b"close"]),
        cuts,
    )
    def test_responses_that_we_forward(
        self,
        status: int,
        method: bytes,
        pairs: list[tuple[bytes, bytes]],
        content: list[bytes],
        framing: bytes,
        positions: list[int],
    ) -> None:
        body = b"".join(content)
        lines = b"".join(b"%b: %b\r\n" % pair for pair in pairs)
        data = b"HTTP/1.1 %d R\r\n%b" % (status, lines)
        if framing == b"length":
            data += b"Content-Length: %d\r\n\r\n" % len(body)
            framed = body
        elif framing == b"chunked":
            data += b"Transfer-Encoding: chunked\r\n\r\n"
            framed = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in content) + b"0\r\n\r\n"
        else:
            data += b"\r\n"
            framed = body
        silent = method == b"HEAD" or status in (204, 304)
        data += b"" if silent else framed

        origin = client(method)
        events: list[Event] = []
        for part in cut(data, positions):
            events += origin.receive(part)
        if not origin.response_complete:
            events += origin.receive_eof()
        server = Http1Server()
        server.receive(b"%b / HTTP/1.1\r\nHost: a\r\n\r\n" % method)
        out = b""
        for event in events:
            if isinstance(event, ResponseHead):
                event = ResponseHead(
                    status=event.status, reason=event.reason, headers=response_to_forward(event)
                )
            assert not isinstance(event, RequestHead | ConnectionClosed)
            out += server.send(event)
        self.assertTrue(server.ready_for_next)

        head_again, *rest = meant_by_h11(h11.CLIENT, out, method)
        assert isinstance(head_again, tuple)
        self.assertEqual(head_again[0], status)
        expected: list[object] = [("end", [])] if silent or not body else [body, ("end", [])]
        self.assertEqual(rest, expected)

    @quick
    @given(nearly)
    def test_what_we_take_h11_takes_in_the_same_way(self, data: bytes) -> None:
        """We are never the laxer one, so nothing passes us in two meanings."""
        server = Http1Server()
        try:
            events = server.receive(data)
        except RemoteProtocolError:
            return
        if not server.request_complete:
            return
        taken = data[: len(data) - server.buffered]
        ours = told(events)
        theirs = meant_by_h11(h11.SERVER, taken)
        head = ours[0]
        assert isinstance(head, tuple)
        method, target, version, pairs = head
        self.assertEqual(version, HTTP_1_1)
        self.assertEqual(theirs[0], (method, target, lowered(pairs)))
        self.assertEqual(
            b"".join(part for part in ours if isinstance(part, bytes)),
            b"".join(part for part in theirs if isinstance(part, bytes)),
        )
