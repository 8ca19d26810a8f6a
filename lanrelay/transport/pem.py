"""Reads certificates and keys from PEM files, and says what to do when they are none."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from lanrelay.errors import StartError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

_CERTIFICATE = re.compile(
    rb"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----\s.*?-----END (?:X509 |TRUSTED )?CERTIFICATE-----", re.S
)
_SUFFIXES = (".pem", ".crt", ".cer")


def read_certificates(path: Path, what: str) -> list[x509.Certificate]:
    """
    All certificates of a PEM file, in its order; at least one.

    @param what: the key of the configuration, for the complaint (C{"tls.ca"}).
    @raise StartError: with a remedy.
    """
    content = _read(path, what)
    found = _certificates(path, content, what)
    if not found:
        if b"PRIVATE KEY-----" in content:
            raise StartError(
                f"{what}: {path} holds a private key and no certificate",
                remedy="name the certificate's file here, and never give the key of a CA away",
            )
        if b"CERTIFICATE REQUEST-----" in content:
            raise StartError(
                f"{what}: {path} holds a certificate request, which no CA has signed yet",
                remedy="name the file of the certificate that the CA made of it",
            )
        raise StartError(
            f"{what}: {path} holds no certificate",
            remedy="it has to be PEM: text with a line `-----BEGIN CERTIFICATE-----`",
        )
    return found


def read_authorities(path: Path, what: str) -> list[x509.Certificate]:
    """
    The certificates of a PEM file, or of all C{*.pem}, C{*.crt} and C{*.cer} files of a folder.

    @raise StartError: nothing there, or not readable; with a remedy.
    """
    if not path.is_dir():
        return read_certificates(path, what)
    try:
        files = sorted(file for file in path.iterdir() if is_certificate_file(file) and file.is_file())
    except OSError as error:
        raise StartError(f"{what}: {path} cannot be read: {error.strerror}") from error
    found = [
        certificate for file in files for certificate in _certificates(file, _read(file, what), what)
    ]  # a key beside its certificate is no complaint in a folder
    if not found:
        raise StartError(
            f"{what}: no file in {path} holds a certificate",
            remedy="put PEM files there whose names end in .pem, .crt or .cer",
        )
    return found


def blocks(content: bytes) -> list[bytes]:
    """The PEM blocks of certificates in C{content}."""
    return _CERTIFICATE.findall(content)


def is_certificate_file(path: Path) -> bool:
    """Whether a file in a folder of CAs is looked at, going by its name."""
    return path.suffix.lower() in _SUFFIXES


def read_key(path: Path, what: str, passphrase: str | None = None) -> PrivateKeyTypes:
    """
    The private key of a PEM file. Nobody is ever asked for a passphrase at the terminal.

    @raise StartError: with a remedy.
    """
    # late: cryptography takes 30 ms
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    content = _read(path, what)
    if b"PRIVATE KEY-----" not in content:
        if content[:1] == b"\x30":
            raise StartError(
                f"{what}: {path} is DER, not PEM",
                remedy=f"`openssl pkey -inform der -in {path} -out {path.stem}.pem` converts it",
            )
        holds = "a certificate and no private key" if b"CERTIFICATE-----" in content else "no private key"
        raise StartError(
            f"{what}: {path} holds {holds}", remedy="it has to be PEM: `-----BEGIN PRIVATE KEY-----`"
        )
    secret = passphrase.encode() if passphrase else None
    try:
        try:
            return load_pem_private_key(content, secret)
        except TypeError:
            if secret is None:
                raise StartError(
                    f"{what}: {path} is encrypted",
                    remedy=f"give the passphrase, or decrypt it: `openssl pkey -in {path} -out plain.key`",
                ) from None
            return load_pem_private_key(content, None)  # it is not encrypted; the passphrase is not needed
    except ValueError as error:
        if b"ENCRYPTED" in content and secret is not None:
            raise StartError(
                f"{what}: the passphrase does not open {path}",
                remedy=f"`openssl pkey -in {path} -noout` tries one",
            ) from error
        raise StartError(
            f"{what}: {path} does not parse as a private key",
            remedy=f"`openssl pkey -in {path} -noout` says more",
        ) from error
    except UnsupportedAlgorithm as error:
        raise StartError(f"{what}: {path} holds a kind of key that is not supported") from error


def _certificates(path: Path, content: bytes, what: str) -> list[x509.Certificate]:
    # late: X.509 takes 30 ms
    from cryptography.x509 import load_pem_x509_certificate

    if content[:2] in (b"\x30\x82", b"\x30\x83", b"\x30\x81"):  # a DER sequence
        raise StartError(
            f"{what}: {path} is DER, not PEM",
            remedy=f"`openssl x509 -inform der -in {path} -out {path.stem}.pem` converts it"
            " (`openssl pkcs12` a .p12 or .pfx)",
        )
    found = []
    for block in blocks(content):
        try:
            found.append(load_pem_x509_certificate(block))
        except ValueError as error:
            raise StartError(
                f"{what}: certificate {len(found) + 1} of {path} does not parse",
                remedy=f"`openssl x509 -in {path} -noout -text` says more",
            ) from error
    return found


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise StartError(
            f"{what}: there is no file {path}", remedy="paths are relative to the configuration"
        ) from None
    except PermissionError:
        raise StartError(
            f"{what}: {path} may not be read by this user", remedy="change its owner or mode"
        ) from None
    except OSError as error:
        raise StartError(f"{what}: {path} cannot be read: {error.strerror}") from error
