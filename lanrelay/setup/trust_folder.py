"""The folder C{trust/} beside the configuration: what is in it, and what its files become. Writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from lanrelay.config import stored_trust
from lanrelay.trust.certificate import Certificate
from lanrelay.trust.pem import certificates_in


class Entry(NamedTuple):
    """
    One file.

    @ivar stem: host and port as C{HOST_PORT}.
    @ivar certificates: of a file of authorities.
    @ivar pin: of a file with a pin.
    @ivar since: when it was written.
    """

    path: Path
    stem: str
    certificates: tuple[Certificate, ...]
    pin: str
    since: datetime

    @property
    def port(self) -> int:
        return int(self.stem.rpartition("_")[2])


def entries(config: Path) -> list[Entry]:
    """All files there that can be read as what they are called, in their order."""
    folder = config.parent / stored_trust.FOLDER
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return []
    found = [_entry(path) for path in paths if path.suffix in (".pem", ".pin")]
    return [one for one in found if one is not None]


def of_host(config: Path, host: str, port: int | None) -> list[Entry]:
    """Those of a host, on one port or on all."""
    return [
        one
        for one in entries(config)
        if one.stem == stored_trust.stem(host, one.port) and port in (None, one.port)
    ]


def with_authorities(content: bytes | None, added: Sequence[Certificate], *, now: datetime) -> bytes:
    """What the file of a host becomes with more authorities in it; what is there already stays as it is."""
    before = content or b""
    known = set(certificates_in(before))
    text = before if not before or before.endswith(b"\n") else before + b"\n"
    for certificate in dict.fromkeys(added):
        if certificate not in known:
            head = f"# {certificate.subject}, trusted on {now:%Y-%m-%d}\n"
            text += head.encode() + certificate.pem
    return text


def relative(config: Path, path: Path) -> str:
    """A file of the folder as the configuration names it."""
    return str(path.relative_to(config.parent))


def _entry(path: Path) -> Entry | None:
    stem = path.stem
    host, _, port = stem.rpartition("_")
    if not host or not port.isdigit():
        return None
    try:
        since = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc)
        content = path.read_bytes()
    except OSError:
        return None
    certificates: tuple[Certificate, ...] = ()
    pin = ""
    if path.suffix == ".pem":
        certificates = tuple(certificates_in(content))
    else:
        pin = content.decode("ascii", "replace").strip()
    return Entry(path, stem, certificates, pin, since)
