"""Judges a peer's certificate: what OpenSSL's findings mean, and whose name it bears."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from lanrelay.errors import (
    CertificateError,
    CertificateExpired,
    CertificateNotYetValid,
    SelfSigned,
    TlsError,
    UnknownIssuer,
    WrongName,
)

if TYPE_CHECKING:
    from cryptography import x509


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateInfo:
    """
    What people want to know of a certificate.

    @ivar names: its DNS names and addresses.
    """

    subject: str
    issuer: str
    not_before: datetime
    not_after: datetime
    names: tuple[str, ...]


class Judgement:
    """
    What was found wrong with the certificates of one handshake; the app data of its OpenSSL connection.

    @ivar error: the first finding.
    """

    __slots__ = ("error",)

    def __init__(self) -> None:
        self.error: TlsError | None = None


def note_finding(connection: Any, certificate: Any, code: int, depth: int, ok: int) -> bool:
    """OpenSSL's verify callback: keeps the first finding, in our words, and refuses."""
    if ok:
        return True
    judgement = connection.get_app_data()
    if judgement.error is None:
        judgement.error = _finding(certificate.to_cryptography(), code, depth)
    return False


def certificate_info(certificate: x509.Certificate) -> CertificateInfo:
    """The record of a certificate."""
    return CertificateInfo(
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        not_before=_utc(certificate, "not_valid_before"),
        not_after=_utc(certificate, "not_valid_after"),
        names=names_of(certificate),
    )


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """The DNS names and addresses in the subject's alternative names; the common name is none of them."""
    from cryptography import x509  # late: 30 ms

    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):  # ValueError: the extension does not parse
        return ()
    return tuple(
        str(name.value) for name in extension.value if isinstance(name, (x509.DNSName, x509.IPAddress))
    )


def check_name(certificate: x509.Certificate, wanted: str) -> None:
    """
    The certificate must be for C{wanted}, a DNS name or an address, by its alternative names (RFC 9525).

    @raise WrongName: it is for others.
    """
    # late: service_identity takes 20 ms
    from cryptography import x509
    from service_identity import CertificateError as BadPattern
    from service_identity import VerificationError
    from service_identity.hazmat import (
        DNS_ID,
        DNSPattern,
        IPAddress_ID,
        IPAddressPattern,
        verify_service_identity,
    )

    # Not service_identity's own extraction: it refuses a certificate as a whole for one odd name in it, and
    # home-made ones often have an address among the DNS names.
    patterns: list[DNSPattern | IPAddressPattern] = []
    try:
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        raise WrongName(
            "the certificate bears a common name only, and no client looks at that any more (RFC 9525)",
            wanted=wanted,
        ) from None
    except ValueError as error:
        raise CertificateError("the names in the certificate do not parse") from error
    for name in alternatives:
        if isinstance(name, x509.DNSName):
            try:
                patterns.append(DNSPattern.from_bytes(name.value.encode()))
            except BadPattern:
                pass  # what is no pattern matches no name
        elif isinstance(name, x509.IPAddress):
            patterns.append(IPAddressPattern(name.value))  # type: ignore[arg-type]
    found = names_of(certificate)
    try:
        identity: Any = (
            IPAddress_ID(wanted.partition("%")[0]) if is_address(wanted) else DNS_ID(wanted.rstrip("."))
        )
        verify_service_identity(patterns, [identity], [])
    except (VerificationError, BadPattern, ValueError):
        listed = ", ".join(found) or "no name at all"
        raise WrongName(
            f"the certificate is not for {wanted} but for {listed}", wanted=wanted, found=found
        ) from None


def check_chain(
    leaf: x509.Certificate, others: Sequence[x509.Certificate], anchors: Sequence[x509.Certificate]
) -> bool:
    """
    Whether C{anchors}, and nothing else, vouch for C{leaf} as a server's certificate.

    For certificates that OpenSSL did not judge in the handshake itself, so what a handshake looks at beside
    signatures, dates and the right to issue (purpose, digests) is looked at here.

    @param others: what may lie between them.
    @return: C{False}: C{leaf} does not come from any of them.
    @raise CertificateError: it does, but the chain is not good.
    """
    # late: 80 ms, and only pins need it
    from cryptography.hazmat.primitives.hashes import MD5, SHA1
    from OpenSSL import crypto

    store = crypto.X509Store()
    for anchor in anchors:
        store.add_cert(crypto.X509.from_cryptography(anchor))
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)  # an anchor need not be a root
    context = crypto.X509StoreContext(
        store, crypto.X509.from_cryptography(leaf), [crypto.X509.from_cryptography(one) for one in others]
    )
    try:
        verified = [one.to_cryptography() for one in context.get_verified_chain()]
    except crypto.X509StoreContextError as error:
        code, depth = error.errors[0], error.errors[1]
        if code in _NO_ISSUER or code in (_SELF_SIGNED_LEAF, _BAD_SIGNATURE):
            return False
        raise _finding(error.certificate.to_cryptography(), code, depth) from None
    _check_purpose(leaf)
    for depth, certificate in enumerate(verified[:-1]):  # nobody relies on the signature on the anchor
        if isinstance(certificate.signature_hash_algorithm, (MD5, SHA1)):
            raise _finding(certificate, _WEAK_DIGEST, depth)
    return True


def _check_purpose(leaf: x509.Certificate) -> None:
    # late: 30 ms
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    try:
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    except ValueError as error:
        raise CertificateError("the purpose in the certificate does not parse") from error
    if (
        ExtendedKeyUsageOID.SERVER_AUTH not in usage
        and ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE not in usage
    ):
        raise _finding(leaf, _WRONG_PURPOSE, 0)


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


def _finding(certificate: x509.Certificate, code: int, depth: int) -> TlsError:
    subject, issuer = certificate.subject.rfc4514_string(), certificate.issuer.rfc4514_string()
    which = "the certificate" if depth == 0 else f"the CA certificate {subject}"
    if code == _EXPIRED:
        moment = _utc(certificate, "not_valid_after")
        return CertificateExpired(f"{which} expired on {_said(moment)}", moment=moment)
    if code == _NOT_YET_VALID:
        moment = _utc(certificate, "not_valid_before")
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


def _utc(certificate: x509.Certificate, attribute: str) -> datetime:
    # cryptography has the aware attributes from 42 on
    moment: datetime = getattr(certificate, f"{attribute}_utc")
    return moment


def _said(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")
