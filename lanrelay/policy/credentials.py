"""Checks user names and passwords against the configuration's table or an htpasswd file."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
from pathlib import Path
from typing import Protocol

from lanrelay.config import model
from lanrelay.errors import StartError

# bcrypt doubles its work with each step: 10 takes some 50 ms, 12 four times that. Clients are checked one
# after another.
MAX_BCRYPT_COST = 12

# Verified credentials that are remembered, so that bcrypt is paid once for a user and not for each request. A
# user who was let in before does not wait with those who guess. A forward proxy has a handful of users; the
# bound is there for safety.
REMEMBERED = 256

_BCRYPT = re.compile(rb"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}\Z")


class _Entry(Protocol):
    """How one user's password is checked."""

    costly: bool

    def matches(self, password: bytes) -> bool: ...


class Attempt:
    """
    A name and a password, to be checked.

    @ivar digest: stands for both and for their owner; the next C{load} gives another one.
    @ivar costly: L{run} takes 50 ms of CPU, or up to 300.
    """

    __slots__ = ("_entry", "_meant", "_password", "costly", "digest")

    def __init__(self, digest: bytes, entry: _Entry | None, password: bytes, *, meant: bool) -> None:
        self.digest = digest
        self.costly = entry is not None and entry.costly
        self._entry = entry
        self._password = password
        self._meant = meant

    def run(self) -> bool:
        """Whether they are right; in any thread."""
        return self._entry is not None and self._entry.matches(self._password) and self._meant


class Credentials:
    """
    The users of one forward proxy. L{load} comes before the first check.

    A check takes the same time whether the user exists or not: an unknown name is checked against the entry
    of somebody else, always the same one, and then refused.
    """

    def __init__(self, auth: model.Auth) -> None:
        self._auth = auth
        self._key = os.urandom(32)
        self._entries: dict[bytes, _Entry] = {}
        self._others: tuple[_Entry, ...] = ()
        self._verified: dict[bytes, None] = {}
        self._content: bytes | None = None  # of the file, as its hash

    def load(self) -> None:
        """
        Read the table and the file; may be called again.

        @raise StartError: the file cannot be read, or a line of it is not understood.
        """
        self._key = os.urandom(32)
        entries: dict[bytes, _Entry] = {
            _encoded(name): _Plain(_encoded(password), self._key)
            for name, password in self._auth.users.items()
        }
        if self._auth.file is not None:
            content = _content(self._auth.file)
            self._content = self._digest(content)
            entries.update(_read_htpasswd(self._auth.file, content))
        self._entries = entries
        self._others = tuple(entries.values())
        self._verified.clear()

    def changed(self) -> bool:
        """Whether the file is not what was loaded."""
        if self._auth.file is None:
            return False
        try:
            return self._digest(_content(self._auth.file)) != self._content
        except StartError:
            return True

    def attempt(self, username: str, password: str) -> Attempt:
        """A check that is still to be made."""
        name, secret = _encoded(username), _encoded(password)
        entry = self._entries.get(name)
        meant = entry is not None
        if entry is None and self._others:
            entry = self._others[int.from_bytes(self._digest(name)[:8], "big") % len(self._others)]
        return Attempt(self._digest(name, secret), entry, secret, meant=meant)

    def remembers(self, attempt: Attempt) -> bool:
        """Whether it was good before."""
        return attempt.digest in self._verified

    def remember(self, attempt: Attempt) -> None:
        """The credentials are good: L{remembers} says so until the next L{load}."""
        while len(self._verified) >= REMEMBERED:
            del self._verified[next(iter(self._verified))]
        self._verified[attempt.digest] = None

    def _digest(self, *parts: bytes) -> bytes:
        """What stands for credentials in memory: a hash with a key that this process made up."""
        keyed = hashlib.blake2b(key=self._key, digest_size=32)
        for part in parts:
            keyed.update(len(part).to_bytes(8, "big"))
            keyed.update(part)
        return keyed.digest()


class _Plain:
    """A password from the configuration, compared as a keyed hash, which hides its length too."""

    costly = False

    def __init__(self, password: bytes, key: bytes) -> None:
        self._key = key
        self._expected = self._hash(password)

    def matches(self, password: bytes) -> bool:
        return hmac.compare_digest(self._hash(password), self._expected)

    def _hash(self, password: bytes) -> bytes:
        return hmac.digest(self._key, password, "sha256")


class _Sha:
    """C{{SHA}}: base64 of the SHA-1 of the password (C{htpasswd -s})."""

    costly = False

    def __init__(self, digest: bytes) -> None:
        self._expected = digest

    def matches(self, password: bytes) -> bool:
        return hmac.compare_digest(hashlib.sha1(password, usedforsecurity=False).digest(), self._expected)


class _Bcrypt:
    """C{$2y$}, C{$2a$} or C{$2b$} (C{htpasswd -B})."""

    costly = True

    def __init__(self, hashed: bytes) -> None:
        self._hashed = hashed

    def matches(self, password: bytes) -> bool:
        # Late: an extra that only such a file needs.
        import bcrypt

        try:
            # Only 72 bytes ever counted; the package refuses longer ones since its version 5, htpasswd cuts.
            return bcrypt.checkpw(password[:72], self._hashed)
        except ValueError:
            return False  # a NUL byte, in some versions of the package


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartError(
            f"auth.file: cannot read {path}: {error.strerror or error}",
            remedy=f"make it with `htpasswd -cB {path} NAME`, or correct the path",
        ) from None


def _read_htpasswd(path: Path, content: bytes) -> dict[bytes, _Entry]:
    entries: dict[bytes, _Entry] = {}
    seen: dict[bytes, int] = {}
    for number, raw in enumerate(content.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith(b"#"):
            continue
        place = f"auth.file: {path}, line {number}: "
        # As Apache reads it: what comes after a second colon is no part of the hash.
        name, colon, rest = line.partition(b":")
        if not name or not colon:
            raise StartError(
                place + "found no `NAME:HASH`", remedy="remove the line, or make it anew with `htpasswd -B`"
            )
        shown = name.decode("utf-8", "replace")
        if name in seen:
            raise StartError(
                place + f"user {shown!r} is on line {seen[name]} already",
                remedy="remove one of the two lines",
            )
        seen[name] = number
        entries[name] = _entry(rest.partition(b":")[0], place, f"htpasswd -B {path} {shown}")
    if not entries:
        raise StartError(f"auth.file: {path} names no user", remedy=f"add one with `htpasswd -B {path} NAME`")
    return entries


def _entry(hashed: bytes, place: str, command: str) -> _Entry:
    """The message never quotes the hash: a line of plain text is a password."""
    anew = f"set the password anew with `{command}`"
    if hashed.startswith(b"{SHA}"):
        try:
            digest = base64.b64decode(hashed[5:], validate=True)
        except (binascii.Error, ValueError):
            digest = b""
        if len(digest) != 20:
            raise StartError(place + "the {SHA} entry is not base64 of 20 bytes", remedy=anew)
        return _Sha(digest)
    if hashed.startswith((b"$2y$", b"$2a$", b"$2b$")):
        match = _BCRYPT.match(hashed)
        if match is None or not 4 <= int(match[1]) <= 31:
            raise StartError(place + "the bcrypt entry is malformed", remedy=anew)
        if int(match[1]) > MAX_BCRYPT_COST:
            raise StartError(
                place + f"a bcrypt cost of {int(match[1])} would take too long at each new client",
                remedy=f"{anew} and `-C 10` (at most {MAX_BCRYPT_COST})",
            )
        try:
            import bcrypt  # noqa: F401 - only such an entry needs the extra, and it is missed here, not later
        except ImportError:
            raise StartError(
                place + "the entry is bcrypt, and the Python package `bcrypt` is not installed",
                remedy="install it with `pip install 'lanrelayd[bcrypt]'`",
            ) from None
        return _Bcrypt(hashed)
    if hashed.startswith((b"$apr1$", b"$1$")):
        found = "an MD5 entry"
    elif hashed.startswith((b"$5$", b"$6$", b"$y$")) or re.match(rb"[./A-Za-z0-9]{13}\Z", hashed):
        found = "a crypt entry"
    else:
        found = "neither bcrypt nor {SHA}; is it plain text?"
    raise StartError(place + f"found {found}, expected bcrypt or {{SHA}}", remedy=anew)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def basic(field: bytes | None) -> tuple[str, str] | None:
    """
    The name and the password of a field's value that is C{Basic} (RFC 7617), else C{None}.

    @param field: the value of C{Proxy-Authorization} or C{Authorization}.
    """
    scheme, _, encoded = (field or b"").strip().partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    name, colon, password = decoded.decode("utf-8", "surrogateescape").partition(":")
    return (name, password) if colon else None
