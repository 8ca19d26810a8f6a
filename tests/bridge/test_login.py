"""The login of C{lanrelay stdio}: real processes, HTTP, and a browser that is a program."""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qs, urlsplit

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.cli.authority import Authority as LocalAuthority
from tests.bridge.client import Client, text_of
from tests.bridge.scene import CONFIRMATION, HELLO
from tests.support.authority import Authority
from tests.support.peers import free_ports
from tests.support.progress import PATIENCE
from tests.support.relay import Relay
from tests.support.servers import LAN_NAME, LoginServer

T = TypeVar("T")

BROWSER = str(Path(__file__).parent.parent / "support" / "browser_program.py")


class RelayedTests(SynchronousTestCase):
    def test_the_official_sdks_authority_through_a_relay(self) -> None:
        """It knows itself by another URL, and the login page is a form."""
        folder = Path(self.mktemp()).resolve()
        folder.mkdir(parents=True)
        authority = LocalAuthority(folder)
        server = LoginServer(tls=authority.issue(LAN_NAME)).start()
        self.addCleanup(server.stop)
        upstream = f"{{url: {server.lan_url}, address: {server.address}, tls: {{ca: {authority.root}}}}}"
        relay = Relay(
            f"""
            listeners:
              nas: {{type: reverse-proxy, listen: 127.0.0.1:0, upstream: {upstream}}}
            """
        ).start()
        self.addCleanup(relay.stop)
        browser = shlex.join((sys.executable, BROWSER, str(folder)))
        client = Client([f"http://127.0.0.1:{relay.port('nas')}/mcp"], folder, BROWSER=browser)
        self.addCleanup(client.stop)
        client.greet()
        self.assertEqual(text_of(client.call(1, "resource")), f"{server.lan_url}/mcp")
        self.assertEqual(client.end(), 0)


class SecureTests(SynchronousTestCase):
    def test_the_authority_is_reached_by_the_trust_of_the_command_line(self) -> None:
        folder = Path(self.mktemp()).resolve()
        folder.mkdir(parents=True)
        local = LocalAuthority(folder)
        authority = Authority(local.issue("127.0.0.1"))
        self.addCleanup(authority.close)
        trusting = ("env", f"SSL_CERT_FILE={local.root}")
        browser = shlex.join((*trusting, sys.executable, BROWSER, str(folder)))
        client = Client([authority.url, "--ca", str(local.root)], folder, BROWSER=browser)
        self.addCleanup(client.stop)
        client.greet()
        self.assertEqual(text_of(client.call(1, "echo")), "done")
        self.assertEqual(client.end(), 0)
        self.assertEqual(authority.faults, [])
        other = Client([authority.url, "--hold", "1s", "--no-cache"], folder, BROWSER=browser)
        self.addCleanup(other.stop)
        other.say(HELLO)
        self.assertIn("authority", other.hear(id=0)["error"]["message"])


class LoginCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir(parents=True)
        self.authority = Authority()
        self.addCleanup(self.authority.close)
        self.started: list[Client] = []

    def client(self, *options: str) -> Client:
        browser = shlex.join((sys.executable, BROWSER, str(self.folder)))
        words = (self.authority.url, "--verbose", *options)
        client = Client(words, self.folder, BROWSER=f"{browser} %s")
        self.addCleanup(client.stop)
        self.started.append(client)
        return client

    @property
    def windows(self) -> list[str]:
        file = self.folder / "windows"
        return file.read_text().split() if file.exists() else []

    def until(self, look: Callable[[], T]) -> T:
        """What it finds at last."""
        until = time.monotonic() + PATIENCE
        while not (found := look()):
            self.assertLess(time.monotonic(), until)
            time.sleep(0.01)
        return found

    def page(self) -> str:
        """What the browser shows at last."""
        file = self.folder / "page"
        return self.until(lambda: file.exists() and file.read_text()) or ""

    def kept(self) -> Path:
        """The file of the tokens."""
        [found] = (self.folder / "state" / "lanrelay" / "logins").glob("*.json")
        return found

    def away(self, client: Client, id: int = 0) -> str:
        """Why there is no answer to C{initialize}."""
        client.say({**HELLO, "id": id})
        message: str = client.hear(id=id)["error"]["message"]
        return message

    def judge(self, *, windows: int) -> None:
        """Nobody did anything wrong, and nothing secret was said."""
        self.assertEqual(self.authority.faults, [])
        self.assertEqual(len(self.windows), windows)
        for client in self.started:
            for secret in self.authority.secrets_seen - {""}:
                self.assertNotIn(secret, client.log)


class LoginTests(LoginCase):
    def test_the_person_logs_in_once_and_the_call_is_made_once(self) -> None:
        client = self.client()
        self.assertEqual(client.greet()["result"]["serverInfo"]["name"], "authority")
        self.assertEqual(text_of(client.call(1, "echo")), "done")
        self.assertEqual(client.end(), 0)
        self.assertIn("You are logged in", self.page())
        self.assertEqual(self.authority.calls, ["echo"])
        [registration] = self.authority.registrations
        self.assertEqual(registration["token_endpoint_auth_method"], "none")
        self.assertIn("scope=tools", self.windows[0])
        self.judge(windows=1)

    def test_a_later_start_needs_no_login(self) -> None:
        first = self.client()
        first.greet()
        first.end()
        second = self.client()
        second.greet()
        second.call(1, "echo")
        second.end()
        self.assertEqual(len(self.authority.registrations), 1)
        self.judge(windows=1)

    def test_tokens_are_for_this_user_alone(self) -> None:
        client = self.client()
        client.greet()
        client.end()
        file = self.kept()
        self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(file.parent.stat().st_mode), 0o700)
        value = json.loads(file.read_text())
        self.assertEqual((value["target"], value["resource"]), (self.authority.url, self.authority.url))
        # Tokens that others can read may be others'.
        file.chmod(0o644)
        again = self.client("--no-cache")
        again.greet()
        again.end()
        self.judge(windows=2)

    def test_metadata_is_found_without_a_pointer_to_it(self) -> None:
        self.authority.points_to_metadata = False
        self.client().greet()
        self.judge(windows=1)

    def test_an_issuer_with_a_path_and_openids_place(self) -> None:
        for openid in (False, True):
            self.authority.tenant, self.authority.openid = f"/tenant{openid:d}", openid
            client = self.client("--no-cache")
            client.greet()
            client.end()
            self.kept().unlink()
        self.judge(windows=2)

    def test_a_server_that_names_no_resource_is_its_own_authority(self) -> None:
        self.authority.has_metadata = self.authority.points_to_metadata = False
        self.client().greet()
        self.judge(windows=1)

    def test_a_registered_client_with_a_secret(self) -> None:
        self.authority.registers = False
        [port] = free_ports(1)
        redirect = f"http://127.0.0.1:{port}/callback"
        self.authority.clients["me"] = {"redirect": redirect, "secret": "se cret"}
        browser = shlex.join((sys.executable, BROWSER, str(self.folder)))
        options = ("--client-id", "me", "--client-secret", "${SECRET}", "--callback-port", str(port))
        client = Client((self.authority.url, *options), self.folder, BROWSER=browser, SECRET="se cret")
        self.addCleanup(client.stop)
        self.started.append(client)
        client.greet()
        self.judge(windows=1)

    def test_without_a_browser_the_log_says_where_to_go(self) -> None:
        client = Client([self.authority.url], self.folder, BROWSER="/nowhere/browser")
        self.addCleanup(client.stop)
        self.started.append(client)
        client.say(HELLO)
        [url] = self.until(lambda: re.findall(r"Open this page.*?(http://\S+)", client.log))
        subprocess.run([sys.executable, BROWSER, str(self.folder), url], check=True, timeout=PATIENCE)
        client.hear(id=0)
        self.judge(windows=1)

    def test_two_copies_open_one_window(self) -> None:
        os.mkfifo(self.folder / "gate")
        one, other = self.client(), self.client()
        for client in (one, other):
            client.say(HELLO)
        (self.folder / "gate").write_text("go")
        for client in (one, other):
            client.hear(id=0)
            client.say(CONFIRMATION)
            self.assertEqual(text_of(client.call(1, "echo")), "done")
        self.judge(windows=1)

    def test_a_copy_that_is_killed_in_its_login_leaves_the_next_one_free(self) -> None:
        os.mkfifo(self.folder / "gate")
        killed = self.client()
        killed.say(HELLO)
        self.until(lambda: self.windows)
        killed.stop()
        (self.folder / "gate").write_text("go")  # to a port where nobody is any more
        (self.folder / "gate").unlink()
        client = self.client()
        client.greet()
        self.judge(windows=2)

    def test_who_does_not_know_the_state_is_no_login(self) -> None:
        os.mkfifo(self.folder / "gate")
        client = self.client()
        client.say(HELLO)
        self.until(lambda: self.windows)
        query = parse_qs(urlsplit(self.windows[0]).query)
        [redirect], [state] = query["redirect_uri"], query["state"]
        port = urlsplit(redirect).port
        for host, path, status in (
            (f"127.0.0.1:{port}", "/callback?state=other&code=evil", 400),
            (f"127.0.0.1:{port}", "/callback?code=evil", 400),
            (f"127.0.0.1:{port}", f"/callback?state={state}&state={state}&code=evil", 400),
            (f"127.0.0.1:{port}", "/", 404),
            ("evil.example", f"/callback?state={state}&code=evil", 421),
        ):
            connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            self.addCleanup(connection.close)
            connection.request("GET", path, headers={"Host": host})
            self.assertEqual(connection.getresponse().status, status)
        (self.folder / "gate").write_text("go")
        client.hear(id=0)
        self.judge(windows=1)

    def test_a_refused_login_is_told_and_no_second_window_opens(self) -> None:
        self.authority.refuses = True
        client = self.client("--hold", "3s")
        said = self.away(client)
        self.assertIn("The login was refused", said)
        self.assertIn("The login was refused", self.page())
        self.assertIn("The login was refused", self.away(client, 1))
        self.judge(windows=1)

    def test_a_server_without_a_login_is_told_from_one_with(self) -> None:
        self.authority.has_metadata = self.authority.points_to_metadata = False
        self.authority.tenant = "/nowhere"
        client = self.client("--hold", "1s")
        said = self.away(client)
        self.assertIn("does not say where", said)
        self.assertIn("--header", said)
        self.judge(windows=0)

    def test_no_login_is_none(self) -> None:
        client = self.client("--hold", "1s", "--no-login")
        self.assertIn("401", self.away(client))
        self.assertEqual({path for _, path in self.authority.asked}, {"/mcp"})
        self.judge(windows=0)

    def test_a_token_of_the_persons_own_is_left_alone(self) -> None:
        client = self.client("--hold", "1s", "--header", "Authorization: Bearer mine")
        self.assertIn("401", self.away(client))
        self.judge(windows=0)

    def test_an_answer_by_a_name_that_is_nearly_the_authoritys_is_refused(self) -> None:
        self.authority.says_iss = f"{self.authority.issuer}/"
        client = self.client("--hold", "3s")
        self.assertIn("Another authorization server", self.away(client))
        self.judge(windows=1)

    def test_the_answer_of_another_authority_is_refused(self) -> None:
        self.authority.says_iss = "https://evil.example"
        client = self.client("--hold", "3s")
        self.assertIn("Another authorization server", self.away(client))
        self.assertNotIn(("POST", "/token"), self.authority.asked)
        self.judge(windows=1)

    def test_metadata_of_another_resource_is_refused(self) -> None:
        self.authority.resource = "https://bank.example/mcp"
        client = self.client("--hold", "1s")
        self.assertIn("another address", self.away(client))
        self.judge(windows=0)

    def test_an_authority_without_pkce_is_refused(self) -> None:
        self.authority.methods = ["plain"]
        client = self.client("--hold", "1s")
        self.assertIn("PKCE", self.away(client))
        self.judge(windows=0)

    def test_a_token_that_the_server_does_not_take_opens_no_second_window(self) -> None:
        self.authority.takes_tokens = False
        client = self.client("--hold", "4s")
        self.assertIn("does not take the token", self.away(client))
        self.judge(windows=1)


class RefreshTests(LoginCase):
    def test_a_token_is_refreshed_before_its_end(self) -> None:
        first = self.client()
        first.greet()
        first.end()
        value = json.loads(self.kept().read_text())
        value["expires_at"] = time.time() + 30
        self.kept().write_text(json.dumps(value))
        refused = self.authority.refused
        second = self.client("--no-cache")
        second.greet()
        self.assertEqual(text_of(second.call(1, "echo")), "done")
        self.assertEqual(self.authority.grants, ["authorization_code", "refresh_token"])
        self.assertEqual(self.authority.refused, refused)
        self.judge(windows=1)

    def test_a_token_that_was_taken_back_is_refreshed_and_the_call_made_once(self) -> None:
        client = self.client()
        client.greet()
        self.authority.access.clear()
        self.assertEqual(text_of(client.call(1, "echo")), "done")
        self.assertEqual(self.authority.calls, ["echo"])
        self.assertEqual(self.authority.grants, ["authorization_code", "refresh_token"])
        self.judge(windows=1)

    def test_copies_that_refresh_at_once_lose_no_token(self) -> None:
        clients = [self.client() for _ in range(4)]
        for client in clients:
            client.greet()
        for _ in range(3):
            self.authority.access.clear()
            for client in clients:
                client.say({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "echo"}})
            for client in clients:
                self.assertEqual(text_of(client.hear(id=1)["result"]), "done")
        self.assertEqual(len(self.authority.calls), 12)
        self.judge(windows=1)

    def test_when_nothing_can_be_refreshed_the_person_is_asked_again(self) -> None:
        client = self.client()
        client.greet()
        self.authority.access.clear()
        self.authority.forget_refresh_tokens()
        client.call(1, "echo")  # told that a login is wanted, or done already
        self.assertEqual(text_of(client.call(2, "echo")), "done")
        self.assertEqual(len(self.authority.registrations), 1)
        self.judge(windows=2)

    def test_a_wider_scope_is_asked_for_with_the_old_one(self) -> None:
        client = self.client()
        client.greet()
        self.authority.wanted_scope = "write"
        client.call(1, "echo")
        self.assertEqual(text_of(client.call(2, "echo")), "done")
        self.assertIn("scope=tools+write", self.windows[1])
        self.judge(windows=2)

    def test_a_scope_that_is_never_granted_is_asked_for_once(self) -> None:
        client = self.client()
        client.greet()
        self.authority.wanted_scope, self.authority.grants_all = "write", False
        for id in range(1, 4):
            self.assertTrue(client.call(id, "echo")["isError"])
        self.assertIn("does not allow", text_of(client.call(4, "echo")))
        self.assertEqual(self.authority.calls, [])
        self.judge(windows=2)

    def test_tokens_that_cannot_be_kept_are_used_all_the_same(self) -> None:
        client = self.client()
        client.greet()
        # A folder is where the new file is to be written.
        self.kept().with_name(f"{self.kept().name}.{client.process.pid}").mkdir()
        self.authority.access.clear()
        self.assertEqual(text_of(client.call(1, "echo")), "done")
        self.assertIn("cannot be kept", client.log)
        self.judge(windows=1)
