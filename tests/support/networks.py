"""Networks of their own for live tests: network namespaces, joined by cables, on Linux and for root only."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.support.progress import PATIENCE

_IP = shutil.which("ip", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


class Namespace:
    """
    A machine, as far as the network goes. Nothing leaves it but through the cables that the test lays.

    @ivar within: the command that runs a program in it.
    """

    def __init__(self, name: str) -> None:
        self.name = f"lanrelay-{os.getpid()}-{name}"
        self.within = [str(_IP), "netns", "exec", self.name]

    def ip(self, command: str) -> None:
        """Run C{ip} on it."""
        _run([str(_IP), "-n", self.name, *command.split()])

    def ports(self, first: int, last: int) -> None:
        """What it gives to outgoing connections."""
        done = self.run("sysctl", "-w", f"net.ipv4.ip_local_port_range={first} {last}")
        assert done.returncode == 0, done.stderr

    def run(self, *command: str, timeout: float = 60) -> subprocess.CompletedProcess[bytes]:
        """Run a program in it to its end."""
        return subprocess.run(
            [*self.within, *command],
            capture_output=True,
            timeout=timeout,
            check=False,
            env={name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
        )


def namespaces(test: TestCase, *names: str) -> list[Namespace]:
    """Machines that are gone after the test; it is skipped where they cannot be made."""
    if sys.platform != "linux":
        test.skipTest("network namespaces are Linux's")
    if _IP is None:
        test.skipTest("ip is not here")
    if os.geteuid() != 0:
        test.skipTest("only root may make network namespaces")
    made = []
    for name in names:
        one = Namespace(name)
        try:
            _run([str(_IP), "netns", "add", one.name])
        except AssertionError as error:
            test.skipTest(f"no network namespace can be made: {error}")
        test.addCleanup(_run, [str(_IP), "netns", "del", one.name])
        one.ip("link set lo up")
        made.append(one)
    return made


def cable(here: Namespace, there: Namespace, name: str, network: str) -> None:
    """Join two machines: C{here} is .1 and C{there} .2 of the network C{network} (as C{"10.99.0"})."""
    here.ip(f"link add {name} type veth peer name {name} netns {there.name}")
    for side, last in ((here, 1), (there, 2)):
        side.ip(f"addr add {network}.{last}/24 dev {name}")
        side.ip(f"link set {name} up")


def background(test: SynchronousTestCase | TestCase, command: list[str], ready: Callable[[], bool]) -> None:
    """Run a program until the test ends; returns when C{ready} says so."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    def end() -> None:
        process.kill()
        process.wait()

    test.addCleanup(end)
    for _ in range(200):
        if ready():
            return
        assert process.poll() is None, command
        time.sleep(0.02)
    raise AssertionError(f"{command} was not ready")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)}: {done.stderr.decode().strip()}")
