"""What "no route to host" and silence mean: real networks, and a kernel that keeps a program from its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import skipUnless

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from lanrelay.transport.choice import OWN
from tests.support.networks import background, cable, namespaces
from tests.support.progress import LIMIT, PATIENCE
from tests.support.relay import Relay
from tests.support.servers import CHECKOUT

LAN, WAN = "10.99.0", "10.98.0"
PORT = 8000

# What macOS' local network privacy does to a program: its connections to its own networks fail at once. The
# default gateway is not among them (see tests/support/macos/local_network_privacy.txt).
KEPT = """
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

int connect(int fd, const struct sockaddr *address, socklen_t length) {
    static int (*real)(int, const struct sockaddr *, socklen_t);
    if (!real) real = dlsym(RTLD_NEXT, "connect");
    if (address->sa_family == AF_INET) {
        unsigned long host = ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr);
        if ((host & 0xffffff00) == 0x0a630000) { errno = EHOSTUNREACH; return -1; }
    }
    return real(fd, address, length);
}
"""


class NetworkTests(TestCase):
    """C{home} has a LAN, on which C{nas} is, and a default route over another network."""

    timeout = LIMIT

    def setUp(self) -> None:
        self.home, self.nas, self.router = namespaces(self, "home", "nas", "router")
        cable(self.home, self.nas, "lan", LAN)
        cable(self.home, self.router, "wan", WAN)
        self.home.ip(f"route add default via {WAN}.2")
        server = [sys.executable, "-m", "http.server", "--bind", "0.0.0.0", str(PORT)]

        def ready() -> bool:
            return self.nas.run("curl", "-q", "-s", f"http://{LAN}.2:{PORT}/").returncode == 0

        background(self, [*self.nas.within, *server], ready)

    def doctor(self, target: str, *options: str, preload: str = "") -> Any:
        """What the command says, run on C{home}."""
        words = [sys.executable, "-m", "lanrelay.cli.main", "doctor", "--json", target, *options]
        environment = [f"PYTHONPATH={CHECKOUT}", "LANRELAY_CONFIG=", "HOME=/nonexistent"]
        if preload:
            environment.append(f"LD_PRELOAD={preload}")
        done = self.home.run("env", *environment, *words)
        self.assertEqual(done.stderr.decode(), "")
        (found,) = json.loads(done.stdout)["targets"]
        self.assertEqual(done.returncode, 0 if found["ok"] else 1)
        return found

    def failed(self, found: Any) -> Any:
        (check,) = [check for check in found["checks"] if check["state"] == "failed"]
        return check

    def layer(self, found: Any, layer: str) -> Any:
        (check,) = [check for check in found["checks"] if check["layer"] == layer]
        return check

    async def test_a_host_that_is_there(self) -> None:
        def check() -> None:
            found = self.doctor(f"{LAN}.2:{PORT}")
            self.assertTrue(found["ok"], found)
            route = self.layer(found, "route")["facts"]
            self.assertEqual((route["on_link"], route["interface"]), (True, "lan"))
            self.assertEqual((route["source"], route["class"]), (f"{LAN}.1", "private"))

        await deferToThread(check)

    async def test_a_host_that_is_down(self) -> None:
        def check() -> None:
            self.nas.ip(f"addr del {LAN}.2/24 dev lan")  # nobody answers ARP
            check = self.failed(self.doctor(f"{LAN}.2:{PORT}", "--timeout", "10s"))
            self.assertEqual((check["layer"], check["cause"]), ("connect", "host_down"))
            self.assertEqual(check["facts"]["errno"], "EHOSTUNREACH")
            self.assertIn("Switch the host on", check["remedy"])

        await deferToThread(check)

    async def test_no_route_at_all(self) -> None:
        def check() -> None:
            self.home.ip("route del default")
            check = self.failed(self.doctor(f"10.77.0.2:{PORT}"))
            self.assertEqual((check["layer"], check["cause"]), ("route", "no_route"))
            self.assertEqual(check["facts"]["errno"], "ENETUNREACH")

        await deferToThread(check)

    @skipUnless(OWN, "Twisted's own transport keeps no errno of what epoll reports as hung up")
    async def test_a_router_that_knows_no_way(self) -> None:
        def check() -> None:
            self.router.ip("route add unreachable 10.77.0.0/24")
            self.router.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
            found = self.doctor(f"10.77.0.2:{PORT}")
            check = self.failed(found)
            self.assertEqual((check["layer"], check["cause"]), ("connect", "no_route"))
            self.assertEqual(self.layer(found, "route")["facts"]["gateway"], f"{WAN}.2")

        await deferToThread(check)

    async def test_a_black_hole(self) -> None:
        def check() -> None:
            self.nas.ip(f"route add blackhole {LAN}.1/32")
            check = self.failed(self.doctor(f"{LAN}.2:{PORT}", "--timeout", "1s"))
            self.assertEqual((check["layer"], check["cause"]), ("connect", "timeout"))

        await deferToThread(check)

    async def test_a_firewall_of_this_machine(self) -> None:
        def check() -> None:
            self.home.ip(f"route add prohibit {LAN}.2/32")
            found = self.doctor(f"{LAN}.2:{PORT}")
            check = self.failed(found)
            self.assertEqual((check["layer"], check["cause"]), ("route", "address_denied"))
            self.assertEqual(check["facts"]["errno"], "EACCES")

        await deferToThread(check)

    async def test_a_program_that_is_kept_from_its_own_network(self) -> None:
        def check() -> None:
            preload = self.kept()
            check = self.failed(self.doctor(f"{LAN}.2:{PORT}", preload=preload))
            self.assertEqual((check["layer"], check["cause"]), ("connect", "local_network_privacy"))
            self.assertIn("keeps this program from its own network", check["said"])
            # The gateway may be on the same network, and be known by its hardware address alone.
            self.home.ip("route del default")
            self.home.ip(f"route add default via {LAN}.2")
            check = self.failed(self.doctor(f"{LAN}.3:{PORT}", preload=preload))
            self.assertEqual(check["cause"], "local_network_privacy")
            # Where nothing at all answers, it may as well be the network.
            self.home.ip("route del default")
            self.home.ip(f"route add default via {LAN}.9")
            check = self.failed(self.doctor(f"{LAN}.2:{PORT}", preload=preload))
            self.assertEqual(check["cause"], "host_down")
            self.home.ip("route del default")
            check = self.failed(self.doctor(f"{LAN}.2:{PORT}", preload=preload))
            self.assertEqual(check["cause"], "host_down")

        await deferToThread(check)

    async def test_a_service_that_is_kept_from_it_and_a_command_that_is_not(self) -> None:
        def check() -> None:
            text = f"""
                listeners:
                  nas: {{type: tcp-forward, listen: 127.0.0.1:0, health: off, upstream: "tcp://{LAN}.2:{PORT}"}}
                """
            relay = Relay(text, environ={"LD_PRELOAD": self.kept()}, within=self.home.within)
            relay.start()
            self.addCleanup(relay.stop)
            words = [sys.executable, "-m", "lanrelay.cli.main", "doctor", "nas", "-c", str(relay.config)]
            environment = [f"PYTHONPATH={CHECKOUT}", f"XDG_RUNTIME_DIR={relay.folder}", "HOME=/nonexistent"]
            done = self.home.run("env", *environment, *words, "--json")
            here, service = json.loads(done.stdout)["targets"]
            self.assertEqual((here["from"], here["ok"]), ("here", True))
            self.assertEqual((service["from"], service["ok"]), ("service", False))
            self.assertEqual(self.failed(service)["cause"], "local_network_privacy")
            told = self.home.run("env", *environment, *words).stdout.decode()
            self.assertIn("(from here and from the service)", told)
            self.assertIn("  connect (here) ok ", told)
            self.assertIn("  connect (service) FAILED ", told)
            self.assertEqual(told.count(f"{LAN}.2 is an address."), 1)

        await deferToThread(check)

    def kept(self) -> str:
        gcc = shutil.which("gcc")
        if gcc is None:
            self.skipTest("gcc is not here")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        source, library = Path(folder.name) / "kept.c", Path(folder.name) / "kept.so"
        source.write_text(KEPT)
        command = [gcc, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
        subprocess.run(command, check=True, timeout=PATIENCE)
        return str(library)
