"""What a client hears of a call about which the server says nothing for long."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.bridge.alive import EVERY, LONGEST
from tests.bridge.scene import CONFIRMATION, HELLO, REFUSED, STREAM, LegacyServer, Scene, request, result
from tests.bridge.servers import ModernServer, SseServer, modern
from tests.bridge.test_dialogue_legacy import greeted

CALL = request(7, "tools/call", {"name": "add", "arguments": {}, "_meta": {"progressToken": "räk"}})


def progress(scene: Scene) -> list[dict[str, Any]]:
    heard = scene.heard()
    assert all(each["method"] == "notifications/progress" for each in heard), heard
    return [each["params"] for each in heard]


class AliveTests(SynchronousTestCase):
    def waits(self, **server: Any) -> Scene:
        scene, _ = greeted(LegacyServer(**server))
        scene.server = None
        scene.say(CALL)
        return scene

    def test_a_silent_call_is_told_to_be_under_way_until_it_is_answered(self) -> None:
        scene = self.waits()
        scene.pass_time(EVERY * 40)
        told = progress(scene)
        self.assertEqual(len(told), 40)
        self.assertEqual({each["progressToken"] for each in told}, {"räk"})
        values = [each["progress"] for each in told]
        self.assertEqual(sorted(set(values)), values)
        self.assertLess(values[-1], 1)
        scene.answer(scene.ask(rpc="tools/call"), result(7, {"content": []}))
        scene.heard()
        scene.pass_time(EVERY * 40)
        self.assertEqual(scene.heard(), [])

    def test_what_the_server_says_itself_is_enough_and_goes_on_from_there(self) -> None:
        scene = self.waits()
        ask = scene.ask(rpc="tools/call")
        scene.head(ask, 200, STREAM)
        own = {"progressToken": "räk", "progress": 3, "total": 10.0, "message": "at 3"}
        for _ in range(5):
            scene.pass_time(EVERY - 1)
            note = {"jsonrpc": "2.0", "method": "notifications/progress", "params": own}
            scene.event(ask, note)
        self.assertEqual(progress(scene), [own] * 5)
        scene.pass_time(EVERY * 2)
        last = progress(scene)[-1]
        self.assertTrue(3 < last.pop("progress") < 3.1)
        self.assertEqual(last, {"progressToken": "räk", "total": 10.0, "message": "at 3"})

    def test_progress_from_which_nothing_can_go_on_does_not_spoil_what_is_told(self) -> None:
        for own in ("1e999", "-1e999", "9" * 400, '"nan"', '"inf"', '"2"', "[]", "null", "true"):
            scene = self.waits()
            ask = scene.ask(rpc="tools/call")
            scene.head(ask, 200, STREAM)
            params = f'{{"progressToken":"räk","progress":{own}}}'
            note = f'{{"jsonrpc":"2.0","method":"notifications/progress","params":{params}}}'
            scene.event(ask, note.encode())
            scene.heard()
            scene.pass_time(EVERY * 3)
            told = progress(scene)  # each is JSON
            self.assertEqual([each["progressToken"] for each in told], ["räk"] * 2, own)
            self.assertTrue(all(type(each["progress"]) is float for each in told), own)

    def test_without_a_token_there_is_nothing_to_tell(self) -> None:
        scene, _ = greeted()
        scene.server = None
        scene.say(request(7, "tools/call", {"name": "add"}), request(8, "prompts/get", {"name": "a"}))
        scene.pass_time(EVERY * 3)
        self.assertEqual(scene.heard(), [])

    def test_a_call_that_is_given_up_is_told_of_no_more(self) -> None:
        scene = self.waits()
        cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}}
        scene.say(cancel)
        scene.pass_time(EVERY * 3)
        self.assertEqual(scene.heard(), [])

    def test_a_server_that_hangs_for_hours_is_left_to_the_clients_patience(self) -> None:
        scene = self.waits()
        scene.pass_time(LONGEST * 2)
        self.assertEqual(len(progress(scene)), int(LONGEST / EVERY))

    def test_a_call_that_waits_for_a_target_that_is_away_is_not_under_way(self) -> None:
        scene, server = greeted(call_hold=1000.0)
        server.is_down = True
        scene.say(request(1, "resources/read", {"uri": "a"}), CALL)
        scene.pass_time(EVERY * 3)
        self.assertEqual(progress(scene), [])
        self.assertEqual(server.executions, [])
        self.assertIn(str(REFUSED), " ".join(scene.notes))

    def test_in_front_of_the_other_eras(self) -> None:
        scene = Scene(ModernServer())
        scene.say(modern("d", "server/discover"))
        scene.heard()
        scene.server = None
        meta = {"progressToken": 3}
        call = modern(7, "tools/call", {"name": "add", "arguments": {}})
        call["params"]["_meta"] |= meta
        scene.say(call)
        scene.pass_time(EVERY * 2)
        self.assertEqual([each["progressToken"] for each in progress(scene)], [3, 3])
        oldest = SseServer()
        oldest.silent.add("tools/call")
        scene = Scene(oldest)
        scene.say(HELLO, CONFIRMATION)
        scene.heard()
        scene.say(CALL)
        scene.pass_time(EVERY * 2)
        self.assertEqual([each["progressToken"] for each in progress(scene)], ["räk", "räk"])
