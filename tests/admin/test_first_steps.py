from __future__ import annotations

import shlex
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.admin.first_steps import first_steps
from lanrelay.admin.status import status
from lanrelay.cli.completion import parser_of
from lanrelay.config import model
from lanrelay.config.load import examine, load
from tests.admin.support import WatchedTestCase
from tests.config.support import ConfigCase

SMALLEST = Path(__file__).parents[2] / "conf" / "relay.yaml"

HOST = """\
listeners:
  lan-proxy: {type: connect-proxy, listen: localhost:1}
  lan-host: {type: reverse-proxy, listen: localhost:2, upstream: 'https://nas.lan'}
"""


class StepTests(SynchronousTestCase):
    def test_a_first_run_has_three(self) -> None:
        steps = first_steps(load(SMALLEST))
        self.assertEqual(len(steps), 3)
        for step in steps:
            self.assertEqual(set(step), {"title", "text", "command"})

    def test_the_commands_are_real_and_name_the_file(self) -> None:
        path = Path("/home/me/my relay/relay.yaml")
        for listeners in (load(SMALLEST).listeners, ()):
            for step in first_steps(load(SMALLEST)._replace(path=path, listeners=listeners)):
                program, command, *words = shlex.split(step["command"])
                self.assertEqual(program, "lanrelay")
                parser = parser_of(command)
                assert parser is not None
                before = words[: words.index("--")] if "--" in words else words
                self.assertEqual(parser.parse_args(before).config, path)


class BegunTests(ConfigCase):
    def test_who_leads_to_a_server_has_begun(self) -> None:
        self.assertEqual(first_steps(self.load(HOST)), [])

    def test_a_listener_that_is_off_leads_nowhere(self) -> None:
        self.assertEqual(len(first_steps(self.load(HOST.replace("upstream:", "enabled: off, upstream:")))), 3)


class DocumentTests(WatchedTestCase):
    def test_the_document_has_them(self) -> None:
        self.watched.config = examine(SMALLEST).config
        self.assertEqual(status(self.watched)["first_steps"], first_steps(self.watched.config))

    def test_nothing_is_wrong_with_it(self) -> None:
        self.assertEqual([one.name for one in load(SMALLEST).listeners if one.enabled], ["lan-proxy"])
        self.assertIsInstance(load(SMALLEST).listeners[0], model.ConnectProxy)
