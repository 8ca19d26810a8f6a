"""Makes OpenSSL contexts: protocol versions, trusted certificates, and what we show of ourselves."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lanrelay.config.model import TlsVersion
from lanrelay.errors import StartError
from lanrelay.trust.pem import read_authorities, read_certificates, read_key
from lanrelay.wire import der

if TYPE_CHECKING:
    from OpenSSL import SSL

    from lanrelay.trust.certificate import Certificate


def new_context(method: int, min_version: TlsVersion, *, renegotiates: bool = False) -> SSL.Context:
    """
    A context with our defaults for one side.

    @param method: one of OpenSSL's.
    @param renegotiates: the peer may ask for a renegotiation of TLS 1.2; else it is told no.
    """
    from OpenSSL import SSL  # late: 80 ms

    context = SSL.Context(method)
    versions = {
        "1.0": SSL.TLS1_VERSION,
        "1.1": SSL.TLS1_1_VERSION,
        "1.2": SSL.TLS1_2_VERSION,
        "1.3": SSL.TLS1_3_VERSION,
    }
    context.set_min_proto_version(versions[min_version])
    context.set_options(SSL.OP_NO_COMPRESSION)  # which leaks (CRIME)
    if not renegotiates:
        no_renegotiation: int = SSL.OP_NO_RENEGOTIATION  # type: ignore[attr-defined, unused-ignore]
        context.set_options(no_renegotiation)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # 34 KB less for each idle connection
    if min_version in ("1.0", "1.1"):
        # OpenSSL 3 takes the SHA-1 signatures of these versions at security level 0 only. A user who sets
        # such a min_version has a device that knows nothing better.
        context.set_cipher_list(b"DEFAULT:@SECLEVEL=0")
    return context


def trust_authorities(
    context: SSL.Context, path: Path, what: str, purpose: bytes = der.SERVER_AUTH
) -> list[Certificate]:
    """
    Trust what is in a file or a folder.

    @param what: the key of the configuration, for the complaint.
    @param purpose: what for; see L{read_authorities}.
    @return: the certificates.
    @raise StartError: with file and remedy.
    """
    from OpenSSL import crypto  # late: 80 ms

    store = context.get_cert_store()
    assert store is not None
    found = read_authorities(path, what, purpose)
    for certificate in found:
        store.add_cert(certificate.x509)
    # People name the server's own certificate, or an intermediate: these are trusted as they are.
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    return found


def show(context: Any, cert: Path, key: Path, passphrase: str | None = None) -> None:
    """
    Certificate, chain and key of our own.

    @raise StartError: with file and remedy.
    """
    from OpenSSL import SSL  # late: 80 ms

    leaf, *chain = read_certificates(cert, "tls.cert")
    private = read_key(key, "tls.key", passphrase)
    with warnings.catch_warnings():
        # pyOpenSSL wants certificates and keys of cryptography's, which refuses some that OpenSSL takes, and
        # has no keys for RSA-PSS.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            context.use_certificate(leaf.x509)
            for certificate in chain:
                context.add_extra_chain_cert(certificate.x509)
        except SSL.Error as error:
            raise StartError(
                f"tls.cert: OpenSSL does not take the certificate {cert}: {_said(error)}",
                remedy="make a new one with a stronger key",
            ) from error
        try:
            context.use_privatekey(private)
            context.check_privatekey()
        except SSL.Error as error:
            raise StartError(
                f"tls.key: the key {key} does not fit the certificate {cert}",
                remedy=f"`openssl pkey -in {key} -pubout` and `openssl x509 -in {cert} -pubkey -noout`"
                " must print the same",
            ) from error


def _said(error: Exception) -> str:
    reasons = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return ", ".join(str(reason[-1]) for reason in reasons) or "no reason given"
