"""L{lanrelay.wire.sse}"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.wire.sse import EndpointRewriter, EventBoundary
from tests.wire.feeding import pieces

BOM = b"\xef\xbb\xbf"


class EventBoundaryTests(SynchronousTestCase):
    def test_table(self) -> None:
        """HTML section 9.2.6: LF, CR and CRLF end lines, a blank line ends an event."""
        for data, expected in (
            (b"", True),
            (BOM, True),
            (BOM[:2], False),
            (b"\n", True),
            (b"\r\n", True),
            (b"\r", True),
            (BOM + b"\n", True),
            (BOM + b"\r\n", True),
            (BOM + b"a\n", False),
            (b"data: x", False),
            (b"data: x\n", False),
            (b"data: x\r", False),
            (b"data: x\r\n", False),
            (b"data: x\n\n", True),
            (b"data: x\r\r", True),
            (b"data: x\r\n\r\n", True),
            (b"data: x\r\n\r", True),
            (b"data: x\n\r\n", True),
            (b"data: x\n\r", True),
            (b"data: x\r\n\n", True),
            (b"data: x\r\r\n", True),
            (b"data: x\n\ndata: y", False),
            (b"data: x\n\ndata: y\n", False),
            (b"data: x\n\n\n", True),
            (b": comment\n", False),
            (b": comment\n\n", True),
            (b"data: x\n\n" + BOM, False),
            (b"a" * 100 + b"\n\n", True),
            (b"a" * 100 + b"\n", False),
        ):
            for parts in pieces(data) if data else [[b""]]:
                boundary = EventBoundary()
                for part in parts:
                    boundary.feed(part)
                self.assertEqual(boundary.at_boundary, expected, parts)


def relayed(url: bytes) -> bytes:
    return b"http://localhost:8080" + url


def through(parts: Iterable[bytes]) -> bytes:
    rewriter = EndpointRewriter(relayed)
    return b"".join([*(rewriter.feed(part) for part in parts), rewriter.finish()])


class EndpointRewriterTests(SynchronousTestCase):
    def test_the_endpoint_event(self) -> None:
        new = relayed(b"/m?s=1")
        for before, after in (
            (b"event: endpoint\ndata: /m?s=1\n\n", b"event: endpoint\ndata: " + new + b"\n\n"),
            (b"event:endpoint\r\ndata:/m?s=1\r\n\r\n", b"event:endpoint\r\ndata:" + new + b"\r\n\r\n"),
            (b"event: endpoint\rdata: /m?s=1\r\r", b"event: endpoint\rdata: " + new + b"\r\r"),
            (b"data: /m?s=1\nevent: endpoint\n\n", b"data: " + new + b"\nevent: endpoint\n\n"),
            (b"id: 7\nevent: x\nevent: endpoint\n: c\ndata: /m?s=1\nretry: 1\n\n", b""),
            (BOM + b"event: endpoint\ndata: /m?s=1\n\n", b""),
            (b": hello\n\nevent: endpoint\ndata: /m?s=1\n\n", b""),
            (b": hello\r\nevent: endpoint\r\ndata: /m?s=1\r\n\r\n", b""),
            (b"data: other /m?s=2\n\nevent: endpoint\ndata: /m?s=1\n\n", b""),
            (b"\r\n\r\nevent: endpoint\ndata: /m?s=1\n\n", b""),
        ):
            expected = after or before.replace(b"/m?s=1", new)
            more = b"event: endpoint\ndata: /m?s=1\n\ndata: later\n\n"
            for parts in pieces(before + more):
                self.assertEqual(through(parts), expected + more, parts)

    def test_what_is_not_it_is_byte_identical(self) -> None:
        for data in (
            b"event: message\ndata: endpoint\n\n",
            b"event: endpoints\ndata: /m\n\n",
            b"event:  endpoint\ndata: /m\n\n",
            b"Event: endpoint\ndata: /m\n\n",
            b": event: endpoint\ndata: /m\n\n",
            b"event: endpoint\n\n",
            b"event: endpoint\ndata: /a\ndata: /b\n\n",
            b"event: endpoint\ndata: /m\n",
            b"event: endpoint\ndata: /m",
            b"event: endpoint\nevent\ndata: /m\n\n",
            b"data: \xff\x00\r\n\r\n\r\rdata\n",
            b"no event stream at all",
        ):
            for parts in pieces(data):
                self.assertEqual(through(parts), data, parts)

    def test_events_are_not_delayed(self) -> None:
        rewriter = EndpointRewriter(relayed)
        self.assertEqual(rewriter.feed(b": ping\n"), b": ping\n")
        self.assertEqual(rewriter.feed(b"data: x\n"), b"data: ")  # it may still be called an endpoint
        self.assertEqual(rewriter.feed(b"\ndata"), b"x\n\ndata")
        self.assertEqual(rewriter.feed(b": y\r\n\r"), b": y\r\n\r")
        self.assertEqual(rewriter.feed(b"\n"), b"\n")
        self.assertFalse(rewriter.done)

    def test_no_byte_of_a_message_is_delayed(self) -> None:
        """The GET stream of Streamable HTTP has messages only."""
        for stream in (
            b'id: 1\nretry: 3\ndata: \n\nevent: message\ndata: {"jsonrpc": "2.0"}\nid: 2\n\n: ping\n\n',
            b'\xef\xbb\xbfdata:{"jsonrpc":\r\ndata: "2.0"}\r\n\r\ndata: [1]\r\revent: endpoints\ndata: x\n\n',
            b"event: message\ndata: plain\n\n",
        ):
            rewriter = EndpointRewriter(relayed)
            for at in range(len(stream)):
                byte = stream[at : at + 1]
                self.assertEqual(rewriter.feed(byte), byte, stream[: at + 1])

    def test_the_type_may_come_behind_the_data(self) -> None:
        rewriter = EndpointRewriter(relayed)
        message = b"data: /m\nid: 1\nevent: message\n\n"
        self.assertEqual(rewriter.feed(message), message)
        self.assertEqual(rewriter.feed(b"data: /m\nevent: endpoint\n"), b"data: ")
        self.assertEqual(rewriter.feed(b"\n"), relayed(b"/m\nevent: endpoint\n\n"))
        self.assertTrue(rewriter.done)

    def test_after_it_everything_passes_as_it_comes(self) -> None:
        rewriter = EndpointRewriter(relayed)
        rewriter.feed(b"event: endpoint\ndata: /m\n\n")
        self.assertTrue(rewriter.done)
        data = b"event: endpoint\nda"
        self.assertIs(rewriter.feed(data), data)

    def test_the_look_ahead_is_bounded(self) -> None:
        data = b"data: " + b"x" * 70000
        for parts in ([data], [data[at : at + 1000] for at in range(0, len(data), 1000)]):
            rewriter = EndpointRewriter(relayed)
            self.assertEqual(b"".join(rewriter.feed(part) for part in parts), data)
            self.assertTrue(rewriter.done)
        rewriter = EndpointRewriter(relayed)
        for _ in range(5000):
            self.assertEqual(rewriter.feed(b"data: hello, world\n\n"), b"data: hello, world\n\n")
        self.assertTrue(rewriter.done)

    def test_what_is_ignored_is_fed_to_no_effect(self) -> None:
        starts = [
            b"",
            BOM,
            b": x\n",
            b": x\r",
            b"id: 1\r\n",
            b"da",
            b"event: x\n",
            b"data: x\n",
            b"\r",
            b"\n\n",
        ]
        events = [
            b"data: 1\n\n",
            b"\n\n",
            b"event: x\r\ndata: 1\r\n\r\n",
            b"data: 1\r\n\n",
            b"x: endpoint\n\n",
        ]
        ignored = 0
        for start, first, second in product(starts, events, [*events, b"x" * 70_000 + b"\n\n"]):
            one, other = EndpointRewriter(relayed), EndpointRewriter(relayed)
            one.feed(start), other.feed(start)
            for event in (first, second):
                if one.ignores(event):
                    ignored += 1
                    one.passed(len(event))
                    self.assertEqual(other.feed(event), event)
                else:
                    self.assertEqual(one.feed(event), other.feed(event))
                if not other.done:
                    self.assertEqual(
                        *([getattr(each, name) for name in each.__slots__] for each in (one, other))
                    )
            self.assertEqual(one.done, other.done)
        self.assertGreater(ignored, 300)

    def test_many_small_events_at_once_are_no_work(self) -> None:
        data = b"\n" * 2_000_000
        self.assertEqual(through([data]), data)

    def test_one_long_line_byte_by_byte_is_not_looked_at_again_and_again(self) -> None:
        rewriter = EndpointRewriter(relayed)
        out = b"".join(rewriter.feed(b"x") for _ in range(66000))
        self.assertEqual(len(out), 66000)
