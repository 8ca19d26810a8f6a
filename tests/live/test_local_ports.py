"""Local ports that are few, and addresses of one link only, in network namespaces of the test's own."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import ClassVar

from twisted.trial.unittest import TestCase

from tests.live.test_reverse_proxy import in_thread
from tests.support.networks import background, cable, namespaces
from tests.support.progress import LIMIT
from tests.support.relay import Relay
from tests.support.servers import CHECKOUT

# Prints what one connection after another hears that says "hello".
TRY = """
import socket, sys
for _ in range(20):
    try:
        with socket.create_connection(("127.0.0.1", 8080), 5) as peer:
            peer.settimeout(5)
            peer.sendall(b"hello")
            print(peer.recv(100))
    except OSError as error:
        print(type(error).__name__)
"""
BIND = "import socket; one = socket.socket(); one.bind(('127.0.0.1', 41000)); one.listen(); print('bound')"
# Listens on a port, and says what became of each of 40 connections through the relay.
MANY = """
import select, socket, sys
family, host = (socket.AF_INET6, "::1") if sys.argv[1] == "6" else (socket.AF_INET, "127.0.0.1")
served = socket.socket(family)
served.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
served.bind((host, 7000))
served.listen(100)
kept = []
for _ in range(40):
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(sys.argv[2])
    kept.append(peer)
    if served in select.select([served, peer], [], [], 10)[0]:
        kept.append(served.accept())
        print("joined")
    else:
        print("ended")
"""
# Answers as the resolver's mDNS module does, whose answers know their interface.
MDNS = """
import socket
ask = socket.getaddrinfo
def answer(name, *arguments, **keys):
    if name == "nas.local":
        return [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("{address}", 0, 0, {index}))]
    return ask(name, *arguments, **keys)
socket.getaddrinfo = answer
"""


class FewPortsTests(TestCase):
    timeout = LIMIT
    environ: ClassVar[dict[str, str]] = {}

    @in_thread
    def test_an_upstream_that_is_down_is_not_the_connection_to_itself(self) -> None:
        [home] = namespaces(self, "home")
        home.ports(41000, 41001)
        relay = Relay(
            """
            listeners:
              db:
                type: tcp-forward
                listen: 127.0.0.1:8080
                upstream: tcp://127.0.0.1:41000
                retry: off
                health: {interval: 200ms}
            """,
            within=home.within,
            environ=self.environ,
        ).start()
        self.addCleanup(relay.stop)
        done = home.run(sys.executable, "-c", TRY)
        self.assertEqual(set(done.stdout.decode().split()), {"ConnectionResetError"})
        relay.wait_for(r"(?s)(?:\[access\] db .*?error=connection_refused.*?){20}")
        relay.wait_for("is down")
        self.assertNotIn("is up", relay.log)
        self.assertEqual(home.run(sys.executable, "-c", BIND).stdout, b"bound\n")

    @in_thread
    def test_ports_that_are_used_up_are_told_so(self) -> None:
        [home] = namespaces(self, "home")
        home.ports(41000, 41009)
        for family, address in (("4", "127.0.0.1"), ("6", "[::1]")):
            folder = tempfile.TemporaryDirectory(prefix="lanrelay-")
            self.addCleanup(folder.cleanup)
            relay = Relay(
                f"""
                listeners:
                  db:
                    type: tcp-forward
                    listen: unix:{folder.name}/s
                    upstream: tcp://{address}:7000
                    retry: off
                    health: off
                """,
                within=home.within,
                environ=self.environ,
            ).start()
            try:
                done = home.run(sys.executable, "-c", MANY, family, f"{folder.name}/s")
                heard = done.stdout.decode().split()
                self.assertEqual(heard.count("joined"), 10, heard)
                self.assertEqual(heard.count("ended"), 30, heard)
                found = relay.wait_for(r"\[access\] db [^\n]*error=connection_limit_reached[^\n]*")[0]
                self.assertIn("local ports are in use", found)
                self.assertIn("ip_local_port_range", found)
            finally:
                relay.stop()


class TwistedFewPortsTests(FewPortsTests):
    environ: ClassVar[dict[str, str]] = {"LANRELAY_TRANSPORT": "twisted"}


class LinkLocalTests(TestCase):
    timeout = LIMIT
    environ: ClassVar[dict[str, str]] = {}

    @in_thread
    def test_a_name_with_nothing_but_an_address_of_the_link(self) -> None:
        home, nas = namespaces(self, "home", "nas")
        cable(home, nas, "lan", "10.99.0")
        shown = nas.run("ip", "-6", "-o", "addr", "show", "dev", "lan").stdout.decode()
        [address] = re.findall(r"\b(fe80::[0-9a-f:]+)/", shown)
        [index] = re.findall(r"^(\d+):", home.run("ip", "-o", "link", "show", "lan").stdout.decode())
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        (Path(folder.name) / "where").write_text("on the link")
        (Path(folder.name) / "sitecustomize.py").write_text(MDNS.format(address=address, index=index))
        serve = [sys.executable, "-m", "http.server", "--bind", "::", "--directory", folder.name, "8000"]

        def ready() -> bool:
            url = f"http://[{address}%25lan]:8000/where"
            return home.run("curl", "-q", "-s", "--max-time", "5", url).stdout == b"on the link"

        background(self, [*nas.within, *serve], ready)
        relay = Relay(
            """
            listeners:
              web: {type: reverse-proxy, listen: 127.0.0.1:8080, upstream: "http://nas.local:8000"}
              proxy: {type: connect-proxy, listen: 127.0.0.1:8081, allow: link-local}
            """,
            within=home.within,
            environ={**self.environ, "PYTHONPATH": f"{folder.name}:{CHECKOUT}"},
        ).start()
        self.addCleanup(relay.stop)
        done = home.run("curl", "-q", "-s", "http://127.0.0.1:8080/where")
        self.assertEqual(done.stdout, b"on the link")
        done = home.run(
            "curl", "-q", "-s", "-p", "-x", "http://127.0.0.1:8081", "http://nas.local:8000/where"
        )
        self.assertEqual(done.stdout, b"on the link")


class TwistedLinkLocalTests(LinkLocalTests):
    environ: ClassVar[dict[str, str]] = {"LANRELAY_TRANSPORT": "twisted"}
