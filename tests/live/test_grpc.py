"""gRPC, which is HTTP/2 and insists on ALPN, through a forward that ends TLS on one side or on both."""

from __future__ import annotations

import socket
import ssl
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import Any
from unittest import skipUnless

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from lanrelay.cli.authority import Authority
from tests.support.progress import LIMIT, PATIENCE
from tests.support.relay import Relay

try:
    import grpc  # type: ignore[import-untyped, import-not-found, unused-ignore]
except ImportError:
    grpc = None

NAME = "grpc.test"


def _upper(request: bytes, _: Any) -> bytes:
    return request.upper()


def _each(requests: Iterator[bytes], _: Any) -> Iterator[bytes]:
    for request in requests:
        yield request.upper()


@skipUnless(grpc, "grpcio is not installed")
class GrpcTests(TestCase):
    timeout = LIMIT

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.authority = Authority(Path(folder.name), "Home CA")
        self.issued = self.authority.issue(NAME)
        self.server: Any = grpc.server(ThreadPoolExecutor(4))
        handlers = {
            "Unary": grpc.unary_unary_rpc_method_handler(_upper),
            "Stream": grpc.stream_stream_rpc_method_handler(_each),
        }
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Echo", handlers),))
        own = grpc.ssl_server_credentials([(self.issued.key.read_bytes(), self.issued.cert.read_bytes())])
        self.port = self.server.add_secure_port("127.0.0.1:0", own)
        self.server.start()
        self.addCleanup(lambda: deferToThread(self.server.stop(None).wait))

    def relay(self, tls: str = "", alpn: str = "[h2]") -> Relay:
        relay = Relay(
            f"""
            listeners:
              grpc:
                type: tcp-forward
                listen: 127.0.0.1:0
                tls: {tls or "none"}
                upstream:
                  url: tls://{NAME}:{self.port}
                  address: 127.0.0.1
                  tls: {{ca: {self.authority.root}, alpn: {alpn}}}
            """
        ).start()
        self.addCleanup(relay.stop)
        return relay

    def secured(self, alpn: str = "[h2]") -> str:
        return f"{{cert: {self.issued.cert}, key: {self.issued.key}, alpn: {alpn}}}"

    def call(self, relay: Relay, *, secure: bool) -> None:
        """A large call, and a stream whose every message is answered before the next is sent; blocks."""
        place = f"127.0.0.1:{relay.port('grpc')}"
        options = [
            ("grpc.ssl_target_name_override", NAME),
            ("grpc.max_receive_message_length", -1),
            ("grpc.enable_http_proxy", 0),
        ]
        if secure:
            trusted = grpc.ssl_channel_credentials(self.authority.root.read_bytes())
            channel = grpc.secure_channel(place, trusted, options)
        else:
            channel = grpc.insecure_channel(place, options)
        with channel:
            large = b"large" * 600_000
            answer = channel.unary_unary("/Echo/Unary")(large, timeout=PATIENCE)
            self.assertEqual(answer, large.upper())
            ready: Queue[int | None] = Queue()
            ready.put(0)
            answers = channel.stream_stream("/Echo/Stream")(
                (b"question %d" % number for number in iter(ready.get, None)), timeout=PATIENCE
            )
            for number, answer in enumerate(answers, 1):
                self.assertEqual(answer, b"QUESTION %d" % (number - 1))
                ready.put(number if number < 100 else None)
            self.assertEqual(number, 100)

    async def test_a_plain_client(self) -> None:
        await deferToThread(self.call, self.relay(), secure=False)

    async def test_tls_on_both_sides(self) -> None:
        await deferToThread(self.call, self.relay(self.secured()), secure=True)

    async def test_what_the_client_speaks_is_what_the_upstream_is_asked_for(self) -> None:
        server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(server.close)
        self.port = server.getsockname()[1]
        both = "[http/1.1, h2]"
        relay = self.relay(self.secured(both), both)
        own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        own.load_cert_chain(self.issued.cert, self.issued.key)
        own.set_alpn_protocols(["http/1.1", "h2"])  # it prefers the first

        def agreed() -> str | None:
            raw, _ = server.accept()
            raw.settimeout(PATIENCE)
            with raw, own.wrap_socket(raw, server_side=True) as accepted:
                return accepted.selected_alpn_protocol()

        for asked in ("h2", "http/1.1"):
            accepting = deferToThread(agreed)
            self.assertEqual(await deferToThread(self.shake, relay, asked), asked)
            self.assertEqual(await accepting, asked)

    def shake(self, relay: Relay, *protocols: str) -> str | None:
        """What a client that speaks C{protocols} agrees on with the relay; blocks."""
        context = ssl.create_default_context(cafile=str(self.authority.root))
        context.set_alpn_protocols(protocols)
        raw = socket.create_connection(("127.0.0.1", relay.port("grpc")), timeout=PATIENCE)
        with raw, context.wrap_socket(raw, server_hostname=NAME) as client:
            return client.selected_alpn_protocol()

    async def test_a_client_that_speaks_something_else_is_refused_in_the_handshake(self) -> None:
        relay = self.relay(self.secured())
        self.assertEqual(await deferToThread(self.shake, relay, "http/1.1", "h2"), "h2")
        # A client that knows nothing of it may be right.
        self.assertIsNone(await deferToThread(self.shake, relay))
        failure = await self.assertFailure(deferToThread(self.shake, relay, "http/1.1"), ssl.SSLError)
        self.assertIn("NO_APPLICATION_PROTOCOL", str(failure).upper().replace(" ", "_"))
        await deferToThread(
            relay.wait_for, r"the client speaks http/1\.1, and tls\.alpn is h2", within=PATIENCE
        )
