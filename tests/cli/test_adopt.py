"""Entries of clients are changed where no relay runs (C{--force}), and what is left alone."""

from __future__ import annotations

import fcntl
import json
import os
import re
import resource
import shutil
import stat
import subprocess
import sys
import termios
from functools import partial
from pathlib import Path
from typing import Any

from lanrelay.config.load import load
from lanrelay.config.model import ReverseProxy
from lanrelay.setup.configuration import port_for
from tests.cli.test_clients import HomeCase, apps
from tests.support.progress import PATIENCE
from tests.support.servers import CHECKOUT

# Of the system on which a command runs in a process of its own, whatever is played in this one.
APPS = apps(mac=os.uname().sysname == "Darwin")
DESKTOP = f"{APPS}/Claude/claude_desktop_config.json"

# Refused at once, as nobody on loopback listens there; a name, so that it is the LAN's by its form.
DEAD = "http://nas.invalid.internal:9/mcp"


class Run:
    """The command in a process of its own, for it runs a reactor to look at the servers."""

    def __init__(self, *words: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "lanrelay.cli.main", *words],
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.status, self.out, self.err = done.returncode, done.stdout, done.stderr


def answered(question: bytes, answer: bytes, *words: str) -> int:
    """The exit status of the command at a pseudo-terminal, where this is typed when it asks."""
    own, theirs = os.openpty()
    try:
        with subprocess.Popen(
            [sys.executable, "-m", "lanrelay.cli.main", *words],
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=partial(fcntl.ioctl, theirs, termios.TIOCSCTTY, 0),
        ) as process:
            os.close(theirs)
            seen = b""
            try:
                while question not in seen:
                    seen += os.read(own, 4096)
                os.write(own, answer)
                while os.read(own, 4096):
                    pass
            except OSError:  # it has ended
                pass
            return process.wait(PATIENCE)
    finally:
        os.close(own)


class AdoptCase(HomeCase):
    def setUp(self) -> None:
        super().setUp()
        self.config = self.home / ".config/lanrelay/relay.yaml"
        self.state = self.home / ".local/state/lanrelay"

    def entry(self, url: str = DEAD, name: str = ".cursor/mcp.json") -> Path:
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'{{"mcpServers": {{"nas": {{"url": "{url}"}}}}}}')
        return path

    def backups(self) -> list[bytes]:
        return sorted(path.read_bytes() for path in (self.state / "backups").glob("*"))


class ForcedTests(AdoptCase):
    def test_file_listener_backup_and_record(self) -> None:
        path = self.entry()
        before = path.read_bytes()
        path.chmod(0o640)
        run = Run("adopt", "--force", "--yes")
        self.assertEqual(run.status, 0, run.err)
        port = port_for("http://nas.invalid.internal:9", ())
        self.assertEqual(
            path.read_text(), f'{{"mcpServers": {{"nas": {{"url": "http://127.0.0.1:{port}/mcp"}}}}}}'
        )
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o640)
        self.assertEqual(
            self.config.read_text(),
            f"listeners:\n  nas:\n    type: reverse-proxy\n    listen: localhost:{port}\n"
            "    upstream: http://nas.invalid.internal:9\n    mcp: /mcp\n",
        )
        self.assertEqual(stat.S_IMODE(self.config.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(self.config.parent.stat().st_mode), 0o700)
        self.assertEqual(self.backups(), [before])
        record = self.state / "adopted.json"
        self.assertEqual(stat.S_IMODE(record.stat().st_mode), 0o600)
        [adopted] = json.loads(record.read_text())["adopted"]
        self.assertEqual((adopted["client"], adopted["made"]), ("cursor", ["nas"]))
        self.assertIn("nas (Cursor) leads through the relay now", run.out)

    def test_files_that_travel_are_warned_of(self) -> None:
        (self.work / ".git").mkdir()
        self.entry(name="project/.cursor/mcp.json")
        synced = self.home / APPS / "Code/User/mcp.json"
        synced.parent.mkdir(parents=True)
        synced.write_text(f'{{"servers": {{"a": {{"url": "{DEAD}"}}}}}}')
        run = Run("adopt", "--force", "--dry-run")
        self.assertIn("~/project/.cursor/mcp.json lies in a git repository", run.err)
        self.assertIn("Code/User/mcp.json may be", run.err)

    def test_a_person_at_the_terminal_is_asked(self) -> None:
        path = self.entry()
        before = path.read_bytes()
        for answer, status in ((b"\x03", 130), (b"n\n", 1), (b"\x04", 1)):
            self.assertEqual(answered(b"[y/N]", answer, "adopt", "--force"), status, answer)
            self.assertEqual(path.read_bytes(), before)
            self.assertFalse(self.config.exists())
        self.assertEqual(answered(b"[y/N]", b"y\n", "adopt", "--force"), 0)
        self.assertNotEqual(path.read_bytes(), before)

    def test_a_second_time_there_is_nothing_to_do(self) -> None:
        path = self.entry()
        Run("adopt", "--force", "--yes")
        before = path.read_bytes(), self.config.read_bytes()
        run = Run("adopt", "--force", "--yes")
        self.assertEqual((run.status, run.out.splitlines()[0][:8]), (0, "No entry"))
        self.assertEqual((path.read_bytes(), self.config.read_bytes()), before)

    def test_one_listener_serves_an_origin_for_all_clients(self) -> None:
        self.entry()
        self.entry(DEAD.replace("/mcp", "/other?a=b"), ".lmstudio/mcp.json")
        self.entry("http://other.invalid.internal:9/", ".kiro/settings/mcp.json")
        run = Run("adopt", "--force", "--yes")
        self.assertEqual(run.status, 0, run.err)
        self.assertEqual([one.name for one in load(self.config).listeners], ["nas", "other"])
        [port] = set(re.findall(r"127.0.0.1:\d+", (self.home / ".cursor/mcp.json").read_text()))
        self.assertIn(f"{port}/other?a=b", (self.home / ".lmstudio/mcp.json").read_text())

    def test_the_configuration_keeps_its_own_bytes(self) -> None:
        self.config.parent.mkdir(parents=True)
        text = "# mine\r\nlisteners:\r\n  p: {type: connect-proxy, listen: 28080}  # curl\r\n"
        self.config.write_text(text, newline="")
        self.entry()
        self.assertEqual(Run("adopt", "--force", "--yes").status, 0)
        after = self.config.read_bytes().decode()
        self.assertTrue(after.startswith(text.rstrip("\r\n")))
        self.assertEqual(after.count("\n"), after.count("\r\n"))
        self.assertEqual(self.backups()[0], text.encode())

    def test_a_configuration_that_says_nothing_yet(self) -> None:
        self.config.parent.mkdir(parents=True)
        self.config.write_text("# to come\n")
        self.entry()
        run = Run("adopt", "--force", "--yes")
        self.assertEqual(run.status, 0, run.err)
        self.assertTrue(self.config.read_text().startswith("# to come\n\nlisteners:\n  nas:\n"))

    def test_a_symbolic_link_stays_one(self) -> None:
        real = self.entry(name="dotfiles/mcp.json")
        link = self.home / ".cursor/mcp.json"
        link.parent.mkdir()
        link.symlink_to(real)
        self.assertEqual(Run("adopt", "--force", "--yes").status, 0)
        self.assertTrue(link.is_symlink())
        self.assertIn("127.0.0.1", real.read_text())

    def test_every_example_comes_in_and_goes_out_again(self) -> None:
        kinds = {"02": "claude-desktop", "19": "vscode", "25": "continue", "28": "codex", "23": "cline"}
        for number, client in kinds.items():
            path = self.example(number, f"{number}.file")
            before = path.read_bytes()
            words = ["--file", str(path), "--format", client]
            run = Run("adopt", "--force", "--yes", *words)
            self.assertEqual(run.status, 0, run.err)
            self.assertNotEqual(path.read_bytes(), before, client)
            run = Run("unadopt", "--yes", "--client", client)
            self.assertEqual((run.status, path.read_bytes()), (0, before), run.err)

    def test_no_secret_is_shown(self) -> None:
        url = "http://nas.invalid.internal:9/private_0123456789abcdef0123/mcp?access_token=hunter2hunter2"
        path = self.entry(url)
        path.write_text(
            path.read_text().replace('"}}}', '", "headers": {"Authorization": "Bearer s3cr3ts3cr3t"}}}}')
        )
        run = Run("adopt", "--force", "--yes")
        self.assertEqual(run.status, 0, run.err)
        self.assertIn("/private_0123456789abcdef0123/mcp?access_token=hunter2hunter2", path.read_text())
        for secret in ("0123456789abcdef0123", "hunter2", "s3cr3t"):
            self.assertNotIn(secret, run.out + run.err)
            self.assertNotIn(secret, self.config.read_text())

    def test_a_switched_off_entry_is_adopted_by_its_name(self) -> None:
        path = self.entry()
        path.write_text(path.read_text().replace('"}}}', '", "disabled": true}}}'))
        self.assertEqual(Run("adopt", "--force", "--yes").status, 0)
        self.assertIn(DEAD, path.read_text())
        self.assertEqual(Run("adopt", "--force", "--yes", "--server", "nas").status, 0)
        self.assertNotIn(DEAD, path.read_text())

    def test_authorities_of_an_entry_are_the_listeners(self) -> None:
        authority = self.home / "ca.pem"
        authority.write_text("nobody reads it yet")
        path = self.home / DESKTOP
        path.parent.mkdir(parents=True)
        entry = {
            "command": "npx",
            "args": ["mcp-remote", "https://nas.invalid.internal/mcp", "--header", "X:${A}"],
            "env": {"NODE_EXTRA_CA_CERTS": "~/ca.pem", "A": "b"},
        }
        path.write_text(json.dumps({"mcpServers": {"nas": entry}}))
        run = Run("adopt", "--force", "--yes")
        self.assertEqual(run.status, 0, run.err)
        self.assertIn(f"ca: [system, {authority}]", self.config.read_text())
        self.assertEqual(json.loads(path.read_text())["mcpServers"]["nas"]["env"], {"A": "b"})

    def test_claude_desktop_starts_this_program_in_place_of_another_bridge(self) -> None:
        path = self.home / DESKTOP
        path.parent.mkdir(parents=True)
        entry = {"command": "npx", "args": ["-y", "mcp-remote", DEAD, "--allow-http"]}
        path.write_text(json.dumps({"mcpServers": {"nas": entry}}))
        run = Run("adopt", "--force", "--yes")
        self.assertEqual(run.status, 0, run.err)
        after = json.loads(path.read_text())["mcpServers"]["nas"]
        port = port_for("http://nas.invalid.internal:9", ())
        self.assertTrue(os.path.isabs(after["command"]))
        self.assertEqual(os.path.basename(after["command"]), "lanrelay")
        self.assertEqual(after["args"], ["stdio", f"http://127.0.0.1:{port}/mcp"])

    def test_the_bridge_stays_where_only_the_url_is_to_change(self) -> None:
        path = self.home / DESKTOP
        path.parent.mkdir(parents=True)
        entry = {"command": "npx", "args": ["-y", "mcp-remote", DEAD, "--allow-http"]}
        path.write_text(json.dumps({"mcpServers": {"nas": entry}}))
        self.assertEqual(Run("adopt", "--force", "--yes", "--as", "url").status, 0)
        after = json.loads(path.read_text())["mcpServers"]["nas"]
        self.assertEqual((after["command"], after["args"][1]), ("npx", "mcp-remote"))

    def test_credentials_move_to_the_listener(self) -> None:
        path = self.entry()
        with_key = path.read_text().replace(
            '"}}}', '", "headers": {"X-A": "b", "Authorization": "Bearer s3cr3t"}}}}'
        )
        path.write_text(with_key)
        before = path.read_bytes()
        run = Run("adopt", "--force", "--yes", "--move-secrets")
        self.assertEqual(run.status, 0, run.err)
        self.assertNotIn("s3cr3t", run.out + run.err + path.read_text() + self.config.read_text())
        secret = self.config.parent / "secrets" / "nas-authorization"
        self.assertEqual((secret.read_text(), stat.S_IMODE(secret.stat().st_mode)), ("Bearer s3cr3t", 0o600))
        self.assertEqual(stat.S_IMODE(secret.parent.stat().st_mode), 0o700)
        [listener] = load(self.config).listeners
        assert isinstance(listener, ReverseProxy)
        self.assertEqual(listener.routes[0].request_headers.set, (("Authorization", "Bearer s3cr3t"),))
        self.assertEqual(Run("unadopt", "--yes").status, 0)
        self.assertEqual(path.read_bytes(), before)

    def test_different_credentials_for_one_origin_stay(self) -> None:
        one = self.entry()
        other = self.entry(name=".kiro/settings/mcp.json")
        other.write_text(
            other.read_text().replace('"}}}', '", "headers": {"Authorization": "Bearer s3cr3t"}}}}')
        )
        before = one.read_bytes(), other.read_bytes()
        run = Run("adopt", "--force", "--yes", "--move-secrets")
        self.assertEqual((run.status, (one.read_bytes(), other.read_bytes())), (1, before))
        self.assertIn("different credentials", run.err)
        self.assertFalse(self.config.parent.exists())

    def test_a_credential_that_only_the_client_knows_stays(self) -> None:
        path = self.entry()
        path.write_text(
            path.read_text().replace('"}}}', '", "headers": {"Authorization": "${env:TOKEN}"}}}}')
        )
        run = Run("adopt", "--force", "--yes", "--move-secrets")
        self.assertEqual(run.status, 1)
        self.assertIn("only the client knows", run.err)
        self.assertIn(DEAD, path.read_text())

    def test_a_dry_run_moves_nothing(self) -> None:
        path = self.entry()
        path.write_text(
            path.read_text().replace('"}}}', '", "headers": {"Authorization": "Bearer s3cr3t"}}}}')
        )
        run = Run("adopt", "--force", "--dry-run", "--move-secrets")
        self.assertEqual(run.status, 0, run.err)
        self.assertNotIn("s3cr3t", run.out + run.err)
        self.assertFalse(self.config.parent.exists())

    def test_the_forward_proxy_for_programs(self) -> None:
        self.config.parent.mkdir(parents=True)
        self.config.write_text("listeners: {p: {type: connect-proxy, listen: 28080}}\n")
        path = self.example("12", DESKTOP)
        self.assertEqual(Run("adopt", "--force", "--yes").status, 0)
        self.assertNotIn("HTTP_PROXY", path.read_text())
        run = Run("adopt", "--force", "--yes", "--as", "proxy", "--server", "ollama")
        self.assertEqual(run.status, 0, run.err)
        servers = json.loads(path.read_text())["mcpServers"]
        self.assertEqual(servers["ollama"]["env"]["HTTP_PROXY"], "http://127.0.0.1:28080")
        self.assertNotIn("HTTP_PROXY", servers["proxmox"]["env"])
        self.assertEqual(Run("unadopt", "--yes").status, 0)
        self.assertNotIn("HTTP_PROXY", path.read_text())


class BrokenOffTests(AdoptCase):
    """The old file or the new one is there, never half of one."""

    def start(self, *words: str, **more: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "lanrelay.cli.main", *words],
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **more,
        )

    def test_killed_in_the_middle(self) -> None:
        path = self.entry()
        before = path.read_bytes()
        for place in (self.config, self.state / "backups", self.state / "adopted.json"):
            process = self.start("adopt", "--force", "--yes")
            while not place.exists() and process.poll() is None:
                pass
            process.kill()
            process.communicate()
            left = path.read_bytes()
            self.assertEqual(len(json.loads(left)["mcpServers"]), 1)
            if self.config.exists():
                self.assertEqual([one.name for one in load(self.config).listeners], ["nas"])
        run = Run("adopt", "--force", "--yes")
        self.assertEqual(run.status, 0, run.err)
        self.assertNotEqual(path.read_bytes(), before)
        run = Run("unadopt", "--yes")
        self.assertEqual((run.status, path.read_bytes()), (0, before), run.err)

    def test_a_full_disk(self) -> None:
        path = self.entry()
        document = {**json.loads(path.read_text()), "padding": "x" * 100_000}
        path.write_text(json.dumps(document))
        before = path.read_bytes()
        limits = (50_000, 50_000)  # bytes of a file: enough for the configuration
        limited = partial(resource.setrlimit, resource.RLIMIT_FSIZE, limits)
        with self.start("adopt", "--force", "--yes", preexec_fn=limited) as process:
            _, errors = process.communicate(timeout=PATIENCE)
        self.assertEqual((process.returncode, path.read_bytes()), (1, before), errors)
        self.assertIn("cannot be kept in ~/.local/state/lanrelay/backups: File too large", errors)
        self.assertFalse(self.config.exists())
        self.assertEqual(json.loads((self.state / "adopted.json").read_text())["adopted"], [])
        self.assertEqual(list(path.parent.iterdir()), [path])


class LeftAloneTests(AdoptCase):
    def unchanged(self, path: Path, *words: str, status: int = 1) -> Run:
        """Nothing is written anywhere."""
        before = path.read_bytes()
        run = Run("adopt", *words)
        self.assertEqual((run.status, path.read_bytes()), (status, before), run.err)
        self.assertFalse(self.config.exists())
        self.assertFalse(self.state.exists())
        return run

    def test_where_no_relay_runs(self) -> None:
        self.assertIn("lanrelay service install", self.unchanged(self.entry(), "--yes").err)

    def test_without_a_terminal_and_without_yes(self) -> None:
        self.assertIn("--yes", self.unchanged(self.entry(), "--force").err)

    def test_a_dry_run_shows_and_writes_nothing(self) -> None:
        path = self.entry()
        run = self.unchanged(path, "--force", "--dry-run", status=0)
        self.assertIn("+++ ~/.cursor/mcp.json\n", run.out)
        self.assertIn('+{"mcpServers": {"nas": {"url": "http://127.0.0.1:', run.out)
        self.assertIn("+listeners:", run.out)

    def test_a_broken_file_is_left_and_the_others_go_on(self) -> None:
        broken = self.example("91", DESKTOP)
        before = broken.read_bytes()
        path = self.entry()
        run = Run("adopt", "--force", "--yes")
        self.assertEqual((run.status, broken.read_bytes()), (1, before))
        self.assertIn("line 7, column 38", run.err)
        self.assertIn("127.0.0.1", path.read_text())

    def test_a_wrong_configuration_is_left(self) -> None:
        self.config.parent.mkdir(parents=True)
        self.config.write_text("listeners: {a: {type: nope}}\n")
        path = self.entry()
        before = path.read_bytes()
        run = Run("adopt", "--force", "--yes")
        self.assertEqual((run.status, path.read_bytes()), (1, before))
        self.assertIn("relay.yaml:1", run.err)

    def test_a_name_that_no_entry_has(self) -> None:
        self.assertIn("No entry is called x", self.unchanged(self.entry(), "--server", "x").err)

    def test_a_client_that_would_write_its_file_back_must_be_quit(self) -> None:
        path = self.entry(name=DESKTOP)
        entry = {"command": "npx", "args": ["mcp-remote", DEAD]}
        path.write_text(json.dumps({"mcpServers": {"nas": entry}}))
        program = self.home / "claude-desktop"
        shutil.copyfile(str(shutil.which("sleep")), program)
        program.chmod(0o755)
        process = subprocess.Popen([str(program), "600"])
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        run = self.unchanged(path, "--yes", "--force", "--dry-run", status=0)
        before = path.read_bytes()
        # --force is what lets it go on without a relay, too; so here is one by name only.
        run = Run("adopt", "--yes", "--force")
        self.assertEqual(run.status, 0, run.err)
        self.assertIn("lanrelay clients --client claude-desktop", run.err)
        self.assertNotEqual(path.read_bytes(), before)

    def test_a_read_only_folder(self) -> None:
        if os.geteuid() == 0:
            self.skipTest("root writes everywhere")
        path = self.entry()
        path.parent.chmod(0o500)
        self.addCleanup(path.parent.chmod, 0o700)
        before = path.read_bytes()
        run = Run("adopt", "--force", "--yes")
        self.assertEqual((run.status, path.read_bytes()), (1, before))
        self.assertFalse(self.config.exists())
