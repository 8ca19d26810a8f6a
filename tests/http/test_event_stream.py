"""Tests of event streams on their way down."""

from __future__ import annotations

import httpx
from httpx_sse import EventSource, ServerSentEvent
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.http.event_stream import EventStream

COMMENT = b":\n"
BOM = b"\xef\xbb\xbf"


def heard(content: bytes) -> list[ServerSentEvent]:
    """What httpx-sse makes of a stream; openai-python has the same decoder."""
    head = {"Content-Type": "text/event-stream"}
    return list(EventSource(httpx.Response(200, headers=head, content=content)).iter_sse())


class EventStreamTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.sent: list[bytes] = []
        self.stream = EventStream(self.clock, 15, self.sent.append)

    def test_events_pass_untouched(self) -> None:
        self.assertEqual(self.stream.feed(b"data: 1\n\n"), b"data: 1\n\n")
        self.assertEqual(self.stream.finish(), b"")

    def test_silence_is_broken_by_a_comment(self) -> None:
        self.stream.feed(b"data: 1\n\n")
        self.clock.pump([14.9])
        self.assertEqual(self.sent, [])
        self.clock.pump([0.2, 15, 15])
        self.assertEqual(self.sent, [COMMENT] * 3)

    def test_a_stream_that_has_not_begun_is_kept_alive(self) -> None:
        self.clock.pump([15])
        self.assertEqual(self.sent, [COMMENT])

    def test_a_comment_is_no_event_to_who_has_seen_an_id(self) -> None:
        self.stream.stop()
        for end in (b"\n", b"\r\n", b"\r"):
            events = [b"id: 1" + end + b"data: a" + end + end, b"data: b" + end + end]
            stream = b"".join(events)
            for at in range(len(stream) + 1):
                del self.sent[:]
                through = EventStream(self.clock, 15, self.sent.append)
                for part in (stream[:at], stream[at:]):
                    if part:
                        self.sent.append(through.feed(part))
                    self.clock.pump([15, 15])
                through.stop()
                relayed = b"".join(self.sent)
                self.assertGreater(relayed.count(b":"), stream.count(b":"))
                said = [(event.id, event.data) for event in heard(relayed)]
                self.assertEqual(said, [("1", "a"), ("1", "b")], relayed)

    def test_a_byte_order_mark_behind_the_first_comment_goes(self) -> None:
        self.stream.stop()
        stream = BOM + b"data: a\n\n"
        for at in range(len(stream) + 1):
            del self.sent[:]
            through = EventStream(self.clock, 15, self.sent.append)
            self.clock.pump([15])
            self.sent += [through.feed(stream[:at]), through.feed(stream[at:]), through.finish()]
            through.stop()
            self.assertEqual(b"".join(self.sent), COMMENT + b"data: a\n\n")

    def test_a_byte_order_mark_that_comes_first_stays_first(self) -> None:
        self.stream.stop()
        for at in range(1, 4):
            del self.sent[:]
            through = EventStream(self.clock, 15, self.sent.append)
            self.sent.append(through.feed(BOM[:at]))
            self.clock.pump([15])
            self.sent.append(through.feed(BOM[at:] + b"data: a\n\n"))
            through.stop()
            self.assertTrue(b"".join(self.sent).startswith(BOM), self.sent)

    def test_what_is_no_byte_order_mark_stays(self) -> None:
        self.stream.stop()
        for content in (BOM[:2], BOM[:1], BOM[:2] + b"x", b"data: " + BOM + b"\n\n", b""):
            del self.sent[:]
            through = EventStream(self.clock, 15, self.sent.append, lambda url: url)
            self.clock.pump([15])
            self.sent += [through.feed(content), through.finish()]
            through.stop()
            self.assertEqual(b"".join(self.sent), COMMENT + content)

    def test_never_inside_an_event(self) -> None:
        for part in (b"data: 1\n", b"data: 1", b"event: x\r\n", b"data: 1\n\nid: 2\n"):
            self.stream.feed(part)
            self.clock.pump([15, 15])
            self.assertEqual(self.sent, [], part)
        self.stream.feed(b"\n")
        self.clock.pump([16])
        self.assertEqual(self.sent, [COMMENT])

    def test_a_stream_that_speaks_needs_none(self) -> None:
        for _ in range(5):
            self.clock.pump([14])
            self.stream.feed(b"data: 1\n\n")
        self.assertEqual(self.sent, [])
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_a_client_that_does_not_read_is_sent_none(self) -> None:
        self.stream.pause()
        self.clock.pump([15, 15])
        self.assertEqual(self.sent, [])
        self.stream.resume()
        self.clock.pump([15])
        self.assertEqual(self.sent, [COMMENT])

    def test_stop_leaves_no_timer(self) -> None:
        self.stream.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_without_a_limit_there_is_no_timer(self) -> None:
        self.stream.stop()
        EventStream(self.clock, None, self.sent.append)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_endpoint_is_rewritten(self) -> None:
        stream = EventStream(self.clock, None, self.sent.append, lambda url: b"/nas" + url)
        self.assertEqual(stream.feed(b"event: endpoint\nda"), b"event: endpoint\nda")
        self.assertEqual(
            stream.feed(b"ta: /messages?id=1\n\nevent: endpoint\n"),
            b"ta: /nas/messages?id=1\n\nevent: endpoint\n",
        )
        self.assertEqual(stream.feed(b"data: /x\n\n"), b"data: /x\n\n")
        self.stream.stop()

    def test_what_was_held_back_comes_at_the_end(self) -> None:
        stream = EventStream(self.clock, None, self.sent.append, lambda url: url)
        self.assertEqual(stream.feed(b"data: unfin"), b"data: ")
        self.assertEqual(stream.finish(), b"unfin")
        self.stream.stop()
