"""How long the tests wait for another process."""

from __future__ import annotations

import itertools
import signal
import socket
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.support import progress
from tests.support.peers import Program
from tests.support.ports import free_port
from tests.support.progress import PATIENCE, Patience, work_of
from tests.support.servers import CHECKOUT
from tests.support.tls import server_certificate

# Like Caddy: it listens, and has no certificate for the first few who ask.
LATE = """
import socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
for number in range(20):
    if number == 4:
        context.load_cert_chain(*sys.argv[2:4])
        print("it has one", flush=True)
    try:
        context.wrap_socket(listening.accept()[0], server_side=True).close()
    except OSError:
        pass
"""


class ReadyTests(SynchronousTestCase):
    def started(self, *, secure: bool) -> str:
        """What it had written when it was taken for ready."""
        port, issued = free_port(), server_certificate()
        command = [sys.executable, "-c", LATE, str(port), str(issued.cert), str(issued.key)]
        program = Program(command, [port], secure={port: "nas.lan"} if secure else {})
        self.addCleanup(program.stop)
        return program.start().log

    def test_a_port_with_a_certificate_is_ready_once_a_handshake_succeeds(self) -> None:
        self.assertEqual(self.started(secure=False), "")
        self.assertEqual(self.started(secure=True), "it has one\n")


class PortTests(SynchronousTestCase):
    def test_what_is_free_is_free_for_one_process_of_tests(self) -> None:
        program = "import sys\nfrom tests.support.ports import free_port\n"
        program += "for _ in range(100): print(free_port(), flush=True)\nsys.stdin.read()"
        asked = [
            subprocess.Popen(
                [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=CHECKOUT
            )
            for _ in range(4)
        ]
        seen = []
        for one in asked:
            assert one.stdout is not None
            seen.append({one.stdout.readline() for _ in range(100)})
        for one in asked:
            one.communicate(timeout=PATIENCE)
        self.assertEqual([len(ports) for ports in seen], [100] * 4)
        self.assertEqual(len(set().union(*seen)), 400)

    def test_it_is_free_for_datagrams_too(self) -> None:
        for _ in range(600):  # twice round
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trying:
                trying.bind(("127.0.0.1", free_port()))


class PatienceTests(SynchronousTestCase):
    def start(self) -> subprocess.Popen[bytes]:
        """A process that computes."""
        process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def rounds(self, patience: Patience) -> int:
        """How often it is prolonged."""
        for rounds in itertools.count():
            while patience.left:
                pass
            if patience.over():
                return rounds
        raise AssertionError

    def test_one_that_computes_gets_on_and_one_that_stands_still_does_not(self) -> None:
        process = self.start()
        before = work_of(process.pid)
        while work_of(process.pid) == before:
            pass
        process.send_signal(signal.SIGSTOP)
        while (before := work_of(process.pid)) != work_of(process.pid):
            pass
        self.assertEqual(self.rounds(Patience(process.pid, 0.2)), 0)

    def test_one_that_gets_on_is_waited_for_but_not_for_ever(self) -> None:
        steps = itertools.count()
        self.patch(progress, "work_of", lambda pid: str(next(steps)))
        self.assertEqual(self.rounds(Patience(0, 0.001)), 5)
