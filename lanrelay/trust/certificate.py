"""A certificate as OpenSSL has it, and what people want to know of it."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from hashlib import sha256
from ipaddress import ip_address
from typing import Any

from lanrelay.wire import der


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


class Certificate:
    """
    Any certificate that OpenSSL takes. Names and digests are read exactly; all else is read for people.

    @ivar x509: pyOpenSSL's.
    @ivar der: its bytes; two with the same are equal.
    """

    def __init__(self, x509: Any) -> None:
        from OpenSSL import crypto  # late: 80 ms

        self.x509 = x509
        self.der: bytes = crypto.dump_certificate(crypto.FILETYPE_ASN1, x509)

    @classmethod
    def of(cls, one: Any) -> Certificate:
        """
        @param one: pyOpenSSL's, cryptography's, DER, or one of these already.
        @raise ValueError: bytes that are no certificate to OpenSSL.
        """
        from OpenSSL import crypto  # late: 80 ms

        if isinstance(one, Certificate):
            return one
        if isinstance(one, bytes):
            try:
                return cls(crypto.load_certificate(crypto.FILETYPE_ASN1, one))
            except crypto.Error as error:
                raise ValueError("OpenSSL does not take it for a certificate") from error
        if isinstance(one, crypto.X509):
            return cls(one)
        return cls(crypto.X509.from_cryptography(one))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Certificate) and other.der == self.der

    def __hash__(self) -> int:
        return hash(self.der)

    @cached_property
    def subject(self) -> str:
        """As RFC 4514 writes it."""
        return self._name("subject", der.SUBJECT)

    @cached_property
    def issuer(self) -> str:
        """As RFC 4514 writes it."""
        return self._name("issuer", der.ISSUER)

    @property
    def not_before(self) -> datetime:
        """@raise ValueError: it does not say."""
        return _moment(self.x509.get_notBefore())

    @property
    def not_after(self) -> datetime:
        """@raise ValueError: it does not say."""
        return _moment(self.x509.get_notAfter())

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The DNS names and addresses among its alternative names; the common name is none of them."""
        return tuple(map(_shown, der.alternative_names(self.der)))

    @property
    def pem(self) -> bytes:
        """As text."""
        from OpenSSL import crypto  # late: 80 ms

        text: bytes = crypto.dump_certificate(crypto.FILETYPE_PEM, self.x509)
        return text

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the whole."""
        return sha256(self.der).digest()

    @cached_property
    def key_digest(self) -> bytes:
        """
        SHA-256 of its SubjectPublicKeyInfo.

        @raise ValueError: OpenSSL has read more into it than there is.
        """
        return sha256(der.public_key(self.der)).digest()

    @property
    def pin(self) -> str:
        """The pin of the whole, as one writes it."""
        return f"sha256:{self.digest.hex()}"

    @property
    def key_pin(self) -> str:
        """The pin of its public key, as one writes it."""
        return f"sha256//{b64encode(self.key_digest).decode('ascii')}"

    def info(self) -> CertificateInfo | None:
        """For those who look at it; C{None} where it has no dates that can be read."""
        try:
            return CertificateInfo(
                subject=self.subject,
                issuer=self.issuer,
                not_before=self.not_before,
                not_after=self.not_after,
                names=self.names,
            )
        except ValueError:
            return None

    def _name(self, word: str, field: int) -> str:
        try:
            text = _on_one_line(getattr(self.x509.to_cryptography(), word).rfc4514_string())
        except Exception:  # cryptography refuses the whole, or this name, in ways of its own
            try:
                parts = der.name(self.der, field)
            except ValueError:
                return "a name that cannot be read"
            text = ",".join(f"{key}={_printable(value)}" for key, value in reversed(parts))
        return text


def _shown(name: str | bytes) -> str:
    if isinstance(name, str):
        return _printable(name.encode("ascii"))
    try:
        return str(ip_address(name))
    except ValueError:
        return f"an address of {len(name)} bytes"


def _printable(raw: bytes) -> str:
    return _on_one_line(raw.decode("utf-8", "replace"))


def _on_one_line(text: str) -> str:
    """
    A peer chooses this text, so it must not begin a line of its own with the fingerprint that somebody looks
    for.
    """
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _moment(text: bytes | None) -> datetime:
    """Of OpenSSL's GENERALIZEDTIME."""
    if text is None:
        raise ValueError("no date")
    return datetime.strptime(text.decode("ascii"), "%Y%m%d%H%M%SZ").replace(tzinfo=timezone.utc)
