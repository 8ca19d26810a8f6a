"""
A TLS handshake that keeps the server's certificates, whatever is wrong with them; nothing is sent after it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lanrelay.config import model
from lanrelay.trust.certificate import Certificate
from lanrelay.trust.trust import ClientTls
from lanrelay.trust.verify import note_finding

if TYPE_CHECKING:
    from OpenSSL import SSL


class Shown(ClientTls):
    """
    The trust of an upstream, which looks at the whole chain before it judges.

    What OpenSSL finds is noted during the handshake and raised at its end, before anything is sent. So the
    whole chain is known, and the verdict is the same as the relay's.

    @ivar chain: of the latest handshake, as the server sent it, its own certificate first.
    @ivar version: of the latest handshake, C{"TLSv1.3"}.
    """

    def __init__(self, trust: model.Trust, server_name: str, *, platform: str = sys.platform) -> None:
        super().__init__(trust, server_name, platform=platform)
        self.chain: tuple[Certificate, ...] = ()
        self.version = ""

    def judge(self, connection: SSL.Connection) -> None:
        """Judge as for any upstream, but raise the findings of the handshake first."""
        self.version = connection.get_protocol_version_name()
        sent: Any = connection.get_peer_cert_chain() or []
        self.chain = tuple(map(Certificate, sent))
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


def chain_as_json(chain: Sequence[Certificate]) -> list[dict[str, Any]]:
    """Certificates as the contract has them; a date, or a key, that cannot be read is C{None}."""
    return [
        {
            "subject": one.subject,
            "issuer": one.issuer,
            "names": list(one.names),
            "not_before": _date(one, "not_before"),
            "not_after": _date(one, "not_after"),
            "sha256": one.digest.hex(),
            "spki": _key_pin(one),
        }
        for one in chain
    ]


def _date(certificate: Certificate, which: str) -> str | None:
    try:
        moment: datetime = getattr(certificate, which)
    except ValueError:
        return None
    return moment.isoformat()


def _key_pin(certificate: Certificate) -> str | None:
    try:
        return certificate.key_pin
    except ValueError:
        return None
