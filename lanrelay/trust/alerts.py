"""Translates what OpenSSL says of a failed connection into the error tree."""

from __future__ import annotations

import re

from lanrelay.errors import ClientCertificateWanted, NoCommonVersion, TlsAlert, TlsBroken, TlsError
from lanrelay.wire.tls_alerts import ABOUT_OUR_CERTIFICATE, certificate_wanted, handshake_ended_by

# OpenSSL renames them: "sslv3 alert bad certificate" in 3.0, "ssl/tls alert ..." from 3.2 on, "tls alert ..."
# in 4.0; and "tlsv13 alert certificate required", "tlsv1 unrecognized name".
_ALERT = re.compile(r"(?:(?:sslv3|tlsv1|tlsv13|ssl/tls|tls) alert|tlsv1|tlsv13) (.+)")

_OUR_WORDS_FOR_NOTHING_IN_COMMON = frozenset(
    {
        "unsupported protocol",
        "no protocols available",
        "no ciphers available",
        "no shared cipher",
        "no suitable key share",
        "no suitable groups",
        "no suitable signature algorithm",
        "no shared signature algorithms",
        "version too low",
        "wrong ssl version",
        "unknown ssl version",
        "wrong cipher returned",
    }
)


# What OpenSSL calls a method of HTTP, and CONNECT, in the place of a ClientHello.
_PLAIN_HTTP = frozenset({"http request", "https proxy request"})


def reasons_of(error: Exception) -> list[str]:
    """The reasons in a pyOpenSSL error, the innermost first."""
    entries = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return [str(entry[-1]) for entry in entries]


def alert_in(error: Exception) -> str:
    """The alert that the peer sent, by its name in RFC 8446; empty if it sent none."""
    for reason in reasons_of(error):
        match = _ALERT.fullmatch(reason)
        if match:
            return match.group(1).replace("cancelled", "canceled").replace(" ", "_")
    return ""


def handshake_error(error: Exception, *, client: bool, certificate_seen: bool) -> TlsError:
    """
    Why a handshake failed.

    @param client: we are the client.
    @param certificate_seen: the peer had sent its certificate by then.
    """
    alert = alert_in(error)
    if alert:
        return handshake_ended_by(alert, client=client, certificate_seen=certificate_seen)
    reasons = reasons_of(error)
    if any(reason in _OUR_WORDS_FOR_NOTHING_IN_COMMON for reason in reasons):
        return NoCommonVersion(f"no TLS version or cipher in common ({reasons[0]})")
    if not client and not _PLAIN_HTTP.isdisjoint(reasons):
        return TlsError("the client speaks plain HTTP to a port with TLS; its URL should begin with https://")
    if "peer did not return a certificate" in reasons:
        return ClientCertificateWanted("the client showed no certificate", alert="certificate_required")
    return TlsError(f"the TLS handshake failed: {', '.join(reasons) or 'OpenSSL gave no reason'}")


def late_error(error: Exception, *, client: bool) -> TlsAlert | TlsBroken:
    """What went wrong after the handshake; in TLS 1.3 the server judges our certificate only then."""
    alert = alert_in(error)
    if client and alert in ABOUT_OUR_CERTIFICATE:
        return certificate_wanted(alert)
    if alert:
        return TlsBroken(f"the peer ended the connection with the TLS alert {alert}")
    return TlsBroken(f"a TLS record was broken: {', '.join(reasons_of(error)) or 'OpenSSL gave no reason'}")
