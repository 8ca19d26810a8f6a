"""Clients that begin with initialize, in front of servers of 2026-07-28."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.bridge.scene import CONFIRMATION, CUT, HELLO, Json, Memory, Scene, request, result
from tests.bridge.servers import META, ModernServer

CALL = request(7, "tools/call", {"name": "add", "arguments": {"x": 1}})
ASK_NAME = {"method": "elicitation/create", "params": {"mode": "form", "message": "Who?"}}
ASK_PAGE = {"method": "elicitation/create", "params": {"mode": "url", "url": "https://nas.lan/"}}


def hello(**capabilities: Any) -> Json:
    return {**HELLO, "params": {**HELLO["params"], "capabilities": capabilities}}  # type: ignore[dict-item]


def greeted(server: ModernServer | None = None, **capabilities: Any) -> tuple[Scene, ModernServer]:
    server = server or ModernServer()
    scene = Scene(server)
    scene.say(hello(**capabilities), CONFIRMATION)
    scene.heard()
    server.seen.clear()
    return scene, server


class HandshakeTests(SynchronousTestCase):
    def test_initialize_is_answered_from_discover(self) -> None:
        for asked, told in (("2025-03-26", "2025-03-26"), ("1999-01-01", "2025-11-25")):
            scene = Scene(ModernServer())
            scene.say({**HELLO, "params": {**HELLO["params"], "protocolVersion": asked}})  # type: ignore[dict-item]
            self.assertEqual(
                scene.heard(),
                [
                    result(
                        0,
                        {
                            "protocolVersion": told,
                            "capabilities": {"tools": {"listChanged": True}, "resources": {}},
                            "serverInfo": {"name": "new", "version": "3"},
                            "instructions": "Be kind.",
                        },
                    )
                ],
            )

    def test_the_era_is_remembered(self) -> None:
        memory = Memory()
        scene = Scene(ModernServer(), remembered=memory)
        scene.say(HELLO)
        server = ModernServer()
        scene = Scene(server, remembered=memory)
        scene.say(HELLO)
        self.assertEqual([each["method"] for each in server.seen], ["server/discover"])

    def test_what_the_era_does_not_have_is_answered_here(self) -> None:
        scene, server = greeted()
        for method in ("ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"):
            scene.say(request(1, method, {"level": "debug", "uri": "a:b"}))
            self.assertEqual(scene.heard(), [result(1, {})])
        scene.say({"jsonrpc": "2.0", "method": "notifications/roots/list_changed"})
        self.assertEqual(
            [each["method"] for each in server.seen if each["method"] != "subscriptions/listen"], []
        )

    def test_each_request_says_what_the_server_wants_to_know(self) -> None:
        scene, server = greeted(roots={})
        scene.say(request(1, "logging/setLevel", {"level": "debug"}), CALL, request(2, "tools/list"))
        self.assertEqual([each["id"] for each in scene.heard()], [1, 7, 2])
        about = server.executions[0]["_meta"]
        self.assertEqual(about[f"{META}clientInfo"], {"name": "claude-ai", "version": "0.1.0"})
        self.assertEqual(about[f"{META}clientCapabilities"], {"roots": {}})
        self.assertEqual(about[f"{META}logLevel"], "debug")
        scene.say({**CALL, "params": {"name": "add", "_meta": {"progressToken": 1}}})
        self.assertEqual(server.executions[1]["_meta"]["progressToken"], 1)

    def test_arguments_are_mirrored(self) -> None:
        server = ModernServer()
        server.tools["add"] = {"properties": {"r": {"type": "string", "x-mcp-header": "R"}}}
        scene, _ = greeted(server)
        scene.say(request(1, "tools/call", {"name": "add", "arguments": {"r": "x"}}))
        [answer] = scene.heard()
        self.assertEqual(answer["result"]["content"][0]["text"], "done")

    def test_the_end_needs_no_farewell(self) -> None:
        scene, _ = greeted()
        scene.end()
        self.assertTrue(scene.done)


class ListenTests(SynchronousTestCase):
    def test_what_changes_is_told_as_the_older_eras_know_it(self) -> None:
        scene, server = greeted()
        [id] = server.listeners
        server.tell(scene, id, "notifications/tools/list_changed")
        self.assertEqual(
            scene.heard(), [{"jsonrpc": "2.0", "method": "notifications/tools/list_changed", "params": {}}]
        )
        scene.say(request(1, "resources/subscribe", {"uri": "a:b"}))
        wishes = server.seen[-1]["params"]["notifications"]
        self.assertEqual(wishes, {"toolsListChanged": True, "resourceSubscriptions": ["a:b"]})
        server.tell(scene, server.seen[-1]["id"], "notifications/resources/updated", {"uri": "a:b"})
        self.assertEqual(scene.heard()[-1]["params"], {"uri": "a:b"})

    def test_a_stream_that_broke_is_opened_again_and_the_lists_are_compared(self) -> None:
        scene, server = greeted()
        scene.say(request(1, "tools/list"))
        scene.heard()
        server.tools["more"] = {}
        [id] = server.listeners
        scene.fail(server.listeners[id], CUT)
        scene.pass_time(3)
        self.assertEqual([each["method"] for each in scene.heard()], ["notifications/tools/list_changed"])


class QuestionTests(SynchronousTestCase):
    def test_a_question_becomes_a_request_and_its_answer_part_of_the_call(self) -> None:
        scene, server = greeted(elicitation={}, roots={})
        state = {"requestState": "opaque\u2028\u00e9"}
        server.questions.append(
            {"inputRequests": {"who": ASK_NAME, "where": {"method": "roots/list"}}, **state}
        )
        scene.say(CALL)
        who, where = scene.heard()
        self.assertEqual((who["method"], who["params"]), (ASK_NAME["method"], ASK_NAME["params"]))
        self.assertEqual(where["method"], "roots/list")
        scene.say(result(where["id"], {"roots": []}))
        self.assertEqual(scene.heard(), [])
        scene.say(result(who["id"], {"action": "accept", "content": {"n": 1.5}}))
        self.assertEqual([each["id"] for each in scene.heard()], [7])
        first, second = [each for each in server.seen if each["method"] == "tools/call"]
        self.assertNotEqual(first["id"], second["id"])
        [ran] = server.executions
        self.assertEqual(ran["requestState"], "opaque\u2028\u00e9")
        self.assertEqual(ran["arguments"], {"x": 1})
        self.assertEqual(
            ran["inputResponses"],
            {"where": {"roots": []}, "who": {"action": "accept", "content": {"n": 1.5}}},
        )

    def test_a_second_round_has_only_what_it_was_asked(self) -> None:
        scene, server = greeted(elicitation={})
        server.questions += [
            {"inputRequests": {"a": ASK_NAME}, "requestState": "1"},
            {"inputRequests": {"b": ASK_NAME}},
        ]
        scene.say(CALL)
        for _ in range(2):
            [question] = scene.heard()
            scene.say(result(question["id"], {"action": "decline"}))
        [ran] = server.executions
        self.assertEqual(ran["inputResponses"], {"b": {"action": "decline"}})
        self.assertNotIn("requestState", ran)

    def test_a_state_alone_is_given_back(self) -> None:
        scene, server = greeted()
        server.questions += [{"requestState": "1"}, {"requestState": "2"}]
        scene.say(CALL)
        scene.pass_time(2)
        self.assertEqual([each["id"] for each in scene.heard()], [7])
        self.assertEqual(server.executions[0]["requestState"], "2")

    def test_what_the_client_cannot_answer_is_not_asked(self) -> None:
        for questions, capabilities in (
            ({"inputRequests": {"a": ASK_NAME}}, {}),
            ({"inputRequests": {"a": ASK_PAGE}}, {"elicitation": {}}),
            ({"inputRequests": {"a": {"method": "other"}}}, {"elicitation": {}}),
            ({"inputRequests": {str(n): ASK_NAME for n in range(9)}}, {"elicitation": {}}),
            ({"inputRequests": []}, {"elicitation": {}}),
            ({}, {"elicitation": {}}),
        ):
            scene, server = greeted(None, **capabilities)
            server.questions.append(questions)
            scene.say(CALL)
            [answer] = scene.heard()
            self.assertTrue(answer["result"]["isError"])
            self.assertEqual(answer["id"], 7)

    def test_there_is_an_end_of_rounds_and_of_patience(self) -> None:
        scene, server = greeted(elicitation={})
        server.questions += [{"requestState": "1"}] * 20
        scene.say(CALL)
        scene.pass_time(60)
        [answer] = scene.heard()
        self.assertIn("10 times", answer["result"]["content"][0]["text"])
        server.questions[:] = [{"inputRequests": {"a": ASK_NAME}}]
        scene.say(CALL)
        [question] = scene.heard()
        scene.pass_time(601)
        cancelled, answer = scene.heard()
        self.assertEqual(cancelled["params"]["requestId"], question["id"])
        self.assertTrue(answer["result"]["isError"])

    def test_an_error_of_the_client_ends_the_call(self) -> None:
        scene, server = greeted(elicitation={})
        server.questions.append({"inputRequests": {"a": ASK_NAME, "b": ASK_NAME}})
        scene.say(CALL)
        first, second = scene.heard()
        scene.say({"jsonrpc": "2.0", "id": first["id"], "error": {"code": -1, "message": "No."}})
        cancelled, answer = scene.heard()
        self.assertEqual(cancelled["params"]["requestId"], second["id"])
        self.assertIn("No.", answer["result"]["content"][0]["text"])
        self.assertEqual(server.executions, [])

    def test_cancelling_takes_the_questions_back(self) -> None:
        scene, server = greeted(elicitation={})
        server.questions.append({"inputRequests": {"a": ASK_NAME}})
        scene.say(CALL)
        [question] = scene.heard()
        scene.say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}})
        [cancelled] = scene.heard()
        self.assertEqual(cancelled["params"]["requestId"], question["id"])
        scene.say(result(question["id"], {"action": "accept"}))
        self.assertEqual(server.executions, [])
