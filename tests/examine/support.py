"""Examines real servers on the loopback, by names that the test gives them."""

from __future__ import annotations

import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import dedent
from typing import Any, get_args

from twisted.internet import reactor as _reactor

from lanrelay.commands import Output
from lanrelay.config import load, model
from lanrelay.examine.checks import Cause, Check, Examined, State, as_json, from_json
from lanrelay.examine.opener import Means
from lanrelay.examine.subject import subjects
from lanrelay.examine.target import examine_all
from lanrelay.upstream.resolve import Resolver
from tests.support.peers import PeerTestCase
from tests.support.progress import PATIENCE

reactor: Any = _reactor


class ExamineTestCase(PeerTestCase):
    """
    @ivar names: what the resolver knows; a number is an error of C{getaddrinfo}.
    """

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.names: dict[str, Sequence[str] | int] = {}

    def resolve(self, name: str, port: Any, **hints: Any) -> Any:
        """As C{socket.getaddrinfo}."""
        found = self.names.get(name, socket.EAI_NONAME)
        if isinstance(found, int):
            raise socket.gaierror(found, "said by the test")
        return [row for address in found for row in socket.getaddrinfo(address, 0, type=socket.SOCK_STREAM)]

    def means(self, **other: Any) -> Means:
        other.setdefault("platform", sys.platform)
        return Means(reactor=reactor, resolver=Resolver(reactor, getaddrinfo=self.resolve), **other)

    def config(self, text: str) -> model.Config:
        file = self.folder / "relay.yaml"
        file.write_text(dedent(text))
        return load.load(file)

    async def examine_all(
        self,
        word: str,
        text: str = "",
        *,
        timeout: float = PATIENCE,
        means: Means | None = None,
        place: Any = "here",
        **how: Any,
    ) -> list[Examined]:
        """
        What is found of C{word} with the configuration C{text}.

        Every examination in these tests is also what it is after a journey as JSON.
        """
        config = self.config(text) if text else None
        found = subjects(word, config, file=self.folder / "relay.yaml", **how)
        examined = await examine_all(means or self.means(), found, timeout=timeout, place=place)
        for one in examined:
            self.check_form(one)
        return examined

    async def examine(self, word: str, text: str = "", **how: Any) -> Examined:
        (examined,) = await self.examine_all(word, text, **how)
        return examined

    def check_form(self, examined: Examined) -> None:
        self.assertEqual(as_json(from_json(as_json(examined))), as_json(examined))
        for check in examined.checks:
            self.assertIn(check.state, get_args(State))
            self.assertIn(check.cause, (*get_args(Cause), None))
            self.assertTrue(check.said.endswith("."), check.said)
            self.assertTrue(check.said.isprintable())
            if check.state == "failed":
                self.assertTrue(check.remedy, check)

    def only(self, examined: Examined, layer: Any) -> Check:
        (check,) = examined.layer(layer)
        return check

    def states(self, examined: Examined) -> dict[str, str]:
        """Of each layer, the last check's."""
        return {check.layer: check.state for check in examined.checks}

    def assert_cause(self, examined: Examined, layer: Any, cause: str, *said: str) -> Check:
        """One check has failed, in that layer and for that cause; what depends on it was not looked at."""
        failed = [check for check in examined.checks if check.state == "failed"]
        self.assertEqual([(check.layer, check.cause) for check in failed], [(layer, cause)], examined)
        after = examined.checks[examined.checks.index(failed[0]) + 1 :]
        self.assertEqual({check.state for check in after} - {"skipped"}, set(), examined)
        for phrase in said:
            self.assertIn(phrase, failed[0].said)
        return failed[0]


class Said:
    """A runner that answers with what a real system has said; what it was not told is not there."""

    def __init__(self, answers: Mapping[tuple[str, ...], Output]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, words: Sequence[str]) -> Output:
        self.asked.append(tuple(words))
        return self.answers.get(tuple(words), Output(-1, errors=f"{words[0]} is not here"))
