"""Certificates that OpenSSL takes and strict parsers refuse, encoded by hand and signed in earnest."""

from __future__ import annotations

from base64 import encodebytes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lanrelay.cli.authority import Issued
from lanrelay.trust.certificate import Certificate

_SIGNED = bytes.fromhex("300a06082a8648ce3d040302")  # ecdsa-with-SHA256
_COMMON_NAME = bytes.fromhex("0603550403")

BASIC_CONSTRAINTS, ALTERNATIVE_NAMES, EXTENDED_KEY_USAGE = "551d13", "551d11", "551d25"
DNS_NAME, ADDRESS = 0x82, 0x87
FALSE, TRUE = b"\x01\x01\x00", b"\x01\x01\xff"
UTF8, PRINTABLE = 0x0C, 0x13


def tlv(tag: int, *parts: bytes) -> bytes:
    """A DER element."""
    content = b"".join(parts)
    size = len(content)
    if size < 128:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def extension(oid: str, content: bytes, *, critical: bytes = b"") -> bytes:
    """C{critical} as it stands there; empty for not at all."""
    return tlv(0x30, tlv(0x06, bytes.fromhex(oid)), critical, tlv(0x04, content))


def names(*each: tuple[int, bytes]) -> bytes:
    """Subject alternative names."""
    return extension(ALTERNATIVE_NAMES, tlv(0x30, *(tlv(tag, content) for tag, content in each)))


@dataclass(frozen=True, kw_only=True)
class Odd:
    """A certificate and its key."""

    der: bytes
    key: Any

    @property
    def x509(self) -> Any:
        return Certificate.of(self.der).x509

    @property
    def pem(self) -> bytes:
        return b"-----BEGIN CERTIFICATE-----\n" + encodebytes(self.der) + b"-----END CERTIFICATE-----\n"

    def write(self, folder: Path, stem: str) -> Issued:
        """As files; its C{certificate} is nothing, for cryptography has none."""
        cert, key = folder / f"{stem}.pem", folder / f"{stem}.key"
        cert.write_bytes(self.pem)
        key.write_bytes(
            self.key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return Issued(cert=cert, key=key, certificate=None)  # type: ignore[arg-type]


def odd_certificate(
    *extensions: bytes,
    common_name: bytes = b"nas.lan",
    common_name_tag: int = UTF8,
    dates: bytes = b"20991231235959Z",
    issuer: Odd | None = None,
    issuer_name: bytes = b"",
) -> Odd:
    """
    @param dates: the end.
    @param issuer: who signs; C{None}: it signs itself.
    @param issuer_name: the issuer's common name.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )

    def name(text: bytes) -> bytes:
        return tlv(0x30, tlv(0x31, tlv(0x30, _COMMON_NAME, tlv(common_name_tag, text))))

    signed = tlv(
        0x30,
        bytes.fromhex("a003020102"),
        bytes.fromhex("02044f646421"),
        _SIGNED,
        name(issuer_name or common_name),
        tlv(0x30, tlv(0x18, b"20200101000000Z"), tlv(0x18, dates)),
        name(common_name),
        public,
        tlv(0xA3, tlv(0x30, *extensions)) if extensions else b"",
    )
    signer = key if issuer is None else issuer.key
    signature = signer.sign(signed, ec.ECDSA(hashes.SHA256()))
    return Odd(der=tlv(0x30, signed, _SIGNED, tlv(0x03, b"\0", signature)), key=key)


def odd_authority(common_name: bytes = b"Odd CA", **more: Any) -> Odd:
    """A root whose basic constraints say C{critical FALSE} where the default is to be left out."""
    constraints = extension(BASIC_CONSTRAINTS, bytes.fromhex("30030101ff"), critical=FALSE)
    return odd_certificate(constraints, common_name=common_name, **more)
