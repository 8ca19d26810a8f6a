"""Clients of 2026-07-28, in front of servers of every era."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.bridge.scene import (
    CONFIRMATION,
    CUT,
    HELLO,
    LegacyServer,
    Memory,
    Scene,
    error,
    field,
    request,
    result,
)
from tests.bridge.servers import META, ModernServer, SseServer, modern

CALL = modern(7, "tools/call", {"name": "add", "arguments": {}})
LISTEN = modern("l", "subscriptions/listen", {"notifications": {"toolsListChanged": True}})


class ModernTests(SynchronousTestCase):
    def test_messages_pass_and_get_their_fields(self) -> None:
        for streams in (False, True):
            server = ModernServer(streams=streams)
            scene = Scene(server)
            discover = modern("d", "server/discover")
            scene.say(discover, modern(1, "tools/list"), CALL)
            answers = scene.heard()
            self.assertEqual([each["id"] for each in answers], ["d", 1, 7])
            self.assertEqual(answers[0], server.answer_to(discover))
            self.assertEqual(answers[2]["result"]["resultType"], "complete")
            self.assertEqual(
                [each["method"] for each in server.seen], ["server/discover", "tools/list", "tools/call"]
            )
            scene.end()
            self.assertTrue(scene.done)

    def test_a_name_that_is_no_plain_text_is_encoded(self) -> None:
        scene = Scene()
        scene.say(modern(1, "prompts/get", {"name": "Hello, 世界"}))
        self.assertEqual(field(scene.ask(), "Mcp-Name"), "=?base64?SGVsbG8sIOS4lueVjA==?=")

    def test_a_redirect_is_followed_by_all_that_were_asked_at_once(self) -> None:
        scene = Scene(origin="http://nas.lan", path="/mcp")
        scene.say(*(modern(number, "ping") for number in range(3)))
        for ask in list(scene.asks.values()):
            scene.head(ask, 307, (("Location", "http://nas.lan:80/mcp/"),))
            scene.finish(ask)
        for ask in list(scene.asks.values()):
            self.assertEqual(ask.path, "/mcp/")
            ModernServer()(scene, ask)
        self.assertEqual([each["id"] for each in scene.heard()], [0, 1, 2])

    def test_errors_pass_with_the_id_of_the_request(self) -> None:
        scene = Scene(ModernServer())
        scene.say(modern(1, "no/such"))
        self.assertEqual(scene.heard(), [error(1, -32601, "Method not found")])

    def test_cancelling_is_the_end_of_the_answer(self) -> None:
        server = ModernServer()
        server.silent.add("tools/call")
        scene = Scene(server)
        scene.say(CALL, {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}})
        self.assertEqual(len(scene.dropped), 1)
        self.assertEqual(server.seen[-1]["method"], "tools/call")
        self.assertEqual(scene.heard(), [])

    def test_a_call_that_was_cut_is_not_made_again(self) -> None:
        server = ModernServer()
        server.silent.add("tools/call")
        scene = Scene(server)
        scene.say(CALL)
        scene.fail(scene.ask(rpc="tools/call"), CUT)
        [answer] = scene.heard()
        self.assertIn("may have run", answer["result"]["content"][0]["text"])
        self.assertEqual(answer["result"]["resultType"], "complete")

    def test_a_call_waits_for_the_target(self) -> None:
        server = ModernServer()
        scene = Scene(server)
        server.is_down = True
        scene.say(CALL)
        scene.pass_time(2)
        server.is_down = False
        scene.pass_time(3)
        self.assertEqual([each["id"] for each in scene.heard()], [7])
        self.assertEqual(len(server.executions), 1)

    def test_questions_pass(self) -> None:
        server = ModernServer()
        server.questions.append({"requestState": "x"})
        scene = Scene(server)
        scene.say(CALL)
        [answer] = scene.heard()
        self.assertEqual(answer["result"], {"resultType": "input_required", "requestState": "x"})


class ParameterTests(SynchronousTestCase):
    def test_arguments_are_mirrored_though_nobody_has_listed_the_tools(self) -> None:
        server = ModernServer()
        server.pages = True
        server.tools["region"] = {"properties": {"r": {"type": "string", "x-mcp-header": "Region"}}}
        scene = Scene(server)
        call = modern(1, "tools/call", {"name": "region", "arguments": {"r": "us-west1"}})
        scene.say(call, {**call, "id": 2})
        self.assertEqual([each["id"] for each in scene.heard()], [1, 2])
        self.assertEqual([each["method"] for each in server.seen].count("tools/list"), 2)

    def test_a_schema_that_changed_is_looked_at_again(self) -> None:
        server = ModernServer()
        scene = Scene(server)
        scene.say(CALL)
        server.tools["add"] = {"properties": {"a": {"type": "string", "x-mcp-header": "A"}}}
        scene.heard()
        scene.say(modern(8, "tools/call", {"name": "add", "arguments": {"a": "b"}}))
        [answer] = scene.heard()
        self.assertEqual(answer["result"]["content"][0]["text"], "done")
        self.assertEqual(len(server.executions), 2)

    def test_a_tool_with_a_wrong_annotation_is_left_out(self) -> None:
        server = ModernServer()
        server.tools["wrong"] = {"properties": {"a": {"type": "number", "x-mcp-header": "A"}}}
        scene = Scene(server)
        scene.say(modern(1, "tools/list"))
        [answer] = scene.heard()
        self.assertEqual([tool["name"] for tool in answer["result"]["tools"]], ["add"])
        self.assertIn("x-mcp-header", scene.notes[-1])


class ListenTests(SynchronousTestCase):
    def test_subscriptions_pass_with_the_clients_id(self) -> None:
        server = ModernServer()
        scene = Scene(server)
        scene.say(LISTEN)
        server.tell(scene, "l", "notifications/tools/list_changed")
        told = scene.heard()
        self.assertEqual([each["method"] for each in told][1], "notifications/tools/list_changed")
        self.assertTrue(all(each["params"]["_meta"][f"{META}subscriptionId"] == "l" for each in told))
        scene.say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "l"}})
        self.assertEqual(len(scene.dropped), 1)

    def test_a_stream_that_broke_is_opened_again_without_a_word(self) -> None:
        server = ModernServer()
        scene = Scene(server)
        scene.say(LISTEN, modern(1, "tools/list"))
        scene.heard()
        server.is_down = True
        scene.fail(server.listeners["l"], CUT)
        scene.pass_time(5)
        server.is_down = False
        scene.pass_time(20)
        self.assertEqual(scene.heard(), [])
        server.tools["more"] = {}
        scene.finish(server.listeners["l"])
        scene.pass_time(2)
        [told] = scene.heard()
        self.assertEqual(told["method"], "notifications/tools/list_changed")
        self.assertEqual(told["params"]["_meta"], {f"{META}subscriptionId": "l"})
        scene.finish(server.listeners["l"])
        scene.pass_time(2)
        server.tell(scene, "l", "notifications/tools/list_changed")
        scene.event(server.listeners["l"], result("l", {"resultType": "complete"}))
        self.assertEqual([each.get("id") for each in scene.heard()], [None, "l"])

    def test_the_end_of_input_ends_it(self) -> None:
        scene = Scene(ModernServer())
        scene.say(LISTEN)
        scene.end()
        self.assertTrue(scene.done)


class EraTests(SynchronousTestCase):
    def test_an_older_server_is_told_at_once_and_the_client_falls_back(self) -> None:
        for server in (LegacyServer(), SseServer()):
            scene = Scene(server)
            scene.say(modern("probe", "server/discover"))
            [answer] = scene.heard()
            self.assertEqual((answer["id"], answer["error"]["code"]), ("probe", -32601))
            scene.say(HELLO, CONFIRMATION, request(1, "tools/list"))
            self.assertEqual([each["id"] for each in scene.heard()], [0, 1])

    def test_what_an_older_server_may_answer_is_never_32022(self) -> None:
        for body, status in (
            (error("p", -32600, "Bad Request: no session"), 400),
            (error(None, -32000, "Server not initialized"), 400),
            (error("p", -32601, "Method not found"), 200),
            (error("p", -32602, "Invalid request parameters"), 200),
            (b"<html>", 404),
            (None, 405),
            (None, 500),
            (None, 202),
        ):
            scene = Scene()
            scene.say(modern("p", "server/discover"))
            scene.answer(scene.ask(), body, status)
            [answer] = scene.heard()
            self.assertEqual((answer["id"], answer["error"]["code"]), ("p", -32601))

    def test_a_target_that_is_away_or_silent_is_no_reason_to_wait(self) -> None:
        server = LegacyServer()
        server.is_down = True
        scene = Scene(server)
        scene.say(modern("p", "server/discover"))
        self.assertEqual([each["error"]["code"] for each in scene.heard()], [-32601])
        scene = Scene()
        scene.say(modern("p", "server/discover"))
        scene.pass_time(3)
        self.assertEqual([each["error"]["code"] for each in scene.heard()], [-32601])

    def test_only_what_tells_the_era_is_remembered(self) -> None:
        for status, known in (
            (400, True),
            (200, True),
            (401, False),
            (403, False),
            (429, False),
            (500, False),
        ):
            memory = Memory()
            scene = Scene(remembered=memory)
            scene.say(modern("p", "server/discover"))
            scene.answer(scene.ask(), error("p", -32000, "no"), status)
            self.assertEqual([each["error"]["code"] for each in scene.heard()], [-32601])
            self.assertEqual(b"false" in memory.kept.values(), known, status)
            scene.say(modern(1, "tools/list"))
            self.assertEqual(len(scene.asks), 0 if known else 1)

    def test_what_is_known_is_answered_at_once(self) -> None:
        memory = Memory()
        server = ModernServer()
        scene = Scene(server, remembered=memory)
        scene.say(modern("p", "server/discover"), modern(1, "tools/list"))
        answers = scene.heard()
        server.is_down = True
        scene = Scene(server, remembered=memory)
        scene.say(modern("p", "server/discover"), modern(1, "tools/list"))
        self.assertEqual(scene.heard(), answers)

    def test_initialize_after_an_answered_discover_is_no_error(self) -> None:
        """Claude Code did that, and died of -32022."""
        scene = Scene(ModernServer())
        scene.say(modern("p", "server/discover"), HELLO, CONFIRMATION, request(1, "tools/list"), CALL)
        answers = {each["id"]: each for each in scene.heard()}
        self.assertEqual(answers[0]["result"]["protocolVersion"], "2025-11-25")
        self.assertEqual(set(answers), {"p", 0, 1, 7})
        self.assertNotIn("resultType", answers[1]["result"])
        self.assertIn("resultType", answers[7]["result"])

    def test_discover_after_initialize_is_answered(self) -> None:
        scene = Scene(ModernServer())
        scene.say(HELLO, CONFIRMATION, modern("p", "server/discover"))
        self.assertEqual([each["id"] for each in scene.heard()], [0, "p"])

    def test_a_filtered_tool_is_unknown_here_too(self) -> None:
        server = ModernServer()
        scene = Scene(server, ignore_tools=("add",))
        scene.say(modern(1, "tools/list"), CALL)
        listed, called = scene.heard()
        self.assertEqual(listed["result"]["tools"], [])
        self.assertEqual(called["error"]["code"], -32602)
        self.assertEqual(server.executions, [])
