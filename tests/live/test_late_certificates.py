"""Servers that ask for a client's certificate when they have read its request."""

from __future__ import annotations

import socket
import ssl
import tempfile
from pathlib import Path
from threading import Thread

from twisted.internet.threads import deferToThread

from lanrelay.cli.authority import Authority
from tests.live.test_curl import curl
from tests.support.peers import PeerTestCase, free_ports
from tests.support.progress import PATIENCE
from tests.support.relay import Relay

NAME = "apache.test"
MODULES = Path("/usr/lib/apache2/modules")  # where Debian has them

APACHE = """
ServerRoot {folder}
PidFile {folder}/pid
Listen 127.0.0.1:PORT
ServerName apache.test
LoadModule mpm_event_module MODULES/mod_mpm_event.so
LoadModule authz_core_module MODULES/mod_authz_core.so
LoadModule ssl_module MODULES/mod_ssl.so
LoadModule headers_module MODULES/mod_headers.so
LoadModule alias_module MODULES/mod_alias.so
User www-data
Group www-data
ErrorLog /dev/stderr
LogLevel info ssl:info
DocumentRoot MODULES
<Directory />
    AllowOverride None
</Directory>
SSLEngine on
SSLProtocol -all +VERSION
SSLCertificateFile CERT
SSLCertificateKeyFile KEY
SSLCACertificateFile ROOT
Header always set X-Client "expr=%{SSL_CLIENT_S_DN_CN}"
Header always set X-Length "expr=%{req:Content-Length}"
Redirect 204 /open
<Location /private>
    SSLVerifyClient require
    SSLVerifyDepth 2
    Redirect 204 /private
</Location>
"""


class LateTestCase(PeerTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.authority = Authority(self.folder, "Home CA")
        self.issued = self.authority.issue(NAME)
        self.mine = self.authority.issue("me.test", client=True)

    def relay(self, port: int, *, shows: bool = True) -> Relay:
        tls = f"ca: {self.authority.root}"
        if shows:
            tls += f", cert: {self.mine.cert}, key: {self.mine.key}"
        relay = Relay(
            f"""
            listeners:
              web:
                type: reverse-proxy
                listen: 127.0.0.1:0
                health: off
                retry: off
                upstream: {{url: "https://{NAME}:{port}", address: 127.0.0.1, tls: {{{tls}}}}}
              raw:
                type: tcp-forward
                listen: 127.0.0.1:0
                upstream: {{url: "tls://{NAME}:{port}", address: 127.0.0.1, tls: {{{tls}}}}}
            """
        ).start()
        self.addCleanup(relay.stop)
        return relay

    def ask(self, relay: Relay, listener: str, path: str, *more: str) -> str:
        """The head of the answer; blocks."""
        url = f"http://127.0.0.1:{relay.port(listener)}{path}"
        host = ("-H", f"Host: {NAME}") if listener == "raw" else ()
        done = curl("-i", "--max-time", "20", *host, *more, url)
        return (done.stdout or done.stderr).decode()


class ApacheTests(LateTestCase):
    def apache(self, version: str) -> int:
        if not (MODULES / "mod_ssl.so").exists():
            self.skipTest("apache2 is not here")
        [port] = free_ports(1)
        config = APACHE.replace("PORT", str(port)).replace("MODULES", str(MODULES))
        config = config.replace("VERSION", version).replace("CERT", str(self.issued.cert))
        config = config.replace("KEY", str(self.issued.key)).replace("ROOT", str(self.authority.root))
        self.server = self.program(["apache2", "-D", "FOREGROUND", "-f", "{config}"], [port], config=config)
        return port

    def check(self, version: str) -> None:
        port = self.apache(version)
        relay = self.relay(port)
        body = self.folder / "body"
        body.write_bytes(b"content" * 15_000)
        for listener in ("web", "raw"):
            answer = self.ask(relay, listener, "/open")
            self.assertIn(" 204 ", answer)
            self.assertNotIn("me.test", answer)
            for _ in range(3):  # on a connection that knows us already, too
                answer = self.ask(relay, listener, "/private")
                self.assertIn(" 204 ", answer, relay.log + self.server.log)
                self.assertIn("X-Client: me.test", answer)
        # Content that comes in the middle of it arrives whole: Apache reads all of it before it answers.
        for listener in ("web", "raw"):
            answer = self.ask(relay, listener, "/private", "--data-binary", f"@{body}", "-H", "Expect:")
            self.assertIn(" 204 ", answer, relay.log + self.server.log)
            self.assertIn("X-Client: me.test", answer)
            self.assertIn("X-Length: 105000", answer)
        self.assertNotIn("error=", relay.log)
        without = self.relay(port, shows=False)
        self.assertNotIn(" 204 ", self.ask(without, "web", "/private"))
        self.assertIn(" 204 ", self.ask(without, "web", "/open"))

    async def test_one_that_renegotiates_tls_1_2(self) -> None:
        await deferToThread(self.check, "TLSv1.2")

    async def test_one_that_asks_after_the_handshake_of_tls_1_3(self) -> None:
        await deferToThread(self.check, "TLSv1.3")


class PostHandshakeTests(LateTestCase):
    def setUp(self) -> None:
        super().setUp()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.issued.cert, self.issued.key)
        context.load_verify_locations(self.authority.root)
        context.verify_mode = ssl.CERT_OPTIONAL
        context.post_handshake_auth = True
        self.context = context
        self.server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.server.close)
        self.port: int = self.server.getsockname()[1]

    def serve(self) -> None:
        """One connection: reads a request, asks for the certificate, and says whose it was."""
        raw, _ = self.server.accept()
        raw.settimeout(PATIENCE)
        with raw, self.context.wrap_socket(raw, server_side=True) as client:
            while not client.recv(65536).endswith(b"\r\n\r\n"):
                pass
            assert not client.getpeercert()
            client.verify_client_post_handshake()
            client.sendall(b"HTTP/1.1 200 OK\r\n")  # with which OpenSSL sends its wish
            shown = self.answered(client)
            subject = dict(part[0] for part in shown["subject"])["commonName"]  # type: ignore[index]
            body = subject.encode()
            client.sendall(b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)

    def answered(self, client: ssl.SSLSocket) -> object:
        """The certificate, when the client has shown it; it is read beside content, and none comes."""
        for _ in range(100):
            client.settimeout(0.2)
            try:
                client.recv(1)
            except TimeoutError:
                pass
            if shown := client.getpeercert():
                client.settimeout(PATIENCE)
                return shown
        raise AssertionError("it showed none")

    async def test_a_server_that_asks_in_the_middle_of_its_answer(self) -> None:
        relay = self.relay(self.port)
        for listener in ("web", "raw"):
            serving = Thread(target=self.serve, daemon=True)
            serving.start()
            answer = await deferToThread(self.ask, relay, listener, "/")
            self.assertTrue(answer.endswith("me.test"), answer)
            await deferToThread(serving.join, PATIENCE)
