"""Whether a client begins with a request of HTTP, as a web page can make a browser send it."""

from __future__ import annotations

import re
from typing import Final

LONGEST: Final = 64 * 1024
"""
Bytes that are held back at most. A beginning of a request that is longer, without an end, is taken for one.
"""

# What a page can have sent without asking first (Fetch, "CORS-safelisted method"), and the rest.
_METHODS: Final = (
    *(b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ", b"TRACE "),
)
_REQUEST_LINE: Final = re.compile(rb"[!#-'*+\-.0-9A-Z^-z|~]+ +[^\n]* +HTTP/[0-9][^\n]*\Z")


def is_request(data: bytes) -> bool | None:
    """C{None}: more has to come before that can be said."""
    line, newline, _ = data.partition(b"\n")
    if newline:
        return _REQUEST_LINE.match(line.rstrip(b"\r")) is not None
    if any(line.startswith(method) for method in _METHODS):
        return True if len(line) > LONGEST else None
    if any(method.startswith(line) for method in _METHODS):
        return None
    return False
