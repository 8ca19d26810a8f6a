"""Servers of HTTP+SSE, to which the dialogue falls back."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.bridge.scene import CONFIRMATION, HELLO, LegacyServer, Memory, Scene, request, result
from tests.bridge.servers import SseServer

CALL = request(7, "tools/call", {"name": "add"})


def greeted(**settings: Any) -> tuple[Scene, SseServer]:
    server = SseServer()
    scene = Scene(server, **settings)
    scene.say(HELLO, CONFIRMATION)
    scene.heard()
    return scene, server


class SseTests(SynchronousTestCase):
    def test_the_dialogue_falls_back(self) -> None:
        for settings in ({}, {"transport": "sse"}):
            scene = Scene(SseServer(), **settings)
            scene.say(HELLO)
            [answer] = scene.heard()
            self.assertEqual(answer["result"]["protocolVersion"], "2025-11-25")
            scene.say(CONFIRMATION, CALL)
            self.assertEqual([each["id"] for each in scene.heard()], [7])
            scene.end()
            self.assertTrue(scene.done)

    def test_it_does_not_where_that_is_not_wanted(self) -> None:
        scene, _ = greeted(transport="http")
        self.assertEqual([ask.method for ask in scene.all_asks], ["POST", "POST"])

    def test_it_does_not_for_a_login(self) -> None:
        scene = Scene()
        scene.say(HELLO)
        scene.answer(scene.ask(), None, 401)
        [answer] = scene.heard()
        self.assertIn("wants a login", answer["error"]["message"])
        self.assertEqual(scene.asks, {})

    def test_the_way_is_remembered(self) -> None:
        memory = Memory()
        greeted(remembered=memory)
        scene, _ = greeted(remembered=memory)
        self.assertEqual(scene.all_asks[0].method, "GET")

    def test_an_endpoint_is_of_the_same_origin(self) -> None:
        for endpoint, base in (
            ("/messages?session=1", "/sse"),
            ("messages?session=1", "/sse"),
            ("http://internal:99/messages?session=1", "/sse"),
            ("//internal/messages?session=1", "/sse"),
            ("?session=1", "/messages"),
        ):
            server = SseServer(endpoint)
            scene = Scene(server, path=base, transport="sse")
            scene.say(HELLO)
            self.assertEqual(len(scene.heard()), 1, endpoint)

    def test_a_stream_without_an_endpoint_is_none(self) -> None:
        scene = Scene(transport="sse", hold=8)
        scene.say(HELLO)
        scene.head(scene.ask("GET"), 200, (("Content-Type", "text/event-stream"),))
        scene.pass_time(8)
        [answer] = scene.heard()
        self.assertIn("error", answer)

    def test_a_stream_that_broke_ends_calls_and_repeats_what_is_harmless(self) -> None:
        scene, server = greeted()
        server.silent |= {"tools/call", "resources/read"}
        scene.say(CALL, request(8, "resources/read", {"uri": "a:b"}))
        server.silent.clear()
        server.cut(scene)
        answers = {each["id"]: each for each in scene.heard()}
        self.assertIn("may have run", answers[7]["result"]["content"][0]["text"])
        self.assertIn(8, answers)
        scene.say({**CALL, "id": 9})
        self.assertEqual([each["id"] for each in scene.heard()], [9])

    def test_posts_that_are_never_acknowledged_keep_no_connections(self) -> None:
        server = SseServer()
        scene = Scene(server)
        scene.say(HELLO, CONFIRMATION)
        scene.heard()
        scene.server = None
        assert server.stream is not None
        scene.say(CALL, {"jsonrpc": "2.0", "method": "notifications/roots/list_changed"})
        call, note = scene.ask(rpc="tools/call"), scene.ask(rpc="notifications/roots/list_changed")
        scene.pass_time(60)
        self.assertEqual(scene.dropped, [note.number])  # the call may take as long as it takes
        scene.event(server.stream, result(7, {"content": []}))
        self.assertEqual(scene.heard(), [result(7, {"content": []})])
        scene.pass_time(5)
        self.assertEqual(scene.dropped, [note.number, call.number])
        self.assertEqual(list(scene.asks), [server.stream.number])

    def test_a_handshake_that_is_never_acknowledged_ends(self) -> None:
        server = SseServer()
        scene = Scene(server)
        scene.say(HELLO)
        scene.heard()
        scene.server = None
        scene.say(CONFIRMATION, CALL)
        confirmation = scene.ask()
        scene.pass_time(10)
        self.assertIn(confirmation.number, scene.dropped)
        self.assertTrue(scene.heard()[0]["result"]["isError"])

    def test_server_requests_go_both_ways(self) -> None:
        scene, server = greeted()
        assert server.stream is not None
        scene.event(server.stream, request("q", "roots/list"))
        self.assertEqual(scene.heard(), [request("q", "roots/list")])
        scene.say(result("q", {"roots": []}))
        self.assertEqual(server.seen[-1], result("q", {"roots": []}))

    def test_a_server_that_became_streamable_is_found(self) -> None:
        memory = Memory()
        greeted(remembered=memory)
        scene = Scene(LegacyServer(), remembered=memory)
        scene.say(HELLO, CONFIRMATION, CALL)
        self.assertEqual([each["id"] for each in scene.heard()], [0, 7])
