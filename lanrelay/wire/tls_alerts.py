"""What it means that a TLS peer has ended a connection by an alert (RFC 8446 section 6.2)."""

from __future__ import annotations

from typing import Final

from lanrelay.errors import ClientCertificateWanted, NoCommonVersion, TlsAlert, TlsError

ABOUT_OUR_CERTIFICATE: Final = frozenset(
    {
        "bad_certificate",
        "unsupported_certificate",
        "certificate_revoked",
        "certificate_expired",
        "certificate_unknown",
        "unknown_ca",
        "access_denied",
        "certificate_required",
    }
)
"""With these a server says that our certificate is missing, or not to its liking."""

_NOTHING_IN_COMMON: Final = frozenset({"protocol_version", "insufficient_security", "inappropriate_fallback"})


def handshake_ended_by(alert: str, *, client: bool, certificate_seen: bool) -> TlsError:
    """
    Why the peer has ended the handshake.

    @param alert: by its name in RFC 8446.
    @param client: we are the client.
    @param certificate_seen: the peer had sent its certificate by then.
    """
    if alert in _NOTHING_IN_COMMON or (alert == "handshake_failure" and not certificate_seen):
        return NoCommonVersion(f"the peer accepts none of our TLS versions and ciphers (alert {alert})")
    # In TLS 1.2 a server that misses the client's certificate says handshake_failure, after its own was sent.
    if client and (alert in ABOUT_OUR_CERTIFICATE or alert == "handshake_failure"):
        return certificate_wanted(alert)
    return TlsAlert(f"the peer ended the TLS handshake (alert {alert})", alert=alert)


def certificate_wanted(alert: str) -> ClientCertificateWanted:
    """The server has no certificate of ours, or not one that it takes."""
    if alert in ("certificate_required", "handshake_failure"):
        return ClientCertificateWanted(f"the server wants a client certificate (alert {alert})", alert=alert)
    return ClientCertificateWanted(f"the server refused our client certificate (alert {alert})", alert=alert)
