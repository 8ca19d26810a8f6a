"""The sentences of L{lanrelay.upstream.explain} about TLS and certificates."""

from __future__ import annotations

from datetime import datetime

from lanrelay import errors
from lanrelay.addresses import host_name, parse_ip
from lanrelay.errors import DialError
from lanrelay.upstream.sentences import Sentences, name, phrase, seconds, where


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown


def is_host(text: str) -> bool:
    """Whether what a peer calls itself is a name as hosts have them, and no pattern or worse."""
    return host_name(text) is not None or parse_ip(text) is not None


def _day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment is not None else "a moment that it does not tell"


def tls(error: DialError, _: str) -> Sentences:
    return (
        f"TLS with {where(error)} could not be set up: {phrase(error)}.",
        "Check that it is the right port and that the server's TLS is set up as it should be.",
    )


def tls_timeout(error: DialError, _: str) -> Sentences:
    return (
        f"{where(error)} took the connection, but did not finish the TLS handshake"
        f" within {seconds(error.elapsed)}.",
        "Check that this port speaks TLS at all, and that the server is not stuck.",
    )


def not_tls(error: DialError, _: str) -> Sentences:
    return (
        f"{where(error)} does not speak TLS on this port; most likely it speaks plain HTTP there.",
        "Write `http://` (or `tcp://`) for `https://` (or `tls://`), or take the port that speaks TLS.",
    )


def no_common_version(error: DialError, _: str) -> Sentences:
    return (
        f"{where(error)} and the relay have no TLS version or cipher in common.",
        "Bring the server up to TLS 1.2 or 1.3, or lower `tls.min_version` if you must.",
    )


def alert(error: errors.TlsAlert, _: str) -> Sentences:
    alert = f" ({error.alert.replace('_', ' ')})" if error.alert else ""
    look = "Look"
    if error.alert == "internal_error":  # the word of Go's servers, as of Caddy
        look = "It may have no certificate for this name, or none yet: try again in a moment, or look"
    return (
        f"{where(error)} broke off the TLS handshake{alert}.",
        f"{look} at the log over there;"
        " if the server goes by the name it is asked for, set `tls.server_name`.",
    )


def client_certificate(error: DialError, _: str) -> Sentences:
    return (
        f"{where(error)} wants a client certificate, or does not accept the one that it was shown.",
        "Put a certificate that it accepts, and its key, under `tls.cert` and `tls.key`.",
    )


def certificate(error: DialError, _: str) -> Sentences:
    return (
        f"The certificate of {where(error)} was refused: {phrase(error)}.",
        "Let the server send a proper certificate together with those between it and its root.",
    )


def unknown_issuer(error: errors.UnknownIssuer, _: str) -> Sentences:
    issuer = f'"{error.issuer}"' if error.issuer else "a CA that it does not name"
    return (
        f"The certificate of {where(error)} was issued by {issuer}, which is not trusted here.",
        "If that is your own CA, put the path of its PEM file under `tls.ca` of this upstream.",
    )


def self_signed(error: errors.SelfSigned, _: str) -> Sentences:
    issuer = f' ("{error.issuer}")' if error.issuer else ""
    return (
        f"The certificate of {where(error)} is self-signed{issuer}, and nobody vouches for it.",
        "If it is the right one, put the path of its PEM file under `tls.ca` of this upstream.",
    )


def expired(error: errors.CertificateExpired, _: str) -> Sentences:
    return (
        f"The certificate of {where(error)}, or one above it, expired on {_day(error.moment)}.",
        "Renew it over there; if that day is still to come, correct the clock of this machine.",
    )


def not_yet(error: errors.CertificateNotYetValid, _: str) -> Sentences:
    return (
        f"The certificate of {where(error)}, or one above it, is not valid before {_day(error.moment)}.",
        "Correct the clock of this machine, or of the one that issued the certificate.",
    )


def wrong_name(error: errors.WrongName, _: str) -> Sentences:
    wanted = error.wanted or name(error)
    if not error.found:
        return (
            f"The certificate of {where(error)} bears no name that could be compared with {wanted}.",
            "Let the server have a certificate with its name among the subject alternative names.",
        )
    first = next(filter(is_host, error.found), "one of those names")
    return (
        f"The certificate of {where(error)} is for {_listed(error.found)}, and not for {wanted}.",
        f"If it is the right server, set `tls.server_name` to {first}, or use that name in the URL.",
    )


def pin_mismatch(error: errors.PinMismatch, _: str) -> Sentences:
    what = f"{where(error)} does not show what `tls.pin` names: {phrase(error)}"
    if not error.found:
        return f"{what}.", "Find out whether the server has a new certificate before you change the pin."
    return (
        f"{what}; the pin of its own would be {error.found}.",
        "If its owner tells you that this is the server's new one, write that under `tls.pin`; otherwise"
        " somebody may be in the way.",
    )
