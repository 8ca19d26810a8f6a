"""What a proxy does to the fields of a message that it sends on (RFC 9110 section 7.6)."""

from __future__ import annotations

import os
import re
import time
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Literal, NamedTuple, Protocol

from lanrelay.errors import LoopDetected
from lanrelay.passage.rule import Asked, Reply, Rule, View
from lanrelay.wire.events import HTTP_1_0, HTTP_1_1, RequestHead, ResponseHead, Version
from lanrelay.wire.framing import declares_content
from lanrelay.wire.headers import (
    FORWARDED_NAMES,
    Field,
    Headers,
    end_to_end,
    logs_in_connection,
    make_field,
)

_CHUNKED = make_field(b"Transfer-Encoding", b"chunked")
_TE = make_field(b"TE", b"trailers")
_CONNECTION_TE = make_field(b"Connection", b"TE")
_CONNECTION_UPGRADE = make_field(b"Connection", b"upgrade")
_CONNECTION_BOTH = make_field(b"Connection", b"upgrade, TE")


class Rules(Protocol):
    """The part of C{config.model.HeaderRules} that is applied here."""

    @property
    def set(self) -> tuple[tuple[str, str], ...]: ...
    @property
    def add(self) -> tuple[tuple[str, str], ...]: ...
    @property
    def remove(self) -> tuple[str, ...]: ...


def wanted_upgrade(head: RequestHead) -> bytes:
    """
    The protocols that a request offers to switch to, as an Upgrade value; empty for none.

    C{h2c} is left out, for after a switch to it requests would pass unseen. An HTTP/1.0 request cannot ask
    for a switch (RFC 9110 section 7.8). In a request with content Upgrade is left out, as HAProxy does: some
    servers (httptools, on which uvicorn runs) then read the content as a second request, which would get past
    every guard.
    """
    headers = head.headers
    if (
        b"upgrade" not in headers
        or head.version == HTTP_1_0
        or b"upgrade" not in headers.tokens(b"connection")
        or declares_content(headers)
    ):
        return b""
    offers = [offer.strip(b" \t") for value in headers.all(b"upgrade") for offer in value.split(b",")]
    return b", ".join(offer for offer in offers if offer and offer.partition(b"/")[0].lower() != b"h2c")


_COUNTED = frozenset({b"TRACE", b"OPTIONS"})
_DIGITS = re.compile(rb"[0-9]{1,18}")


def hops_left(head: RequestHead) -> int | None:
    """
    How often a TRACE or OPTIONS may still be passed on (RFC 9110 section 7.6.2); at 0 the relay itself has to
    answer.

    C{None}: without a limit, or for another method, for which the field has no meaning.
    """
    if head.method not in _COUNTED:
        return None
    value = head.headers.get(b"max-forwards")
    return None if value is None or _DIGITS.fullmatch(value) is None else int(value)


LAST_HOP: Final = Reply(200)
"""A TRACE or OPTIONS goes no further: its last recipient answers (RFC 9110 section 7.6.2)."""


def _judge_hops(view: View, asked: Asked) -> Reply | None:
    return LAST_HOP if hops_left(asked.head(view)) == 0 else None


def _count_hops(view: View, asked: Asked) -> Headers:
    left = hops_left(asked.head(view))
    return view.replaced(b"Max-Forwards", b"%d" % (left - 1)) if left else view


HOPS: Final = Rule(looks_at=frozenset({b"max-forwards"}), judge=_judge_hops, change=_count_hops)
"""Obeys Max-Forwards, and counts it down."""


def request_to_forward(head: RequestHead) -> Headers:
    """
    The fields of a request for the next connection: as L{next_hop} says, with Max-Forwards counted down.
    """
    forwarded = next_hop(head)
    if b"max-forwards" in head.headers.index:
        left = hops_left(head)
        if left:
            forwarded = forwarded.replaced(b"Max-Forwards", b"%d" % (left - 1))
    return forwarded


def next_hop(head: RequestHead) -> Headers:
    """
    The end-to-end fields of a request, and those of the others that the next connection needs:
    Transfer-Encoding for content of unknown length, Upgrade as L{wanted_upgrade} says, and C{TE: trailers}
    (the one value that may pass, RFC 9110 section 10.1.4).
    """
    headers = head.headers
    index = headers.index
    forwarded = end_to_end(headers)
    if forwarded is headers:
        return headers
    needed = []
    if b"transfer-encoding" in index:
        needed.append(_CHUNKED)
    te = b"te" in index and b"trailers" in headers.tokens(b"te")
    upgrade = wanted_upgrade(head)
    if te:
        needed += [_TE, _CONNECTION_BOTH if upgrade else _CONNECTION_TE]
    elif upgrade:
        needed.append(_CONNECTION_UPGRADE)
    if upgrade:
        needed.append(make_field(b"Upgrade", upgrade))
    return forwarded.appended(needed) if needed else forwarded


def response_to_forward(head: ResponseHead) -> Headers:
    """
    The end-to-end fields of a response; with Transfer-Encoding if the length is unknown, and with Upgrade if
    the protocol is switched.
    """
    headers = head.headers
    forwarded = end_to_end(headers)
    if forwarded is headers:
        return headers
    if head.status == 101:
        upgrade = [field for field in headers.fields if field[0] == b"upgrade"]
        return forwarded.appended([_CONNECTION_UPGRADE, *upgrade])
    return forwarded.replaced_by(_CHUNKED) if b"transfer-encoding" in headers.index else forwarded


# --- Via ----------------------------------------------------------------------------------------------


def via(version: Version, name: str) -> bytes:
    """
    One member of Via (RFC 9110 section 7.6.3).

    @param version: the version with which the message was received.
    @param name: our pseudonym, unique to the listener.
    """
    return b"%d.%d %b" % (version[0], version[1], name.encode("ascii"))


def via_fields(name: str) -> dict[Version, Field]:
    """The Via field for messages of either version, made once."""
    return {version: make_field(b"Via", via(version, name)) for version in (HTTP_1_0, HTTP_1_1)}


def pseudonym(name: str) -> str:
    """
    A name for Via that no other listener has, here or in another relay (RFC 9110 section 7.6.3).

    @param name: that of the listener; the rest is random.
    """
    word = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name)
    return f"lanrelay-{word}-{os.urandom(4).hex()}"


def passed(headers: Headers, name: str) -> bool:
    """Whether the message was here before, that is, whether a member of Via has our name."""
    if b"via" not in headers:
        return False
    wanted = name.encode("ascii").lower()
    for member in headers.tokens(b"via"):  # a comment may hold a comma, but its pieces are never our name
        words = member.split()
        if len(words) >= 2 and words[1] == wanted:
            return True
    return False


VIAS: Final = Rule(looks_at=frozenset({b"via"}))
"""Concerns an answer with a Via, for ours goes after it, in a place that depends on the other fields."""


def loop_rule(name: str) -> Rule:
    """Refuses a request that was here before; C{name} is the listener's pseudonym."""

    def judge(view: View, asked: Asked) -> None:
        if passed(view, name):
            raise LoopDetected("the request has already passed this listener")

    return Rule(looks_at=frozenset({b"via"}), judge=judge)


# --- logins of a connection ---------------------------------------------------------------------------


def login_rule(name: bytes) -> Rule:
    """
    Concerns heads with this field, which may log in the connection; the wires look at it.

    @param name: C{authorization} or C{www-authenticate}.
    """
    return Rule(
        sees=frozenset({name}),
        concerns=lambda fields, start: any(map(logs_in_connection, fields.all(name))),
    )


# --- Forwarded ----------------------------------------------------------------------------------------


def forwarded_fields(
    style: Literal["none", "x-forwarded", "rfc7239"],
    *,
    client: IPv4Address | IPv6Address | None,
    secure: bool,
    host: bytes,
) -> list[Field]:
    """
    The fields that tell an origin who asked. A client's own L{FORWARDED_NAMES} must have been dropped before.

    @param client: C{None} for a unix socket, where there is nothing to name.
    @param host: the Host that the client sent; empty if there was none.
    """
    scheme = b"https" if secure else b"http"
    fields: list[Field] = []
    if style == "x-forwarded":
        if client is not None:
            fields.append(make_field(b"X-Forwarded-For", str(client).encode("ascii")))
        fields.append(make_field(b"X-Forwarded-Proto", scheme))
        if host:
            fields.append(make_field(b"X-Forwarded-Host", host))
    elif style == "rfc7239":
        node = b"unknown" if client is None else str(client).encode("ascii")
        if client is not None and client.version == 6:
            node = b'"[%b]"' % node  # quoted, for a token has no colon (RFC 7239 section 6)
        value = b"for=%b;proto=%b" % (node, scheme)
        if host:
            value += b';host="%b"' % host.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
        fields.append(make_field(b"Forwarded", value))
    return fields


def forwarded_rule(style: Literal["none", "x-forwarded", "rfc7239"], *, secure: bool) -> Rule:
    """Removes what a client says of who asked; the relay says it, if it is configured to."""

    def change(view: View, asked: Asked) -> Headers:
        fields = forwarded_fields(style, client=asked.client, secure=secure, host=asked.host)
        kept = view.without(FORWARDED_NAMES)
        return kept.appended(fields) if fields else kept

    return Rule(looks_at=FORWARDED_NAMES, always=style != "none", change=change)


# --- Date ---------------------------------------------------------------------------------------------

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_last_date: tuple[int, Field] = (-1, make_field(b"Date", b""))


def date_field(now: float) -> Field:
    """
    The Date field for that moment (RFC 9110 section 5.6.7); made once a second.

    @param now: seconds since the epoch.
    """
    global _last_date
    second = int(now)
    known, field = _last_date
    if known == second:
        return field
    t = time.gmtime(second)
    text = (
        f"{_DAYS[t.tm_wday]}, {t.tm_mday:02} {_MONTHS[t.tm_mon - 1]} {t.tm_year} "
        f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} GMT"
    )
    field = make_field(b"Date", text.encode("ascii"))
    _last_date = (second, field)
    return field


def with_date(headers: Headers, now: float) -> Headers:
    """The fields with a Date; a recipient with a clock adds one that is missing (RFC 9110 section 6.6.1)."""
    return headers if b"date" in headers else headers.appended([date_field(now)])


# --- configured rules ---------------------------------------------------------------------------------


def apply_rules(headers: Headers, rules: Rules) -> Headers:
    """Remove, then set, then add; each name in any case."""
    if rules.remove:
        headers = headers.without({name.lower().encode("ascii") for name in rules.remove})
    for name, value in rules.set:
        headers = headers.replaced(name.encode("ascii"), value.encode("utf-8"))
    for name, value in rules.add:
        headers = headers.added(name.encode("ascii"), value.encode("utf-8"))
    return headers


def ruled_trailers(trailers: Headers, rules: Rules) -> Headers:
    """
    The trailers without fields that C{rules} remove, or that they set in the head, which a trailer would
    contradict.
    """
    names = {name.lower().encode("ascii") for name in (*rules.remove, *(name for name, _ in rules.set))}
    return trailers.without(names)


def configured_rule(rules: Rules) -> Rule:
    """
    Changes the fields of one direction as the configuration says.

    In an interim answer it only removes; the final one gets what is set and added.
    """
    set_or_added = frozenset(name.lower().encode("ascii") for name, _ in (*rules.set, *rules.add))

    def change(view: View, asked: Asked) -> Headers:
        if 100 <= asked.status < 200 and asked.status != 101:
            return apply_rules(view, _Removals(rules.remove))
        return apply_rules(view, rules)

    return Rule(
        looks_at=frozenset(name.lower().encode("ascii") for name in rules.remove),
        sees=set_or_added,
        always=bool(set_or_added),
        change=change,
    )


class _Removals(NamedTuple):
    remove: tuple[str, ...]
    set: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()
