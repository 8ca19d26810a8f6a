"""The dialogue with servers of HTTP with sessions when they are away, or send elsewhere."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.bridge.scene import (
    CONFIRMATION,
    CUT,
    HELLO,
    JSON,
    REFUSED,
    LegacyServer,
    Memory,
    Scene,
    error,
    request,
)
from tests.bridge.test_dialogue_legacy import CALL, greeted


class AwayTests(SynchronousTestCase):
    def test_initialize_waits_for_the_target(self) -> None:
        server = LegacyServer()
        server.is_down = True
        scene = Scene(server)
        scene.say(HELLO)
        scene.pass_time(10)
        self.assertEqual(scene.heard(), [])
        server.is_down = False
        scene.pass_time(9)
        self.assertEqual([each["id"] for each in scene.heard()], [0])

    def test_initialize_is_answered_in_the_end(self) -> None:
        server = LegacyServer()
        server.is_down = True
        scene = Scene(server, hold=3)
        scene.say(HELLO)
        scene.pass_time(3)
        [answer] = scene.heard()
        self.assertEqual(answer["id"], 0)
        self.assertIn("refused the connection. Start the server.", answer["error"]["message"])

    def test_a_call_waits_five_seconds_and_is_made_once(self) -> None:
        scene, server = greeted()
        server.is_down = True
        scene.say(CALL)
        scene.pass_time(3)
        self.assertEqual(scene.heard(), [])
        server.is_down = False
        scene.pass_time(2)
        self.assertEqual([each["id"] for each in scene.heard()], [7])
        self.assertEqual(len(server.executions), 1)
        server.is_down = True
        scene.say({**CALL, "id": 8})
        scene.pass_time(5)
        [answer] = scene.heard()
        self.assertEqual(answer["result"]["content"][0]["text"], str(REFUSED))
        self.assertTrue(answer["result"]["isError"])
        scene.say(request(9, "prompts/get"))
        scene.pass_time(5)
        [answer] = scene.heard()
        self.assertEqual((answer["id"], answer["error"]["message"]), (9, str(REFUSED)))

    def test_a_call_that_was_cut_is_not_made_again(self) -> None:
        scene, _ = greeted()
        scene.server = None
        scene.say(CALL)
        scene.fail(scene.ask(rpc="tools/call"), CUT)
        [answer] = scene.heard()
        self.assertIn("may have run", answer["result"]["content"][0]["text"])

    def test_what_is_harmless_is_asked_again(self) -> None:
        scene, server = greeted()
        scene.server = None
        scene.say(request(1, "resources/read", {"uri": "a:b"}))
        scene.fail(scene.ask(rpc="resources/read"), CUT)
        scene.server = server
        scene.pass_time(1)
        self.assertEqual([each["id"] for each in scene.heard()], [1])

    def test_what_a_proxy_did_not_get_through_is_made_again(self) -> None:
        scene, server = greeted()
        scene.server = None
        scene.say(CALL)
        status: Any = (*JSON, ("Proxy-Status", 'lanrelay; error=connection_refused; details="x"'))
        scene.answer(scene.ask(), error(7, 1, "nas.lan refused the connection."), 502, status)
        self.assertEqual(scene.heard(), [])
        scene.server = server
        scene.pass_time(1)
        self.assertEqual([each["id"] for each in scene.heard()], [7])

    def test_a_server_that_says_no_is_not_waited_for(self) -> None:
        memory = Memory()
        greeted(remembered=memory)
        scene = Scene(remembered=memory)
        scene.say(HELLO, CONFIRMATION, CALL)
        self.assertEqual([each["id"] for each in scene.heard()], [0])
        scene.answer(scene.ask(), None, 401)
        [answer] = scene.heard()
        self.assertIn("wants a login", answer["result"]["content"][0]["text"])

    def test_a_login_page_is_named(self) -> None:
        scene, _ = greeted()
        scene.server = None
        scene.say(CALL)
        scene.answer(
            scene.ask(), b"<!DOCTYPE html><title>Sign in</title>", 200, (("Content-Type", "text/html"),)
        )
        [answer] = scene.heard()
        self.assertIn('a page of HTML instead of JSON, "Sign in"', answer["result"]["content"][0]["text"])

    def test_an_error_has_the_id_of_the_request(self) -> None:
        scene, _ = greeted()
        scene.server = None
        scene.say(CALL)
        scene.answer(scene.ask(), error(None, -32602, "bad"), 400)
        self.assertEqual(scene.heard(), [error(7, -32602, "bad")])
        scene.say(CALL)
        scene.answer(scene.ask(), None, 202)
        [answer] = scene.heard()
        self.assertEqual(answer["id"], 7)


class RedirectTests(SynchronousTestCase):
    def test_a_redirect_within_the_origin_is_followed(self) -> None:
        for location in ("/mcp/", "http://nas.lan:8000/mcp/", "mcp/"):
            scene = Scene(origin="http://nas.lan:8000", path="/mcp")
            scene.say(HELLO)
            scene.answer(scene.ask(), None, 307)
            self.assertEqual([each["id"] for each in scene.heard()], [0])
            scene.say(HELLO)
            ask = scene.ask()
            scene.head(ask, 307, (("Location", location),))
            scene.finish(ask)
            again = scene.ask()
            self.assertEqual((again.path, again.body, again.fields), ("/mcp/", ask.body, ask.fields))
            scene.server = LegacyServer()
            scene.server(scene, again)
            scene.say(CONFIRMATION, CALL)
            self.assertEqual([each["id"] for each in scene.heard()], [0, 7])
            self.assertEqual({each.path for each in scene.all_asks[2:]}, {"/mcp/"})

    def test_another_redirect_is_named(self) -> None:
        for location in (
            "https://nas.lan:8000/mcp/",
            "http://other/mcp",
            "//other/mcp",
            "javascript:x",
            "/a b",
        ):
            scene = Scene(origin="http://nas.lan:8000", path="/mcp")
            scene.say(HELLO)
            ask = scene.ask()
            scene.head(ask, 307, (("Location", location + "?token=secret"),))
            scene.finish(ask)
            [answer] = scene.heard()
            self.assertIn(f"It redirects to {location}.", answer["error"]["message"])
            self.assertNotIn("secret", str(scene.notes))

    def test_redirects_without_end_end(self) -> None:
        scene = Scene(origin="http://nas.lan:8000", path="/mcp")
        scene.say(HELLO)
        while scene.asks:
            ask = scene.ask()
            scene.head(ask, 302, (("Location", "/x"),))
            scene.finish(ask)
        self.assertLess(len(scene.all_asks), 10)
        self.assertEqual([each["id"] for each in scene.heard()], [0])
