"""Lets a server ask for a certificate after the handshake, and judges who it is then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lanrelay.errors import CertificateError
from lanrelay.trust.certificate import Certificate

if TYPE_CHECKING:
    from OpenSSL import SSL


def allow_late_certificates(context: SSL.Context) -> None:
    """Let servers ask late; only for a client that has a certificate to show."""
    context.set_info_callback(_watch)
    try:
        from OpenSSL._util import lib  # type: ignore[import-untyped, unused-ignore]

        lib.SSL_CTX_set_post_handshake_auth(context._context, 1)  # type: ignore[attr-defined, unused-ignore]
    except (ImportError, AttributeError):
        pass  # another pyOpenSSL than those we know: in TLS 1.3 such a server refuses


def _watch(connection: SSL.Connection, where: int, _: int) -> None:
    """
    OpenSSL's word of what it does: a renegotiation must not change who the server is.

    Its certificate was judged after the first handshake, by its name and the pins, and by nobody later.
    """
    from OpenSSL import SSL  # late: 80 ms; by now it was imported for the context

    if not where & SSL.SSL_CB_HANDSHAKE_DONE:
        return
    judgement: Any = connection.get_app_data()
    shown: Any = connection.get_peer_certificate()
    leaf = None if shown is None else Certificate(shown)
    if judgement.leaf is None:
        judgement.leaf = leaf
    elif judgement.leaf != leaf and judgement.error is None:
        judgement.error = CertificateError("the server showed another certificate in a TLS renegotiation")
