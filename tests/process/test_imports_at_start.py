"""What a start must not import: each costs 5 to 60 ms of the 250 that a start may take."""

from __future__ import annotations

import json
import subprocess

from twisted.trial.unittest import SynchronousTestCase

from tests.process.installs import CHECKOUT, checkout
from tests.process.support import Relay

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
    "http.server",
    "hypothesis",
    "importlib.metadata",
    "lanrelay.cli",
    "multiprocessing",
    "OpenSSL",
    "service_identity",
    "sqlite3",
    "twisted.conch",
    "twisted.internet.endpoints",
    "twisted.internet.ssl",
    "twisted.names",
    "twisted.protocols.tls",
    "twisted.web",
    "xml",
)


class ImportTests(SynchronousTestCase):
    def test_nothing_heavy_is_imported_before_it_listens(self) -> None:
        relay = Relay(self, CONFIGURATION)
        # Whoever runs twistd first has every plugin of Twisted imported for the cache that later runs read.
        subprocess.run([*checkout().twistd, "--help"], env=checkout().variables(), stdout=subprocess.DEVNULL)
        done = subprocess.run(
            [str(checkout().python), "-c", PROGRAM],
            cwd=relay.folder,
            env={**checkout().variables(), "PYTHONPATH": str(CHECKOUT)},
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
        (line,) = [line for line in done.stdout.splitlines() if line.startswith("MODULES ")]
        modules = set(json.loads(line.removeprefix("MODULES ")))
        self.assertIn("lanrelay.listeners.connect_proxy", modules)
        self.assertEqual([name for name in NOT_AT_START if name in modules], [], done.stderr)
