"""A client and a server that both know sessions."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.bridge.scene import (
    CONFIRMATION,
    CUT,
    HELLO,
    JSON,
    STREAM,
    LegacyServer,
    Memory,
    Scene,
    body_of,
    field,
    request,
    result,
)

CALL = request(7, "tools/call", {"name": "add", "arguments": {"a": 1}})


def greeted(server: LegacyServer | None = None, **settings: Any) -> tuple[Scene, LegacyServer]:
    server = server or LegacyServer()
    scene = Scene(server, **settings)
    scene.say(HELLO, CONFIRMATION)
    scene.heard()
    return scene, server


class HandshakeTests(SynchronousTestCase):
    def test_nothing_is_asked_before_the_client_speaks(self) -> None:
        scene = Scene()
        scene.pass_time(100)
        self.assertEqual(scene.all_asks, [])

    def test_initialize_and_a_call(self) -> None:
        for streams in (False, True):
            server = LegacyServer(streams=streams)
            scene = Scene(server)
            scene.say(HELLO)
            [answer] = scene.heard()
            self.assertEqual(answer["id"], 0)
            self.assertEqual(answer["result"]["serverInfo"]["name"], "old")
            scene.say(CONFIRMATION, request("a", "tools/list"), CALL)
            self.assertEqual([each["id"] for each in scene.heard()], ["a", 7])
            self.assertEqual(server.made, 1)
            self.assertEqual(len(server.executions), 1)

    def test_the_version_is_the_one_that_the_client_knows(self) -> None:
        for asked, spoken, told in (
            ("2025-11-25", "2025-03-26", "2025-11-25"),
            ("2025-06-18", "2025-06-18", "2025-06-18"),
            ("2099-01-01", "2025-06-18", "2025-06-18"),
        ):
            scene = Scene(LegacyServer(spoken))
            scene.say({**HELLO, "params": {**HELLO["params"], "protocolVersion": asked}})  # type: ignore[dict-item]
            [answer] = scene.heard()
            self.assertEqual(answer["result"]["protocolVersion"], told)

    def test_no_request_overtakes_initialized(self) -> None:
        scene = Scene()
        scene.say(HELLO)
        scene.answer(scene.ask(rpc="initialize"), result(0, {"protocolVersion": "2025-11-25"}))
        scene.say(CONFIRMATION, CALL)
        confirmation = scene.ask()
        self.assertEqual(body_of(confirmation)["method"], "notifications/initialized")
        scene.answer(confirmation, None, 202)
        scene.ask(rpc="tools/call")

    def test_the_stream_of_the_servers_own_messages_is_asked_for_before_any_request(self) -> None:
        """A server that asks back there, while it is not open, asks nobody, and waits."""
        scene = Scene()
        scene.say(HELLO)
        scene.answer(scene.ask(rpc="initialize"), result(0, {"protocolVersion": "2025-11-25"}))
        scene.say(CONFIRMATION, CALL)
        scene.answer(scene.ask(), None, 202)
        self.assertEqual([each.method for each in scene.all_asks[-2:]], ["GET", "POST"])

    def test_the_end_of_input_ends_the_session(self) -> None:
        scene, server = greeted()
        scene.end()
        self.assertEqual(server.ended, ["session-1"])
        self.assertTrue(scene.done)

    def test_answers_that_come_in_time_are_given_after_the_end_of_input(self) -> None:
        scene, _ = greeted()
        scene.server = None
        scene.say(CALL)
        scene.end()
        scene.pass_time(1)
        scene.answer(scene.ask(rpc="tools/call"), result(7, {"content": []}))
        self.assertEqual(scene.heard(), [result(7, {"content": []})])
        scene.answer(scene.ask("DELETE"), None)
        self.assertTrue(scene.done)

    def test_a_session_that_is_just_being_made_is_ended(self) -> None:
        memory = Memory()
        greeted(remembered=memory)
        scene = Scene(remembered=memory)
        scene.say(HELLO)
        scene.end()
        self.assertFalse(scene.done)
        opening = scene.ask()
        scene.answer(
            opening, result(0, {"protocolVersion": "2025-11-25"}), fields=(*JSON, ("mcp-session-id", "s"))
        )
        self.assertEqual(field(scene.ask("DELETE"), "Mcp-Session-Id"), "s")
        scene.answer(scene.ask("DELETE"), None)
        self.assertTrue(scene.done)

    def test_a_notification_waits_for_the_handshake(self) -> None:
        server = LegacyServer()
        scene = Scene(server)
        scene.server = None
        scene.say(HELLO, CONFIRMATION, {"jsonrpc": "2.0", "method": "notifications/roots/list_changed"})
        scene.server = server
        server(scene, scene.ask())
        methods = [each["method"] for each in server.seen]
        self.assertEqual(
            methods, ["initialize", "notifications/initialized", "notifications/roots/list_changed"]
        )

    def test_the_end_comes_within_two_seconds_whatever_the_server_does(self) -> None:
        scene, _ = greeted()
        scene.server = None
        scene.say(CALL)
        scene.end()
        scene.pass_time(2)
        [answer] = scene.heard()
        self.assertTrue(answer["result"]["isError"])
        self.assertTrue(scene.done)


class TextTests(SynchronousTestCase):
    def test_all_passes_as_it_came(self) -> None:
        scene, _ = greeted()
        scene.server = None
        line = (
            b'{ "zeta":1e400, "jsonrpc":"2.0", "id" : "\\u00e9\\n", "method":"tools/call","params":{'
            b'"name" :"add","arguments":{"x":1.0,"y":123456789012345678901234567890,'
            b'"x":2, "e":-0.0E+1} } , "clientInfo":{} }'
        )
        scene.say(line)
        ask = scene.ask()
        self.assertEqual(ask.body, line)
        answer = line.replace(b'"method":"tools/call","params"', b'"result"').replace(b"\\u00e9", b"\xc3\xa9")
        scene.answer(ask, answer)
        self.assertEqual(scene.lines, [answer.replace(b'"\xc3\xa9\\n"', b'"\\u00e9\\n"')])

    def test_a_pretty_answer_is_one_line(self) -> None:
        scene, _ = greeted()
        scene.server = None
        scene.say(CALL)
        scene.answer(
            scene.ask(), json.dumps(result(7, {"text": "a\u2028b"}), indent=1, ensure_ascii=False).encode()
        )
        [line] = scene.lines
        self.assertNotIn("\u2028", line.decode())
        self.assertEqual(json.loads(line), result(7, {"text": "a\u2028b"}))

    def test_what_is_no_message_is_an_error(self) -> None:
        scene, _ = greeted()
        for line, code, id in (
            (b"{", -32700, None),
            (b"[" * 100_000, -32700, None),
            (b"\xff", -32700, None),
            (b'{"id":1,"method":"ping","x":NaN}', -32700, None),
            (b'{"id":1,"method":"ping"} 1', -32700, None),
            (b"[]", -32600, None),
            (b'{"id":null,"method":"ping"}', -32600, None),
            (b'{"id":3}', -32600, 3),
        ):
            scene.say(line)
            [answer] = scene.heard()
            self.assertEqual((answer["error"]["code"], answer["id"]), (code, id), line[:50])
        scene.say(b"", b"  ")
        self.assertEqual(scene.heard(), [])

    def test_a_line_that_is_too_long_is_an_error_for_its_id(self) -> None:
        scene, _ = greeted()
        for beginning, id in (
            (b'{"jsonrpc":"2.0","id": 5,"method"', 5),
            (b'{"id":"a\\"b"', 'a"b'),
            (b"{", None),
        ):
            scene._do(scene.dialogue.too_long(beginning, scene.now))
            self.assertEqual([each["id"] for each in scene.heard()], [id])

    def test_a_batch_is_answered_by_a_batch(self) -> None:
        scene, _ = greeted(LegacyServer("2025-03-26"))
        scene.say([request(1, "ping"), CONFIRMATION, CALL])
        [answers] = scene.heard()
        self.assertEqual([each["id"] for each in answers], [1, 7])
        scene.say([{"jsonrpc": "2.0", "method": "notifications/x"}])
        self.assertEqual(scene.heard(), [])

    def test_a_batch_of_the_server_comes_as_single_messages(self) -> None:
        scene, _ = greeted()
        scene.server = None
        scene.say(CALL)
        progress = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}}
        scene.answer(scene.ask(), [progress, result(7, {"content": []})])
        self.assertEqual(scene.heard(), [progress, result(7, {"content": []})])


class SessionTests(SynchronousTestCase):
    def test_a_forgotten_session_is_begun_anew_and_the_call_is_made(self) -> None:
        scene, server = greeted()
        scene.say(request(1, "logging/setLevel", {"level": "debug"}))
        scene.heard()
        server.restart()
        scene.say(CALL)
        self.assertEqual([each["id"] for each in scene.heard()], [7])
        self.assertEqual(server.made, 2)
        self.assertEqual(len(server.executions), 1)
        self.assertEqual([each["method"] for each in server.seen].count("logging/setLevel"), 2)

    def test_lists_that_changed_are_announced(self) -> None:
        scene, server = greeted()
        scene.say(request(1, "tools/list"))
        scene.heard()
        server.restart()
        scene.say(CALL)
        self.assertEqual(len(scene.heard()), 1)
        server.restart()
        server.tools = ["add", "more"]
        scene.say({**CALL, "id": 8})
        messages = [each.get("method", each.get("id")) for each in scene.heard()]
        self.assertEqual(sorted(messages, key=str), [8, "notifications/tools/list_changed"])

    def test_the_servers_own_stream(self) -> None:
        scene, server = greeted()
        assert server.stream is not None
        message = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": 1.0}}
        scene.event(server.stream, message, id="e1")
        self.assertEqual(scene.heard(), [message])
        scene.finish(server.stream)
        scene.pass_time(1)
        self.assertEqual(field(server.stream, "Last-Event-ID"), "e1")

    def test_questions_of_the_server(self) -> None:
        scene, server = greeted()
        assert server.stream is not None
        question = request(0, "sampling/createMessage", {})
        scene.event(server.stream, question)
        self.assertEqual(scene.heard(), [question])
        scene.say(result(0, {"role": "user"}))
        self.assertEqual(server.seen[-1], result(0, {"role": "user"}))
        scene.say(result(99, {}))
        self.assertNotEqual(server.seen[-1], result(99, {}))

    def test_questions_of_a_session_that_is_gone_are_taken_back(self) -> None:
        scene, server = greeted()
        assert server.stream is not None
        scene.event(server.stream, request("q", "roots/list"))
        server.restart()
        scene.heard()
        scene.say(CALL)
        told = scene.heard()
        self.assertEqual(told[0]["method"], "notifications/cancelled")
        self.assertEqual(told[0]["params"]["requestId"], "q")

    def test_a_server_without_sessions_may_have_other_lists_when_it_is_back(self) -> None:
        scene, server = greeted()
        scene.say(request(1, "tools/list"))
        scene.heard()
        server.is_down, server.tools = True, ["other"]
        scene.say(CALL)
        scene.pass_time(1)
        server.is_down = False
        scene.pass_time(1)
        told = [each.get("id", each.get("method")) for each in scene.heard()]
        self.assertEqual(sorted(told, key=str), [7, "notifications/tools/list_changed"])

    def test_cancelling(self) -> None:
        scene, server = greeted()
        server.silent.add("tools/call")
        scene.say(CALL)
        call = scene.ask(rpc="tools/call")
        scene.say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}})
        self.assertEqual(server.seen[-1]["method"], "notifications/cancelled")
        self.assertIn(call.number, scene.dropped)
        self.assertEqual(scene.heard(), [])

    def test_a_stream_that_broke_is_resumed(self) -> None:
        for end in (Scene.finish, lambda scene, ask: scene.fail(ask, CUT)):
            scene, _ = greeted(LegacyServer(listens=False))
            scene.server = None
            scene.say(CALL)
            ask = scene.ask()
            scene.head(ask, 200, STREAM)
            scene.event(ask, b"", id="e7", retry=3000)
            end(scene, ask)
            self.assertEqual(scene.asks, {})
            scene.pass_time(3)
            again = scene.ask("GET")
            self.assertEqual(field(again, "Last-Event-ID"), "e7")
            scene.head(again, 200, STREAM)
            scene.event(again, result(7, {"content": []}))
            self.assertEqual(scene.heard(), [result(7, {"content": []})])

    def test_the_servers_own_stream_that_is_silent_once_it_was_resumed_is_asked_for_anew(self) -> None:
        scene, server = greeted()
        assert server.stream is not None
        note = {"jsonrpc": "2.0", "method": "notifications/message"}
        scene.event(server.stream, note, id="e1")
        scene.fail(server.stream, CUT)
        scene.pass_time(1)
        resumed = scene.ask("GET")
        self.assertEqual(field(resumed, "Last-Event-ID"), "e1")
        scene.pass_time(60)
        self.assertIn(resumed.number, scene.dropped)
        fresh = scene.ask("GET")
        self.assertIsNone(field(fresh, "Last-Event-ID"))
        scene.pass_time(600)
        self.assertIs(scene.ask("GET"), fresh)

    def test_a_notification_that_is_never_acknowledged_keeps_no_connection(self) -> None:
        scene, _ = greeted(LegacyServer(listens=False))
        scene.server = None
        scene.say({"jsonrpc": "2.0", "method": "notifications/roots/list_changed"})
        lost = scene.ask()
        scene.pass_time(60)
        self.assertIn(lost.number, scene.dropped)

    def test_a_resumed_stream_that_brings_nothing_is_asked_for_again(self) -> None:
        scene, _ = greeted(LegacyServer(listens=False))
        scene.server = None
        scene.say(CALL)
        ask = scene.ask()
        scene.head(ask, 200, STREAM)
        scene.event(ask, b"", id="e7")
        scene.fail(ask, CUT)
        scene.pass_time(0.9)
        self.assertEqual(scene.asks, {})
        scene.pass_time(0.1)
        silent = scene.ask("GET")
        scene.head(silent, 200, STREAM)
        scene.pass_time(4)
        scene.event(silent, {"jsonrpc": "2.0", "method": "notifications/message"}, id="e8")
        scene.heard()
        scene.pass_time(5)
        self.assertEqual(scene.asks, {silent.number: silent})
        scene.pass_time(1)
        again = scene.ask("GET")
        self.assertIn(silent.number, scene.dropped)
        self.assertEqual(field(again, "Last-Event-ID"), "e8")
        scene.head(again, 200, STREAM)
        scene.pass_time(9)
        self.assertEqual(scene.asks, {again.number: again})
        scene.pass_time(1)
        again = scene.ask("GET")
        scene.head(again, 200, STREAM)
        scene.event(again, result(7, {"content": []}))
        self.assertEqual([each["id"] for each in scene.heard()], [7])

    def test_a_stream_that_cannot_be_resumed_may_have_run(self) -> None:
        scene, _ = greeted(LegacyServer(listens=False))
        scene.server = None
        scene.say(CALL)
        ask = scene.ask()
        scene.head(ask, 200, STREAM)
        scene.finish(ask)
        [answer] = scene.heard()
        self.assertIn("may have run", answer["result"]["content"][0]["text"])

    def test_a_thousand_calls_come_back_in_any_order(self) -> None:
        scene, _ = greeted()
        scene.server = None
        for number in range(1000):
            scene.say({**CALL, "id": number})
        self.assertFalse(scene.dialogue.full)
        for ask in reversed(list(scene.asks.values())):
            if ask.method == "POST":
                scene.answer(ask, result(body_of(ask)["id"], {"n": body_of(ask)["id"]}))
        answers = scene.heard()
        self.assertEqual([each["id"] for each in answers], list(reversed(range(1000))))
        self.assertTrue(all(each["id"] == each["result"]["n"] for each in answers))


class MemoryTests(SynchronousTestCase):
    def test_the_next_start_is_answered_at_once(self) -> None:
        memory = Memory()
        scene, server = greeted(remembered=memory)
        scene.say(request(1, "tools/list"))
        [listed] = scene.heard()
        server.is_down = True
        scene = Scene(server, remembered=memory)
        scene.say({**HELLO, "id": "x"})
        [answer] = scene.heard()
        self.assertEqual((answer["id"], answer["result"]["serverInfo"]["name"]), ("x", "old"))
        scene.say(CONFIRMATION, request(1, "tools/list"), request(2, "ping"))
        self.assertEqual(scene.heard(), [listed, result(2, {})])
        server.is_down, server.restart = False, lambda: None  # type: ignore[method-assign]
        scene.pass_time(5)
        self.assertEqual(scene.heard(), [])

    def test_a_list_from_memory_that_was_wrong_is_announced(self) -> None:
        memory = Memory()
        scene, server = greeted(remembered=memory)
        scene.say(request(1, "tools/list"))
        server.is_down, server.tools = True, ["other"]
        scene = Scene(server, remembered=memory)
        scene.say(HELLO, CONFIRMATION, request(1, "tools/list"))
        self.assertEqual(len(scene.heard()), 2)
        server.is_down = False
        scene.pass_time(15)
        self.assertEqual([each["method"] for each in scene.heard()], ["notifications/tools/list_changed"])
        scene.say(request(2, "tools/list"))
        [answer] = scene.heard()
        self.assertEqual(answer["result"]["tools"][0]["name"], "other")

    def test_a_slow_list_comes_from_memory_and_the_true_one_is_announced(self) -> None:
        memory = Memory()
        scene, server = greeted(remembered=memory)
        scene.say(request(1, "tools/list"))
        scene.heard()
        server.silent.add("tools/list")
        scene.say(request(2, "tools/list"))
        slow = scene.ask(rpc="tools/list")
        scene.pass_time(2)
        self.assertEqual([each["id"] for each in scene.heard()], [2])
        scene.answer(slow, result(2, {"tools": []}))
        self.assertEqual([each["method"] for each in scene.heard()], ["notifications/tools/list_changed"])

    def test_other_capabilities_are_another_client(self) -> None:
        memory = Memory()
        greeted(remembered=memory)
        scene = Scene(remembered=memory)
        scene.say({**HELLO, "params": {**HELLO["params"], "capabilities": {"roots": {}}}})  # type: ignore[dict-item]
        self.assertEqual(scene.heard(), [])


class FilterTests(SynchronousTestCase):
    def test_a_tool_that_is_filtered_is_unknown(self) -> None:
        for settings, left in (
            ({"ignore_tools": ("DEL*", "x")}, ["add", "list"]),
            ({"only_tools": ("a?d",)}, ["add"]),
            ({"only_tools": ("*",), "ignore_tools": ("l*",)}, ["add", "delete"]),
        ):
            server = LegacyServer()
            server.tools = ["add", "delete", "list"]
            scene, _ = greeted(server, **settings)
            scene.say(request(1, "tools/list"))
            [answer] = scene.heard()
            self.assertEqual([tool["name"] for tool in answer["result"]["tools"]], left)
            for tool in server.tools:
                scene.say(request(2, "tools/call", {"name": tool}))
                [answer] = scene.heard()
                self.assertEqual("error" in answer, tool not in left)
                if tool not in left:
                    self.assertEqual(answer["error"]["code"], -32602)
