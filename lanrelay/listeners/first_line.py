"""Tells whether a client begins with an HTTP request, as a web page can have a browser send it."""

from __future__ import annotations

import re
from typing import Final

LONGEST: Final = 64 * 1024
"""
Bytes that are held back at most. What begins like a request, and is longer without an end, counts as one.
"""

# The methods that a page can send without asking first (Fetch, "CORS-safelisted method"), and the rest.
_METHODS: Final = (
    *(b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ", b"TRACE "),
)
_REQUEST_LINE: Final = re.compile(rb"[!#-'*+\-.0-9A-Z^-z|~]+ +[^\n]* +HTTP/[0-9][^\n]*\Z")


def is_request(data: bytes) -> bool | None:
    """C{None}: more has to come before it can be known."""
    line, newline, _ = data.partition(b"\n")
    if newline:
        return _REQUEST_LINE.match(line.rstrip(b"\r")) is not None
    if any(line.startswith(method) for method in _METHODS):
        return True if len(line) > LONGEST else None
    if any(method.startswith(line) for method in _METHODS):
        return None
    return False
