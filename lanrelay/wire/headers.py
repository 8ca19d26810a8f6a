"""Header and trailer fields: ordered, as they came, and found by their lower-case name."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from operator import itemgetter
from typing import Any

Field = tuple[bytes, bytes, bytes, bytes]
"""Lower-case name, name, value, and the line C{name: value}: made once, shared by all that hold it."""

NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""RFC 9110 section 5.6.2, token."""

VALUE = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*")
"""RFC 9110 section 5.5, field-value, obs-text and all."""

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"proxy-connection",
        b"keep-alive",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-authentication-info",
        b"http2-settings",
    }
)
"""
What concerns one connection only: RFC 9110 section 7.6.1 with what section 11.7 says of proxies, and
HTTP2-Settings of RFC 7540 section 3.2.1.
"""

FORWARDED_NAMES = frozenset(
    {
        b"forwarded",
        *(
            b"x%bforwarded%b%b" % (first, second, what)
            for first in (b"-", b"_")
            for second in (b"-", b"_")
            for what in (b"for", b"proto", b"host")
        ),
    }
)
"""
What tells an origin who asked, in every spelling that CGI and WSGI, which make HTTP_X_FORWARDED_FOR of any of
them, cannot tell apart.
"""

GUARDED = frozenset(
    {
        b"host",
        b"content-length",
        b"content-type",
        b"content-encoding",
        b"content-range",
        b"authorization",
        b"www-authenticate",
        b"cookie",
        b"set-cookie",
        b"origin",
        b"referer",
        b"via",
        b"max-forwards",
        b"cache-control",
        b"location",
        b"date",
        b"expect",
        b"range",
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"sec-fetch-site",
        b"sec-fetch-mode",
        b"access-control-allow-origin",
        b"content-security-policy",
        b"x-frame-options",
        b"strict-transport-security",
        b"mcp-session-id",
        b"mcp-protocol-version",
        b"last-event-id",
    }
)
"""
End-to-end fields on which somebody's decision rests. A C{Connection: authorization} would let a client, or a
page, have us remove what the next hop judges by; RFC 9110 section 7.6.1 forbids naming end-to-end fields.
"""

_PLAIN_OPTIONS = frozenset({b"keep-alive", b"Keep-Alive", b"close", b"upgrade", b"Upgrade"})
"""Connection options that name no further field, as nearly everybody writes them."""


def make_field(name: bytes, value: bytes) -> Field:
    """
    Check and make one field.

    @raise ValueError: it could not be sent as one field; CR and LF would split the message.
    """
    if NAME.fullmatch(name) is None:
        raise ValueError("no valid field name")
    value = value.strip(b" \t")
    if VALUE.fullmatch(value) is None:
        raise ValueError("a control byte in a field value")
    return (name.lower(), name, value, name + b": " + value)


_new = object.__new__
_line = itemgetter(3)


class Headers:
    """
    The fields of one message: immutable, in their order, in their case, duplicates kept.

    Iterating gives pairs of name and value. Names that are asked for are lower case. C{repr} shows names
    only, for values may be secret.

    @raise ValueError: from the constructor, if a pair could not be sent as one field.
    """

    __slots__ = ("fields", "index", "unique")

    fields: list[Field]
    """With their lower-case names and lines; not to be changed."""

    index: dict[bytes, Field]
    """The first field of each lower-case name; not to be changed."""

    unique: bool
    """No name comes twice, so C{index} holds all fields in their order."""

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self.fields = [make_field(name, value) for name, value in pairs]

    @classmethod
    def of(cls, fields: list[Field]) -> Headers:
        """From fields that are already judged; the list is ours from now on."""
        headers = _new(cls)
        headers.fields = fields
        return headers

    @classmethod
    def of_index(cls, index: dict[bytes, Field]) -> Headers:
        """
        From judged fields of which no two have the same name, by their lower-case names; the dictionary is
        ours from now on.

        A copy of a dictionary, in which a field is then replaced, costs a sixth of a new list and its index.
        """
        headers = _new(cls)
        headers.index = index
        headers.unique = True
        return headers

    def __getattr__(self, name: str) -> Any:
        """
        Makes the value when it is first asked for, and puts it in its own place: later nothing is called.
        """
        if name == "fields":
            self.fields = list(self.index.values())
            return self.fields
        if name not in ("index", "unique"):
            raise AttributeError(name)
        fields = self.fields
        index = {field[0]: field for field in fields}
        self.unique = len(index) == len(fields)
        if not self.unique:
            index = {field[0]: field for field in reversed(fields)}
        self.index = index
        return getattr(self, name)

    def get(self, name: bytes) -> bytes | None:
        """The first value of that name."""
        field = self.index.get(name)
        return None if field is None else field[2]

    def all(self, name: bytes) -> list[bytes]:
        """Every value of that name, in order."""
        if name not in self.index:
            return []
        return [field[2] for field in self.fields if field[0] == name]

    def tokens(self, name: bytes) -> list[bytes]:
        """The members of a comma-separated list, over all fields of that name, in lower case."""
        field = self.index.get(name)
        if field is None:
            return []
        if self.unique:
            text = field[2].lower()
            if b"," not in text:
                return [text] if text else []
        else:
            text = b",".join(self.all(name)).lower()
        return [token for member in text.split(b",") if (token := member.strip(b" \t"))]

    def without(self, names: Collection[bytes]) -> Headers:
        """Without every field of these lower-case names."""
        if not any(name in self.index for name in names):
            return self
        if self.unique:
            index = self.index.copy()
            for name in names:
                index.pop(name, None)
            return Headers.of_index(index)
        return Headers.of([field for field in self.fields if field[0] not in names])

    def replaced(self, name: bytes, value: bytes) -> Headers:
        """With one field of that name, where the first one stood; appended if there was none."""
        return self.replaced_by(make_field(name, value))

    def replaced_by(self, field: Field) -> Headers:
        """As L{replaced}, with a field that was judged or made before."""
        if self.unique:
            index = self.index.copy()
            index[field[0]] = field
            return Headers.of_index(index)
        name, fields = field[0], self.fields
        for position, old in enumerate(fields):
            if old[0] == name:
                rest = [later for later in fields[position + 1 :] if later[0] != name]
                return Headers.of([*fields[:position], field, *rest])
        return Headers.of([*fields, field])

    def added(self, name: bytes, value: bytes) -> Headers:
        """With one more field at the end."""
        return Headers.of([*self.fields, make_field(name, value)])

    def appended(self, fields: Iterable[Field]) -> Headers:
        """With these at the end, that were judged or made before."""
        return Headers.of([*self.fields, *fields])

    def mapped(self, names: Collection[bytes], change: Callable[[Field], Field | None]) -> Headers:
        """
        With each field of these lower-case names as C{change} makes it: another of the same name, or none for
        C{None}. Itself if each stays as it was.
        """
        old = self.index
        there = [name for name in names if name in old]
        if not there:
            return self
        if not self.unique:
            fields = [change(field) if field[0] in names else field for field in self.fields]
            return Headers.of([field for field in fields if field is not None])
        index = old
        for name in there:
            field = change(old[name])
            if field is old[name]:
                continue
            if index is old:
                index = old.copy()
            if field is None:
                del index[name]
            else:
                index[name] = field
        return self if index is old else Headers.of_index(index)

    def encode(self) -> bytes:
        """The lines, each with its CRLF."""
        fields = self.index.values() if self.unique else self.fields
        return b"\r\n".join([*map(_line, fields), b""])

    def __contains__(self, name: object) -> bool:
        return name in self.index

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return iter([(field[1], field[2]) for field in self.fields])

    def __len__(self) -> int:
        return len(self.index) if self.unique else len(self.fields)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Headers):
            return NotImplemented
        return self.fields == other.fields

    def __hash__(self) -> int:
        return hash(tuple(self.fields))

    def __repr__(self) -> str:
        names = ", ".join(field[1].decode("ascii") for field in self.fields)
        return f"<Headers {names}>" if names else "<Headers>"


_LOGS_IN = frozenset({b"ntlm", b"negotiate", b"nego2", b"kerberos"})


def logs_in_connection(value: bytes) -> bool:
    """
    Whether a value of Authorization or WWW-Authenticate names a scheme that logs in the connection, not the
    request (RFC 4559): every later request on it is that user's.
    """
    return any(words[0].lower() in _LOGS_IN for member in value.split(b",") if (words := member.split()))


def end_to_end(headers: Headers) -> Headers:
    """
    Without what concerns one connection only, and without what C{Connection} names; but C{Connection} cannot
    remove what is L{GUARDED}.
    """
    index = headers.index
    connection = index.get(b"connection")
    if connection is None:
        if HOP_BY_HOP.isdisjoint(index):
            return headers
        drop: frozenset[bytes] = HOP_BY_HOP
    elif connection[2] in _PLAIN_OPTIONS and headers.unique:
        drop = HOP_BY_HOP
    else:
        drop = HOP_BY_HOP.union(headers.tokens(b"connection")) - GUARDED
    if not headers.unique:
        return Headers.of([field for field in headers.fields if field[0] not in drop])
    kept = index.copy()
    for name in drop.intersection(index):
        del kept[name]
    return Headers.of_index(kept)
