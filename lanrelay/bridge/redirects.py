"""Where a redirect leads, if it stays with the origin of the target."""

from __future__ import annotations

import re

STATUSES = (301, 302, 307, 308)

_ABSOLUTE = re.compile(r"https?://[^/?#]*", re.IGNORECASE).match
_DEFAULT_PORT = re.compile(r"^(http)(://.*):80$|^(https)(://.*):443$").match


def path_of(location: str, origin: str, base: str) -> str | None:
    """
    The path with its query; C{None} for another origin, which must never get the login.

    @param origin: of the target, C{scheme://host:port}; empty where it has none, as a unix socket.
    @param base: the path that was asked for.
    """
    location = location.partition("#")[0]
    if not location or any(not "!" <= letter <= "~" for letter in location):
        return None
    match = _ABSOLUTE(location)
    if match:
        if _plain(match[0]) != _plain(origin):
            return None
        location = location[match.end() :] or "/"
    elif ":" in location.partition("/")[0] or location.startswith("//"):
        return None
    return joined(location, base)


def joined(location: str, base: str) -> str:
    """A reference without an origin, made absolute."""
    if location.startswith("/"):
        return location
    path = base.partition("?")[0]
    return path + location if location.startswith("?") else f"{path.rpartition('/')[0]}/{location}"


def _plain(origin: str) -> str:
    origin = origin.lower()
    match = _DEFAULT_PORT(origin)
    if match is None:
        return origin
    return f"{match[1]}{match[2]}" if match[1] else f"{match[3]}{match[4]}"
