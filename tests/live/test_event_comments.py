"""Comments in the silence of a stream, as a client hears them that keeps the ids of events."""

from __future__ import annotations

import httpx
from httpx_sse import EventSource
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.support.progress import LIMIT, PATIENCE
from tests.support.relay import Relay
from tests.support.servers import HttpOrigin


class EventCommentTests(TestCase):
    timeout = LIMIT

    def setUp(self) -> None:
        self.origin = HttpOrigin().start()
        self.addCleanup(self.origin.stop)
        self.relay = Relay(
            f"""
            listeners:
              web:
                type: reverse-proxy
                listen: 127.0.0.1:0
                upstream: {self.origin.url}
                sse_keepalive: 200ms
            """
        ).start()
        self.addCleanup(self.relay.stop)

    def stream(self) -> list[tuple[str, str]]:
        """Ask for each further event when the silence after the last has been broken twice."""
        content = b""
        url = f"http://127.0.0.1:{self.relay.port('web')}/events/3"
        with httpx.Client(trust_env=False, timeout=PATIENCE) as client, client.stream("GET", url) as answer:
            asked = comments = 0
            for part in answer.iter_bytes():
                content += part
                comments += part.count(b":\n")
                if asked < 2 and comments >= 2:
                    asked, comments = asked + 1, 0
                    httpx.get(f"{self.origin.url}/next", trust_env=False)
            whole = httpx.Response(200, headers=answer.headers, content=content)
        self.assertGreaterEqual(content.count(b":\n"), 4)
        return [(event.id, event.data) for event in EventSource(whole).iter_sse()]

    def test_the_comments_are_no_events(self) -> Deferred[None]:
        heard = deferToThread(self.stream)
        expected = [(str(number), f"event {number}") for number in range(3)]
        return heard.addCallback(self.assertEqual, expected)
