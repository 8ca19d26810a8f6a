"""What a shell is told, and real shells that are told it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from lanrelay.cli import main
from lanrelay.cli.completion import FILES, candidates, parser_of
from tests.cli.test_check import Run
from tests.support.progress import PATIENCE

CHECKOUT = Path(__file__).parents[2]


def words(*typed: str) -> list[str]:
    return [one.word for one in candidates(typed)]


class CandidateTests(SynchronousTestCase):
    def test_commands(self) -> None:
        self.assertEqual(words(""), [*main.COMMANDS, "--help", "--version"])
        self.assertEqual(words("rel"), ["reload"])
        self.assertEqual(words("nonsense", ""), [])

    def test_every_command_has_a_parser_whose_options_are_offered(self) -> None:
        for name in main.COMMANDS:
            made = parser_of(name)
            assert made is not None, name
            long = {one for action in made._actions for one in action.option_strings if one.startswith("--")}
            self.assertEqual(set(words(name, "--")), long, name)

    def test_options_that_are_used_or_excluded_are_not_offered_again(self) -> None:
        self.assertIn("--watch", words("status", "--"))
        self.assertEqual(words("status", "--json", "--"), ["--help", "--config"])
        self.assertNotIn("--pin", words("run", "--ca", "x.pem", "--"))

    def test_actions_and_choices(self) -> None:
        self.assertEqual(words("service", ""), ["install", "status", "uninstall"])
        self.assertEqual(words("service", "install", "--mode", "agent"), ["agent", "agent-osascript"])
        self.assertEqual(words("service", "install", "--mode=log"), ["--mode=login-item"])
        self.assertEqual(words("service", "install", "--mode", "=", "log"), ["login-item"])
        self.assertEqual(words("completion", ""), ["bash", "zsh", "fish"])

    def test_files(self) -> None:
        self.assertEqual(words("check", "-c", ""), [FILES])
        self.assertEqual(words("run", "--to", "https://h", "--ca", "x"), [FILES])

    def test_listeners_are_those_of_the_configuration(self) -> None:
        file = str(CHECKOUT / "conf" / "relay.yaml")
        self.assertEqual(words("probe", "-c", file, "lan-h"), ["lan-host"])
        self.assertEqual(words("doctor", "--config", file, "x", "lan-p"), ["lan-proxy"])
        self.assertEqual(words("probe", "-c", "/nowhere", ""), [])

    def test_clients(self) -> None:
        self.assertEqual(words("adopt", "--client", "claude-d"), ["claude-desktop"])
        self.assertEqual(words("adopt", "--server", ""), [])


class HelpTests(SynchronousTestCase):
    def test_every_command_has_an_example_of_its_use(self) -> None:
        for name in main.COMMANDS:
            with mock.patch.dict(os.environ, {"COLUMNS": "80"}):
                run = Run(name, "--help")
            self.assertEqual(run.status, 0, name)
            _, found, examples = run.out.lower().partition("example")
            self.assertTrue(found, name)
            self.assertIn(f"lanrelay {name}", examples, name)
            self.assertLess(max(map(len, run.out.splitlines())), 80, name)

    def test_so_have_the_actions_of_a_command(self) -> None:
        for action in ("install", "status", "uninstall"):
            with mock.patch.dict(os.environ, {"COLUMNS": "80"}):
                said = Run("service", action, "--help").out
            self.assertIn(f"examples:\n  lanrelay service {action}", said)
            self.assertLess(max(map(len, said.splitlines())), 80, action)


class ShellTests(SynchronousTestCase):
    """Real shells, with the program on C{PATH}."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lanrelay-test-"))
        self.addCleanup(shutil.rmtree, self.folder)
        program = self.folder / "lanrelay"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m lanrelay.cli.main "$@"\n')
        program.chmod(0o755)

    def shell(self, name: str, *arguments: str) -> str:
        path = shutil.which(name)
        if path is None:
            raise SkipTest(f"{name} is not here")
        done = subprocess.run(
            [path, *arguments],
            cwd=self.folder,
            env={
                **os.environ,
                "PATH": f"{self.folder}:{os.environ['PATH']}",
                "PYTHONPATH": str(CHECKOUT),
                "HOME": str(self.folder),
            },
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            stdin=subprocess.DEVNULL,
        )
        self.assertEqual(done.stderr, "")
        return done.stdout

    def test_bash(self) -> None:
        program = """\
eval "$(lanrelay completion bash)"
complete() {
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
    _lanrelay lanrelay
    echo "${COMPREPLY[@]}"
}
complete lanrelay sta
complete lanrelay service install --mode = age
complete lanrelay service install --for
complete lanrelay check -c ""
"""
        said = self.shell("bash", "-c", program).splitlines()
        self.assertEqual(said, ["status", "agent agent-osascript", "--force", ""])

    def test_zsh(self) -> None:
        program = """\
autoload -U compinit && compinit -u
eval "$(lanrelay completion zsh)"
_describe() { print -rl -- "${(@P)2}" }
_files() { print files }
complete() { words=("$@"); CURRENT=$#; _lanrelay }
complete lanrelay sta
complete lanrelay service install --for
complete lanrelay check -c ""
"""
        said = self.shell("zsh", "-f", "-c", program).splitlines()
        self.assertEqual(
            said,
            [
                "status:show what the running relay is doing",
                "--force:overwrite files without keeping a copy",
                "files",
            ],
        )

    def test_fish(self) -> None:
        program = """\
lanrelay completion fish | source
complete -C "lanrelay sta"
complete -C "lanrelay service install --mode age"
complete -C "lanrelay check -c lanr"
"""
        said = self.shell("fish", "--no-config", "-c", program).splitlines()
        self.assertEqual(
            [line.partition("\t")[0] for line in said], ["status", "agent", "agent-osascript", "lanrelay"]
        )
