"""What the status page gives clients to copy, typed into a shell."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from typing import Any
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from tests.support.relay import Relay
from tests.support.servers import CHECKOUT, HttpOrigin
from tests.support.tls import authority
from tests.support.tls_origin import TlsOrigin
from tests.support.to_copy import fetched
from tests.support.to_copy import lines as to_copy


@skipUnless(shutil.which("curl"), "curl is not here")
class UsageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.origin = HttpOrigin(tls=authority().issue("lan-host.test")).start()
        self.addCleanup(self.origin.stop)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.admin = probe.getsockname()[1]
        # It leaves a close_notify unanswered. An answer that reaches curl before it has closed resets
        # the connection, which counts, rightly, as one that broke.
        self.silent = TlsOrigin(authority().issue("lan-host.test"))
        self.addCleanup(self.silent.stop)
        address = f"address: '{self.origin.address}'"
        trust = f"tls: {{ca: '{authority().root}'}}"
        command = json.dumps([sys.executable, "-m", "tests.support.mcp_lines_program"])
        self.relay = Relay(
            f"""
            admin: {{listen: "127.0.0.1:{self.admin}"}}
            listeners:
              web:
                type: reverse-proxy
                listen: 127.0.0.1:0
                upstream: {{url: "https://lan-host.test", {address}, {trust}}}
              through:
                type: tcp-forward
                listen: 127.0.0.1:0
                upstream: {{url: "tcp://lan-host.test:443", address: "127.0.0.1:{self.silent.port}"}}
              tools:
                type: exec
                listen: 127.0.0.1:0
                protocol: mcp-http
                command: {command}
                cwd: "{CHECKOUT}"
                env: {{PYTHONPATH: "{CHECKOUT}"}}
              proxy: {{type: connect-proxy, listen: "127.0.0.1:0", allow: [loopback]}}
              socks: {{type: socks-proxy, listen: "127.0.0.1:0", allow: [loopback]}}
            """
        ).start()
        self.addCleanup(self.relay.stop)

    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(fetched(self.admin, "/status.json"))
        return document

    def shell(self, line: str) -> str:
        environ = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(self.relay.folder)}
        done = subprocess.run(
            ["sh", "-c", line], env=environ, capture_output=True, text=True, timeout=60, check=False
        )
        self.assertEqual(done.returncode, 0, (line, done.stderr))
        return done.stdout

    def test_they_work_as_they_are(self) -> None:
        lines = to_copy(self.admin)
        page = self.shell(lines["web"]["curl"])
        self.assertTrue(page)
        passed = lines["through"]["curl"].replace("curl ", f"curl --cacert '{authority().root}' ", 1)
        self.assertEqual(self.shell(passed), "secret")
        self.assertIn('"serverInfo"', self.shell(lines["tools"]["curl"]))
        (known,) = (one["mcp_server"] for one in self.document()["listeners"] if one["name"] == "tools")
        shown = f"{known['server']} {known['version']}".strip()
        self.assertIn(f'<p class="aside">{shown} · ', fetched(self.admin, "/").decode())
        target = f"http://127.0.0.1:{self.relay.port('web')}/"
        for name in ("proxy", "socks"):
            asked = lines[name]["curl"].replace("https://nas.lan/", target)
            self.assertEqual(self.shell(asked), page)
            # Loopback goes without a proxy, unless one says so.
            everything = "unset no_proxy NO_PROXY"
            self.assertEqual(self.shell(f"{lines[name]['Shell']}\n{everything}\ncurl {target}"), page)
        script = self.shell(f"curl '{lines['proxy']['Browsers and systems']}'")
        self.assertIn("FindProxyForURL", script)
        counters = self.document()["counters"]
        self.assertEqual(
            {name: counters[name]["failed"] for name in lines if name in counters},
            dict.fromkeys(("web", "through", "tools", "proxy", "socks"), 0),
        )
        self.assertEqual((counters["proxy"]["sessions"], counters["socks"]["sessions"]), (3, 2))
