"""What the documentation says can be pasted: configurations load, links lead somewhere, commands are real."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.cli.main import COMMANDS
from lanrelay.config.load import load
from tests.support.progress import PATIENCE

CHECKOUT = Path(__file__).resolve().parent.parent
PAGES = [CHECKOUT / "README.md", CHECKOUT / "NEWS.md", *sorted((CHECKOUT / "docs").glob("*.md"))]

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in _BLOCK.findall(page.read_text()) if kind == language]


class ConfigurationTests(SynchronousTestCase):
    def test_every_configuration_loads(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="lanrelay-docs-"))
        self.addCleanup(shutil.rmtree, folder)
        count = 0
        for page in PAGES:
            for text in blocks(page, "yaml"):
                file = folder / f"{page.stem}-{count}.yaml"
                file.write_text(text)
                load(file)  # raises with every complaint
                count += 1
        self.assertGreater(count, 8)

    def test_every_client_configuration_is_json(self) -> None:
        for page in PAGES:
            for text in blocks(page, "json"):
                json.loads(text)

    def test_there_is_no_block_without_its_end(self) -> None:
        for page in PAGES:
            self.assertEqual(page.read_text().count("\n```") % 2, 0, page.name)


class LinkTests(SynchronousTestCase):
    def test_every_link_to_a_file_leads_to_one(self) -> None:
        for page in PAGES:
            text = _BLOCK.sub("", page.read_text())
            for link in _LINK.findall(text):
                if link.startswith(("https://", "http://")):
                    continue
                path, _, anchor = link.partition("#")
                target = (page.parent / path).resolve() if path else page
                self.assertTrue(target.is_file(), f"{page.name}: {link}")
                if anchor:
                    self.assertIn(anchor, _anchors(target), f"{page.name}: {link}")


def _anchors(page: Path) -> set[str]:
    """The anchors that the headings of a page get."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


BAD = """\
listeners:
  home-mcp:
    type: reverse-proxy
    listen: localhost:28082
    upstream:
      url: https//mcp.home.example
      tls:
        ca: home-ca.crt
        verfy: false
  lan-proxy:
    type: connect-proxy
    listen: 0.0.0.0:28080
  nas-db:
    type: tcp-forward
    listen: localhost:5432
    upstream: tcp://nas.lan
    timeouts: {tunnel: 5 minutes}
"""


class CheckTests(SynchronousTestCase):
    def test_what_check_is_shown_to_say_it_says(self) -> None:
        page = CHECKOUT / "docs" / "commands.md"
        (shown,) = [text for text in blocks(page, "") if "$ lanrelay check" in text]
        folder = Path(tempfile.mkdtemp(prefix="lanrelay-docs-"))
        self.addCleanup(shutil.rmtree, folder)
        (folder / "bad.yaml").write_text(BAD)
        (folder / "conf").mkdir()
        shutil.copy(CHECKOUT / "conf" / "relay.yaml", folder / "conf")
        said = ""
        for line in shown.splitlines():
            if line.startswith("$ "):
                done = subprocess.run(
                    [sys.executable, "-m", "lanrelay.cli.main", *shlex.split(line)[2:]],
                    cwd=folder,
                    env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
                    capture_output=True,
                    text=True,
                    timeout=PATIENCE,
                )
                said += f"{line}\n{done.stderr}{done.stdout}"
        self.assertEqual(said, shown)


class ContentsTests(SynchronousTestCase):
    """Where a reader finds what there is."""

    def test_the_readme_is_short(self) -> None:
        self.assertLessEqual(len((CHECKOUT / "README.md").read_text().splitlines()), 120)

    def test_it_has_five_lines_for_each_kind_of_user(self) -> None:
        shown = blocks(CHECKOUT / "README.md", "yaml")
        self.assertEqual([len(text.splitlines()) for text in shown], [5, 5, 5])
        self.assertEqual(
            [re.findall("type: (.*)", text) for text in shown],
            [["reverse-proxy"], ["connect-proxy"], ["tcp-forward"]],
        )

    def test_the_index_leads_to_every_page(self) -> None:
        index = CHECKOUT / "docs" / "index.md"
        led_to = {link.partition("#")[0] for link in _LINK.findall(index.read_text())}
        pages = {page.name for page in PAGES if page.parent.name == "docs"} - {"index.md"}
        self.assertEqual(pages - led_to, set())

    def test_every_command_is_named(self) -> None:
        text = (CHECKOUT / "docs" / "commands.md").read_text()
        named = {
            word
            for line in text.splitlines()
            if line.startswith("| `")
            for word in re.findall(r"`([a-z]+)`", line.split("|")[1])
        }
        self.assertEqual(named, set(COMMANDS))


class CommandTests(SynchronousTestCase):
    """The two commands with which a newcomer begins; continuous integration runs the second as it stands."""

    def steps(self, last: str) -> list[list[str]]:
        found = [text for text in blocks(CHECKOUT / "README.md", "") if text.rstrip().endswith(last)]
        self.assertEqual(len(found), 1, last)
        return [shlex.split(step) for step in found[0].replace("\n", " ").split("&&")]

    def test_one_sets_up_and_runs_the_relay(self) -> None:
        check, *steps = self.steps("twistd -n lanrelay -c conf/relay.yaml")
        self.assertEqual(check[:2], ["python3", "-c"])
        self.assertEqual(
            steps,
            [
                ["python3", "-m", "venv", ".venv"],
                [".venv/bin/pip", "install", "--quiet", "."],
                [".venv/bin/twistd", "-n", "lanrelay", "-c", "conf/relay.yaml"],
            ],
        )

    def test_one_sets_up_and_runs_the_tests(self) -> None:
        check, *steps = self.steps(".venv/bin/trial tests")
        self.assertEqual(check[:2], ["python3", "-c"])
        self.assertEqual(
            steps,
            [
                ["python3", "-m", "venv", ".venv"],
                [".venv/bin/pip", "install", "--quiet", "-e", ".[dev]"],
                [".venv/bin/trial", "tests"],
            ],
        )

    def test_continuous_integration_runs_the_same(self) -> None:
        """The tests by room: L{tests.test_parts} sees that all of them are run so."""
        script = (CHECKOUT / ".ci" / "run").read_text()
        for step in ("-m venv .venv", ".venv/bin/pip install -e '.[dev]'", ".venv/bin/python .ci/parts.py"):
            self.assertIn(step, script)

    def test_an_older_python_gets_one_plain_sentence(self) -> None:
        code = self.steps(".venv/bin/trial tests")[0][2]
        self.assertIsNone(self.exit_of(code, (3, 10, 0)))
        self.assertIsNone(self.exit_of(code, (3, 13, 1)))
        self.assertEqual(
            self.exit_of(code, (3, 9, 6)), "lanrelay needs Python 3.10 or newer; this is Python 3.9.6"
        )

    def exit_of(self, code: str, version: tuple[int, ...]) -> object:
        """What C{sys.exit} is called with under another Python, C{None} for success."""

        class FakeSys:
            version_info = version

            @staticmethod
            def exit(status: object) -> None:
                raise SystemExit(status)

        FakeSys.version = ".".join(map(str, version)) + " (main)"  # type: ignore[attr-defined]
        try:
            exec(code.replace("import sys; ", ""), {"sys": FakeSys})
        except SystemExit as ended:
            return ended.code or None
        raise AssertionError("it does not end")
