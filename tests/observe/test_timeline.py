from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.observe.timeline import LIMIT, Happening, Timeline


class TimelineTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.timeline = Timeline()

    def told(self) -> list[tuple[str, str, int]]:
        return [(one.kind, one.text, one.count) for one in self.timeline]

    def test_the_latest_are_last(self) -> None:
        self.timeline.note("started", "a", 1.0)
        self.timeline.note("down", "b", 2.0, listener="web", upstream="http://x")
        self.assertEqual(self.told(), [("started", "a", 1), ("down", "b", 1)])

    def test_a_flood_takes_one_line(self) -> None:
        self.timeline.note("started", "a", 0.0)
        for number in range(10_000):
            self.timeline.note("refused", f"client {number}", number / 10, listener="web")
            self.timeline.note("refused", f"client {number}", number / 10, listener="db")
        self.assertEqual(
            self.told(),
            [("started", "a", 1), ("refused", "client 9999", 10_000), ("refused", "client 9999", 10_000)],
        )
        (_, one, _) = self.timeline
        self.assertEqual((one.at, one.last), (0.0, 999.9))

    def test_what_comes_later_is_another(self) -> None:
        self.timeline.note("refused", "a", 0.0)
        self.timeline.note("refused", "b", 59.0)
        self.timeline.note("refused", "c", 119.0)
        self.timeline.note("refused", "d", 100.0)  # the clock was set back
        self.assertEqual([one[2] for one in self.told()], [2, 1, 1])

    def test_different_words_are_not_alike(self) -> None:
        self.timeline.note("reloaded", "a", 0.0, word="a")
        self.timeline.note("reloaded", "b", 1.0, word="b")
        self.assertEqual(len(self.timeline), 2)

    def test_it_does_not_grow(self) -> None:
        for number in range(3 * LIMIT):
            self.timeline.note("down", "x", float(number), upstream=f"http://{number}")
        self.assertEqual((len(self.timeline), len(self.timeline._latest)), (LIMIT, LIMIT))
        first = next(iter(self.timeline))
        self.assertEqual(first.upstream, f"http://{2 * LIMIT}")

    def test_observers_hear_of_each_once(self) -> None:
        heard: list[Happening] = []
        self.timeline.observers.append(heard.append)
        self.timeline.note("refused", "a", 0.0)
        self.timeline.note("refused", "b", 1.0)
        self.assertEqual([(one.number, one.count) for one in heard], [(1, 2), (1, 2)])
