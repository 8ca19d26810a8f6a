"""The control socket of a live relay, and a user who has come as far as to it."""

from __future__ import annotations

import os
import socket
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from tests.support.progress import PATIENCE
from tests.support.relay import Relay

NOBODY = 65534

ANSWERED, CLOSED, FAILED = range(3)


def ask(path: str, uid: int) -> int:
    """What becomes of a request that this user makes; in a process of its own."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    told = FAILED
    try:
        os.setuid(uid)
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(PATIENCE)
            asking.connect(path)
            try:
                asking.sendall(b'{"method": "hello"}\n')
                told = ANSWERED if asking.recv(4096) else CLOSED
            except (ConnectionResetError, BrokenPipeError):
                told = CLOSED
    finally:
        os._exit(told)


@skipUnless(os.geteuid() == 0, "only root may be another user")
class UserTests(SynchronousTestCase):
    """The mode of the socket is the first lock; here somebody has opened it."""

    def check(self, transport: str) -> None:
        relay = Relay(
            """
            control: unix:control
            listeners: {db: {type: tcp-forward, listen: "127.0.0.1:0", upstream: "tcp://127.0.0.1:9"}}
            """,
            environ={"LANRELAY_TRANSPORT": transport},
        ).start()
        self.addCleanup(relay.stop)
        path = relay.folder / "control"
        relay.folder.chmod(0o711)
        path.chmod(0o666)
        self.assertEqual(ask(str(path), 0), ANSWERED)
        self.assertEqual(ask(str(path), NOBODY), CLOSED)
        relay.wait_for(f"refused a connection of user {NOBODY}")

    def test_another_user_hears_nothing(self) -> None:
        self.check("own")

    def test_another_user_hears_nothing_on_twisted_s_transports(self) -> None:
        self.check("twisted")
