"""MCP over HTTP in front of real programs: streams of events, old and new."""

from __future__ import annotations

import http.client
import json

from twisted.internet.defer import Deferred

from tests.live.test_exec import alive, until
from tests.live.test_exec_mcp import Answer, McpCase, Peer, _stands, request
from tests.support.progress import PATIENCE


class StreamTests(McpCase):
    def test_what_takes_longer_is_a_stream_of_events(self) -> Deferred[None]:
        self.relay()

        def use() -> None:
            peer = self.peer()
            answer = peer.ask("POST", body=request("slow", 2, _meta={"progressToken": "t"}))
            self.assertEqual((answer.status, answer.kind), (200, "text/event-stream"))
            messages = answer.messages()
            self.assertEqual(next(messages)["params"], {"progressToken": "t", "progress": 1})
            peer.tell("notifications/go")
            self.assertEqual(next(messages)["params"]["progress"], 2)
            self.assertEqual(next(messages), {"jsonrpc": "2.0", "id": 2, "result": {"done": True}})
            self.assertEqual(list(messages), [])

        return self.in_thread(use)

    def test_one_who_takes_json_alone_gets_it(self) -> Deferred[None]:
        self.relay()

        def use() -> None:
            peer = self.peer()
            body = request("slow", 2, _meta={"progressToken": "t"})
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
            fields = {
                "Content-Type": "application/json",
                "Accept": "application/json",
                "Mcp-Session-Id": peer.session,
            }
            connection.request("POST", "/mcp", json.dumps(body), fields)
            until(lambda: peer.call("echo")["id"] == 1)
            peer.tell("notifications/go")
            answer = Answer(connection)
            self.assertEqual((answer.kind, answer.json()["result"]), ("application/json", {"done": True}))

        return self.in_thread(use)

    def test_a_stream_that_broke_is_heard_on_from_its_last_event(self) -> Deferred[None]:
        self.relay()

        def use() -> None:
            peer = self.peer(version="2025-11-25")
            answer = peer.ask("POST", body=request("slow", 2, _meta={"progressToken": "t"}))
            events = answer.events()
            kind, primed, data = next(events)
            self.assertEqual((kind, data), ("message", ""))
            first = next(events)
            self.assertEqual(json.loads(first[2])["params"]["progress"], 1)
            answer.close()
            peer.tell("notifications/go")
            until(lambda: peer.call("echo")["id"] == 1)
            for last, expected in ((primed, 3), (first[1], 2)):
                resumed = peer.ask("GET", Last_Event_ID=last)
                self.assertEqual(resumed.status, 200)
                messages = list(resumed.messages())
                self.assertEqual(len(messages), expected)
                self.assertEqual(messages[-1], {"jsonrpc": "2.0", "id": 2, "result": {"done": True}})
            self.assertEqual(peer.ask("GET", Last_Event_ID="p99-1").status, 400)
            self.assertEqual(peer.ask("GET", Last_Event_ID="x").status, 400)

        return self.in_thread(use)

    def test_a_stream_is_resumed_while_its_request_is_under_way(self) -> Deferred[None]:
        self.relay()

        def use() -> None:
            peer = self.peer()
            answer = peer.ask("POST", body=request("slow", 2, _meta={"progressToken": "t"}))
            [_, first, _] = next(answer.events())
            answer.close()
            resumed = peer.ask("GET", Last_Event_ID=first)
            peer.tell("notifications/go")
            self.assertEqual([message.get("id") for message in resumed.messages()], [None, 2])

        return self.in_thread(use)

    def test_what_belongs_to_no_request_is_on_the_get_stream(self) -> Deferred[None]:
        self.relay()

        def use() -> None:
            peer = self.peer()
            peer.tell("notifications/tell", data="before")
            stream = peer.ask("GET")
            events = stream.events()
            self.assertIn("before", next(events)[2])
            peer.tell("notifications/tell", data="now")
            _, last, data = next(events)
            self.assertIn("now", data)
            other = peer.ask("GET")  # takes its place
            self.assertEqual(list(events), [])
            peer.tell("notifications/tell", data="later")
            self.assertIn("later", next(other.events())[2])
            again = peer.ask("GET", Last_Event_ID=last)
            self.assertIn("later", next(again.events())[2])

        return self.in_thread(use)

    def test_a_question_of_the_program_is_answered_by_the_client(self) -> Deferred[None]:
        self.relay()

        def use() -> None:
            peer = self.peer()
            messages = peer.ask("POST", body=request("ask", 8)).messages()
            question = next(messages)
            self.assertEqual((question["id"], question["method"]), ("question", "roots/list"))
            answer = peer.ask("POST", body={"jsonrpc": "2.0", "id": "question", "result": {"roots": []}})
            self.assertEqual((answer.status, answer.read()), (202, b""))
            self.assertEqual(next(messages), {"jsonrpc": "2.0", "id": 8, "result": {"roots": []}})

        return self.in_thread(use)

    def test_a_cancelled_request_ends_its_stream(self) -> Deferred[None]:
        relay = self.relay()

        def use() -> None:
            peer = self.peer()
            answer = peer.ask("POST", body=request("slow", "s", _meta={"progressToken": "t"}))
            messages = answer.messages()
            next(messages)
            self.assertEqual(peer.tell("notifications/cancelled", requestId="s"), 202)
            self.assertEqual(list(messages), [])
            relay.wait_for("tool: cancelled 's'")

        return self.in_thread(use)

    def test_a_batch_is_answered_as_one(self) -> Deferred[None]:
        self.relay()

        def use() -> None:
            peer = self.peer(version="2025-03-26")
            batch = [request("echo", 1, a=1), {"jsonrpc": "2.0", "method": "x"}, request("echo", "2", b="\n")]
            answers = peer.ask("POST", body=json.dumps(batch, indent=2).encode()).json()
            self.assertEqual([each["id"] for each in answers], [1, "2"])
            self.assertEqual(answers[1]["result"], {"b": "\n"})

        return self.in_thread(use)

    def test_garbage_is_told_in_the_log_and_costs_nothing(self) -> Deferred[None]:
        relay = self.relay()

        def use() -> None:
            self.assertEqual(self.peer().call("garbage", 3), {"jsonrpc": "2.0", "id": 3, "result": {}})
            relay.wait_for(r"\[warn\] tool: what the program says is no JSON.*: this is no JSON")

        return self.in_thread(use)

    def test_a_large_answer_passes_and_one_that_is_too_large_is_an_error(self) -> Deferred[None]:
        relay = self.relay()

        def use() -> None:
            peer = self.peer()
            self.assertEqual(len(peer.call("big", size=20_000_000)["result"]["big"]), 20_000_000)
            said = peer.call("big", "b", size=70_000_000)
            self.assertEqual(said["id"], "b")
            self.assertIn("too long", said["error"]["message"])
            relay.wait_for(r"\[warn\] tool: a line of 700000\d\d bytes from the program is too long")
            self.assertEqual(peer.call("echo", 2)["id"], 2)

        return self.in_thread(use)

    def test_a_listener_that_does_not_read_holds_little(self) -> Deferred[None]:
        relay = self.relay()

        def use() -> None:
            peer = self.peer()
            stream = peer.ask("GET")
            before = relay.rss
            peer.tell("notifications/tell", data="x" * 10_000, times=20_000)
            until(lambda: _stands(relay, peer.pid))
            self.assertLess(relay.rss - before, 24 * 1024 * 1024)
            numbers = [
                message["params"]["n"] for _, message in zip(range(20_000), stream.messages(), strict=False)
            ]
            self.assertEqual(numbers, list(range(20_000)))  # and loses nothing

        return self.in_thread(use)

    def test_where_nobody_listens_the_newest_is_kept(self) -> Deferred[None]:
        relay = self.relay()

        def use() -> None:
            peer = self.peer()
            before = relay.rss
            peer.tell("notifications/tell", data="x" * 10_000, times=5_000)
            peer.tell("notifications/and-more")
            relay.wait_for("tool: heard notifications/and-more")
            self.assertLess(relay.rss - before, 24 * 1024 * 1024)
            numbers = []
            for message in peer.ask("GET").messages():
                numbers.append(message["params"]["n"])
                if numbers[-1] == 4_999:
                    break
            self.assertEqual(numbers, list(range(numbers[0], 5_000)))

        return self.in_thread(use)


class OldTests(McpCase):
    """HTTP+SSE."""

    def test_a_session_lives_as_long_as_its_stream(self) -> Deferred[None]:
        self.relay()

        def use() -> None:
            peer = Peer(self.port)
            stream = peer.ask("GET", "/sse")
            events = stream.events()
            kind, _, where = next(events)
            self.assertEqual(kind, "endpoint")
            self.assertTrue(where.startswith("/messages?sessionId="), where)
            answer = peer.ask("POST", where, body=request("initialize", 0, protocolVersion="2024-11-05"))
            self.assertEqual(answer.status, 202)
            greeting = json.loads(next(events)[2])
            self.assertEqual(greeting["id"], 0)
            peer.ask("POST", where, body=request("echo", 1))
            self.assertEqual(json.loads(next(events)[2])["id"], 1)
            self.assertEqual(peer.ask("POST", where, body=request("echo"), Host="evil.example").status, 421)
            stream.close()
            pid = int(greeting["result"]["serverInfo"]["version"])
            until(lambda: not alive(pid))
            self.assertEqual(peer.ask("POST", where, body=request("echo", 1)).status, 404)

        return self.in_thread(use)
