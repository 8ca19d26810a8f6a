"""Judges a peer's certificate: what OpenSSL's findings mean, and whose name it bears."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from ipaddress import ip_address
from typing import Any

from lanrelay.addresses import in_ascii
from lanrelay.errors import (
    CertificateError,
    CertificateExpired,
    CertificateNotYetValid,
    SelfSigned,
    TlsError,
    UnknownIssuer,
    WrongName,
)
from lanrelay.trust.certificate import Certificate
from lanrelay.wire import der


class Judgement:
    """
    What was found wrong with the certificates of one handshake; the app data of its OpenSSL connection.

    @ivar error: the first finding.
    @ivar late: the peer may ask for our certificate after the handshake.
    @ivar leaf: what the peer showed first, where C{late}.
    """

    __slots__ = ("error", "late", "leaf")

    def __init__(self, *, late: bool = False) -> None:
        self.error: TlsError | None = None
        self.late = late
        self.leaf: Certificate | None = None


def note_finding(connection: Any, certificate: Any, code: int, depth: int, ok: int) -> bool:
    """OpenSSL's verify callback: keeps the first finding, in our words, and refuses."""
    if ok:
        return True
    judgement = connection.get_app_data()
    if judgement.error is None:
        judgement.error = _finding(Certificate(certificate), code, depth)
    return False


def check_name(certificate: Certificate, wanted: str) -> None:
    """
    The certificate must be for C{wanted}, a DNS name or an address, by its alternative names (RFC 9525).

    An odd name among them fits nobody, and spoils no other name: home-made certificates often have an address
    among the DNS names, or an address with a mask.

    @raise WrongName: it is for others.
    """
    names = der.alternative_names(certificate.der)
    if is_address(wanted):
        address = ip_address(wanted.partition("%")[0]).packed
        fits = any(name == address for name in names)
    else:
        try:
            host = in_ascii(wanted).rstrip(".").lower()
        except UnicodeError:
            host = ""
        fits = bool(host) and any(isinstance(name, str) and _is_for(name, host) for name in names)
    if fits:
        return
    if not names and not der.has_alternative_names(certificate.der):
        raise WrongName(
            "the certificate bears a common name only, and no client looks at that any more (RFC 9525)",
            wanted=wanted,
        )
    found = certificate.names
    listed = ", ".join(found) or "no name at all"
    raise WrongName(f"the certificate is not for {wanted} but for {listed}", wanted=wanted, found=found)


def _is_for(name: str, host: str) -> bool:
    """
    Section 6.3: a C{*} stands for the whole of the first label, be that an A-label or not.

    As for OpenSSL, it does not stand for all below a top-level domain; and final dots change nothing.
    """
    name = name.strip().removesuffix(".").lower()
    if name == host:
        return True
    star, _, domain = name.partition(".")
    first, _, rest = host.partition(".")
    return star == "*" and first != "" and domain == rest and "." in domain


def check_chain(leaf: Certificate, others: Sequence[Certificate], anchors: Sequence[Certificate]) -> bool:
    """
    Whether C{anchors}, and nothing else, vouch for C{leaf} as a server's certificate.

    This is for certificates that OpenSSL did not judge in the handshake. So it looks at all that a handshake
    looks at: signatures, dates, the right to issue, purpose, digests.

    @param others: what may lie between them.
    @return: C{False}: C{leaf} does not come from any of them.
    @raise CertificateError: it does, but the chain is not good.
    """
    return bool(verified_path(leaf, others, anchors))


def verified_path(
    leaf: Certificate, others: Sequence[Certificate], anchors: Sequence[Certificate]
) -> list[Certificate]:
    """
    As L{check_chain}: the certificates from C{leaf} to the anchor that vouches for it; empty for none.

    @raise CertificateError: as there.
    """
    from OpenSSL import crypto  # late: 80 ms

    store = crypto.X509Store()
    for anchor in anchors:
        store.add_cert(anchor.x509)
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)  # an anchor need not be a root
    context = crypto.X509StoreContext(store, leaf.x509, [one.x509 for one in others])
    try:
        verified = [Certificate(one) for one in context.get_verified_chain()]
    except crypto.X509StoreContextError as error:
        code, depth = error.errors[0], error.errors[1]
        if code in _NO_ISSUER or code in (_SELF_SIGNED_LEAF, _BAD_SIGNATURE):
            return []
        raise _finding(Certificate(error.certificate), code, depth) from None
    purposes = der.purposes(leaf.der)
    if purposes is not None and der.SERVER_AUTH not in purposes and der.ANY_PURPOSE not in purposes:
        raise _finding(leaf, _WRONG_PURPOSE, 0)
    for depth, certificate in enumerate(verified[:-1]):  # nobody relies on the signature on the anchor
        if _has_weak_signature(certificate):
            raise _finding(certificate, _WEAK_DIGEST, depth)
    return verified


def _has_weak_signature(certificate: Certificate) -> bool:
    algorithm: bytes = certificate.x509.get_signature_algorithm()
    return any(digest in algorithm.lower() for digest in (b"md2", b"md4", b"md5", b"sha1"))


def is_address(host: str) -> bool:
    """Whether C{host} is a literal address, which SNI must not carry (RFC 6066 section 3)."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


# The numbers are X509_V_ERR_* of OpenSSL's x509_vfy.h; they never change.
_NOT_YET_VALID = 9
_EXPIRED = 10
_SELF_SIGNED_LEAF = 18
_BAD_SIGNATURE = 7
_WRONG_PURPOSE = 26
_WEAK_DIGEST = 68
_NO_ISSUER = {2, 19, 20, 21, 27, 33}
_PHRASES = {
    23: "has been revoked",
    24: "was issued by a certificate that is no CA's",
    25: "has a longer chain than its CA allows",
    26: "is not meant for this purpose (extended key usage)",
    28: "is rejected for this purpose",
    32: "was issued by a certificate that may not sign others (key usage)",
    34: "has a critical extension that OpenSSL does not know",
    47: "has a name that its CA may not certify (name constraints)",
    66: "has a key that is too weak",
    67: "was issued with a key that is too weak",
    68: "is signed with a digest that is too weak",
    79: "was issued by a certificate that is no CA's",
}


def _finding(certificate: Certificate, code: int, depth: int) -> TlsError:
    subject, issuer = certificate.subject, certificate.issuer
    which = "the certificate" if depth == 0 else f"the CA certificate {subject}"
    if code == _EXPIRED:
        moment = _read(certificate, "not_after")
        return CertificateExpired(f"{which} expired on {_said(moment)}", moment=moment)
    if code == _NOT_YET_VALID:
        moment = _read(certificate, "not_before")
        return CertificateNotYetValid(f"{which} is not valid before {_said(moment)}", moment=moment)
    if code == _SELF_SIGNED_LEAF:
        return SelfSigned(f"the certificate {subject} is self-signed and not trusted", issuer=issuer)
    if code in _NO_ISSUER:
        return UnknownIssuer(f"the certificate's issuer is not trusted: {issuer}", issuer=issuer)
    if code == _BAD_SIGNATURE:
        return UnknownIssuer(
            f"the signature does not fit the known certificate of the CA {issuer}, which may have a new key",
            issuer=issuer,
        )
    return CertificateError(f"{which} {_PHRASES.get(code, f'was refused by OpenSSL (X509_V_ERR {code})')}")


def _read(certificate: Certificate, date: str) -> datetime | None:
    """A date that OpenSSL has read; its calendar has a year 0, and ours has none."""
    try:
        moment: datetime = getattr(certificate, date)
    except ValueError:
        return None
    return moment


def _said(moment: datetime | None) -> str:
    return "a date that cannot be read" if moment is None else moment.strftime("%Y-%m-%d %H:%M UTC")
