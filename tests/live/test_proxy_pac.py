"""The proxy auto-configuration file as a JavaScript engine understands it, and curl gets it."""

from __future__ import annotations

import json
import shutil
import subprocess
from unittest import skipUnless

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from lanrelay.config import hosts
from lanrelay.listeners.proxy_pac import script
from tests.live.test_curl import curl
from tests.support.progress import LIMIT, PATIENCE
from tests.support.relay import Relay

PROXY = "PROXY localhost:28080"
# What each leads to: True through the relay, False directly.
EXPECTED = {
    "nas": True,
    "NAS": True,
    "nas.local": True,
    "nas.lan.": True,
    "a.b.home.arpa": True,
    "x.internal": True,
    "10.0.0.1": True,
    "10.255.255.255": True,
    "11.0.0.0": False,
    "172.15.255.255": False,
    "172.16.0.1": True,
    "172.32.0.0": False,
    "192.168.1.20": True,
    "192.169.0.0": False,
    "100.64.0.1": True,
    "fd00::1": True,
    "[fd00::1]": True,
    "fc12:1::1": True,
    "2001:db8::1": False,
    "fe80::1": False,
    "8.8.8.8": False,
    "203.0.113.9": True,
    "example.org": False,
    "lan": True,
    "notlan.example": False,
    "xlan": True,
    "x.notlan": False,
    "lab.example": False,
    "git.lab.example": True,
    "nas.example": True,
    "a.nas.example": False,
    "wiki.example": True,
    "localhost": False,
    "LOCALHOST": False,
    "app.localhost": False,
    "127.0.0.1": False,
    "127.8.9.10": False,
    "::1": False,
    "[::1]": False,
}


class ScriptTests(TestCase):
    @skipUnless(shutil.which("node"), "node is not here")
    def test_where_hosts_lead(self) -> None:
        rules = map(hosts.destination_rule, ("nas.example", "*.lab.example", "203.0.113.0/24", "public"))
        text = script("localhost:28080", allow=rules, fixed=["wiki.example"]).decode()
        ask = f"{json.dumps(list(EXPECTED))}.map(host => FindProxyForURL('http://' + host + '/', host))"
        program = f"console.log(JSON.stringify(require('vm').runInNewContext({json.dumps(text + ask)})))"
        done = subprocess.run(["node", "-e", program], capture_output=True, check=True, timeout=PATIENCE)
        found = dict(zip(EXPECTED, json.loads(done.stdout), strict=True))
        self.assertEqual(found, {host: PROXY if through else "DIRECT" for host, through in EXPECTED.items()})


@skipUnless(shutil.which("curl"), "curl is not installed")
class ServedTests(TestCase):
    timeout = LIMIT

    async def test_curl_gets_it_by_address_and_not_by_a_foreign_name(self) -> None:
        relay = Relay("listeners: {proxy: {type: connect-proxy, listen: '127.0.0.1:0'}}\n").start()
        self.addCleanup(relay.stop)
        base = f"127.0.0.1:{relay.port('proxy')}"
        done = await deferToThread(curl, "-i", f"http://{base}/proxy.pac")
        answer = done.stdout.decode()
        self.assertIn("Content-Type: application/x-ns-proxy-autoconfig\r\n", answer)
        self.assertIn(f'var relay = "PROXY {base}";', answer)
        done = await deferToThread(curl, "-i", "-H", "Host: evil.example", f"http://{base}/proxy.pac")
        self.assertTrue(done.stdout.startswith(b"HTTP/1.1 421 "))
