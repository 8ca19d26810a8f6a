"""Entries go back to what they were, whatever has happened to their files since."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.test_adopt import DEAD, AdoptCase, Run, answered


class UnadoptTests(AdoptCase):
    def adopted(self) -> tuple[Path, bytes]:
        path = self.home / ".cursor/mcp.json"
        path.parent.mkdir()
        document = {
            "mcpServers": {"a": {"command": "x"}, "nas": {"url": DEAD, "headers": {"K": "v"}}},
            "z": 1,
        }
        path.write_text(json.dumps(document, indent="\t"))
        before = path.read_bytes()
        run = Run("adopt", "--force", "--yes")
        self.assertEqual(run.status, 0, run.err)
        return path, before

    def recorded(self) -> int:
        return len(json.loads((self.state / "adopted.json").read_text())["adopted"])

    def test_the_very_bytes(self) -> None:
        path, before = self.adopted()
        run = Run("unadopt", "--yes")
        self.assertEqual((run.status, path.read_bytes()), (0, before), run.err)
        self.assertIn("has the very bytes of before", run.out)
        self.assertIn("lanrelay remove nas", run.out)
        self.assertEqual(self.recorded(), 0)
        self.assertIn("Nothing that was adopted", Run("unadopt", "--yes").out)

    def test_what_else_was_changed_stays(self) -> None:
        path, before = self.adopted()
        path.write_text(path.read_text().replace('"x"', '"y"').replace('"z": 1', '"z": 2'))
        run = Run("unadopt", "--yes")
        expected = before.decode().replace('"x"', '"y"').replace('"z": 1', '"z": 2')
        self.assertEqual((run.status, path.read_text()), (0, expected), run.err)
        self.assertIn("has its entries back", run.out)

    def test_a_file_that_its_client_has_laid_out_anew(self) -> None:
        path, before = self.adopted()
        path.write_text(json.dumps(json.loads(path.read_text())))
        run = Run("unadopt", "--yes")
        self.assertEqual((run.status, json.loads(path.read_text())), (0, json.loads(before)), run.err)

    def test_an_entry_that_was_changed_is_asked_about(self) -> None:
        path, before = self.adopted()
        path.write_text(path.read_text().replace('"v"', '"other"'))
        changed = path.read_bytes()
        run = Run("unadopt")
        self.assertEqual((run.status, path.read_bytes()), (1, changed))
        self.assertIn("was changed by somebody", run.err)
        self.assertEqual(self.recorded(), 1)
        run = Run("unadopt", "--yes")
        self.assertEqual((run.status, path.read_bytes()), (0, before), run.err)

    def test_an_entry_that_is_gone_is_forgotten(self) -> None:
        path, _ = self.adopted()
        path.write_text('{"mcpServers": {}}')
        run = Run("unadopt", "--yes")
        self.assertEqual((run.status, path.read_text()), (0, '{"mcpServers": {}}'))
        self.assertIn("nas is not there any more", run.err)
        self.assertEqual(self.recorded(), 0)

    def test_one_that_is_back_already(self) -> None:
        path, before = self.adopted()
        path.write_bytes(before)
        run = Run("unadopt")
        self.assertEqual((run.status, path.read_bytes()), (0, before), run.err)
        self.assertIn("is as it was already", run.err)

    def test_one_that_its_client_put_back_and_that_was_adopted_again(self) -> None:
        path, before = self.adopted()
        path.write_bytes(before)
        self.assertEqual(Run("adopt", "--force", "--yes").status, 0)
        self.assertEqual(self.recorded(), 1)
        run = Run("unadopt", "--yes")
        self.assertEqual((run.status, path.read_bytes()), (0, before), run.err)

    def test_a_listener_is_named_when_the_last_one_has_left_it(self) -> None:
        self.adopted()
        other = self.entry(name=".kiro/settings/mcp.json")
        self.assertEqual(Run("adopt", "--force", "--yes").status, 0)
        self.assertNotIn(DEAD, other.read_text())
        self.assertNotIn("lanrelay remove", Run("unadopt", "--yes", "--client", "cursor").out)
        self.assertIn("lanrelay remove nas", Run("unadopt", "--yes").out)

    def test_a_persons_own_listener_is_nobodys_to_remove(self) -> None:
        self.config.parent.mkdir(parents=True)
        upstream = "upstream: 'http://nas.invalid.internal:9'"
        self.config.write_text(f"listeners: {{mine: {{type: reverse-proxy, listen: 1234, {upstream}}}}}\n")
        path = self.entry()
        self.assertEqual(Run("adopt", "--force", "--yes").status, 0)
        self.assertIn("127.0.0.1:1234", path.read_text())
        self.assertNotIn("lanrelay remove", Run("unadopt", "--yes").out)

    def test_a_broken_file_is_left(self) -> None:
        path, _ = self.adopted()
        path.write_text("{")
        run = Run("unadopt", "--yes")
        self.assertEqual((run.status, path.read_text()), (1, "{"))
        self.assertIn("line 1, column 2", run.err)
        self.assertEqual(self.recorded(), 1)

    def test_a_file_that_is_gone_is_not_made(self) -> None:
        path, _ = self.adopted()
        path.unlink()
        self.assertEqual(Run("unadopt", "--yes").status, 1)
        self.assertFalse(path.exists())

    def test_a_dry_run_and_no_terminal_write_nothing(self) -> None:
        path, _ = self.adopted()
        changed = path.read_bytes()
        for words, status in ((["--dry-run"], 0), ([], 1)):
            run = Run("unadopt", *words)
            self.assertEqual((run.status, path.read_bytes()), (status, changed), words)
            self.assertIn("+++ ~/.cursor/mcp.json\n", run.out + run.err)
        self.assertEqual(self.recorded(), 1)

    def test_only_what_is_asked_for(self) -> None:
        path, _ = self.adopted()
        changed = path.read_bytes()
        for words in (["--client", "vscode"], ["--server", "other"]):
            run = Run("unadopt", "--yes", *words)
            self.assertEqual((run.status, path.read_bytes()), (0, changed))
        self.assertEqual(Run("unadopt", "--yes", "--client", "cursor", "--server", "nas").status, 0)
        self.assertNotEqual(path.read_bytes(), changed)

    def test_wrong_usage(self) -> None:
        self.assertEqual(Run("unadopt", "--client", "nope").status, 2)

    def test_a_record_that_is_something_else_is_left(self) -> None:
        self.adopted()
        record = self.state / "adopted.json"
        record.write_text("[]")
        run = Run("unadopt", "--yes")
        self.assertEqual((run.status, record.read_text()), (1, "[]"))
        self.assertIn("is not what lanrelay wrote", run.err)

    def test_a_person_at_the_terminal_is_asked(self) -> None:
        path, before = self.adopted()
        changed = path.read_bytes()
        self.assertEqual(answered(b"[y/N]", b"n\n", "unadopt"), 1)
        self.assertEqual(path.read_bytes(), changed)
        self.assertEqual(answered(b"[y/N]", b"y\n", "unadopt"), 0)
        self.assertEqual(path.read_bytes(), before)
