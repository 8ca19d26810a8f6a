"""Key updates of TLS 1.3, which look like content to whoever cannot read them."""

from __future__ import annotations

import os
import shutil
import subprocess
from ipaddress import ip_address
from typing import IO
from unittest import skipUnless

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.threads import deferToThread

from lanrelay.config.model import TcpAddress
from lanrelay.transport.port import Gate, Port, bind
from lanrelay.transport.stream import Stream, hand_over
from lanrelay.transport.tls import secure_server
from tests.support.progress import LIMIT
from tests.support.sockets import SocketTestCase
from tests.support.tls import server_context

# What `openssl s_client -msg` writes of its update and of our answer.
SENT, ANSWERED = (arrow + b" TLS 1.3, Handshake [length 0005], KeyUpdate" for arrow in (b">>>", b"<<<"))


class Echo(Protocol):
    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


def read_to(output: IO[bytes], mark: bytes) -> bytes:
    seen = b""
    while mark not in seen:
        part = os.read(output.fileno(), 65536)
        if not part:
            raise EOFError(seen)
        seen += part
    return seen


@skipUnless(shutil.which("openssl"), "openssl is not installed")
class KeyUpdateTests(SocketTestCase):
    timeout = LIMIT

    async def test_one_is_answered_with_the_next_content(self) -> None:
        """As OpenSSL does it."""
        [bound] = bind(TcpAddress(host=ip_address("127.0.0.1"), port=0))
        arrived: Deferred[Stream] = Deferred()
        port = Port(reactor, bound, Gate(10), lambda stream, *_: arrived.callback(stream))
        port.start()
        host, number = bound.socket.getsockname()
        client = subprocess.Popen(
            ["openssl", "s_client", "-tls1_3", "-msg", "-connect", f"{host}:{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.addCleanup(client.wait)
        self.addCleanup(client.kill)
        raw = await arrived
        port.stop()
        self._made.append(raw)
        stream = await secure_server(reactor, raw, server_context(), timeout=20)
        hand_over(stream, Echo())
        stream.resumeProducing()
        says, hears = client.stdin, client.stdout
        assert says is not None
        assert hears is not None

        async def say(line: bytes, mark: bytes) -> bytes:
            says.write(line)
            says.flush()
            seen: bytes = await deferToThread(read_to, hears, mark)
            return seen

        for _ in range(2):
            self.assertNotIn(ANSWERED, await say(b"hello\n", b"hello\n"))
            self.assertNotIn(ANSWERED, await say(b"hello again\n", b"hello again\n"))
            await say(b"K\n", SENT)  # update your keys, too
            self.assertIn(ANSWERED, await say(b"and now\n", b"and now\n"))
        says.close()
        hears.close()
