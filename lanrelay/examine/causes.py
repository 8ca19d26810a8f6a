"""From a failure to its word, its two sentences, and the line that mends it."""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping
from dataclasses import replace
from shlex import quote
from typing import Any, Literal

from lanrelay import errors
from lanrelay.errors import DialError, RelayError
from lanrelay.examine.authorities import names_in, recognise
from lanrelay.examine.checks import SAID_MAX, Cause, Check, Layer, Viewpoint
from lanrelay.examine.subject import Subject
from lanrelay.upstream import sentences
from lanrelay.upstream.explain import explain, printable
from lanrelay.upstream.sentences import Sentences
from lanrelay.upstream.tls_sentences import is_host

WebLayer = Literal["http", "mcp"]

_CAUSES: dict[type[RelayError], Cause] = {
    errors.NoSuchName: "name_unknown",
    errors.NameServerFailed: "name_no_answer",
    errors.NameTimeout: "name_no_answer",
    errors.Unroutable: "no_route",
    errors.ConnectionRefused: "refused",
    errors.DialTimeout: "timeout",
    errors.PeerClosed: "reset",
    errors.AddressDenied: "address_denied",
    errors.DialForbidden: "address_denied",
    errors.LocalLimit: "few_descriptors",
    errors.ParentRefused: "proxy_refused",
    errors.ParentTimeout: "proxy_refused",
    errors.ParentMalformed: "proxy_refused",
    errors.TlsTimeout: "timeout",
    errors.NotTls: "not_tls",
    errors.TlsOnPlain: "tls_on_plain",
    errors.NoCommonVersion: "old_tls",
    errors.ClientCertificateWanted: "client_certificate_wanted",
    errors.SelfSigned: "self_signed",
    errors.UnknownIssuer: "unknown_ca",
    errors.CertificateNotYetValid: "not_yet_valid",
    errors.CertificateExpired: "expired",
    errors.WrongName: "wrong_name",
    errors.PinMismatch: "pin_differs",
    errors.TlsError: "tls_other",
    errors.TlsBroken: "tls_other",
    errors.TlsTruncated: "reset",
    errors.ResponseTimeout: "http_timeout",
    errors.ResponseIncomplete: "not_http",
    errors.ResponseMalformed: "not_http",
    errors.StreamError: "reset",
}
"""Of an error's classes the most particular one that stands here counts."""


def cause_of(error: RelayError) -> Cause | None:
    """The word for a failure; C{None} for one that has no word (a file that cannot be read)."""
    for each in type(error).__mro__:
        found = _CAUSES.get(each)
        if found is not None:
            return found
    return None


def errno_name(error: DialError) -> str | None:
    """C{EHOSTUNREACH}."""
    return None if error.errno is None else errno.errorcode.get(error.errno, str(error.errno))


def failure(
    layer: Layer,
    error: RelayError,
    subject: Subject,
    *,
    seconds: float,
    platform: str,
    facts: Mapping[str, Any] | None = None,
) -> Check:
    """The check of a layer that failed with C{error}."""
    explanation = explain(error, platform=platform)
    cause = cause_of(error)
    shown = dict(facts or {})
    if isinstance(error, DialError) and errno_name(error) is not None:
        shown["errno"] = errno_name(error)
    check = Check(
        layer=layer,
        state="failed",
        cause=cause,
        seconds=seconds,
        said=explanation.what[:SAID_MAX],
        remedy=explanation.remedy,
        facts=shown,
    )
    mended = _line_for(check, error, subject)
    return check if mended is None else mended


def told(check: Check, cause: Cause, words: Sentences) -> Check:
    """The same check with another cause, when more is known than the error says."""
    what, remedy = words
    return replace(check, cause=cause, said=printable(what), remedy=printable(remedy))


def unroutable(check: Check, error: DialError, cause: Cause, *, platform: str, place: Viewpoint) -> Check:
    """What "no route to host" means when the route is known."""
    if cause == "host_down":
        return told(check, cause, sentences.host_down(error))
    if cause == "local_network_privacy":
        told_so = told(check, cause, sentences.kept_from_lan(error, platform))
        if platform == "darwin" and place == "service":
            return replace(told_so, remedy="sudo lanrelay service install --mode daemon")
        return told_so
    return told(check, cause, sentences.no_route(error))


# --- lines that can be pasted ---------------------------------------------------------------------------


def name_for_commands(subject: Subject) -> str:
    """The name by which C{lanrelay trust} gets the target."""
    return quote(subject.listener or subject.url)


def trust_command(subject: Subject, chain: list[dict[str, Any]]) -> tuple[str, str]:
    """
    A phrase that says whose authority it is, if that is known, and the commands that make the relay trust it.
    """
    who = name_for_commands(subject)
    known = recognise(names_in(chain))
    if known is None:
        return "", f"lanrelay trust {who}"
    url = subject.upstream.url
    host = subject.upstream.address.host if subject.upstream.address is not None else url.host
    fetch = known.fetch.format(host=host)
    said = f"That is {known.called}; its root is {known.root}."
    return said, f"{fetch} && lanrelay trust {who} --ca {known.file}"


def is_pasteable_place(place: str) -> bool:
    """Whether a URL or a path that the peer has chosen is safe in a shell."""
    return re.fullmatch(r"[A-Za-z0-9._~:/\[\]-]{1,200}", place) is not None


def setting(subject: Subject, key: str, value: str, when: str = "") -> str:
    """A line of YAML for the listener; if there is no listener, the command that adds one with that line."""
    if subject.listener is None:
        return printable(f"lanrelay add {quote(subject.url)} --set {quote(f'{key}={value}')}")
    *outer, last = key.split(".")
    text = f'{last}: "{value}"' if value.replace(".", "").isdigit() else f"{last}: {value}"
    for name in reversed(outer):
        text = f"{name}: {{{text}}}"
    comment = f"  # {when}" if when else ""
    return printable(f"{text}{comment}")


def _line_for(check: Check, error: RelayError, subject: Subject) -> Check | None:
    cause, chain = check.cause, check.facts.get("chain", [])
    if cause in ("unknown_ca", "self_signed"):
        whose, remedy = trust_command(subject, chain)
        return replace(check, said=f"{check.said} {whose}".strip(), remedy=printable(remedy))
    if cause == "pin_differs":
        who = name_for_commands(subject)
        return replace(
            check, remedy=f"lanrelay trust {who}  # once its owner has said that this is its new key"
        )
    if cause == "wrong_name" and isinstance(error, errors.WrongName):
        name = next((name for name in error.found if is_host(name)), "")
        if name:
            return replace(
                check, remedy=setting(subject, "tls.server_name", name, "if it is the right server")
            )
    if cause == "client_certificate_wanted":
        if subject.listener is not None:
            line = "tls: {cert: client.crt, key: client.key}  # that its owner has issued"
            return replace(check, remedy=line)
        more = "--set tls.cert=client.crt --set tls.key=client.key"
        return replace(check, remedy=f"lanrelay add {quote(subject.url)} {more}")
    if cause == "not_tls":
        url = subject.upstream.url
        plain = url._replace(scheme="http" if url.scheme == "https" else "tcp")
        if url.scheme == "https" and url.port == 443:
            return None  # http://host:443 would look odd, and be wrong
        return replace(check, remedy=f"url: {plain}  # in place of {url}")
    return None
