"""The certificates that listeners show, as their files have them now."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from lanrelay.errors import StartError
from lanrelay.listeners.service import ListenerService

if TYPE_CHECKING:
    from lanrelay.trust.certificate import CertificateInfo

FileState = tuple[int, int, int]


class OwnCertificates:
    """
    Reads a file when it has changed; of one that cannot be read any more, the last certificates are kept.
    """

    def __init__(self) -> None:
        self._known: dict[Path, tuple[FileState, CertificateInfo | None]] = {}

    def of(self, listener: ListenerService) -> CertificateInfo | None:
        """What C{listener} shows to its clients; C{None} without TLS."""
        if listener.config.tls is None:
            return None
        path = listener.config.tls.cert
        stamp, info = self._known.get(path, ((0, 0, 0), None))
        try:
            state = os.stat(path)
            found = (state.st_ino, state.st_size, state.st_mtime_ns)
            if found != stamp:
                info = _read(path) or info
                self._known[path] = (found, info)
        except OSError:
            pass  # it is being replaced, or has gone: what was read last is still in force
        return info


def _read(path: Path) -> CertificateInfo | None:
    # late: it takes 30 ms; where a listener has TLS, it is imported already
    from lanrelay.trust.pem import read_certificates

    try:
        return read_certificates(path, "tls.cert")[0].info()
    except StartError:
        return None
