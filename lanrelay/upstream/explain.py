"""What went wrong and what to do about it, in plain words."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from lanrelay import errors
from lanrelay.errors import RelayError
from lanrelay.upstream import sentences, tls_sentences
from lanrelay.upstream.sentences import Sentences, capital, phrase


class Explanation(NamedTuple):
    """
    For the body of an answer, the access log, the log and the status page.

    @ivar what: what happened, one sentence.
    @ivar remedy: what to do about it, one sentence.
    """

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what} {self.remedy}"


def explain(error: RelayError, *, platform: str = sys.platform) -> Explanation:
    """
    The two sentences for C{error}, whatever its class; they hold nothing unprintable.

    @param platform: as C{sys.platform}; a missing route is something else on macOS.
    """
    for each in type(error).__mro__:
        found = TABLE.get(each)
        if found is not None:
            what, remedy = found(error, platform)
            if isinstance(error, errors.DialError) and error.parent and each not in sentences.OF_PARENTS:
                what = f"The parent proxy {error.parent} cannot be used: {what}"
            return Explanation(printable(what), printable(remedy))
    raise TypeError(f"{type(error).__name__} is no RelayError")


def printable(text: str) -> str:
    """The text without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _all_down(error: errors.AllDown, platform: str) -> Sentences:
    what = capital(phrase(error))
    if not error.others:
        return f"{what}.", "Start one of them; the relay notices within seconds."
    first = explain(error.others[0], platform=platform)
    return f"{what}; of the first: {first.what}", first.remedy


TABLE: dict[type, Callable[[Any, str], Sentences]] = {
    errors.RelayError: sentences.relay,
    errors.Fault: sentences.relay,
    errors.StartError: sentences.start,
    errors.AlreadyRunning: sentences.start,
    errors.DialError: sentences.dial,
    errors.NoSuchName: sentences.no_such_name,
    errors.NameServerFailed: sentences.name_server,
    errors.NameTimeout: sentences.name_timeout,
    errors.ConnectionRefused: sentences.refused,
    errors.DialTimeout: sentences.timeout,
    errors.Unroutable: sentences.unroutable,
    errors.DialForbidden: sentences.forbidden,
    errors.AddressDenied: sentences.denied,
    errors.NameDenied: sentences.denied,
    errors.NoDestination: sentences.no_destination,
    errors.LeadsBack: sentences.leads_back,
    errors.PeerClosed: sentences.peer_closed,
    errors.LocalLimit: sentences.local_limit,
    errors.AllDown: _all_down,
    errors.CheckFailed: sentences.check_failed,
    errors.HostRefused: sentences.host_refused,
    errors.TlsOnPlain: sentences.tls_on_plain,
    errors.ParentRefused: sentences.parent_refused,
    errors.ParentTimeout: sentences.parent_timeout,
    errors.ParentMalformed: sentences.parent_malformed,
    errors.TlsError: tls_sentences.tls,
    errors.TlsTimeout: tls_sentences.tls_timeout,
    errors.NotTls: tls_sentences.not_tls,
    errors.NoCommonVersion: tls_sentences.no_common_version,
    errors.TlsAlert: tls_sentences.alert,
    errors.ClientCertificateWanted: tls_sentences.client_certificate,
    errors.CertificateError: tls_sentences.certificate,
    errors.UnknownIssuer: tls_sentences.unknown_issuer,
    errors.SelfSigned: tls_sentences.self_signed,
    errors.CertificateExpired: tls_sentences.expired,
    errors.CertificateNotYetValid: tls_sentences.not_yet,
    errors.WrongName: tls_sentences.wrong_name,
    errors.PinMismatch: tls_sentences.pin_mismatch,
    errors.StreamError: sentences.stream,
    errors.StreamTimeout: sentences.silence,
    errors.Unanswered: sentences.stream,
    errors.TlsTruncated: sentences.truncated,
    errors.TlsBroken: sentences.broken,
    errors.ExchangeError: sentences.exchange,
    errors.ResponseTimeout: sentences.response_timeout,
    errors.ResponseIncomplete: sentences.incomplete,
    errors.ResponseMalformed: sentences.malformed,
    errors.UpgradeFailed: sentences.upgrade,
    errors.LoopDetected: sentences.loop,
    errors.ProgramError: sentences.program,
    errors.ProgramNotStarted: sentences.program_not_started,
    errors.ProgramEnded: sentences.program,
    errors.TooManyPrograms: sentences.too_many_programs,
    errors.RemoteProtocolError: sentences.protocol,
    errors.OtherProtocol: sentences.other_protocol,
    errors.GreetingError: sentences.greeting,
    errors.RequestDenied: sentences.request_denied,
}
"""A function for each class of L{lanrelay.errors}; a test sees to it that none is missing."""
