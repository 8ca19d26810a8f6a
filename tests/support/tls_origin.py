"""A TLS server in threads that remembers every byte it was sent after the handshake."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from threading import Thread

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from lanrelay.cli.authority import Issued
from tests.support.progress import PATIENCE

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecret"


class TlsOrigin:
    """
    Listens on 127.0.0.1 from the start to L{stop}; answers each request with C{ANSWER}.

    @ivar handshakes: how many were begun.
    @ivar secured: how many were ended, also by the client.
    @ivar heard: all that was said inside of TLS.
    @ivar raw: what was said instead of TLS, where C{issued} is C{None}.
    @param chain: certificates to send beside that of C{issued}.
    @param client_ca: if given, clients must show a certificate that it has signed.
    @param at_most: the latest version of TLS that it speaks.
    """

    def __init__(
        self,
        issued: Issued | None,
        *,
        chain: tuple[x509.Certificate, ...] = (),
        client_ca: Path | None = None,
        at_most: ssl.TLSVersion | None = None,
    ) -> None:
        self.handshakes = self.secured = 0
        self.heard = b""
        self.raw = b""
        self._context: ssl.SSLContext | None = None
        if issued is not None:
            context = self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            shown = issued.cert
            if chain:
                shown = issued.cert.with_suffix(".chain")
                shown.write_bytes(
                    issued.cert.read_bytes() + b"".join(one.public_bytes(Encoding.PEM) for one in chain)
                )
            context.load_cert_chain(shown, issued.key)
            if client_ca is not None:
                context.load_verify_locations(client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
            if at_most is not None:
                context.set_ciphers("ALL:@SECLEVEL=0")
                context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
                context.maximum_version = at_most
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        """Close the port."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE)
        self.handshakes += 1
        with connection:
            try:
                if self._context is None:
                    self.raw += connection.recv(65536)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                    return
                with self._context.wrap_socket(connection, server_side=True) as secured:
                    self.secured += 1
                    while data := secured.recv(65536):
                        self.heard += data
                        if b"\r\n\r\n" in data:
                            secured.sendall(ANSWER)  # and read on: what is unread at a close resets it
            except (OSError, ssl.SSLError):
                pass
