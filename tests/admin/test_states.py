from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.admin.states import listeners, overall
from tests.support.status_play import REFUSED, document


def mood(content: dict[str, Any]) -> tuple[str, str]:
    return tuple(overall(content, list(listeners(content))))  # type: ignore[return-value]


class OverallTests(SynchronousTestCase):
    def test_one_that_is_off_does_not_make_everything_red(self) -> None:
        self.assertEqual(mood(document(down=())), ("good", "All 5 reachable"))
        self.assertEqual(mood(document(down=(1,))), ("poor", "4 of 5 reachable"))
        self.assertEqual(mood(document(down=(0, 1, 3, 5, 6))), ("bad", "0 of 5 reachable"))

    def test_what_wants_a_look_is_amber(self) -> None:
        def failed(content: dict[str, Any]) -> None:
            content["last_reload"] = {"ok": False}

        def ends(content: dict[str, Any]) -> None:
            content["certificates"][0]["ends_soon"] = True

        def careless(content: dict[str, Any]) -> None:
            content["upstreams"][0]["insecure"] = True

        def noticed(content: dict[str, Any]) -> None:
            content["listeners"][0]["problem"] = {"sentence": "The Host is refused.", "remedy": "Set host."}

        def slow(content: dict[str, Any]) -> None:
            content["upstreams"][0]["minutes"][-1]["state"] = "slow"

        for change in (failed, ends, careless, noticed, slow):
            content = document(down=())
            change(content)
            self.assertEqual(mood(content)[0], "poor", change)

    def test_a_warning_of_the_configuration_is_no_alarm(self) -> None:
        self.assertEqual(mood({**document(down=()), "warnings": ["mind the gap"]})[0], "good")

    def test_one_that_does_not_listen_is_red(self) -> None:
        content = document(down=())
        content["listeners"][2]["listening"] = False
        self.assertEqual(mood(content)[0], "bad")
        content["listeners"][2]["draining"] = True
        self.assertEqual(mood(content)[0], "good")

    def test_before_anybody_has_looked_it_is_neither(self) -> None:
        content = document(2, down=())
        for one in content["upstreams"]:
            one.update(up=None, minutes=[])
        content["reachable"] = {"up": 0, "of": 2}
        self.assertEqual(mood(content), ("none", "0 of 2 reachable"))

    def test_an_older_document_does_not_count_for_us(self) -> None:
        content = document(3)
        del content["reachable"]
        self.assertEqual(mood(content), ("poor", "1 of 2 reachable"))
        content = document(0, down=())
        del content["reachable"]
        self.assertEqual(mood({**content, "ready": True}), ("good", "Ready"))


class ListenersTests(SynchronousTestCase):
    def test_each_has_what_belongs_to_it_and_the_page_itself_is_not_among_them(self) -> None:
        shown = list(listeners(document(7)))
        self.assertEqual([each.listener["kind"] for each in shown].count("admin"), 0)
        self.assertEqual(len(shown), 7)
        self.assertEqual([len(each.upstreams) for each in shown], [1, 1, 0, 1, 0, 1, 1])
        self.assertEqual([len(each.certificates) for each in shown], [1, 0, 0, 0, 0, 1, 0])

    def test_one_that_was_replaced_has_a_key_of_its_own_and_no_upstreams(self) -> None:
        content = document(1, down=())
        content["listeners"].append({**content["listeners"][0], "draining": True})
        first, second = listeners(content)
        self.assertNotEqual(first.key, second.key)
        self.assertEqual((len(first.upstreams), len(second.upstreams)), (1, 0))
        self.assertEqual(second.state, ("none", "ends with its connections"))

    def test_what_is_wrong_comes_from_the_upstreams_where_the_listener_does_not_say_it(self) -> None:
        content = document(2, down=(1,))
        for one in content["listeners"]:
            del one["problem"]
        well, ill = listeners(content)
        self.assertIsNone(well.problem)
        assert ill.problem is not None
        self.assertEqual((ill.problem["cause"], ill.problem["sentence"]), (REFUSED["error"], REFUSED["what"]))

    def test_one_that_nobody_checks_is_known_by_its_last_use(self) -> None:
        content = document(1, down=())
        (lead,) = content["upstreams"]
        lead.update(up=None, checked=False, minutes=[])
        self.assertEqual(next(listeners(content)).state, ("none", "not checked"))
        lead["last_error"] = REFUSED
        self.assertEqual(next(listeners(content)).state, ("poor", "not reached"))
