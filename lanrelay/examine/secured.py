"""The layer of TLS: what the server shows, and whether that is what this upstream trusts."""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from lanrelay.errors import DialError, NoCommonVersion, StartError, TlsAlert
from lanrelay.examine import causes
from lanrelay.examine.checks import Check
from lanrelay.examine.handshake import Shown, facts
from lanrelay.examine.look import Look
from lanrelay.examine.opener import Opener
from lanrelay.transport.stream import Parked, Stream, hand_over

_MOMENT = 0.3  # seconds to wait; a round trip on a LAN takes a few milliseconds


async def look_at_tls(look: Look, opener: Opener, shown: Shown) -> bool:
    """Whether the server was verified, so that a request may be sent."""
    since = look.now()
    try:
        shown.load()
        stream = await _secured(look, opener)
    except StartError as error:
        look.checks.append(look.failed("tls", error, since))
        look.skip("the certificates that the configuration names cannot be used")
        return False
    except DialError as error:
        check = look.failed("tls", error, since, **(facts(shown) if shown.chain else {}))
        look.checks.append(await _older(look, opener, check) if isinstance(error, NoCommonVersion) else check)
        look.skip("nothing is sent to a server that is not verified")
        return False
    stream.abortConnection()
    found = facts(shown)
    said = f"{shown.version}; {_certificate(found['chain'])}"
    if not look.upstream.trust.verify:
        look.note(
            "tls",
            "warn",
            f"{said}; NOT verified, for the configuration says `tls.verify: false`.",
            since,
            remedy=f"lanrelay trust {causes.name_for_commands(look.subject)}",
            **found,
        )
        look.skip("nothing is sent to a server that is not verified")
        return False
    look.note("tls", "ok", f"{said}.", since, **found)
    return True


async def _secured(look: Look, opener: Opener) -> Stream:
    stream = await opener.connect()
    if opener.parent is not None:
        stream = await opener.pass_parent(stream)
    stream = await opener.secure(stream)
    if look.upstream.url.scheme == "tls":  # over HTTP the request itself finds out
        error = await _late_word(look, stream)
        if error is not None:
            stream.abortConnection()
            error.target, error.address = opener.label, str(opener.address)
            raise error
    return stream


async def _older(look: Look, opener: Opener, check: Check) -> Check:
    """Which older version the server speaks, tried with all that this machine's OpenSSL can."""
    shown = Shown(
        look.upstream.trust._replace(min_version="1.0"),
        look.upstream.server_name,
        platform=look.means.platform,
    )
    try:
        (
            await Opener(look.means, look.upstream, opener.address, look.timeout, shown).open()
        ).abortConnection()
    except DialError:
        pass  # the version is agreed on before the certificate is judged
    version = {"TLSv1": "1.0", "TLSv1.1": "1.1", "TLSv1.2": "1.2"}.get(shown.version)
    if version is None:
        return check
    return replace(
        check,
        said=f"{check.said} It speaks TLS {version} at most.",
        remedy=causes.setting(
            look.subject, "tls.min_version", version, "if the server cannot be brought up to date"
        ),
        facts={**check.facts, **facts(shown)},
    )


def _certificate(chain: list[dict[str, object]]) -> str:
    leaf = chain[0]
    names = leaf["names"]
    whose = ", ".join(names[:3]) if isinstance(names, list) and names else leaf["subject"]
    return (
        f"certificate for {whose}, issued by {leaf['issuer']}, valid from {str(leaf['not_before'])[:10]}"
        f" to {str(leaf['not_after'])[:10]}"
    )


# --- after the handshake --------------------------------------------------------------------------------


class _Listening(Protocol):
    def __init__(self) -> None:
        self.heard: Deferred[TlsAlert | None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.tell(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.tell(reason.value if isinstance(reason.value, TlsAlert) else None)

    def tell(self, error: TlsAlert | None) -> None:
        if not self.heard.called:
            self.heard.callback(error)


async def _late_word(look: Look, stream: Stream) -> TlsAlert | None:
    """
    The alert with which a TLS 1.3 server ends a connection after a good handshake: only then does it judge
    our certificate.
    """
    listening = _Listening()
    hand_over(stream, listening)
    stream.resumeProducing()
    call = look.means.reactor.callLater(_MOMENT, listening.tell, None)
    try:
        return await listening.heard
    finally:
        if call.active():
            call.cancel()
        stream.pauseProducing()
        hand_over(stream, Parked())
