"""Reads certificates and keys from PEM files, and says what to do when they are none."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lanrelay.errors import StartError
from lanrelay.trust.certificate import Certificate
from lanrelay.wire import der

_CERTIFICATE = re.compile(
    rb"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----\s.*?-----END (?:X509 |TRUSTED )?CERTIFICATE-----", re.S
)
_SUFFIXES = (".pem", ".crt", ".cer")


def read_certificates(path: Path, what: str) -> list[Certificate]:
    """
    All certificates of a PEM file, in its order; at least one.

    @param what: the key of the configuration, for the complaint (C{"tls.ca"}).
    @raise StartError: with a remedy.
    """
    content = _read(path, what)
    found = [certificate for certificate, _ in _certificates(path, content, what)]
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


def read_authorities(path: Path, what: str, purpose: bytes = der.SERVER_AUTH) -> list[Certificate]:
    """
    The certificates of a PEM file, or of all C{*.pem}, C{*.crt} and C{*.cer} files of a folder.

    @param purpose: a TRUSTED CERTIFICATE that says of itself that it is not for this is left out.
    @raise StartError: nothing there, or not readable; with a remedy.
    """
    files = [path]
    if path.is_dir():
        try:
            files = sorted(file for file in path.iterdir() if is_certificate_file(file) and file.is_file())
        except OSError as error:
            raise StartError(f"{what}: {path} cannot be read: {error.strerror}") from error
    else:
        read_certificates(path, what)  # which says what it is where it is none
    # A key beside its certificate is no complaint in a folder.
    read = [one for file in files for one in _certificates(file, _read(file, what), what)]
    found = [certificate for certificate, trust in read if not der.refuses_purpose(trust, purpose)]
    if not found and read:
        raise StartError(
            f"{what}: {path} holds only certificates that are marked as not trusted for this",
            remedy=f"`openssl x509 -in {path} -clrtrust -clrreject` prints one without the mark",
        )
    if not found:
        raise StartError(
            f"{what}: no file in {path} holds a certificate",
            remedy="put PEM files there whose names end in .pem, .crt or .cer",
        )
    return found


def blocks(content: bytes) -> list[bytes]:
    """The PEM blocks of certificates in C{content}."""
    return _CERTIFICATE.findall(content)


def certificates_in(content: bytes) -> list[Certificate]:
    """The certificates of PEM text that can be read; nothing else is looked at."""
    found = []
    for block in blocks(content):
        try:
            found.append(_of_block(block)[0])
        except ValueError:
            continue
    return found


def is_certificate_file(path: Path) -> bool:
    """Whether a file in a folder of CAs is looked at, going by its name."""
    return path.suffix.lower() in _SUFFIXES


def read_key(path: Path, what: str, passphrase: str | None = None) -> Any:
    """
    The private key of a PEM file, as pyOpenSSL's C{PKey}. Nobody is asked for a passphrase at the terminal.

    @raise StartError: with a remedy.
    """
    from OpenSSL import crypto  # late: 80 ms

    content = _read(path, what)
    _refuse_wide(path, content, what)
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
    asked = False

    def secret(_: object) -> bytes:
        nonlocal asked
        asked = True
        return (passphrase or "").encode()

    try:
        # OpenSSL's own reader: cryptography makes a plain RSA key of an RSA-PSS one, which fits no
        # certificate any more.
        return crypto.load_privatekey(crypto.FILETYPE_PEM, content, secret)
    except (crypto.Error, ValueError) as error:  # ValueError: the passphrase is longer than OpenSSL takes
        if asked and not passphrase:
            raise StartError(
                f"{what}: {path} is encrypted",
                remedy="set tls.passphrase (`${file:PATH}` keeps it in a file of its own) or decrypt it:"
                f" `openssl pkey -in {path} -out plain.key`",
            ) from None
        if asked:
            raise StartError(
                f"{what}: the passphrase does not open {path}",
                remedy=f"`openssl pkey -in {path} -noout` tries one",
            ) from error
        raise StartError(
            f"{what}: {path} does not parse as a private key",
            remedy=f"`openssl pkey -in {path} -noout` says more",
        ) from error


_SIGNED_DATA = bytes.fromhex("06092a864886f70d010702")  # PKCS #7, RFC 5652 section 5.1


def _certificates(path: Path, content: bytes, what: str) -> Iterator[tuple[Certificate, bytes]]:
    """Each with what a TRUSTED CERTIFICATE says of its trust; empty for nothing."""
    _refuse_wide(path, content, what)
    if (
        _SIGNED_DATA in content[:32]
        or b"-----BEGIN PKCS7-----" in content
        or b"-----BEGIN CMS-----" in content
    ):
        form = "" if b"-----BEGIN" in content else "-inform der "
        raise StartError(
            f"{what}: {path} is PKCS #7, a bag of certificates, not PEM certificates",
            remedy=f"`openssl pkcs7 {form}-print_certs -in {path} -out {path.stem}.pem` takes them out",
        )
    if content[:2] in (b"\x30\x82", b"\x30\x83", b"\x30\x81"):  # a DER sequence
        raise StartError(
            f"{what}: {path} is DER, not PEM",
            remedy=f"`openssl x509 -inform der -in {path} -out {path.stem}.pem` converts it"
            " (`openssl pkcs12` a .p12 or .pfx)",
        )
    for number, block in enumerate(blocks(content), 1):
        try:
            yield _of_block(block)
        except ValueError as error:
            raise StartError(
                f"{what}: certificate {number} of {path} does not parse",
                remedy=f"`openssl x509 -in {path} -noout -text` says more",
            ) from error


def _of_block(block: bytes) -> tuple[Certificate, bytes]:
    """
    @raise ValueError: OpenSSL does not take it for a certificate.
    """
    begin, *lines, _ = block.splitlines()
    certificate, trust = der.first(binascii.a2b_base64(b"".join(lines)))
    return Certificate.of(certificate), trust if b"TRUSTED" in begin else b""


def _refuse_wide(path: Path, content: bytes, what: str) -> None:
    """Notepad and PowerShell write such files."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff") or b"B\x00E\x00G\x00I\x00N" in content:
        raise StartError(
            f"{what}: {path} is text in UTF-16, and PEM is ASCII",
            remedy=f"`iconv -f utf-16 -t utf-8 {path} > {path.stem}-utf8.pem` converts it",
        )


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        # One of a command line is looked for where the person is.
        remedy = "" if what.startswith("--") else "paths are relative to the configuration"
        raise StartError(f"{what}: there is no file {path}", remedy=remedy) from None
    except PermissionError:
        raise StartError(
            f"{what}: {path} may not be read by this user", remedy="change its owner or mode"
        ) from None
    except OSError as error:
        raise StartError(f"{what}: {path} cannot be read: {error.strerror}") from error
