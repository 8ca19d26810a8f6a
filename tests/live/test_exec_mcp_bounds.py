"""What MCP over HTTP keeps of much, and for those who are slow."""

from __future__ import annotations

import json

from twisted.internet.defer import Deferred

from tests.live.test_exec import alive, until
from tests.live.test_exec_mcp import McpCase, request


class BoundsTests(McpCase):
    def test_a_batch_whose_answers_are_large_is_answered_whole(self) -> Deferred[None]:
        self.relay()

        def use() -> None:
            peer = self.peer(version="2025-03-26")
            batch = [request("big", number, size=8_000_000) for number in range(4)]
            answers = peer.ask("POST", body=batch, Accept="application/json").json()
            self.assertEqual([each["id"] for each in answers], [0, 1, 2, 3])
            self.assertEqual({len(each["result"]["big"]) for each in answers}, {8_000_000})

        return self.in_thread(use)

    def test_a_batch_whose_answers_are_too_large_together_is_an_error(self) -> Deferred[None]:
        self.relay()

        def use() -> None:
            peer = self.peer(version="2025-03-26")
            batch = [request("big", number, size=20_000_000) for number in range(5)]
            answer = peer.ask("POST", body=batch, Accept="application/json")
            self.assertEqual(answer.status, 502)
            self.assertIn("larger than 64 MB together", json.dumps(answer.json()))
            self.assertEqual(peer.call("echo", "z")["id"], "z")

        return self.in_thread(use)

    def test_a_stream_that_is_heard_at_a_delete_ends_with_an_error(self) -> Deferred[None]:
        self.relay()

        def use() -> None:
            peer = self.peer(version="2025-11-25")
            messages = peer.ask("POST", body=request("slow", 4, _meta={"progressToken": 1})).messages()
            self.assertEqual(next(messages)["method"], "notifications/progress")
            self.assertEqual(peer.ask("DELETE").status, 200)
            self.assertEqual([each.get("id") for each in messages], [4])
            self.assertEqual(peer.ask("POST", body=request("echo")).status, 404)
            until(lambda: not alive(peer.pid))

        return self.in_thread(use)

    def test_one_who_does_not_read_keeps_none_of_the_others_waiting(self) -> Deferred[None]:
        relay = self.relay("shared: true")

        def use() -> None:
            slow, quick = self.peer(), self.peer()
            unread = slow.ask("GET")
            before = relay.rss
            quick.tell("notifications/tell", data="x" * 10_000, times=10_000)  # 100 MB for each who listens
            for number in range(20):
                self.assertEqual(quick.call("echo", number)["id"], number)
            self.assertEqual(slow.call("echo", "s")["id"], "s")
            self.assertLess(relay.rss - before, 64 * 1024 * 1024)
            numbers = []
            for message in unread.messages():
                numbers.append(message["params"]["n"])
                if numbers[-1] == 9_999:  # the newest is kept
                    break
            self.assertEqual(numbers, sorted(numbers))

        return self.in_thread(use)
