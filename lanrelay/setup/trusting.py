"""
Fetches what a TLS server shows, judges it, and says what could be trusted; asks nobody and writes nothing.

To the server nothing is sent but the handshake.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Literal

from lanrelay.addresses import parse_ip
from lanrelay.config import model
from lanrelay.errors import CertificateError, DialError, NameTimeout, RelayError
from lanrelay.examine.authorities import Known, recognise
from lanrelay.examine.causes import cause_of
from lanrelay.examine.handshake import Shown
from lanrelay.examine.opener import Means, Opener, target_of
from lanrelay.trust.certificate import Certificate
from lanrelay.trust.verify import check_name, verified_path
from lanrelay.upstream.explain import explain
from lanrelay.upstream.race import SocketAddress, interleaved

SHORT_LIVED = timedelta(days=30)
"""A certificate that lives shorter is replaced by a program, most likely with a new key: no pin holds."""

_FINGERPRINT = re.compile(r"(?:sha-?256)?(?:[ _]?fingerprint)?\s*[:=]?\s*", re.IGNORECASE)


class Untrustable(Exception):
    """Trust cannot mend it, or nobody has proved it; the text is for people, C{remedy} too."""

    def __init__(self, said: str, remedy: str = "") -> None:
        super().__init__(said)
        self.remedy = remedy


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """
    What a server showed.

    @ivar chain: as it was sent, the server's own certificate first.
    @ivar error: why it is not trusted; C{None}: it is.
    """

    upstream: model.Upstream
    chain: tuple[Certificate, ...]
    error: DialError | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """
    What would be trusted.

    @ivar certificate: the authority, or with C{pin} the server's own.
    @ivar path: from the server's certificate to that one, verified; any of them can be compared.
    @ivar stored: what goes into the file of authorities; empty with C{pin}.
    @ivar beside: something else is wrong with the certificate that the pin passes over; a sentence.
    """

    kind: Literal["authority", "pin"]
    certificate: Certificate
    path: tuple[Certificate, ...]
    stored: tuple[Certificate, ...] = ()
    beside: str = ""

    @property
    def pin(self) -> str:
        """The pin of the server's key."""
        return self.certificate.key_pin


async def fetch(means: Means, upstream: model.Upstream, *, timeout: float = 5.0) -> Fetched:
    """
    Shake hands with an upstream, and judge it as the relay would, though it were never to be verified.

    @param timeout: seconds for each step.
    @raise DialError: there was no handshake: nothing was shown.
    @raise StartError: a file that the upstream's trust names cannot be used.
    """
    trust = upstream.trust._replace(verify=True)
    upstream = upstream._replace(trust=trust)
    shown = Shown(trust, upstream.server_name, platform=means.platform)
    shown.load()
    failure: DialError | None = None
    for address in await _addresses(means, upstream, timeout):
        try:
            (await Opener(means, upstream, address, timeout, shown).open()).abortConnection()
        except DialError as error:
            if shown.chain:
                return Fetched(upstream=upstream, chain=shown.chain, error=error)
            failure = failure or error
        else:
            return Fetched(upstream=upstream, chain=shown.chain, error=None)
    assert failure is not None
    raise failure


async def _addresses(means: Means, upstream: model.Upstream, timeout: float) -> list[SocketAddress]:
    via, target = upstream.via, target_of(upstream)
    if via is None and target.unix_path is not None:
        return [SocketAddress(target.unix_path)]
    host, port = (target.host, target.port) if via is None else (via.host, via.port)
    literal = parse_ip(host)
    if literal is not None:
        return [SocketAddress(literal, port)]
    from twisted.internet.defer import Deferred

    since = means.reactor.seconds()
    late = f"the name was not resolved within {timeout:g} s"
    try:
        asking = Deferred.fromCoroutine(means.resolver.resolve(host))
        found = await means.bounded(asking, timeout, lambda: NameTimeout(late))
    except DialError as error:
        error.target = f"{host}:{port}"
        error.elapsed = means.reactor.seconds() - since
        raise
    return interleaved([SocketAddress(address, port) for address in found])


def is_about_trust(error: RelayError | None) -> bool:
    """Whether a decision about trust alone mends it."""
    return error is not None and cause_of(error) in ("unknown_ca", "self_signed", "pin_differs")


def propose(
    fetched: Fetched,
    *,
    authorities: Sequence[Certificate] | None = None,
    pin: bool = False,
    command: str = "",
    now: datetime | None = None,
) -> Proposal:
    """
    What could be trusted, so that the upstream is verified from then on.

    @param authorities: of the file that the person has named; it must prove the chain.
    @param pin: the person wants a pin of the key, whatever else there is.
    @param command: C{lanrelay trust NAME}, for remedies.
    @raise Untrustable: nothing.
    """
    leaf, *others = fetched.chain
    name = fetched.upstream.server_name
    if authorities is not None:
        path = _proved(leaf, others, authorities, name)
        if not path:
            raise Untrustable(
                "The file does not prove the server's certificate: nothing in it has issued "
                f"{fetched.chain[-1].subject} or what it comes from ({fetched.chain[-1].issuer}).",
                _fetch_line(fetched, command),
            )
        if not pin:
            return Proposal(
                kind="authority",
                certificate=path[-1],
                path=tuple(path),
                stored=_upwards(path, authorities),
            )
    elif not pin:
        roots = [one for one in others if one.subject == one.issuer]
        path = _proved(leaf, others, roots, name) if roots else []
        if path:
            return Proposal(kind="authority", certificate=path[-1], path=tuple(path), stored=(path[-1],))
    return _pin(fetched, wanted=pin, command=command, now=now or datetime.now(timezone.utc))


def _proved(
    leaf: Certificate, others: Sequence[Certificate], anchors: Sequence[Certificate], name: str
) -> list[Certificate]:
    try:
        path = verified_path(leaf, others, anchors)
        if path:
            check_name(leaf, name)
    except CertificateError as error:
        error.target = error.target or name
        words = explain(error)
        raise Untrustable(words.what, words.remedy) from None
    return path


def _upwards(path: Sequence[Certificate], authorities: Sequence[Certificate]) -> tuple[Certificate, ...]:
    """
    The anchor, and what has issued it as far as the file goes: when the server gets another intermediate, the
    root is there.
    """
    found = [path[-1]]
    while found[-1].subject != found[-1].issuer:
        above = next(
            (one for one in authorities if one.subject == found[-1].issuer and one not in found), None
        )
        if above is None:
            break
        found.append(above)
    return tuple(found)


def _pin(fetched: Fetched, *, wanted: bool, command: str, now: datetime) -> Proposal:
    leaf = fetched.chain[0]
    try:
        key_pin, lives = leaf.key_pin, leaf.not_after - leaf.not_before
    except ValueError:
        raise Untrustable("The certificate cannot be read well enough to pin its key.") from None
    del key_pin
    if lives < SHORT_LIVED and not wanted:
        raise Untrustable(
            f"The server's certificate lives {_lifetime(lives)} only, and the next one will most likely have "
            "another key, so it is not pinned by itself. The authority that issued it "
            f"({fetched.chain[-1].issuer}) was not sent along.",
            _fetch_line(fetched, command),
        )
    beside = []
    if now > leaf.not_after:
        beside.append(f"it has expired on {leaf.not_after:%Y-%m-%d}")
    if now < leaf.not_before:
        beside.append(f"it is not valid before {leaf.not_before:%Y-%m-%d}")
    try:
        check_name(leaf, fetched.upstream.server_name)
    except CertificateError as error:
        beside.append(str(error.detail))
    return Proposal(
        kind="pin",
        certificate=leaf,
        path=(leaf,),
        beside=f"A pin asks for this key alone, so it passes over this: {'; '.join(beside)}."
        if beside
        else "",
    )


def known_authority(fetched: Fetched) -> Known | None:
    """The kind of the authority, if people have it often."""
    return recognise([text for one in fetched.chain for text in (one.issuer, one.subject)])


def _fetch_line(fetched: Fetched, command: str) -> str:
    known = known_authority(fetched)
    if known is None or not command:
        return f"{command} --ca FILE  # with the root's certificate, from the owner of the server".lstrip()
    upstream = fetched.upstream
    host = upstream.url.host if upstream.address is None else upstream.address.host
    return f"{known.fetch.format(host=host)} && {command} --ca {known.file}"


# --- fingerprints ---------------------------------------------------------------------------------------


def fingerprint(text: str) -> str | None:
    """64 hexadecimal digits of what was written with colons, blanks, or words before; C{None}: it is none."""
    begin = _FINGERPRINT.match(text.strip())
    digits = re.sub(r"[:\s-]", "", text.strip()[begin.end() if begin else 0 :]).lower()
    return digits if re.fullmatch(r"[0-9a-f]{64}", digits) else None


def shown_fingerprint(certificate: Certificate) -> str:
    """As C{openssl x509 -fingerprint} prints it."""
    digits = certificate.digest.hex().upper()
    return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))


def has(proposal: Proposal, digits: str) -> bool:
    """Whether the certificate that will be trusted, or one on the way to it, has this fingerprint."""
    return any(one.digest.hex() == digits for one in (*proposal.path, *proposal.stored))


def _lifetime(lives: timedelta) -> str:
    hours = lives.total_seconds() / 3600
    return f"{hours / 24:.0f} days" if hours >= 48 else f"{hours:.0f} hours" if hours >= 2 else "minutes"
