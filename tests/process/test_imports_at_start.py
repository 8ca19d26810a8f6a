"""What a start must not import: our own modules cost 0.3 to 3 ms each, those of others up to 60."""

from __future__ import annotations

import json
import subprocess

from twisted.trial.unittest import SynchronousTestCase

from tests.process.installs import CHECKOUT, checkout
from tests.process.support import Relay
from tests.support.progress import PATIENCE

# A relay with all kinds of listener, ready to serve, whose upstreams trust what the system trusts.
CONFIGURATION = """\
admin: {listen: "127.0.0.1:0"}
listeners:
  forward:
    type: tcp-forward
    listen: 127.0.0.1:0
    upstream: tls://192.0.2.1:5432
  web:
    type: reverse-proxy
    listen: 127.0.0.1:0
    upstream: https://192.0.2.1
  proxy:
    type: connect-proxy
    listen: 127.0.0.1:0
"""

FORWARD = """\
listeners:
  forward:
    type: tcp-forward
    listen: 127.0.0.1:0
    upstream: tcp://192.0.2.1:5432
"""

PROGRAM = """\
import json, sys
from twisted.internet.base import ReactorBase
def run(self, **keys):
    print("MODULES", json.dumps(sorted(sys.modules)), file=sys.__stdout__)
ReactorBase.run = run
sys.argv = ["twistd", "-n", "--pidfile=", "lanrelay", "-c", "relay.yaml"]
from twisted.scripts.twistd import run
run()
"""

# Twisted itself has these before we are asked: argparse and twisted.trial (its plugins' cache), asyncio
# (internet.defer), ctypes (python.win32), http.client, email and urllib (python.compat).
NOT_AT_START = (
    "bcrypt",
    "concurrent.futures.thread",
    "cryptography",
    "encodings.idna",
    "encodings.utf_8_sig",
    "hyperlink",
    "idna",
    "http.server",
    "hypothesis",
    "importlib.metadata",
    "lanrelay.admin.exposition",
    "lanrelay.admin.markup",
    "lanrelay.admin.page",
    "lanrelay.admin.probes",
    "lanrelay.admin.status",
    "lanrelay.cli",
    "lanrelay.config.secrets",
    "lanrelay.http.mcp_sessions",
    "lanrelay.listeners.socks_proxy",
    "lanrelay.observe.logfile",
    "lanrelay.policy.credentials",
    "lanrelay.reload.change",
    "lanrelay.reload.plan",
    "lanrelay.reload.watch",
    "lanrelay.trust.alerts",
    "lanrelay.transport.proxy_greeting",
    "lanrelay.trust.contexts",
    "lanrelay.transport.activation",
    "lanrelay.trust.keychain",
    "lanrelay.trust.pem",
    "lanrelay.trust.pins",
    "lanrelay.transport.records",
    "lanrelay.trust.system_roots",
    "lanrelay.transport.tls",
    "lanrelay.transport.tls_stream",
    "lanrelay.trust.verify",
    "lanrelay.upstream.inheritance",
    "lanrelay.upstream.probe",
    "lanrelay.wire.proxy_header",
    "lanrelay.wire.socks5",
    "multiprocessing",
    "OpenSSL",
    "service_identity",
    "sqlite3",
    "stringprep",
    "twisted.conch",
    "twisted.internet.endpoints",
    "twisted.internet.ssl",
    "twisted.names",
    "twisted.protocols.tls",
    "twisted.web",
    "xml",
)

# What a relay does without that only forwards a port.
NOT_FOR_A_FORWARD = (
    *NOT_AT_START,
    "lanrelay.admin.endpoints",
    "lanrelay.http.answers",
    "lanrelay.listeners.connect_proxy",
    "lanrelay.http.client",
    "lanrelay.listeners.reverse_proxy",
    "lanrelay.passage",
    "lanrelay.trust.trust",
    "lanrelay.upstream.health",
    "lanrelay.http.origin",
    "lanrelay.upstream.parent",
    "lanrelay.http.pool",
    "lanrelay.wire",
)


def interpreter_s_own() -> set[str]:
    """What Python itself has imported before any program runs: from 3.13 on more than before."""
    program = "import json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [str(checkout().python), "-c", program],
        env=checkout().variables(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    return set(json.loads(done.stdout)) - {"json"}


class ImportTests(SynchronousTestCase):
    def test_nothing_heavy_is_imported_before_it_listens(self) -> None:
        self.check(CONFIGURATION, "lanrelay.listeners.connect_proxy", NOT_AT_START)

    def test_a_port_forward_needs_no_http(self) -> None:
        self.check(FORWARD, "lanrelay.listeners.tcp_forward", NOT_FOR_A_FORWARD)

    def check(self, configuration: str, needed: str, unwanted: tuple[str, ...]) -> None:
        """Start a relay, and look at what it has imported when it is about to run."""
        relay = Relay(self, configuration)
        # Whoever runs twistd first has every plugin of Twisted imported for the cache that later runs read.
        subprocess.run([*checkout().twistd, "--help"], env=checkout().variables(), stdout=subprocess.DEVNULL)
        done = subprocess.run(
            [str(checkout().python), "-c", PROGRAM],
            cwd=relay.folder,
            env={**checkout().variables(), "PYTHONPATH": str(CHECKOUT)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            stdin=subprocess.DEVNULL,
        )
        (line,) = [line for line in done.stdout.splitlines() if line.startswith("MODULES ")]
        modules = set(json.loads(line.removeprefix("MODULES "))) - interpreter_s_own()
        self.assertIn(needed, modules)
        self.assertEqual([name for name in unwanted if name in modules], [], done.stderr)
