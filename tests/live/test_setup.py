"""C{lanrelay setup}: from a client's entry that leads to the LAN to a tool call through the relay."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence

from lanrelay.cli.authority import Authority
from tests.cli.terminal import CommandTestCase, Done
from tests.support.networks import Namespace, namespaces
from tests.support.servers import McpServer

LAN = "10.99.0.5"

# Plays the part of systemctl: it runs what stands in the unit, and ends it.
SYSTEMCTL = """\
#!{python}
import os, shlex, signal, subprocess, sys
home = os.environ["HOME"]
unit = home + "/.config/systemd/user/lanrelay.service"
pid = home + "/service.pid"
if "restart" in sys.argv and os.path.exists(home + "/no-service"):
    sys.exit("Failed to connect to bus: No medium found")
if "restart" in sys.argv:
    [line] = [line for line in open(unit) if line.startswith("ExecStart=")]
    words = shlex.split(line.removeprefix("ExecStart="))
    null = subprocess.DEVNULL
    process = subprocess.Popen(words, cwd="/", stdin=null, stdout=null, stderr=null, start_new_session=True)
    open(pid, "w").write(str(process.pid))
elif "disable" in sys.argv and os.path.exists(pid):
    os.kill(int(open(pid).read()), signal.SIGTERM)
    os.remove(pid)
"""


class SetupTests(CommandTestCase):
    """
    The LAN is a network namespace of the test, in which the commands run, too.

    @ivar entry: the file of a client whose server is on the LAN, behind a CA of its own.
    """

    def setUp(self) -> None:
        super().setUp()
        lan: list[Namespace] = namespaces(self, "setup")  # type: ignore[arg-type]
        self.lan = lan[0]
        self.lan.ip(f"addr add {LAN}/32 dev lo")
        self.authority = Authority(self.home)
        self.server = McpServer(
            tls=self.authority.issue(LAN), name=LAN, host=LAN, within=self.lan.within
        ).start()
        self.addCleanup(self.server.stop)
        self.url = f"https://{LAN}:{self.server.port}/mcp"
        programs = self.home / "programs"
        programs.mkdir()
        (programs / "systemctl").write_text(SYSTEMCTL.format(python=sys.executable))
        (programs / "systemctl").chmod(0o755)
        self.environ["PATH"] = f"{programs}:{self.environ['PATH']}"
        self.environ["XDG_CONFIG_HOME"] = str(self.home / ".config")  # where units go; HOME is not asked
        (self.home / "run").mkdir(mode=0o700)
        self.addCleanup(self.end_service)
        self.entry = self.home / ".cursor" / "mcp.json"

    def end_service(self) -> None:
        pid = self.home / "service.pid"
        if pid.exists():
            os.kill(int(pid.read_text()), signal.SIGKILL)

    def write_entry(self, *urls: str) -> bytes:
        servers = {f"nas{number or ''}": {"url": url} for number, url in enumerate(urls)}
        self.entry.parent.mkdir()
        self.entry.write_text(json.dumps({"mcpServers": servers}, indent="\t"))
        return self.entry.read_bytes()

    def _line(self, arguments: Sequence[object]) -> list[str]:
        return [*self.lan.within, *super()._line(arguments)]

    # Root's own would be the unit of the whole machine.
    mode = ("--mode", "systemd-user")

    def set_up(self, *words: object) -> Done:
        return self.command("setup", *self.mode, *words)

    def works(self) -> None:
        """The entry leads to a relay that runs, and is all that has changed in its file."""
        url = json.loads(self.entry.read_text())["mcpServers"]["nas"]["url"]
        self.assertRegex(url, r"\Ahttp://127\.0\.0\.1:28\d\d\d/mcp\Z")
        listed = json.loads(self.command("clients", "--json").out)["clients"]
        self.assertEqual([(one["leads_to"], one["works"]) for one in listed], [("relay", True)])

    def all_is_as_before(self, entry: bytes) -> None:
        self.assertEqual(self.entry.read_bytes(), entry)
        self.assertFalse(self.file.exists())
        self.assertFalse((self.home / "service.pid").exists())

    # --- the whole way ---

    def test_two_questions_lead_from_nothing_to_a_tool_call(self) -> None:
        before = self.write_entry(self.url)
        done = self.at_terminal("setup", *self.mode, "--ca", self.authority.root, typed=["yes", "yes"])
        self.assertEqual(done.status, 0, done.err + done.out)
        self.works()
        self.assertIn("2 tools", done.out + done.err)
        # Its steps say neither what it says itself, nor what a relay that is not there did not do.
        for noise in ("was reloaded", "BEGIN CERTIFICATE", str(self.home / ".config" / "lanrelay")):
            self.assertNotIn(noise, done.err + done.out)
        self.assertEqual((done.err + done.out).count("lanrelay unadopt"), 1)
        self.assertIn("+++ ~/.config/lanrelay/relay.yaml\n", done.err)
        self.assertIn("lanrelay unadopt", done.err)
        again = self.set_up()
        self.assertEqual(again.status, 0, again.err)
        self.assertIn("leads through the relay already", again.out)
        self.undo(before)

    def undo(self, before: bytes) -> None:
        """By the commands that it names."""
        self.assertEqual(self.command("unadopt", "--yes").status, 0)
        self.assertEqual(self.entry.read_bytes(), before)
        self.assertEqual(self.command("service", "uninstall").status, 0)
        self.assertFalse((self.home / "service.pid").exists())

    def test_without_a_terminal_the_ca_must_be_proved(self) -> None:
        before = self.write_entry(self.url)
        done = self.set_up("--yes")
        self.assertEqual(done.status, 1)
        self.all_is_as_before(before)
        self.assertIn("--ca FILE", done.err)
        done = self.set_up("--yes", "--ca", self.authority.root)
        self.assertEqual(done.status, 0, done.err + done.out)
        self.works()

    def test_a_second_time_changes_nothing(self) -> None:
        self.write_entry(self.url)
        words = (self.url, "--yes", "--ca", self.authority.root)
        self.assertEqual(self.set_up(*words).status, 0)
        files = {path: path.read_bytes() for path in (self.entry, self.file)}
        done = self.set_up(*words)
        self.assertEqual(done.status, 0, done.err)
        self.assertIn("nothing was changed", done.out)
        self.assertEqual({path: path.read_bytes() for path in files}, files)

    def test_a_dry_run_shows_all_and_does_nothing(self) -> None:
        before = self.write_entry(self.url)
        done = self.set_up("--dry-run", "--ca", self.authority.root)
        self.assertEqual(done.status, 0, done.err)
        self.assertIn("service install", done.out)
        self.assertIn(self.url.removesuffix("/mcp"), done.out)
        self.assertIn("leads through the relay", done.out)
        self.assertNotIn("left alone", done.out + done.err)  # what is not trusted yet will be
        self.assertIn("the differences of all files are shown here", done.out)
        self.all_is_as_before(before)

    def test_a_url_that_no_client_names_ends_with_what_to_give_one(self) -> None:
        done = self.set_up(self.url, "--yes", "--ca", self.authority.root)
        self.assertEqual(done.status, 0, done.err + done.out)
        self.assertRegex(done.out, r"claude mcp add --transport http \S+ http://127\.0\.0\.1:28\d\d\d/mcp\n")
        self.assertIn("2 tools", done.out)
        self.assertFalse(self.entry.exists())

    # --- what goes wrong ---

    def test_a_question_that_is_not_answered_leaves_what_was_done_and_says_so(self) -> None:
        before = self.write_entry(self.url)
        refused = self.at_terminal("setup", *self.mode, "--ca", self.authority.root, typed=["no"])
        self.assertEqual(refused.status, 1)
        self.all_is_as_before(before)
        self.assertIn("Nothing was changed.", refused.err)
        for answer, status in (("no", 1), ("\x03", 130)):
            stopped: Done = self.at_terminal(
                "setup", *self.mode, "--ca", self.authority.root, typed=["yes", answer]
            )
            self.assertEqual(stopped.status, status, stopped.err)
            self.assertIn("In force so far: ", stopped.err)
            self.assertIn("lanrelay trust --remove", stopped.err)
            self.all_is_as_before(before)
            self.command("trust", "--remove", LAN, "--yes")

    def test_ctrl_c_at_the_first_question_changes_nothing(self) -> None:
        before = self.write_entry(self.url)
        done = self.at_terminal("setup", *self.mode, "--ca", self.authority.root, typed=["\x03"])
        self.assertEqual(done.status, 130)
        self.assertIn("Nothing was changed.", done.err)
        self.all_is_as_before(before)

    def test_a_server_that_is_down_is_left_out_and_the_others_go_on(self) -> None:
        self.write_entry(self.url, f"http://{LAN}:9/mcp")
        done = self.set_up("--yes", "--ca", self.authority.root)
        self.assertEqual(done.status, 1, done.err)
        servers = json.loads(self.entry.read_text())["mcpServers"]
        self.assertEqual(servers["nas1"]["url"], f"http://{LAN}:9/mcp")
        self.assertIn("127.0.0.1", servers["nas"]["url"])
        self.assertIn("left out", done.err)

    def test_a_service_that_does_not_start_stops_it_with_what_is_in_force(self) -> None:
        before = self.write_entry(self.url)
        (self.home / "no-service").touch()
        done = self.set_up("--yes", "--ca", self.authority.root)
        self.assertEqual(done.status, 1)
        self.assertEqual(self.entry.read_bytes(), before)
        self.assertIn("No medium found", done.err)
        self.assertIn("start the relay with `lanrelay run", done.err)
        self.assertIn("In force so far: ", done.err)
        self.assertIn("lanrelay service install", done.err)
        self.assertIn("The service is installed.", done.err)
        self.assertIn("  lanrelay service uninstall\n", done.err)
        (self.home / "no-service").unlink()
        done = self.set_up("--yes")
        self.assertEqual(done.status, 0, done.err + done.out)
        self.works()

    def test_a_file_that_cannot_be_written_stops_it(self) -> None:
        before = self.write_entry(self.url)
        self.file.parent.parent.mkdir()
        self.file.parent.write_text("a file in the place of the folder")
        done = self.set_up("--yes", "--ca", self.authority.root)
        self.assertEqual(done.status, 1)
        self.assertEqual(self.entry.read_bytes(), before)
        self.assertIn("~/.config/lanrelay/relay.yaml cannot be read: Not a directory", done.err)

    def test_without_a_service_it_says_how_the_relay_is_started(self) -> None:
        before = self.write_entry(self.url)
        done = self.set_up("--yes", "--no-service", "--ca", self.authority.root)
        self.assertEqual(done.status, 1)
        self.assertIn("lanrelay run", done.err)
        self.assertEqual(self.entry.read_bytes(), before)

    def test_by_sudo_it_says_that_it_is_the_wrong_user(self) -> None:
        before = self.write_entry(self.url)
        self.environ["SUDO_USER"] = "me"
        done = self.set_up("--yes")
        self.assertEqual(done.status, 1)
        self.assertIn("without sudo", done.err)
        self.all_is_as_before(before)

    def test_nothing_to_set_up_names_the_way_on(self) -> None:
        done = self.set_up()
        self.assertEqual(done.status, 1)
        self.assertIn("lanrelay setup https://", done.err)
        self.assertEqual(self.set_up("nonsense").status, 2)
