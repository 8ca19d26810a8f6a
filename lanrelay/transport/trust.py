"""Turns the configuration's certificates, keys and trusted roots into OpenSSL contexts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from lanrelay.config.model import ServerTls, TlsVersion, Trust
from lanrelay.errors import StartError
from lanrelay.transport.pem import read_authorities, read_certificates, read_key
from lanrelay.transport.verify import Judgement, check_name, is_address, note_finding

if TYPE_CHECKING:
    from OpenSSL import SSL


class ClientTls:
    """
    How to secure connections to one upstream: whom to trust, under which name, and what to show.

    With C{system} roots alone nothing is read before the first connection.

    @ivar server_name: the name or address that the certificate must bear.
    """

    log = Logger()

    def __init__(self, trust: Trust, server_name: str) -> None:
        self.trust = trust
        self.server_name = server_name
        self._context: SSL.Context | None = None

    def load(self) -> None:
        """
        Read the files that are named, once.

        @raise StartError: with file and remedy.
        """
        trust = self.trust
        if trust.cert is not None or (trust.verify and any(isinstance(one, Path) for one in trust.ca)):
            self._ready()

    def connection(self, alpn: tuple[str, ...] = ()) -> SSL.Connection:
        """
        An OpenSSL connection in memory, for one handshake.

        @param alpn: application protocols to offer (RFC 7301); none by default.
        """
        from OpenSSL import SSL  # late: 80 ms

        connection = SSL.Connection(self._ready(), None)
        connection.set_connect_state()
        connection.set_app_data(Judgement())
        if self.server_name and not is_address(self.server_name):
            connection.set_tlsext_host_name(_dns_name(self.server_name))
        if alpn:
            connection.set_alpn_protos([name.encode("ascii") for name in alpn])
        return connection

    def judge(self, connection: SSL.Connection) -> None:
        """
        The last word, when OpenSSL has found the chain good: whose certificate is it?

        @raise CertificateError: somebody else's.
        """
        if self.trust.verify:
            certificate: Any = connection.get_peer_certificate()
            check_name(certificate.to_cryptography(), self.server_name)

    def _ready(self) -> SSL.Context:
        if self._context is None:
            self._context = self._make()
        return self._context

    def _make(self) -> SSL.Context:
        from OpenSSL import SSL  # late: 80 ms

        trust = self.trust
        context = _new_context(SSL.TLS_CLIENT_METHOD, trust.min_version)
        if trust.cert is not None:
            _show(context, trust.cert, trust.key or trust.cert, passphrase=trust.passphrase)
        if not trust.verify:
            context.set_verify(SSL.VERIFY_NONE, lambda *_: True)
            return context
        for one in trust.ca:
            if isinstance(one, Path):
                _trust(context, one, "tls.ca")
            else:
                self._trust_system(context)
        context.set_verify(SSL.VERIFY_PEER, note_finding)
        return context

    def _trust_system(self, context: SSL.Context) -> None:
        # pyOpenSSL knows where distributions keep their roots, and minds SSL_CERT_FILE and SSL_CERT_DIR.
        context.set_default_verify_paths()
        if not _has_system_roots():
            self.log.warn(
                "no trusted roots of this system were found, so no public certificate for {name} will be"
                " trusted; install the package ca-certificates, set SSL_CERT_FILE, or name a file in tls.ca",
                name=self.server_name,
            )


class ServerContext:
    """How a listener shows itself, and whether clients must."""

    def __init__(self, tls: ServerTls) -> None:
        self.tls = tls
        self._context: SSL.Context | None = None

    def load(self) -> None:
        """
        Read certificate, key and client CAs, once.

        @raise StartError: with file and remedy.
        """
        if self._context is None:
            self._context = self._make()

    def connection(self) -> SSL.Connection:
        """An OpenSSL connection in memory, for one handshake."""
        from OpenSSL import SSL  # late: 80 ms

        self.load()
        assert self._context is not None
        connection = SSL.Connection(self._context, None)
        connection.set_accept_state()
        connection.set_app_data(Judgement())
        return connection

    def _make(self) -> SSL.Context:
        from OpenSSL import SSL  # late: 80 ms

        context = _new_context(SSL.TLS_SERVER_METHOD, self.tls.min_version)
        # No resumption: a client that was once let in would come again without showing its certificate, and
        # tickets written after the handshake meet clients that never read.
        context.set_options(SSL.OP_NO_TICKET)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        _show(context, self.tls.cert, self.tls.key)
        if self.tls.client_ca:
            for path in self.tls.client_ca:
                for authority in _trust(context, path, "tls.client_ca"):
                    context.add_client_ca(authority)  # their names help browsers to choose
            context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, note_finding)
        return context


def _new_context(method: int, min_version: TlsVersion) -> SSL.Context:
    from OpenSSL import SSL  # late: 80 ms

    context = SSL.Context(method)
    versions = {
        "1.0": SSL.TLS1_VERSION,
        "1.1": SSL.TLS1_1_VERSION,
        "1.2": SSL.TLS1_2_VERSION,
        "1.3": SSL.TLS1_3_VERSION,
    }
    context.set_min_proto_version(versions[min_version])
    no_renegotiation: int = SSL.OP_NO_RENEGOTIATION  # type: ignore[attr-defined, unused-ignore]
    # A peer that asks for a renegotiation is told no; compression leaks (CRIME).
    context.set_options(SSL.OP_NO_COMPRESSION | no_renegotiation)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # 34 KB less for each idle connection
    if min_version in ("1.0", "1.1"):
        # OpenSSL 3 takes the SHA-1 signatures of these versions at security level 0 only. Whoever sets such a
        # min_version has a device that knows nothing better.
        context.set_cipher_list(b"DEFAULT:@SECLEVEL=0")
    return context


def _trust(context: SSL.Context, path: Path, what: str) -> list[Any]:
    from OpenSSL import crypto  # late: 80 ms

    store = context.get_cert_store()
    assert store is not None
    found = read_authorities(path, what)
    for certificate in found:
        store.add_cert(crypto.X509.from_cryptography(certificate))
    # People put the server's own certificate there, or an intermediate: what they name is trusted as it is.
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    return found


def _show(context: Any, cert: Path, key: Path, passphrase: str | None = None) -> None:
    """Certificate, chain and key of our own."""
    from OpenSSL import SSL  # late: 80 ms

    leaf, *chain = read_certificates(cert, "tls.cert")
    private = read_key(key, "tls.key", passphrase)
    try:
        context.use_certificate(leaf)
        for certificate in chain:
            context.add_extra_chain_cert(certificate)
    except SSL.Error as error:
        raise StartError(
            f"tls.cert: OpenSSL does not take the certificate {cert}: {_said(error)}",
            remedy="make a new one with a stronger key",
        ) from error
    try:
        context.use_privatekey(private)
        context.check_privatekey()
    except (SSL.Error, TypeError) as error:
        raise StartError(
            f"tls.key: the key {key} does not fit the certificate {cert}",
            remedy=f"`openssl pkey -in {key} -pubout` and `openssl x509 -in {cert} -pubkey -noout`"
            " must print the same",
        ) from error


def _said(error: Exception) -> str:
    reasons = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return ", ".join(str(reason[-1]) for reason in reasons) or "no reason given"


def _dns_name(name: str) -> bytes:
    name = name.rstrip(".")
    try:
        return name.encode("ascii")
    except UnicodeEncodeError:
        import idna  # late, and rarely needed

        return idna.encode(name)


def _has_system_roots() -> bool:
    """Whether there is any file in the places where OpenSSL and pyOpenSSL look."""
    from OpenSSL import SSL  # late: 80 ms

    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if file is not None or folder is not None:
        return any(os.path.exists(one) for one in [file or "", *(folder or "").split(os.pathsep)] if one)
    places: list[str] = getattr(SSL, "_CERTIFICATE_FILE_LOCATIONS", [])
    folders: list[str] = getattr(SSL, "_CERTIFICATE_PATH_LOCATIONS", [])
    from ssl import get_default_verify_paths  # late: for what this Python's OpenSSL was built with

    default = get_default_verify_paths()
    return any(os.path.isfile(one) for one in [*places, default.openssl_cafile]) or any(
        os.path.isdir(one) and os.listdir(one) for one in [*folders, default.openssl_capath]
    )
