"""What becomes of the files when a server is trusted, or is no more; reads them, and writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from lanrelay.config import kinds, model, stored_trust
from lanrelay.edit.replace import read
from lanrelay.edit.several import Planned
from lanrelay.errors import CertificateError
from lanrelay.setup.trust_folder import Entry, of_host, relative, with_authorities
from lanrelay.setup.trusting import Fetched, Proposal, Untrustable, shown_fingerprint
from lanrelay.setup.upstream_trust import Origin, forget, trust_ca, trust_pin, verify
from lanrelay.trust.certificate import Certificate
from lanrelay.trust.pem import read_authorities
from lanrelay.trust.verify import verified_path


class Server(NamedTuple):
    """
    A host and port that speaks TLS.

    @ivar members: what leads there, those of equal trust once; the first is what was asked for.
    @ivar configured: they stand in the configuration.
    """

    origin: Origin
    members: tuple[model.Upstream, ...]
    configured: bool

    def __str__(self) -> str:
        host = f"[{self.origin.host}]" if ":" in self.origin.host else self.origin.host
        return f"{host}:{self.origin.port}"


def server_of(upstream: model.Upstream, config: model.Config | None) -> Server:
    """The server of an upstream, with all that leads there by the configuration."""
    origin = Origin(upstream.url.host, upstream.url.port)
    known = [] if config is None else [one for one in upstreams_of(config) if origin.has(one)]
    # Who trusts in the same way gets the same handshake.
    members = {(one.trust, one.address, one.via): one for one in known or [upstream]}
    return Server(origin, tuple(members.values()), bool(known))


def trusted_before(file: Path, server: Server, fetched: Fetched) -> list[str]:
    """What was trusted for a server by an earlier decision, and is not what it shows; for people."""
    leaf, *others = fetched.chain
    told = []
    pins = set()
    for entry in of_host(file, *server.origin):
        if entry.pin:
            pins.add(entry.pin)
            if entry.pin not in (leaf.key_pin, leaf.pin):
                told.append(f"the key {entry.pin}, on {entry.since:%Y-%m-%d}")
        elif not _vouch(entry.certificates, leaf, others):
            told += _told(entry.certificates, f"on {entry.since:%Y-%m-%d}")
    for member in server.members:
        for ca in member.trust.ca:
            if isinstance(ca, Path) and ca.parent != file.parent / stored_trust.FOLDER:
                named = read_authorities(ca, "tls.ca")
                if not _vouch(named, leaf, others):
                    told += _told(named, f"in {ca} of {_day(ca)}")
        for pin in member.trust.pin:
            if _text(pin) not in (leaf.key_pin, leaf.pin, *pins):
                told.append(f"the pin {_text(pin)}, which the configuration names")
    return list(dict.fromkeys(told))


def is_pinned(upstream: model.Upstream, certificate: Certificate) -> bool:
    """Whether a pin of the upstream fits a certificate."""
    return any(_text(pin) in (certificate.key_pin, certificate.pin) for pin in upstream.trust.pin)


def trusting(
    file: Path, server: Server, fetched: Fetched, proposal: Proposal, *, now: datetime
) -> list[Planned]:
    """
    What is written so that the proposal is in force.

    Files that the configuration names come before it, and those that it names no more after it.

    @raise NotEdited: the configuration cannot be changed by itself.
    @raise StartError: a file cannot be read.
    """
    host, port = server.origin
    authorities = read(stored_trust.authorities_file(file, host, port))
    pin = read(stored_trust.pin_file(file, host, port))
    original = read(file)
    content = original.content if server.configured else None
    plan: list[Planned] = []
    gone: list[Planned] = []
    rewritten = None
    if proposal.kind == "authority":
        plan.append(Planned(authorities, with_authorities(authorities.content, proposal.stored, now=now)))
        gone.append(Planned(pin, None))
        if content is not None:
            without_pin = any(_pins_differ(one, proposal.path) for one in server.members)
            named = relative(file, authorities.path)
            rewritten = trust_ca(file, content, server.origin, named, without_pin=without_pin)
    else:
        with_ca = fetched.error is None
        if content is not None:
            rewritten = trust_pin(file, content, server.origin, proposal.pin, with_ca=with_ca)
        if not (with_ca and authorities.content):
            plan.append(Planned(pin, f"{proposal.pin}\n".encode()))
            if rewritten is None or authorities.path not in _named_files(rewritten.config):
                gone.append(Planned(authorities, None))
    if rewritten is not None:
        plan.append(Planned(original, rewritten.content))
    return [one for one in plan + gone if one.content != one.original.content]


def verifying(file: Path, server: Server) -> list[Planned]:
    """What is written so that C{verify: false} goes, where nothing else is needed; raises as L{trusting}."""
    original = read(file)
    if original.content is None:
        return []
    return [Planned(original, verify(file, original.content, server.origin).content)]


def forgetting(file: Path, host: str, entries: Sequence[Entry]) -> list[Planned]:
    """
    What is written so that entries of the folder are trusted no more; raises as L{trusting}.

    @raise Untrustable: another host is trusted by the same file.
    """
    original = read(file)
    content = original.content
    for entry in entries:
        if content is None:
            break
        named = "" if entry.pin else relative(file, entry.path)
        rewritten = forget(file, content, Origin(host, entry.port), file=named, key_pin=entry.pin)
        content = rewritten.content
        if entry.path in _named_files(rewritten.config):
            raise Untrustable(
                f"{entry.path} is named in {file} for another host, too, so it stays.",
                "take it out there first",
            )
    plan = [Planned(original, content)] if content != original.content else []
    return plan + [Planned(read(entry.path), None) for entry in entries]


def upstreams_of(config: model.Config) -> list[model.Upstream]:
    """All that a configuration leads to."""
    return [one for listener in config.listeners for one in kinds.upstreams_of(listener)]


_FEW = 3


def _told(certificates: Sequence[Certificate], since: str) -> list[str]:
    few = [f"{one.subject}, SHA-256 {shown_fingerprint(one)}, {since}" for one in certificates[:_FEW]]
    return [*few, f"and {len(certificates) - _FEW} more, {since}"] if len(certificates) > _FEW else few


def _day(path: Path) -> str:
    return f"{datetime.fromtimestamp(path.stat().st_mtime):%Y-%m-%d}"


def _vouch(authorities: Sequence[Certificate], leaf: Certificate, others: Sequence[Certificate]) -> bool:
    """Whether what was trusted still issues what is shown, whatever else is wrong with that."""
    try:
        return bool(authorities) and bool(verified_path(leaf, others, authorities))
    except CertificateError:
        return True


def _named_files(config: model.Config) -> set[Path]:
    """The files of authorities that upstreams name."""
    return {ca for one in upstreams_of(config) for ca in one.trust.ca if isinstance(ca, Path)}


def _pins_differ(upstream: model.Upstream, path: Sequence[Certificate]) -> bool:
    return bool(upstream.trust.pin) and not any(is_pinned(upstream, one) for one in path)


def _text(pin: model.PublicKeyPin | model.CertificatePin) -> str:
    from base64 import b64encode

    if isinstance(pin, model.PublicKeyPin):
        return f"sha256//{b64encode(pin.digest).decode('ascii')}"
    return f"sha256:{pin.digest.hex()}"
