"""A peer of the real relay that stops in the middle, in every phase: each meets its time limit."""

from __future__ import annotations

import socket
import ssl
import tempfile
from pathlib import Path

from twisted.trial.unittest import TestCase

from lanrelay.cli.authority import Authority
from tests.live.test_reverse_proxy import in_thread, listen
from tests.support.blocking import Peer
from tests.support.progress import LIMIT, PATIENCE
from tests.support.relay import Relay

GET = b"GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
UPLOAD = POST.replace(b"Transfer-Encoding: chunked", b"Content-Length: 100")
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

# Short enough to wait for; what is measured is what comes of it, and never how long it took.
TIMEOUTS = (
    "{connect: 400ms, handshake: 400ms, head: 400ms, body: 400ms, response: 400ms, stream: 400ms, "
    "tunnel: 400ms, keepalive: 400ms, close: 400ms}"
)


class StallTests(TestCase):
    timeout = LIMIT

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="lanrelay-test-")
        self.addCleanup(folder.cleanup)
        self.authority = Authority(Path(folder.name))
        self.issued = self.authority.issue("localhost", "127.0.0.1")
        self.listening = listen()
        self.addCleanup(self.listening.close)
        self.deaf = self.full_queue()
        port = self.listening.getsockname()[1]
        common = f"listen: 127.0.0.1:0\n                timeouts: {TIMEOUTS}"
        web = "\n                ".join((common, "type: reverse-proxy", "health: off", "retry: off"))
        tls = f"{{cert: {self.issued.cert}, key: {self.issued.key}}}"
        self.relay = Relay(
            f"""
            listeners:
              web:
                {web}
                upstream: http://127.0.0.1:{port}
              secure:
                {web}
                upstream: http://127.0.0.1:{port}
                tls: {tls}
              to-tls:
                {web}
                upstream: {{url: "https://127.0.0.1:{port}", tls: {{ca: {self.authority.root}}}}}
              to-deaf:
                {web}
                upstream: http://127.0.0.1:{self.deaf}
              db:
                {common}
                type: tcp-forward
                retry: off
                upstream: tcp://127.0.0.1:{port}
              db-to-deaf:
                {common}
                type: tcp-forward
                retry: off
                upstream: tcp://127.0.0.1:{self.deaf}
              proxy:
                {common}
                type: connect-proxy
              announced:
                {web}
                upstream: http://127.0.0.1:{port}
                accept_proxy: loopback
            """
        ).start()
        self.addCleanup(self.relay.stop)

    def full_queue(self) -> int:
        """A port that takes no more connections, and does not refuse them either; as a host that is gone."""
        listening = socket.socket()
        self.addCleanup(listening.close)
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        address = listening.getsockname()
        for _ in range(3):
            waiting = socket.socket()
            self.addCleanup(waiting.close)
            waiting.setblocking(False)
            waiting.connect_ex(address)
        port: int = address[1]
        return port

    def client(self, listener: str = "web") -> Peer:
        peer = Peer(socket.create_connection(("127.0.0.1", self.relay.port(listener)), timeout=PATIENCE))
        self.addCleanup(peer.close)
        return peer

    def secured(self, listener: str = "secure") -> Peer:
        context = ssl.create_default_context(cafile=str(self.authority.root))
        raw = socket.create_connection(("127.0.0.1", self.relay.port(listener)), timeout=PATIENCE)
        peer = Peer(context.wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False))
        self.addCleanup(peer.close)
        return peer

    def origin(self) -> Peer:
        peer = Peer(self.listening.accept()[0])
        self.addCleanup(peer.close)
        return peer

    def logged(self, listener: str, *words: str) -> None:
        """One access line holds all of them."""
        self.relay.wait_for(rf"\[access\] {listener} " + "".join(rf"(?=[^\n]*{word})" for word in words))

    # --- the client ---------------------------------------------------------------------------------------

    @in_thread
    def test_a_client_that_says_nothing(self) -> None:
        for peer in (self.client(), self.client("proxy"), self.secured()):
            self.assertEqual(peer.rest(), b"")

    @in_thread
    def test_a_client_that_stops_in_its_head(self) -> None:
        for beginning in (b"G", b"GET /a HTTP/1.1\r", GET[:-2], GET[:-1]):
            self.assertIn(b" 408 ", self.client().send(beginning).rest())
        self.logged("web", " 408 ", "phase=head", "end=downstream")
        self.assertIn(b" 408 ", self.secured().send(GET[:-1]).rest())
        self.assertIn(b" 408 ", self.client("proxy").send(b"CONNECT a:1 HTT").rest())

    @in_thread
    def test_a_client_that_drips_its_head(self) -> None:
        """The limit is for the whole of it, not for each byte."""
        peer = self.client()
        peer.socket.settimeout(0.05)
        answer = b""
        for count in range(200):
            try:
                peer.socket.sendall(GET[count : count + 1] if count < 20 else b"x")
                answer += peer.socket.recv(1000)
                if answer:
                    break
            except TimeoutError:
                continue
        self.assertIn(b" 408 ", answer)

    @in_thread
    def test_a_client_that_stops_in_its_next_head(self) -> None:
        client = self.client().send(GET)
        self.origin().send(OK)
        client.head()
        self.assertEqual(client.exactly(2), b"ok")
        self.assertIn(b" 408 ", client.send(GET[:9]).rest())

    @in_thread
    def test_a_client_that_stops_in_its_body(self) -> None:
        for beginning in (
            UPLOAD,
            UPLOAD + b"x",
            UPLOAD.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"),
            POST,
            POST + b"5",
            POST + b"5\r\nhel",
            POST + b"5\r\nhello\r",
            POST + b"0\r\n",
        ):
            client = self.client().send(beginning)
            origin = self.origin()
            self.assertIn(b" 408 ", client.rest())
            self.assertTrue(origin.head().startswith(b"POST"))
            self.assertTrue(self.broken(origin), beginning)
        self.logged("web", " 408 ", "phase=request", "end=downstream")

    @in_thread
    def test_a_client_that_stops_in_its_body_behind_an_early_answer(self) -> None:
        """The answer was whole; nothing is said after it, and nobody is waited for."""
        client = self.client().send(UPLOAD)
        self.origin().send(OK)
        self.assertTrue(client.rest().endswith(b"\r\n\r\nok"))

    @in_thread
    def test_a_client_that_stops_in_its_tls_handshake(self) -> None:
        for beginning in (b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"):
            self.assertTrue(self.client("secure").send(beginning).has_ended())
        self.logged("secure", "phase=tls", "end=downstream", "error=connection_timeout")

    @in_thread
    def test_a_client_that_stops_in_its_proxy_header(self) -> None:
        self.assertTrue(self.client("announced").send(b"PROXY TCP4 127.0").has_ended())
        self.logged("announced", "phase=head", "end=downstream")

    # --- the upstream -------------------------------------------------------------------------------------

    @in_thread
    def test_an_upstream_that_does_not_take_the_connection(self) -> None:
        answer = self.client("to-deaf").send(GET).head()
        self.assertIn(b" 504 ", answer)
        self.assertIn(b"error=connection_timeout;", answer)
        self.logged("to-deaf", " 504 ", "phase=dial", "end=upstream", "error=connection_timeout")
        target = b"127.0.0.1:%d" % self.deaf
        answer = (
            self.client("proxy").send(b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (target, target)).rest()
        )
        self.assertIn(b" 504 ", answer)
        self.assertTrue(self.client("db-to-deaf").has_ended())
        self.logged("db-to-deaf", "phase=dial", "end=upstream", "error=connection_timeout")

    @in_thread
    def test_an_upstream_that_does_not_finish_the_handshake(self) -> None:
        for beginning in (b"", b"\x16\x03\x03\x00"):
            client = self.client("to-tls").send(GET)
            origin = self.origin().send(beginning)
            answer = client.head()
            self.assertIn(b" 504 ", answer)
            self.assertIn(b"error=connection_timeout;", answer)
            self.assertNotIn(b"GET", self.received(origin))
        self.logged("to-tls", " 504 ", "phase=dial", "end=upstream")

    @in_thread
    def test_an_upstream_that_does_not_answer(self) -> None:
        for beginning in (b"", b"HTTP/1.1 2", CHUNKED[:-2], b"HTTP/1.1 103 Early Hints\r\n\r\n"):
            client = self.client().send(GET)
            origin = self.origin()
            origin.head()
            origin.send(beginning)
            self.assertIn(b" 504 ", client.rest() if beginning.startswith(b"HTTP/1.1 1") else client.head())
            self.assertTrue(origin.has_ended())
        self.logged("web", " 504 ", "phase=response", "end=upstream", "error=http_response_timeout")

    @in_thread
    def test_an_upstream_that_stops_in_its_body(self) -> None:
        for beginning in (
            CHUNKED,
            CHUNKED + b"5",
            CHUNKED + b"5\r\nhel",
            CHUNKED + b"0\r\n",
            OK[:-1],
            CHUNKED[:17] + b"\r\nx",
        ):
            client = self.client().send(GET)
            origin = self.origin()
            origin.head()
            origin.send(beginning)
            self.assertIn(b" 200 OK", client.head())
            self.assertNotIn(client.rest()[-5:], (b"0\r\n\r\n", b"ok"))  # the framing shows the cut
            self.assertTrue(origin.has_ended())
        self.logged("web", " 200 ", "phase=body", "end=upstream", "error=connection_read_timeout")

    @in_thread
    def test_an_upstream_that_stops_in_its_body_looks_cut_over_tls_too(self) -> None:
        client = self.secured().send(GET)
        origin = self.origin()
        origin.head()
        origin.send(b"HTTP/1.1 200 OK\r\n\r\npart")
        client.head()
        self.assertEqual(client.rest(), b"4\r\npart\r\n")  # and no last chunk

    @in_thread
    def test_a_tunnel_in_which_nothing_moves(self) -> None:
        client = self.client("db").send(b"x")
        origin = self.origin()
        self.assertEqual(origin.exactly(1), b"x")
        self.assertTrue(client.has_ended())
        self.assertTrue(origin.has_ended())
        self.logged("db", "phase=tunnel", "end=relay", "error=connection_read_timeout")

    @in_thread
    def test_an_upload_that_the_origin_does_not_read_is_no_silence_of_the_client(self) -> None:
        client = self.client()
        client.socket.settimeout(1.0)
        client.send(UPLOAD.replace(b"100", b"100000000"))
        origin = self.origin()
        origin.head()
        sent = 0
        try:
            while sent < 100_000_000:
                sent += client.socket.send(b"x" * 65536)
        except TimeoutError:
            pass
        self.assertTrue(client.is_quiet())  # longer than timeouts.body, and no 408
        origin.send(OK)
        self.assertIn(b" 200 OK", client.head())

    # ------------------------------------------------------------------------------------------------------

    @staticmethod
    def broken(origin: Peer) -> bool:
        """Its request is not whole, and its connection is gone."""
        try:
            data = origin.rest()
        except ConnectionResetError:
            return True
        return not data.endswith(b"0\r\n\r\n")

    @staticmethod
    def received(peer: Peer) -> bytes:
        data = b""
        try:
            while more := peer.socket.recv(65536):
                data += more
        except ConnectionResetError:
            pass
        return data
