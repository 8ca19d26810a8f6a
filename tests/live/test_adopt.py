"""C{lanrelay adopt} with a relay that runs and servers that answer: from the LAN's URL to a list of tools."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from lanrelay.cli.authority import Authority
from tests.support.networks import namespaces
from tests.support.npm import installed
from tests.support.progress import PATIENCE
from tests.support.relay import Relay
from tests.support.servers import CHECKOUT, LoginServer, McpServer

LAN = "10.99.0.5"
NAME = "nas.invalid.internal"


class Command:
    """One run of C{lanrelay}."""

    def __init__(
        self, folder: Path, *words: str, within: Sequence[str] = (), runtime: Path | None = None
    ) -> None:
        environment = {
            "HOME": str(folder),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(CHECKOUT),
            "XDG_RUNTIME_DIR": str(runtime or folder),
        }
        done = subprocess.run(
            [*within, sys.executable, "-m", "lanrelay.cli.main", *words],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.status, self.out, self.err = done.returncode, done.stdout, done.stderr


class AdoptTests(TestCase):
    timeout = 240  # the first run installs mcp-remote

    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        self.authority = Authority(self.folder)

    def cursor(self, url: str, **more: Any) -> Path:
        path = self.folder / ".cursor" / "mcp.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"mcpServers": {"nas": {"url": url, **more}}}, indent="\t"))
        return path

    def relayed(self, port: int, *, trusted: bool = True) -> Relay:
        """A relay whose listener leads to C{https://NAME:port}, which is on this machine."""
        tls = f"tls: {{ca: {self.authority.root}}}" if trusted else ""
        relay = Relay(
            f"""
            listeners:
              nas:   # mine
                type: reverse-proxy
                listen: 127.0.0.1:{_free()}
                upstream:
                  url: https://{NAME}:{port}
                  address: 127.0.0.1:{port}
                  {tls}
                retry: {{for: 0s}}
            """
        ).start()
        self.addCleanup(relay.stop)
        return relay

    def server(self) -> McpServer:
        server = McpServer(tls=self.authority.issue(NAME), name=NAME).start()
        self.addCleanup(server.stop)
        return server

    def test_from_a_bridge_to_a_private_ca_to_a_list_of_tools(self) -> Deferred[None]:
        """
        Claude Desktop's entry names a server of the LAN and its CA. There is a listener more afterwards, and
        the entry's own command, started by the SDK's client, lists the server's tools through it.
        """
        [lan] = namespaces(self, "adopt")
        return deferToThread(self._whole_way, lan)

    def _whole_way(self, lan: Any) -> None:
        lan.ip(f"addr add {LAN}/32 dev lo")
        program = installed("mcp-remote", "0.15.1") / "dist" / "proxy.js"
        issued = self.authority.issue(LAN)
        server = McpServer(tls=issued, name=LAN, host=LAN, within=lan.within).start()
        self.addCleanup(server.stop)
        relay = Relay(
            "listeners:\n  p: {type: connect-proxy, listen: '127.0.0.1:0'}\n",
            within=lan.within,
            environ={"XDG_RUNTIME_DIR": str(self.folder)},
        ).start()
        self.addCleanup(relay.stop)
        path = self.folder / "claude_desktop_config.json"
        path.write_text(
            json.dumps(
                {
                    "mcpServers": {
                        "nas": {
                            "command": "node",
                            "args": [
                                str(program),
                                f"https://{LAN}:{server.port}/mcp",
                                "--transport",
                                "http-only",
                            ],
                            "env": {"NODE_EXTRA_CA_CERTS": str(self.authority.root)},
                        }
                    }
                },
                indent=2,
            )
        )
        before = path.read_bytes()
        words = ["-c", str(relay.config)]
        run = Command(self.folder, "adopt", *words, "--file", str(path), "--yes", within=lan.within)
        self.assertEqual(run.status, 0, run.err + relay.log)
        self.assertIn("lan-host answers with 2 tools.", run.out)
        entry = json.loads(path.read_text())["mcpServers"]["nas"]
        self.assertRegex(entry["args"][1], r"\Ahttp://127\.0\.0\.1:28\d\d\d/mcp\Z")
        self.assertEqual(entry["env"], {})
        self.assertEqual(asyncio.run(self._tools(entry, lan.within)), ["count", "echo"])
        listed = Command(self.folder, "clients", *words, "--json", "--file", str(path), within=lan.within)
        [found] = json.loads(listed.out)["clients"]
        self.assertEqual((found["leads_to"], found["listener"], found["works"]), ("relay", "10-99-0-5", True))
        run = Command(self.folder, "unadopt", *words, "--yes", within=lan.within)
        self.assertEqual((run.status, path.read_bytes()), (0, before), run.err)
        self.assertIn("lanrelay remove 10-99-0-5", run.out)

    async def _tools(self, entry: Any, within: Sequence[str]) -> list[str]:
        words = [*within, entry["command"], *entry["args"]]
        environment = {**entry["env"], "PATH": os.environ["PATH"], "MCP_REMOTE_CONFIG_DIR": str(self.folder)}
        with (self.folder / "bridge").open("w") as errors:
            started = StdioServerParameters(command=words[0], args=words[1:], env=environment)
            async with Client(
                stdio_client(started, errors), mode="legacy", read_timeout_seconds=30
            ) as client:
                return [tool.name for tool in (await client.list_tools()).tools]

    def test_a_url_by_the_listener_that_is_there(self) -> Deferred[None]:
        return deferToThread(self._existing)

    def _existing(self) -> None:
        server = self.server()
        relay = self.relayed(server.port)
        configured = relay.config.read_bytes()
        path = self.cursor(f"https://{NAME}:{server.port}/mcp", headers={"X-Mine": "a"})
        run = self.adopt(relay, "--yes")
        self.assertEqual(run.status, 0, run.err)
        self.assertIn("nas (Cursor): lan-host answers with 2 tools.", run.out)
        self.assertIn(f"http://127.0.0.1:{relay.port('nas')}/mcp", path.read_text())
        self.assertEqual(relay.config.read_bytes(), configured)
        relay.wait_for('"POST /mcp')

    def test_a_client_does_without_its_bridge(self) -> Deferred[None]:
        return deferToThread(self._native)

    def _native(self) -> None:
        server = self.server()
        relay = self.relayed(server.port)
        path = self.cursor("")
        words = ["-y", "mcp-remote", f"https://{NAME}:{server.port}/sse", "--header", "X-Mine:a"]
        entry = {"command": "npx", "args": [*words, "--transport", "sse-only"]}
        path.write_text(json.dumps({"mcpServers": {"nas": entry}}))
        run = self.adopt(relay, "--yes", "--as", "url")
        self.assertEqual(run.status, 0, run.err)
        self.assertIn("lan-host answers with 2 tools.", run.out)
        url = f"http://127.0.0.1:{relay.port('nas')}/sse"
        expected = {"url": url, "headers": {"X-Mine": "a"}}
        self.assertEqual(json.loads(path.read_text()), {"mcpServers": {"nas": expected}})

    def test_sse(self) -> Deferred[None]:
        return deferToThread(self._sse)

    def _sse(self) -> None:
        server = self.server()
        relay = self.relayed(server.port)
        path = self.cursor(f"https://{NAME}:{server.port}/sse", type="sse")
        run = self.adopt(relay, "--yes")
        self.assertEqual(run.status, 0, run.err)
        self.assertIn("lan-host answers with 2 tools.", run.out)
        self.assertIn(f"http://127.0.0.1:{relay.port('nas')}/sse", path.read_text())

    def test_a_server_that_is_down_is_left_alone(self) -> Deferred[None]:
        return deferToThread(self._down)

    def _down(self) -> None:
        port = _free()
        relay = self.relayed(port)
        path = self.cursor(f"https://{NAME}:{port}/mcp")
        self.unchanged(relay, path, "Nothing on this machine listens", "--yes")

    def test_an_unknown_authority_is_left_alone_with_the_command_that_mends_it(self) -> Deferred[None]:
        return deferToThread(self._untrusted)

    def _untrusted(self) -> None:
        server = self.server()
        relay = self.relayed(server.port, trusted=False)
        path = self.cursor(f"https://{NAME}:{server.port}/mcp")
        self.unchanged(relay, path, "lanrelay trust", "--yes")

    def test_a_login_would_be_lost_so_its_entry_is_left_alone(self) -> Deferred[None]:
        return deferToThread(self._login)

    def _login(self) -> None:
        server = LoginServer(tls=self.authority.issue(NAME), name=NAME).start()
        self.addCleanup(server.stop)
        relay = self.relayed(server.port)
        path = self.cursor(f"https://{NAME}:{server.port}/mcp")
        self.unchanged(relay, path, "oauth", "--yes")

    def test_a_client_that_runs_must_be_quit(self) -> Deferred[None]:
        return deferToThread(self._running)

    def _running(self) -> None:
        server = self.server()
        relay = self.relayed(server.port)
        path = self.folder / ".claude.json"
        entry = {"type": "http", "url": f"https://{NAME}:{server.port}/mcp"}
        path.write_text(json.dumps({"projects": {"/x": {"mcpServers": {"nas": entry}}}}))
        program = self.folder / "claude"
        shutil.copyfile(str(shutil.which("sleep")), program)
        program.chmod(0o755)
        with subprocess.Popen([str(program), "600"]) as process:
            try:
                self.unchanged(relay, path, "Claude Code is running", "--yes", "--client", "claude-code")
            finally:
                process.kill()
        run = self.adopt(relay, "--yes", "--client", "claude-code")
        self.assertEqual(run.status, 0, run.err)
        self.assertNotIn(NAME, path.read_text())

    def adopt(self, relay: Relay, *words: str) -> Command:
        return Command(self.folder, "adopt", "-c", str(relay.config), *words, runtime=relay.folder)

    def unchanged(self, relay: Relay, path: Path, said: str, *words: str) -> None:
        configured, before = relay.config.read_bytes(), path.read_bytes()
        run = self.adopt(relay, *words)
        self.assertEqual((run.status, path.read_bytes()), (1, before), run.err)
        self.assertEqual(relay.config.read_bytes(), configured)
        self.assertRegex(run.err, re.escape(said))
        self.assertFalse((self.folder / ".local").exists())


def _free() -> int:
    from tests.support.peers import free_ports

    [port] = free_ports(1)
    return port
