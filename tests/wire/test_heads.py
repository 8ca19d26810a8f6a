"""L{lanrelay.wire.heads}: the lines that are judged once; its rules have their tables elsewhere."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.wire import heads
from lanrelay.wire.heads import parse_request_head
from lanrelay.wire.limits import LIMITS


class CacheTests(SynchronousTestCase):
    def setUp(self) -> None:
        heads._judged.clear()
        heads._hosts.clear()

    def parse(self, *lines: bytes) -> None:
        parse_request_head(b"\r\n".join([b"GET / HTTP/1.1", b"Host: a", *lines]), LIMITS)

    def test_what_may_be_secret_is_never_kept(self) -> None:
        for name in (
            b"Authorization",
            b"Proxy-Authorization",
            b"Cookie",
            b"Set-Cookie",
            b"Mcp-Session-Id",
            b"X-Api-Key",
            b"Referer",
        ):
            self.parse(name + b": secret")
        self.assertEqual(list(heads._judged), [b"Host: a"])

    def test_it_is_bounded(self) -> None:
        for number in range(3000):
            self.parse(b"User-Agent: %d" % number)
            parse_request_head(b"GET / HTTP/1.1\r\nHost: h%d" % number, LIMITS)
        self.assertLessEqual(len(heads._judged), 1024)
        self.assertLessEqual(len(heads._hosts), 1024)
        self.parse(b"User-Agent: " + b"x" * 5000)
        self.assertLessEqual(max(map(len, heads._judged)), 256)

    def test_what_was_judged_is_the_same(self) -> None:
        for line in (b"Accept: a", b"Accept:a", b"accept:\ta  "):
            first = parse_request_head(b"GET / HTTP/1.1\r\nHost: a\r\n" + line, LIMITS)
            again = parse_request_head(b"GET / HTTP/1.1\r\nHost: a\r\n" + line, LIMITS)
            self.assertEqual(first, again)
            self.assertEqual(first.headers.get(b"accept"), b"a")
            self.assertTrue(first.headers.encode().lower().endswith(b"accept: a\r\n"))
