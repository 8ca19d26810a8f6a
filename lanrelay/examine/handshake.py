"""A TLS handshake that keeps what the server showed, whatever is wrong with it; nothing is sent after it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from lanrelay.config import model
from lanrelay.errors import TlsError
from lanrelay.transport.pins import public_key_pin
from lanrelay.transport.trust import ClientTls
from lanrelay.transport.verify import certificate_info, note_finding

if TYPE_CHECKING:
    from cryptography import x509
    from OpenSSL import SSL


class Shown(ClientTls):
    """
    The trust of an upstream, which looks at the whole chain before it judges.

    What OpenSSL finds is noted during the handshake and raised at its end, before anything is sent: so the
    chain is known, and the verdict is that of the relay.

    @ivar chain: of the latest handshake, as the server sent it, its own certificate first.
    @ivar version: of the latest handshake, C{"TLSv1.3"}.
    """

    def __init__(self, trust: model.Trust, server_name: str, *, platform: str = sys.platform) -> None:
        super().__init__(trust, server_name, platform=platform)
        self.chain: tuple[x509.Certificate, ...] = ()
        self.version = ""

    def judge(self, connection: SSL.Connection) -> None:
        """As of any upstream; the findings of the handshake first."""
        self.version = connection.get_protocol_version_name()
        sent: Any = connection.get_peer_cert_chain() or []
        chain = []
        for one in sent:
            try:
                chain.append(one.to_cryptography())
            except ValueError as error:
                raise TlsError("the server sent a certificate that does not parse") from error
        self.chain = tuple(chain)
        finding: Any = connection.get_app_data()
        if finding.error is not None:
            raise finding.error
        super().judge(connection)

    def _make(self) -> SSL.Context:
        from OpenSSL import SSL

        context = super()._make()
        if context.get_verify_mode() != SSL.VERIFY_NONE:
            context.set_verify(SSL.VERIFY_PEER, _note_and_go_on)
        return context


def _note_and_go_on(connection: Any, certificate: Any, code: int, depth: int, ok: int) -> bool:
    note_finding(connection, certificate, code, depth, ok)
    return True


def facts(tls: Shown) -> dict[str, Any]:
    """The version and the chain, as the contract has them."""
    return {"tls": {"version": tls.version}, "chain": chain_as_json(tls.chain)}


def chain_as_json(chain: Sequence[x509.Certificate]) -> list[dict[str, Any]]:
    """Certificates as the contract has them; digests in the forms that C{tls.pin} takes."""
    return [_as_json(certificate) for certificate in chain]


def _as_json(certificate: x509.Certificate) -> dict[str, Any]:
    from cryptography.hazmat.primitives.serialization import Encoding

    info = certificate_info(certificate)
    return {
        "subject": info.subject,
        "issuer": info.issuer,
        "names": list(info.names),
        "not_before": info.not_before.isoformat(),
        "not_after": info.not_after.isoformat(),
        "sha256": sha256(certificate.public_bytes(Encoding.DER)).hexdigest(),
        "spki": public_key_pin(certificate),
    }
