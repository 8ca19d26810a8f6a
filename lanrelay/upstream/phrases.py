"""
What each failure is called in a few words: the reason phrase of the relay's own answers.

Many programs show nothing else of an answer that is an error.
"""

from __future__ import annotations

from typing import Final

from lanrelay import errors
from lanrelay.errors import DialError, RelayError

WHERE_MAX: Final = 80
"""Characters of a name that are shown; names that people choose are shorter."""

# {host} is the upstream without its port, {where} with it, {parent} the proxy on the way to it.
PHRASES: Final[dict[type[RelayError], str]] = {
    errors.RelayError: "Fault in the relay",
    errors.Fault: "Fault in the relay",
    errors.StartError: "Fault in the relay",
    errors.DialError: "No connection to {host}",
    errors.NoSuchName: "No host named {host}",
    errors.NameServerFailed: "{host} cannot be looked up",
    errors.NameTimeout: "No name server answers for {host}",
    errors.ConnectionRefused: "Nothing listens on {where}",
    errors.DialTimeout: "No answer from {host}",
    errors.Unroutable: "No route to {host}",
    errors.DialForbidden: "This machine forbids the way to {host}",
    errors.AddressDenied: "The relay may not connect to {host}",
    errors.NameDenied: "The relay may not connect to {host}",
    errors.NoDestination: "No address of {host} to connect to",
    errors.LeadsBack: "{where} leads back to the relay",
    errors.PeerClosed: "{host} ended the connection at once",
    errors.LocalLimit: "The relay has too many connections",
    errors.AllDown: "All upstreams are down",
    errors.CheckFailed: "{host} fails its health check",
    errors.HostRefused: "{host} does not let in the Host it was sent",
    errors.TlsOnPlain: "{where} speaks TLS, and its URL says http",
    errors.ParentRefused: "{parent} opens no way to {host}",
    errors.ParentTimeout: "{parent} opens no way to {host}",
    errors.ParentMalformed: "{parent} does not answer as a proxy",
    errors.TlsError: "No TLS with {host}",
    errors.TlsTimeout: "No end of the TLS handshake with {host}",
    errors.NotTls: "{where} does not speak TLS",
    errors.NoCommonVersion: "No TLS version in common with {host}",
    errors.TlsAlert: "{host} broke off the TLS handshake",
    errors.ClientCertificateWanted: "{host} wants a client certificate",
    errors.CertificateError: "Certificate of {host} was refused",
    errors.UnknownIssuer: "Certificate of {host} is not trusted",
    errors.SelfSigned: "Certificate of {host} is self-signed",
    errors.CertificateExpired: "Certificate of {host} has expired",
    errors.CertificateNotYetValid: "Certificate of {host} is not valid yet",
    errors.WrongName: "Certificate is not for {host}",
    errors.PinMismatch: "Certificate of {host} does not fit its pin",
    errors.StreamError: "Connection to {host} broke",
    errors.StreamTimeout: "{host} fell silent",
    errors.Unanswered: "{host} ended the connection without an answer",
    errors.TlsTruncated: "{host} cut the connection",
    errors.TlsBroken: "TLS with {host} broke",
    errors.ExchangeError: "{host} failed",
    errors.ResponseTimeout: "No answer from {host} in time",
    errors.ResponseIncomplete: "{host} broke off its answer",
    errors.ResponseMalformed: "Answer of {host} is not valid HTTP",
    errors.UpgradeFailed: "{host} switched protocols without being asked",
    errors.LoopDetected: "Request came back to the relay",
    errors.ProgramError: "Program failed",
    errors.ProgramNotStarted: "Program cannot be started",
    errors.ProgramEnded: "Program has ended",
    errors.TooManyPrograms: "Too many programs run already",
    errors.RemoteProtocolError: "",
}
"""By class; one that is missing has the words of the class above it."""


def words(error: RelayError, upstream: str = "") -> str:
    """
    A few words for C{error}, printable and in ASCII; empty where those that belong to its status do.

    @param upstream: the name or URL of what failed, for an error that does not know it.
    """
    if isinstance(error, errors.RequestDenied):
        return error.words
    phrase = next(PHRASES[each] for each in type(error).__mro__ if each in PHRASES)
    where, parent = _authority(upstream), ""
    if isinstance(error, DialError):
        where, parent = error.target or where, error.parent
    where = _shown(where) or "the upstream"
    text = phrase.format(
        where=where,
        host=_host(where),
        parent=f"The proxy {_shown(_authority(parent))}" if parent else "The parent proxy",
    )
    text = "".join(letter if " " <= letter <= "~" else "?" for letter in text)
    return f"T{text[1:]}" if text.startswith("the ") else text


def _authority(name: str) -> str:
    """Of C{https://nas.lan:8443/mcp} what is between the slashes; whatever else is not a URL stays."""
    scheme, slashes, rest = name.partition("://")
    return rest.partition("/")[0] if slashes else scheme


def _host(where: str) -> str:
    host, colon, port = where.rpartition(":")
    return host if colon and port.isdigit() and host else where


def _shown(where: str) -> str:
    return where if len(where) <= WHERE_MAX else where[: WHERE_MAX - 3] + "..."
