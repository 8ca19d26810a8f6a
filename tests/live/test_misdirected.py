"""Real servers that are asked by a wrong Host or without their TLS, and clients that ask a wrong listener."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from unittest import skipUnless

import httpx
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from tests.live.test_curl import curl
from tests.support.peers import PeerTestCase, free_ports
from tests.support.progress import PATIENCE
from tests.support.relay import Relay
from tests.support.servers import CHECKOUT, LAN_NAME, DjangoServer, McpServer, UvicornServer
from tests.support.tls import authority


class MisdirectedTestCase(PeerTestCase):
    def start(self, listeners: str) -> Relay:
        relay = Relay(f"admin: {{listen: '127.0.0.1:0'}}\nlisteners:\n{listeners}").start()
        self.addCleanup(relay.stop)
        self.relay = relay
        return relay

    def lead_to(self, upstream: str, more: str = "") -> Relay:
        """A relay with one reverse proxy."""
        return self.start(
            f"  web: {{type: reverse-proxy, listen: '127.0.0.1:0', upstream: {upstream}{more}}}\n"
            "  proxy: {type: connect-proxy, listen: '127.0.0.1:0', allow: loopback}\n"
        )

    def get(self, listener: str, path: str = "/", *, host: str = "localhost") -> httpx.Response:
        return httpx.get(
            f"http://{host}:{self.relay.port(listener)}{path}", trust_env=False, timeout=PATIENCE
        )

    def noticed(self) -> str:
        """What the status says of the one upstream."""
        [upstream] = self.get("admin", "/status.json").json()["upstreams"]
        return "" if upstream["noticed"] is None else " ".join(upstream["noticed"].values())

    def probe(self, listener: str) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-m",
            "lanrelay.cli.main",
            "probe",
            listener,
            "-c",
            str(self.relay.config),
            "--json",
        ]
        environ = {
            "PYTHONPATH": str(CHECKOUT),
            "XDG_RUNTIME_DIR": str(self.relay.folder),
            "PATH": "/usr/bin:/bin",
        }
        return subprocess.run(command, capture_output=True, text=True, env=environ, timeout=PATIENCE)


class HostTests(MisdirectedTestCase):
    def reload(self, old: str, new: str) -> None:
        config = self.relay.config.read_text()
        assert old in config
        self.relay.config.write_text(config.replace(old, new))
        self.relay.process.send_signal(signal.SIGHUP)
        self.relay.wait_for(r"(?s)SIGHUP: reading.*reloaded: ")

    def refused(self, host: str, remedy: str) -> None:
        answer = self.get("web", "/mcp")
        self.assertEqual((answer.status_code, answer.text), (421, "Invalid Host header"))
        self.relay.wait_for(rf'the Host "{host}": it answered 421\. {remedy}')
        self.assertIn(host, self.noticed())
        self.assertIn("does not let in the Host", self.get("admin").text)
        probed = self.probe("web")
        self.assertEqual(probed.returncode, 1, probed.stdout)
        self.assertIn('"host_refused"', probed.stdout)
        self.assertIn(f"refuses the Host {host} (421)", probed.stdout)

    def initialize(self) -> httpx.Response:
        hello = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "initialize",
            "params": {
                "protocolVersion": "2025-03-26",
                "capabilities": {},
                "clientInfo": {"name": "test", "version": "1"},
            },
        }
        url = f"http://localhost:{self.relay.port('web')}/mcp"
        headers = {"Accept": "application/json, text/event-stream"}
        return httpx.post(url, json=hello, headers=headers, trust_env=False, timeout=PATIENCE)

    def mended(self) -> None:
        self.assertNotIn(self.get("web", "/mcp").status_code, (403, 421))
        answer = self.initialize()
        self.assertEqual(answer.status_code, 200, answer.text)
        self.assertEqual(self.noticed(), "")

    def test_host_preserve_mends_what_an_mcp_server_refuses(self) -> Deferred[None]:
        server = McpServer(name="localhost").start()  # as the SDK has it by default
        self.addCleanup(server.stop)

        def run() -> None:
            self.lead_to(f"{{url: '{server.lan_url}', address: '{server.address}'}}", ", mcp: /mcp")
            self.refused(f"{LAN_NAME}:{server.port}", "Set `host: preserve`")
            self.reload("mcp: /mcp", "mcp: /mcp, host: preserve")
            self.mended()

        return deferToThread(run)

    def test_a_name_mends_what_is_refused_with_host_preserve(self) -> Deferred[None]:
        server = McpServer().start()
        self.addCleanup(server.stop)

        def run() -> None:
            self.lead_to(server.url, ", mcp: /mcp, host: preserve")
            port = self.relay.port("web")
            answer = self.get("web", "/mcp")
            self.assertEqual(answer.status_code, 421)
            self.relay.wait_for(
                rf'the Host "localhost:{port}": it answered 421\. Set `host` of this listener'
            )
            self.assertIn(f"localhost:{port}", self.noticed())
            self.reload("host: preserve", f"host: '{LAN_NAME}'")
            self.mended()

        return deferToThread(run)

    def test_another_host_is_tried_by_a_probe(self) -> Deferred[None]:
        server = DjangoServer().start()  # says no more than 400
        self.addCleanup(server.stop)

        def run() -> None:
            self.lead_to(server.url)
            self.assertEqual(self.get("web").status_code, 400)
            self.assertEqual(self.noticed(), "")
            probed = self.probe("web")
            self.assertEqual(probed.returncode, 1)
            [outcome] = json.loads(probed.stdout)["targets"]
            [refused] = [check for check in outcome["checks"] if check["cause"] == "host_refused"]
            self.assertIn("localhost", refused["facts"]["host_that_works"])
            self.assertIn("host: preserve", refused["remedy"])

        return deferToThread(run)


class SchemeTests(MisdirectedTestCase):
    def refused(self, listener: str) -> None:
        answer = self.get(listener)
        self.assertEqual(answer.status_code, 502)
        self.assertIn("speaks TLS on this port", answer.text)
        self.assertIn("Write `https://` for `http://`", answer.text)
        self.assertIn("`https://`", self.noticed())

    def test_uvicorn_with_tls_asked_without(self) -> Deferred[None]:
        server = UvicornServer(tls=authority().issue(LAN_NAME)).start()
        self.addCleanup(server.stop)

        def run() -> None:
            self.lead_to(f"http://{server.address}")
            for _ in range(2):
                self.refused("web")
            proxy = f"http://127.0.0.1:{self.relay.port('proxy')}"
            done = curl("-x", proxy, f"http://{server.address}/")
            self.assertIn(b"Write `https://` for `http://`", done.stdout)
            probed = self.probe("web")
            self.assertEqual(probed.returncode, 1)
            self.assertIn("speaks TLS", probed.stdout)

        return deferToThread(run)

    @skipUnless(shutil.which("openssl"), "openssl is not here")
    def test_openssl_s_server_asked_without_tls(self) -> Deferred[None]:
        issued = authority().issue(LAN_NAME)
        [port] = free_ports(1)
        self.program(
            [
                *("openssl", "s_server", "-www", "-quiet", "-accept", f"127.0.0.1:{port}"),
                *("-cert", str(issued.cert), "-key", str(issued.key)),
            ],
            [port],
        )

        def run() -> None:
            self.lead_to(f"http://127.0.0.1:{port}")
            self.refused("web")

        return deferToThread(run)

    def test_nginx_says_it_itself(self) -> Deferred[None]:
        issued = authority().issue(LAN_NAME)
        [port] = free_ports(1)
        self.nginx(
            f"server {{ listen 127.0.0.1:{port} ssl;"
            f" ssl_certificate {issued.cert}; ssl_certificate_key {issued.key}; }}",
            port,
        )

        def run() -> None:
            self.lead_to(f"http://127.0.0.1:{port}")
            answer = self.get("web")
            self.assertEqual(answer.status_code, 400)
            self.assertIn("sent to HTTPS port", answer.text)
            self.relay.wait_for(r"speaks TLS on this port.*Write `https://` for `http://`")
            self.assertIn("`https://`", self.noticed())

        return deferToThread(run)


@skipUnless(shutil.which("curl"), "curl is not here")
class ClientTests(MisdirectedTestCase):
    def test_clients_of_something_else(self) -> Deferred[None]:
        def run() -> None:
            relay = self.start(
                "  web: {type: reverse-proxy, listen: '127.0.0.1:0', upstream: 'http://127.0.0.1:9'}\n"
                "  proxy: {type: connect-proxy, listen: '127.0.0.1:0'}\n"
                "  socks: {type: socks-proxy, listen: '127.0.0.1:0'}\n"
            )
            for listener in ("web", "proxy"):
                curl("-k", f"https://127.0.0.1:{relay.port(listener)}/")
                relay.wait_for(
                    rf"\[access\] {listener} .* the client speaks TLS here.*`http://` for `https://`"
                )
            curl("-k", f"https://127.0.0.1:{relay.port('socks')}/")
            relay.wait_for(r"\[access\] socks .*the client speaks TLS")
            reverse = f"http://127.0.0.1:{relay.port('web')}"
            done = curl("-x", reverse, "http://nas.lan/")
            self.assertIn(b"a listener of the type connect-proxy", done.stdout)
            done = curl("-p", "-x", reverse, "http://nas.lan/")
            self.assertIn(b"405", done.stderr)

        return deferToThread(run)
