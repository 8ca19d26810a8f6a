"""Where the clients' files are."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.clients.places import find, given
from lanrelay.clients.table import CLIENTS, named
from lanrelay.edit.formats.edit import FORMATS


class PlaceCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.home = Path(self.mktemp()).resolve()
        self.home.mkdir()

    def make(self, *names: str) -> None:
        for name in names:
            path = self.home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("{}")

    def found(self, folder: str = "", platform: str = "linux", **environment: str) -> list[str]:
        found = find(
            folder=self.home / folder,
            environment={"HOME": str(self.home), **environment},
            platform=platform,
        )
        return [f"{each.client.name} {each.path.relative_to(self.home)}" for each in found]


class FindTests(PlaceCase):
    def test_each_system_has_its_folders(self) -> None:
        self.make(
            "Library/Application Support/Claude/claude_desktop_config.json",
            ".config/Claude/claude_desktop_config.json",
            ".cursor/mcp.json",
        )
        mac = "claude-desktop Library/Application Support/Claude/claude_desktop_config.json"
        self.assertEqual(self.found(platform="darwin"), [mac, "cursor .cursor/mcp.json"])
        linux = "claude-desktop .config/Claude/claude_desktop_config.json"
        self.assertEqual(self.found(), [linux, "cursor .cursor/mcp.json"])

    def test_variables_move_a_folder(self) -> None:
        self.make("p/.git", "there/config.toml", ".codex/config.toml", "x/Code/User/mcp.json")
        self.assertEqual(
            self.found("p", CODEX_HOME=f"{self.home}/there", XDG_CONFIG_HOME=f"{self.home}/x"),
            ["codex there/config.toml", "vscode x/Code/User/mcp.json"],
        )

    def test_each_profile_has_a_file(self) -> None:
        self.make(".config/Code/User/mcp.json", ".config/Code/User/profiles/a1[b]/mcp.json")
        self.assertEqual(
            self.found(),
            ["vscode .config/Code/User/mcp.json", "vscode .config/Code/User/profiles/a1[b]/mcp.json"],
        )

    def test_a_projects_files_up_to_its_root(self) -> None:
        self.make(
            ".mcp.json", "p/.git/HEAD", "p/.mcp.json", "p/.vscode/mcp.json", "p/a/.cursor/mcp.json", "p/a/b/x"
        )
        self.assertEqual(
            self.found("p/a/b"),
            ["claude-code p/.mcp.json", "cursor p/a/.cursor/mcp.json", "vscode p/.vscode/mcp.json"],
        )
        self.assertEqual(self.found("p/a")[-1], "vscode p/.vscode/mcp.json")
        self.assertEqual(self.found(""), ["claude-code .mcp.json"])

    def test_a_file_that_two_ways_lead_to_is_one(self) -> None:
        self.make(".lmstudio/mcp.json")
        (self.home / ".cache/lm-studio").mkdir(parents=True)
        (self.home / ".cache/lm-studio/mcp.json").symlink_to(self.home / ".lmstudio/mcp.json")
        self.assertEqual(self.found(), ["lmstudio .lmstudio/mcp.json"])

    def test_nothing_is_made(self) -> None:
        self.assertEqual(self.found(), [])
        self.assertEqual(list(self.home.iterdir()), [])


class GivenTests(SynchronousTestCase):
    def test_the_client_is_known_by_the_files_name(self) -> None:
        for name, client in (
            ("claude_desktop_config.json", "claude-desktop"),
            ("cline_mcp_settings.json", "cline"),
            ("mcp.json", "file"),
        ):
            found = given(Path("/x") / name, None)
            self.assertEqual(found.client.name, client)
            self.assertFalse(found.files.kept)

    def test_the_format_of_a_file_of_nobody(self) -> None:
        for name, form in (("a.toml", "toml"), ("a.yml", "yaml"), ("a.json", "jsonc"), ("a", "jsonc")):
            self.assertIs(given(Path(name), None).format, FORMATS[form])
        self.assertIs(given(Path("a"), named("goose")).format, FORMATS["yaml"])


class TableTests(SynchronousTestCase):
    def test_names_are_lower_case_and_once_there(self) -> None:
        names = [client.name for client in CLIENTS]
        self.assertEqual(len(names), len(set(names)))
        self.assertEqual([name for name in names if name != name.lower() or " " in name], [])

    def test_every_row_can_be_read_and_edited(self) -> None:
        for client in CLIENTS:
            self.assertIn(client.form, FORMATS, client.name)
            self.assertTrue(client.files, client.name)
            for files in client.files:
                self.assertIn(files.form, ("", *FORMATS), client.name)
                self.assertEqual(bool(client.processes), any(each.kept for each in client.files))
            # The last line of `adopt` names those to restart.
            self.assertIn(client.called.split()[0], client.restart)
