"""An upstream that ends its side of TLS in order, as the reverse proxy of the real relay hears it."""

from __future__ import annotations

import signal
import socket
import tempfile
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.trial.unittest import TestCase

from lanrelay.cli.authority import Authority
from tests.live.test_reverse_proxy import CHUNKED, GET, OK, POST, in_thread, listen
from tests.support.blocking import Peer
from tests.support.peers import PeerTestCase, free_ports
from tests.support.progress import LIMIT, PATIENCE
from tests.support.relay import Relay
from tests.support.servers import UvicornServer

BARE = b"HTTP/1.1 200 OK\r\n\r\n"
LARGE = b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90000000\r\n\r\n"
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"


class Secured(Peer):
    """The relay's connection to an origin that speaks TLS, after the handshake."""

    def __init__(self, raw: socket.socket, context: SSL.Context) -> None:
        raw.settimeout(None)  # pyOpenSSL wants blocking sockets
        self.raw = raw
        self.tls = SSL.Connection(context, raw)
        self.tls.set_accept_state()
        self.tls.do_handshake()
        self.socket: Any = self.tls

    def notify(self, fin: str) -> None:
        """close_notify, and C{"at once"} a FIN; C{"never"} none."""
        self.tls.shutdown()
        if fin == "at once":
            self.raw.shutdown(socket.SHUT_WR)

    def answers_the_end(self) -> bool:
        """The relay says close_notify, and closes."""
        try:
            self.tls.recv(1)
        except SSL.ZeroReturnError:
            return self.raw.recv(1) == b""
        return False

    def close(self) -> None:
        self.raw.close()


class TlsEndTestCase(TestCase):
    timeout = LIMIT

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="lanrelay-test-")
        self.addCleanup(folder.cleanup)
        self.authority = Authority(Path(folder.name))
        self.issued = self.authority.issue("localhost", "127.0.0.1")

    def relay(self, url: str) -> Relay:
        relay = Relay(
            f"""
            listeners:
              web:
                type: reverse-proxy
                listen: 127.0.0.1:0
                health: off
                retry: off
                upstream: {{url: "{url}", tls: {{ca: {self.authority.root}}}}}
            """,
            environ=self.environ,
        ).start()
        self.addCleanup(relay.stop)
        return relay

    environ: dict[str, str] = {}  # noqa: RUF012

    def client(self, relay: Relay) -> Peer:
        peer = Peer.to(relay.port("web"))
        self.addCleanup(peer.close)
        return peer


class CloseNotifyTests(TlsEndTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self.context.use_certificate_chain_file(str(self.issued.cert))
        self.context.use_privatekey_file(str(self.issued.key))
        self.listening = listen()
        self.addCleanup(self.listening.close)
        self.running = self.relay(f"https://127.0.0.1:{self.listening.getsockname()[1]}")

    def origin(self) -> Secured:
        origin = Secured(self.listening.accept()[0], self.context)
        self.addCleanup(origin.close)
        return origin

    def asked(self, request: bytes = GET) -> tuple[Peer, Secured]:
        client = self.client(self.running).send(request)
        origin = self.origin()
        origin.head()
        return client, origin

    @in_thread
    def test_an_answer_without_length_ends_with_it(self) -> None:
        for fin in ("at once", "never"):
            client, origin = self.asked()
            origin.send(BARE + b"page")
            client.head()
            self.assertEqual(client.exactly(9), b"4\r\npage\r\n")
            origin.notify(fin)
            self.assertEqual(client.exactly(5), b"0\r\n\r\n", fin)
            self.assertTrue(origin.answers_the_end())

    @in_thread
    def test_an_answer_that_is_cut_by_it_is_cut(self) -> None:
        for beginning in (CHUNKED + b"5\r\nhello\r\n", CHUNKED + b"5\r\nhel", LENGTH + b"hello"):
            for fin in ("at once", "never"):
                client, origin = self.asked()
                origin.send(beginning)
                client.head()
                origin.notify(fin)
                heard = client.rest()
                self.assertFalse(heard.endswith(b"0\r\n\r\n"), heard)
                self.assertIn(b"hel", heard)
                self.assertTrue(origin.answers_the_end())
        self.running.wait_for(r"\[access\] web [^\n]*error=http_response_incomplete")

    @in_thread
    def test_nothing_but_the_end_is_no_answer(self) -> None:
        for fin in ("at once", "never"):
            client, origin = self.asked(POST + b"0\r\n\r\n")  # which is not asked twice
            origin.notify(fin)
            self.assertIn(b" 502 ", client.head())

    @in_thread
    def test_an_upload_does_not_hold_the_end_back(self) -> None:
        """The origin reads no more of it, so the relay's buffer is full when the end comes."""
        client, origin = self.asked(LARGE)
        client.socket.settimeout(1.0)
        try:
            while True:
                client.socket.sendall(b"x" * 65536)
        except TimeoutError:
            client.socket.settimeout(PATIENCE)
        origin.send(BARE + b"no")
        origin.notify("never")
        client.head()
        self.assertEqual(client.exactly(12), b"2\r\nno\r\n0\r\n\r\n")

    @in_thread
    def test_an_idle_connection_that_ended_so_is_not_asked_again(self) -> None:
        for fin in ("at once", "never"):
            client, origin = self.asked()
            origin.send(OK)
            client.head()
            client.exactly(2)
            origin.notify(fin)
            self.assertTrue(origin.answers_the_end())
            client.send(GET)
            other = self.origin()
            other.head()
            other.send(OK)
            client.head()
            client.exactly(2)
            other.notify("at once")
            self.assertTrue(other.answers_the_end())

    @in_thread
    def test_an_end_that_nobody_has_read_yet_is_seen_before_the_next_request(self) -> None:
        """It comes while the relay does not run, together with the request."""
        client, origin = self.asked()
        origin.send(OK)
        client.head()
        client.exactly(2)
        self.running.process.send_signal(signal.SIGSTOP)
        origin.notify("never")
        client.send(GET)
        self.running.process.send_signal(signal.SIGCONT)
        other = self.origin()
        other.head()
        other.send(OK)
        self.assertIn(b" 200 ", client.head())


class TwistedCloseNotifyTests(CloseNotifyTests):
    environ = {"LANRELAY_TRANSPORT": "twisted"}  # noqa: RUF012


class RealServerTests(TlsEndTestCase, PeerTestCase):
    """Those that end TLS with close_notify, and leave the rest to us."""

    @staticmethod
    def chunks(client: Peer) -> bytes:
        """The content of an answer that comes in chunks."""
        content = b""
        while size := int(client.line(), 16):
            content += client.exactly(size)
            client.line()
        client.line()
        return content

    def server(self, arguments: list[str], *, config: str = "") -> int:
        [port] = free_ports(1)
        words = [each.replace("PORT", str(port)) for each in arguments]
        self.program(words, [port], config=config.replace("PORT", str(port)))
        return port

    @in_thread
    def test_openssl_s_server(self) -> None:
        port = self.server(
            [
                *("openssl", "s_server", "-www", "-quiet", "-accept", "127.0.0.1:PORT"),
                *("-cert", str(self.issued.cert), "-key", str(self.issued.key)),
            ]
        )
        client = self.client(self.relay(f"https://127.0.0.1:{port}"))
        for _ in range(3):
            client.send(GET)
            self.assertIn(b" 200 ", client.head())
            self.assertIn(b"Ciphers supported", self.chunks(client))

    @in_thread
    def test_apache_that_speaks_http_1_0(self) -> None:
        modules = Path("/usr/lib/apache2/modules")  # where Debian has them
        if not modules.exists():
            self.skipTest("apache2 is not here")
        folder = tempfile.TemporaryDirectory(prefix="lanrelay-test-")
        self.addCleanup(folder.cleanup)
        script = Path(folder.name, "script")
        script.write_text("#!/bin/sh\necho 'Content-Type: text/plain'\necho\nseq 100000\n")
        script.chmod(0o755)
        Path(folder.name).chmod(0o755)
        names = ("mpm_event", "authz_core", "alias", "cgi", "env", "setenvif", "ssl", "socache_shmcb")
        loaded = [
            f"LoadModule {name}_module {modules}/mod_{name}.so\n"
            for name in names
            if (modules / f"mod_{name}.so").exists()
        ]
        config = f"""
            {"            ".join(loaded)}
            ServerName localhost
            ServerRoot {folder.name}
            PidFile {folder.name}/pid
            DefaultRuntimeDir {folder.name}
            ErrorLog {folder.name}/errors
            Listen 127.0.0.1:PORT
            SSLEngine on
            SSLCertificateFile {self.issued.cert}
            SSLCertificateKeyFile {self.issued.key}
            SetEnvIf Request_URI . nokeepalive downgrade-1.0 force-response-1.0
            ScriptAlias /a {script}
            <Directory {folder.name}>
                Require all granted
            </Directory>
        """
        port = self.server(["apache2", "-D", "FOREGROUND", "-f", "{config}"], config=config)
        client = self.client(self.relay(f"https://127.0.0.1:{port}"))
        for _ in range(3):
            client.send(GET)
            self.assertIn(b" 200 ", client.head())
            self.assertTrue(self.chunks(client).endswith(b"99999\n100000\n"))

    @in_thread
    def test_uvicorn_that_is_stopped_while_a_connection_is_idle(self) -> None:
        server = UvicornServer(tls=self.issued).start()
        self.addCleanup(server.stop)
        client = self.client(self.relay(server.url))
        for _ in range(3):
            client.send(GET)
            self.assertIn(b" 200 ", client.head())
            self.assertEqual(client.exactly(2), b"ok")
            server.stop()
            server.start()

    @in_thread
    def test_uvicorn_whose_keep_alive_is_short(self) -> None:
        """It says close_notify, and waits 30 s for ours."""
        server = UvicornServer(tls=self.issued, keepalive=1).start()
        self.addCleanup(server.stop)
        client = self.client(self.relay(server.url))
        for count in (1, 2):
            client.send(GET)
            self.assertIn(b" 200 ", client.head())
            self.assertEqual(client.exactly(2), b"ok")
            server.wait_for_errors("closed\n" * count)

    @in_thread
    def test_uvicorn_that_is_stopped_in_the_middle_of_an_event_stream(self) -> None:
        server = UvicornServer(tls=self.issued).start()
        self.addCleanup(server.stop)
        relay = self.relay(server.url)
        client = self.client(relay).send(GET.replace(b"/a", b"/events"))
        self.assertIn(b"text/event-stream", client.head())
        self.assertEqual(client.exactly(14), b"9\r\ndata: 1\n\n\r\n")
        server.stop()
        self.assertFalse(client.rest().endswith(b"0\r\n\r\n"))
        server.start()
        client = self.client(relay).send(GET)
        self.assertIn(b" 200 ", client.head())
