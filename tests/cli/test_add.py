"""C{lanrelay add} and C{lanrelay remove} as processes, with real servers and a real relay."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import stat
import tempfile
from pathlib import Path

from lanrelay.cli.authority import Authority
from lanrelay.config import model
from lanrelay.config.load import load
from tests.cli.terminal import CommandTestCase, Done
from tests.support.peers import free_ports
from tests.support.progress import PATIENCE
from tests.support.relay import Relay
from tests.support.servers import HttpOrigin, McpServer
from tests.support.tls_origin import TlsOrigin

PROXY = "listeners:\n  lan-proxy:\n    type: connect-proxy   # for curl\n    listen: localhost:28998\n"


class AddTestCase(CommandTestCase):
    def mcp(self) -> McpServer:
        server = McpServer(name="localhost").start()
        self.addCleanup(server.stop)
        self.origin = f"http://localhost:{server.port}"
        return server

    def listener(self, name: str) -> model.Listener:
        return next(one for one in load(self.file).listeners if one.name == name)

    def port(self, done: Done) -> int:
        """Of the URL in the last line."""
        found = re.search(r":(\d+)(?:/\S*)?$", done.out.strip())
        assert found is not None, done
        return int(found[1])


class AddTests(AddTestCase):
    def test_what_is_refused_is_named_without_its_secrets(self) -> None:
        url = "https://user:pa55word@nas.lan/mcp?token=abc123xyz"
        for words in (("add",), ("trust",), ("setup",), ("doctor",), ("doctor", "--json"), ("run", "--to")):
            done = self.command(*words, url)
            self.assertNotIn("pa55word", done.out + done.err, words)
            self.assertNotIn("abc123xyz", done.out + done.err, words)
            self.assertIn("a URL without ", done.out + done.err, words)
        done = self.command("add", "https://nas.lan", "--set", "headers..Authorization=Bearer pa55word")
        self.assertEqual(done.status, 2)
        self.assertNotIn("pa55word", done.err)

    def test_an_mcp_endpoint_is_no_prefix_and_the_last_line_is_for_the_client(self) -> None:
        self.mcp()
        done = self.command("add", f"{self.origin}/mcp", "--yes")
        self.assertEqual(done.status, 0, done)
        port = self.port(done)
        self.assertIn(port, range(28100, 29000))
        self.assertEqual(done.out.splitlines()[-1], f"http://127.0.0.1:{port}/mcp")
        self.assertEqual(
            self.file.read_text(),
            "listeners:\n  localhost:\n    type: reverse-proxy\n"
            f"    listen: localhost:{port}\n    upstream: {self.origin}\n    mcp: /mcp\n",
        )
        self.assertEqual(stat.S_IMODE(self.file.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(self.file.parent.stat().st_mode), 0o700)
        self.assertIn("MCP of", done.err)
        # Once more, also by its origin alone, it is named, and nothing is written.
        before = self.file.read_bytes()
        for url in (f"{self.origin}/mcp", f"{self.origin}/"):
            done = self.command("add", url)
            self.assertEqual(done.status, 0, done)
            self.assertIn("The listener localhost leads to", done.out)
            self.assertEqual(done.out.splitlines()[-1], f"http://127.0.0.1:{port}/mcp")
        self.assertEqual(self.file.read_bytes(), before)

    def test_the_endpoint_is_found_where_only_the_host_was_named(self) -> None:
        self.mcp()
        done = self.command("add", self.origin, "--yes", "--name", "tools")
        self.assertEqual(done.out.splitlines()[-1], f"http://127.0.0.1:{self.port(done)}/mcp")
        listener = self.listener("tools")
        assert isinstance(listener, model.ReverseProxy)
        self.assertEqual(listener.mcp, "/mcp")

    def test_another_path_is_a_prefix(self) -> None:
        origin = HttpOrigin().start()
        self.addCleanup(origin.stop)
        done = self.command("add", f"{origin.url}/status", "--yes")
        self.assertEqual(done.status, 0, done)
        self.assertEqual(done.out.splitlines()[-1], f"http://127.0.0.1:{self.port(done)}/")
        self.assertIn(f"upstream: {origin.url}/status\n", self.file.read_text())

    def test_the_same_origin_has_the_same_port_and_a_taken_one_is_passed_over(self) -> None:
        origin = f"https://nas-{os.getpid()}.lan"  # for the same may run at the same time
        done = self.command("add", origin, "--no-probe", "--yes")
        port = self.port(done)
        self.file.unlink()
        self.assertEqual(self.port(self.command("add", f"{origin}/", "--no-probe", "--yes")), port)
        self.file.unlink()
        with socket.create_server(("127.0.0.1", port)):
            self.assertEqual(self.port(self.command("add", origin, "--no-probe", "--yes")), port + 1)

    def test_beside_others_every_byte_stays(self) -> None:
        self.write(PROXY)
        done = self.command("add", "tcp://db.lan:5432", "--no-probe", "--yes", "--listen", "localhost:28997")
        self.assertEqual(done.status, 0, done)
        self.assertEqual(done.out.splitlines()[-1], "127.0.0.1:28997")
        self.assertTrue(self.file.read_text().startswith(PROXY))
        self.assertEqual(self.backups(), [PROXY.encode()])
        self.assertIn("is kept as", done.err)
        again = self.command("add", "proxy")
        self.assertIn("The listener lan-proxy is a forward proxy already.", again.out)
        self.assertEqual(again.out.splitlines()[-1], "http://127.0.0.1:28998")

    def test_a_server_that_is_not_reached_is_asked_about(self) -> None:
        [port] = free_ports(1)
        url = f"http://localhost:{port}"
        done = self.command("add", url)
        self.assertEqual(done.status, 1, done)
        self.assertIn("FAILED", done.err)
        self.assertIn("--yes or --force", done.err)
        self.assertFalse(self.file.exists())
        done = self.at_terminal("add", url, typed=["n"])
        self.assertEqual(done.status, 1, done)
        self.assertFalse(self.file.exists())
        self.assertEqual(self.at_terminal("add", url, typed=["\x03"]).status, 130)
        self.assertFalse(self.file.exists())
        self.assertEqual(self.at_terminal("add", url, typed=["y"]).status, 0)
        self.file.unlink()
        self.assertEqual(self.command("add", url, "--force").status, 0)

    def test_what_was_trusted_for_the_host_is_in_force(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        authority = Authority(Path(folder.name), "Home CA")
        origin = TlsOrigin(authority.issue("localhost"))
        self.addCleanup(origin.stop)
        url = f"https://localhost:{origin.port}"
        done = self.command("add", url)
        self.assertEqual(done.status, 1)
        self.assertIn(f"lanrelay trust {url}", done.err)
        self.assertEqual(self.command("trust", url, "--ca", authority.root, "--yes").status, 0)
        done = self.command("add", url, "--yes")
        self.assertEqual(done.status, 0, done)
        self.assertIn(f"ca: [system, trust/localhost_{origin.port}.pem]", self.file.read_text())

    def test_any_key_can_be_set(self) -> None:
        (self.home / "root.crt").write_text("")
        done = self.command(
            *(
                "add",
                "https://nas.lan",
                "--no-probe",
                "--yes",
                "--name",
                "nas",
                "--address",
                "192.0.2.1:8443",
            ),
            *("--set", "tls.ca=root.crt", "--set", "hosts=[a.lan, b.lan]", "--set", "timeouts.response=5s"),
            *("--set", "headers.request.set.X-A=b", "--set", "via=http://proxy.lan:3128"),
        )
        self.assertEqual(done.status, 0, done)
        listener = self.listener("nas")
        assert isinstance(listener, model.ReverseProxy)
        (upstream,) = listener.routes[0].upstreams.members
        self.assertEqual(upstream.trust.ca, (self.home / "root.crt",))
        self.assertEqual(upstream.address, model.TargetAddress(host="192.0.2.1", port=8443))
        self.assertEqual(upstream.via, model.ParentProxy(scheme="http", host="proxy.lan", port=3128))
        self.assertEqual(listener.guard.hosts, ("a.lan", "b.lan"))
        self.assertEqual(listener.timeouts.response, 5.0)
        self.assertEqual(listener.routes[0].request_headers.set, (("X-A", "b"),))

    def test_what_is_wrong_writes_nothing(self) -> None:
        self.write(PROXY)
        for status, *arguments in (
            (2, "nas.lan"),
            (2, "ftp://nas.lan"),
            (2, "tcp://nas.lan"),
            (2, "https://user:secret@nas.lan"),
            (2, "https://nas.lan", "--name", "a b"),
            (2, "https://nas.lan", "--set", "x"),
            (1, "https://nas.lan", "--set", "hots=a"),
            (1, "https://nas.lan", "--name", "lan-proxy"),
            (1, "https://nas.lan", "--listen", "localhost:28998"),
        ):
            done = self.command("add", *arguments, "--no-probe", "--yes")
            self.assertEqual(done.status, status, done)
            self.assertEqual(self.file.read_text(), PROXY)
        self.assertEqual(self.command("add", "https://nas.lan", "--no-probe").status, 1)
        done = self.command("add", "https://nas.lan", "--no-probe", "--dry-run")
        self.assertEqual(done.status, 0, done)
        self.assertIn("+  nas:", done.out)
        self.assertEqual(self.file.read_text(), PROXY)

    def test_a_running_relay_takes_it_at_once_and_lets_it_go_again(self) -> None:
        origin = HttpOrigin().start()
        self.addCleanup(origin.stop)
        relay = Relay(PROXY.replace("28998", "0")).start()
        self.addCleanup(relay.stop)
        self.environ["XDG_RUNTIME_DIR"] = str(relay.folder)
        done = self.command("add", f"{origin.url}/", "-c", relay.config, "--yes", "--name", "web")
        self.assertEqual(done.status, 0, done)
        self.assertIn("The running relay was reloaded.", done.err)
        connection = http.client.HTTPConnection("127.0.0.1", self.port(done), timeout=PATIENCE)
        self.addCleanup(connection.close)
        connection.request("GET", "/counters")
        self.assertIn("requests", json.loads(connection.getresponse().read()))
        connection.close()
        before = relay.config.read_text()
        done = self.command("remove", "web", "-c", relay.config, "--yes")
        self.assertEqual(done.status, 0, done)
        self.assertNotEqual(relay.config.read_text(), before)
        self.assertRaises(OSError, socket.create_connection, ("127.0.0.1", int(connection.port)), 5)


class RemoveTests(AddTestCase):
    def test_what_came_goes_and_all_else_stays(self) -> None:
        self.write(PROXY)
        self.assertEqual(self.command("add", "https://nas.lan", "--no-probe", "--yes").status, 0)
        self.assertEqual(self.command("remove", "nas").status, 1)  # nobody can be asked
        done = self.at_terminal("remove", "nas", typed=["y"])
        self.assertEqual(done.status, 0, done)
        self.assertIn("-  nas:", done.err)
        self.assertEqual(self.file.read_text(), PROXY)

    def test_what_is_not_there(self) -> None:
        self.assertEqual(self.command("remove", "nas", "--yes").status, 1)
        self.write(PROXY)
        done = self.command("remove", "nas", "--yes")
        self.assertEqual(done.status, 1)
        self.assertIn("lan-proxy", done.err)

    def test_the_only_one_takes_its_file_along_where_that_says_nothing_else(self) -> None:
        self.write(f"log: {{level: warn}}\n{PROXY}")
        done = self.command("remove", "lan-proxy", "--yes")
        self.assertEqual(done.status, 1)
        self.assertIn("the only listener", done.err)
        self.write(PROXY)
        self.assertEqual(self.command("remove", "lan-proxy", "--yes").status, 0)
        self.assertFalse(self.file.exists())
        self.assertIn(PROXY.encode(), self.backups())
