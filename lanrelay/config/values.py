"""What one text means: durations, sizes, numbers, words, paths, header fields."""

from __future__ import annotations

import binascii
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from lanrelay.config import model
from lanrelay.config.shapes import Whole, Words, takes

T = TypeVar("T", bound=str)

OFF = frozenset({"off", "none", "never", "false", "[]"})
ON = frozenset({"true", "on"})


class Unfit(ValueError):
    """
    A text is not what its key takes.

    C{str} is the phrase C{expected ...}; it never holds the text itself, which may be a secret.
    """


def is_off(text: str) -> bool:
    return text.lower() in OFF


def boolean(text: str) -> bool:
    word = text.lower()
    if word in ON:
        return True
    if word in OFF:
        return False
    raise Unfit("expected true or false")


def choice(words: Sequence[T]) -> Callable[[str], T]:
    """One of these words, as they are written."""
    listed = " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))

    @takes(Words(*words))
    def convert(text: str) -> T:
        for word in words:
            if word == text:
                return word
        raise Unfit(f"expected {listed}")

    return convert


def number(low: int, high: int) -> Callable[[str], int]:
    """A whole number in decimal; leading zeros mean nothing."""

    @takes(Whole(low, high))
    def convert(text: str) -> int:
        if re.fullmatch(r"[0-9]{1,18}", text) is None or not low <= int(text) <= high:
            raise Unfit(f"expected a whole number from {low} to {high}")
        return int(text)

    return convert


# --- durations and sizes ------------------------------------------------------------------------------

_DURATION = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)([A-Za-z]*)")
_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
LONGEST = 10 * 365 * 86400.0  # ten years: who writes more has mistaken the unit


def duration_from_zero(text: str) -> float:
    """Seconds; zero is a duration here."""
    match = _DURATION.fullmatch(text)
    if match is None or match[2] not in _SECONDS:
        raise Unfit("expected a duration such as 250ms, 10s, 5m or 1h")
    # Whole milliseconds are exact that way: 250ms is 0.25.
    seconds = float(match[1]) / 1000 if match[2] == "ms" else float(match[1]) * _SECONDS[match[2]]
    if seconds > LONGEST:
        raise Unfit("expected a duration of at most ten years")
    return seconds


def duration(text: str) -> float:
    """Seconds, more than none."""
    if is_off(text):
        raise Unfit("expected a duration such as 250ms, 10s, 5m or 1h; this one cannot be switched off")
    seconds = duration_from_zero(text)
    if seconds == 0:
        raise Unfit("expected a duration above zero")
    return seconds


_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)([A-Za-z]*)")
_BYTES = {"": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_BYTES |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def size(text: str) -> int:
    """Bytes, at least one."""
    match = _SIZE.fullmatch(text)
    if match is None or match[2] not in _BYTES or (match[2] in ("", "B") and "." in match[1]):
        raise Unfit("expected a size such as 16KiB, 1MiB, 64kB or a number of bytes")
    amount = int(float(match[1]) * _BYTES[match[2]]) if "." in match[1] else int(match[1]) * _BYTES[match[2]]
    if not 0 < amount < 2**63:
        raise Unfit("expected a size above zero and below 8 EiB")
    return amount


def mode(text: str) -> int:
    """The permissions of a file, in octal: C{0600}, C{600} or C{0o600}."""
    if re.fullmatch(r"(?:0o?)?[0-7]{3}", text) is None:
        raise Unfit("expected permissions in octal, such as 0600 or 0660")
    return int(text.removeprefix("0o"), 8)


# --- names and free text --------------------------------------------------------------------------------

_LISTENER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def listener_name(text: str) -> str:
    """
    A listener's name stands in key paths, log lines, metrics and Via fields, so it is a plain word.

    @raise Unfit: for anything but ASCII letters, digits, C{-} and C{_}, or more than 64 of them.
    """
    if _LISTENER_NAME.fullmatch(text) is None:
        raise Unfit(
            'expected a name of letters, digits, "-" and "_" (64 at most), with a letter or digit first'
        )
    return text


def has_control(text: str) -> bool:
    """Whether there is a character that no name, argument or secret of ours may hold."""
    return any(letter < " " or letter == "\x7f" for letter in text)


def password(text: str) -> model.Secret:
    """At most 255 bytes of UTF-8, as in RFC 1929."""
    if not text or has_control(text) or len(text.encode()) > 255:
        raise Unfit("expected a password of 1 to 255 bytes without control characters")
    return model.Secret(text)


def user_name(text: str) -> str:
    """No colon, which ends the name in Basic credentials (RFC 7617 section 2)."""
    if not text or has_control(text) or ":" in text or len(text.encode()) > 255:
        raise Unfit('expected a user name of 1 to 255 bytes without ":" and control characters')
    return text


def passphrase(text: str) -> model.Secret:
    if not text or "\0" in text:
        raise Unfit("expected the passphrase of the key")
    return model.Secret(text)


def protocol_name(text: str) -> str:
    """As ALPN has them: C{h2}, C{http/1.1} (RFC 7301 section 3.1)."""
    if re.fullmatch(r"[!-~]{1,255}", text) is None:
        raise Unfit("expected the name of a protocol, such as h2 or http/1.1")
    return text


def argument(text: str) -> str:
    """What execve takes; it may be empty."""
    if "\0" in text:
        raise Unfit("expected text without NUL")
    return text


def variable_name(text: str) -> str:
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text) is None:
        raise Unfit('expected the name of an environment variable: letters, digits and "_"')
    return text


# --- paths ----------------------------------------------------------------------------------------------


def path(text: str, *, folder: Path, home: str) -> Path:
    """
    An absolute path.

    @param folder: of the file that names it.
    @param home: what C{~} stands for.
    """
    if not text or "\0" in text:
        raise Unfit("expected a path")
    if text == "~" or text.startswith("~/"):
        return Path(home, text[2:])
    if text.startswith("~"):
        raise Unfit('expected a path: absolute, "~/...", or relative to this file ("./~..." for such a name)')
    return Path(os.path.join(folder, text))


# --- header fields ----------------------------------------------------------------------------------------

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 section 5.6.2

# RFC 9110 section 7.6.1 and RFC 9112 section 6: these describe one connection or one message's framing.
_OF_THE_CONNECTION = frozenset(
    {
        "connection",
        "content-length",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


def header_name(text: str) -> str:
    if _TOKEN.fullmatch(text) is None:
        raise Unfit("expected the name of a header field")
    if text.lower() in _OF_THE_CONNECTION:
        raise Unfit("expected an end-to-end field; framing and hop-by-hop fields belong to the relay")
    if text.lower() == "host":
        raise Unfit('expected another field; the key "host" says which Host is sent')
    return text


def header_value(text: str) -> str:
    """Visible ASCII, spaces and tabs (RFC 9110 section 5.5 deprecates the rest); it may be empty."""
    if not all(" " <= letter <= "~" or letter == "\t" for letter in text):
        raise Unfit("expected the value of a header field: ASCII, without line breaks and control characters")
    return text.strip(" \t")


# --- the rest ---------------------------------------------------------------------------------------------


def pin(text: str) -> model.PublicKeyPin | model.CertificatePin:
    """C{sha256//BASE64} as curl's C{--pinnedpubkey}, or C{sha256:HEX}, its bytes parted by colons or not."""
    if re.fullmatch(r"sha256//[A-Za-z0-9+/]{43}=", text) is not None:
        return model.PublicKeyPin(digest=binascii.a2b_base64(text.removeprefix("sha256//")))
    digits = text.removeprefix("sha256:")
    if digits != text and re.fullmatch(r"[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2}){31}", digits) is not None:
        return model.CertificatePin(digest=bytes.fromhex(digits.replace(":", "")))
    raise Unfit(
        "expected sha256// and 44 characters of base64 (a public key), "
        "or sha256: and 64 hexadecimal digits (a certificate)"
    )


def statuses(text: str) -> tuple[tuple[int, int], ...]:
    """Ranges of HTTP statuses: C{200-399,401}."""
    ranges = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?\s*", part)
        if match is None or int(match[1]) > int(match[2] or match[1]):
            raise Unfit("expected statuses such as 200-399,401")
        ranges.append((int(match[1]), int(match[2] or match[1])))
    return tuple(ranges)
