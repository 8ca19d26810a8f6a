from __future__ import annotations

from typing import cast

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.errors import AlreadyRunning, StartError
from lanrelay.listeners.opening import make_ready
from lanrelay.listeners.service import ListenerService


class Fake:
    def __init__(self, name: str, done: list[str], **errors: StartError) -> None:
        self.name = name
        self.done = done
        self.errors = errors

    def load(self) -> None:
        self._step("load")

    def bind(self) -> None:
        self._step("bind")

    def _step(self, step: str) -> None:
        self.done.append(f"{step} {self.name}")
        if step in self.errors:
            raise self.errors[step]


class OpeningTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.done: list[str] = []

    def ready(self, **errors: dict[str, StartError]) -> list[StartError]:
        fakes = [Fake(name, self.done, **errors.get(name, {})) for name in ("a", "b")]
        return make_ready(cast("list[ListenerService]", fakes), ())

    def test_every_file_comes_before_the_first_port(self) -> None:
        self.assertEqual(self.ready(), [])
        self.assertEqual(self.done, ["load a", "load b", "bind a", "bind b"])

    def test_all_that_is_wrong_is_in_the_order_of_the_listeners(self) -> None:
        first, second, third = StartError("1"), StartError("2"), StartError("3")
        self.assertEqual(
            self.ready(a={"load": first, "bind": second}, b={"load": third}), [first, second, third]
        )

    def test_that_it_runs_already_is_all_there_is_to_say(self) -> None:
        running = AlreadyRunning("pid 1")
        self.assertEqual(self.ready(a={"load": StartError("x")}, b={"load": running}), [running])
        self.assertEqual(self.done, ["load a", "load b"])
