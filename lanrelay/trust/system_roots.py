"""Finds the roots that this system trusts, where distributions keep them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from OpenSSL import SSL

# Go's crypto/x509 and curl's configure look in the same places.
BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Alpine, Gentoo, NixOS
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, RHEL; its older name is a link, and going
    "/etc/pki/tls/certs/ca-bundle.crt",  # older ones
    "/var/lib/ca-certificates/ca-bundle.pem",  # openSUSE
    "/etc/ssl/ca-bundle.pem",  # older ones
    "/etc/ca-certificates/extracted/tls-ca-bundle.pem",  # Arch
    "/etc/ssl/cert.pem",  # Alpine, macOS, FreeBSD
    "/usr/local/etc/ssl/cert.pem",  # FreeBSD, from ports
)
FOLDERS = (
    "/etc/ssl/certs",  # hashed links beside the bundle, also those somebody made by hand
    "/etc/pki/tls/certs",
)


def bundle(environ: Mapping[str, str] | None = None, *, top: str = "/") -> Path | None:
    """
    The file with all roots: of SSL_CERT_FILE, the distribution, or the OpenSSL that Python was built with.

    @param top: where paths begin; for tests.
    """
    environ = os.environ if environ is None else environ
    if "SSL_CERT_FILE" in environ or "SSL_CERT_DIR" in environ:
        named = environ.get("SSL_CERT_FILE")
        return Path(named) if named and os.path.isfile(named) else None
    for place in (*BUNDLES, _default()[0]):
        path = Path(top, place.lstrip("/"))
        if place and path.is_file():
            return path
    return None


def folder(environ: Mapping[str, str] | None = None, *, top: str = "/") -> Path | None:
    """The folder in which OpenSSL looks roots up by their hashes, if there is anything in it."""
    environ = os.environ if environ is None else environ
    if "SSL_CERT_FILE" in environ or "SSL_CERT_DIR" in environ:
        candidates = [place for place in environ.get("SSL_CERT_DIR", "").split(os.pathsep) if place]
    else:
        candidates = [str(Path(top, place.lstrip("/"))) for place in (*FOLDERS, _default()[1]) if place]
    for candidate in candidates:
        if os.path.isdir(candidate) and os.listdir(candidate):
            return Path(candidate)
    return None


def trust_system(context: SSL.Context) -> bool:
    """Let C{context} trust them; C{False}: there are none, or they do not parse."""
    from OpenSSL import SSL  # late: 80 ms

    file, directory = bundle(), folder()
    if "SSL_CERT_FILE" in os.environ or "SSL_CERT_DIR" in os.environ:
        context.set_default_verify_paths()  # OpenSSL minds them itself, several folders too
    elif file is not None or directory is not None:
        try:
            context.load_verify_locations(
                None if file is None else str(file), None if directory is None else str(directory)
            )
        except SSL.Error:
            return False
    return file is not None or directory is not None


def _default() -> tuple[str, str]:
    from ssl import get_default_verify_paths  # late: 5 ms

    paths = get_default_verify_paths()
    return paths.openssl_cafile, paths.openssl_capath
