"""Start lines and field lines, bytes to records, strictly."""

from __future__ import annotations

import re

from lanrelay.errors import RemoteProtocolError
from lanrelay.wire.authority import parse_authority
from lanrelay.wire.events import HTTP_1_0, HTTP_1_1, RequestHead, ResponseHead, Version
from lanrelay.wire.headers import Field, Headers
from lanrelay.wire.limits import Limits
from lanrelay.wire.target import parse_target

# RFC 9112 section 3. A target is printable and has no fragment (RFC 9110 section 7.1). Bytes from 0x80 on
# pass, as with nginx and llhttp, for curl sends an IRI as it was typed; h11 and HAProxy refuse them.
_REQUEST_LINE = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21\x22\x24-\x7e\x80-\xff]+) HTTP/([0-9])\.([0-9])"
)

# RFC 9112 section 4. The space after the code may be missing when there is no reason: many servers leave
# it out.
_STATUS_LINE = re.compile(rb"HTTP/1\.([0-9]) ([1-9][0-9][0-9])(?: ([^\x00-\x08\x0a-\x1f\x7f]*))?")

# RFC 9112 section 5: no space before the colon, no folding, no control bytes. One greedy run that the end
# of the line ends, so that no line can make it backtrack.
_FIELD_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([^\x00-\x08\x0a-\x1f\x7f]*)")

# The same for a line that goes on as it came: one space after the colon, none at the end.
_USUAL_FIELD_LINE = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+): "
    rb"([\x21-\x7e\x80-\xff](?:[^\x00-\x08\x0a-\x1f\x7f]*[\x21-\x7e\x80-\xff])?)"
)

TOKEN_BYTES = frozenset(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
"""What a method, and so a request, can begin with."""

REPEATED = frozenset(
    {
        b"accept",
        b"accept-encoding",
        b"accept-language",
        b"accept-ranges",
        b"access-control-allow-origin",
        b"cache-control",
        b"connection",
        b"content-encoding",
        b"content-type",
        b"date",
        b"expect",
        b"host",
        b"keep-alive",
        b"mcp-protocol-version",
        b"origin",
        b"pragma",
        b"priority",
        b"sec-fetch-dest",
        b"sec-fetch-mode",
        b"sec-fetch-site",
        b"sec-fetch-user",
        b"server",
        b"strict-transport-security",
        b"transfer-encoding",
        b"upgrade",
        b"upgrade-insecure-requests",
        b"user-agent",
        b"vary",
        b"x-accel-buffering",
        b"x-content-type-options",
        b"x-frame-options",
    }
)
"""
Fields whose lines come again and again, so that they are judged once. They are never secret and seldom
unique. So no peer's token stays in memory, and lines that never come again cannot flood it.
"""
_CACHE_LINES = 1024
_CACHE_LENGTH = 256
_judged: dict[bytes, Field] = {}
_hosts: set[bytes] = set()
"""Values of Host that are valid."""


def parse_request_head(block: bytes, limits: Limits) -> RequestHead:
    """
    Read a whole head.

    @param block: from the first byte to before the empty line.
    @raise RemoteProtocolError: with the status to answer with.
    """
    lines = block.split(b"\r\n")
    method, target, version = parse_request_line(lines[0], limits)
    headers = _parse_fields(lines, limits)
    index = headers.index
    if target[0] != 47 or method == b"CONNECT":  # nearly always a path, which needs no further look
        parse_target(method, target)
    host = index.get(b"host")
    if host is None:
        if version == HTTP_1_1 and method != b"CONNECT":  # which says the same in its target
            raise RemoteProtocolError("no Host")
    else:
        if not headers.unique and len(headers.all(b"host")) > 1:
            raise RemoteProtocolError("several Host fields")
        if host[2] not in _hosts:
            _judge_host(host[2])
    if b"expect" in index:
        if version == HTTP_1_0:
            headers = headers.without({b"expect"})  # RFC 9110 section 10.1.1: ignored, so it does not go on
        elif set(headers.tokens(b"expect")) != {b"100-continue"}:
            raise RemoteProtocolError("an expectation other than 100-continue", 417)
    return RequestHead(method=method, target=target, headers=headers, version=version)


def parse_request_line(line: bytes, limits: Limits) -> tuple[bytes, bytes, Version]:
    """
    Method, target and version.

    @raise RemoteProtocolError: 400, 414, 501 or 505.
    """
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        refuse_long_method(line, limits)
        raise RemoteProtocolError("no valid request line")
    method, target, major, minor = match.groups()
    if len(method) > limits.method:
        refuse_long_method(line, limits)
    if len(target) > limits.target:
        raise RemoteProtocolError(f"a target of more than {limits.target} bytes", 414)
    if major != b"1":
        raise RemoteProtocolError(f"HTTP/{major.decode()}.{minor.decode()}", 505)
    return method, target, HTTP_1_0 if minor == b"0" else HTTP_1_1


def refuse_long_method(line: bytes | bytearray, limits: Limits) -> None:
    """
    Judge the method at the beginning of a request line, whether or not more of it has come.

    @raise RemoteProtocolError: 501 (RFC 9112 section 3).
    """
    if len(line) > limits.method and TOKEN_BYTES.issuperset(line[: limits.method + 1]):
        raise RemoteProtocolError(f"a method of more than {limits.method} bytes", 501)


def parse_response_head(block: bytes, limits: Limits) -> ResponseHead:
    """
    Read a whole head.

    @param block: from the first byte to before the empty line.
    @raise RemoteProtocolError: it is no HTTP/1.x response.
    """
    lines = block.split(b"\r\n")
    match = _STATUS_LINE.fullmatch(lines[0])
    if match is None:
        raise RemoteProtocolError("no valid status line of HTTP/1.x")
    minor, status, reason = match.groups()
    headers = _parse_fields(lines, limits)
    version = HTTP_1_0 if minor == b"0" else HTTP_1_1
    return ResponseHead(status=int(status), reason=reason or b"", headers=headers, version=version)


def parse_trailers(block: bytes, limits: Limits) -> list[Field]:
    """
    Read the field lines of a trailer section, without its empty line.

    @raise RemoteProtocolError: as for any field line.
    """
    return _parse_fields([b"", *block.split(b"\r\n")], limits).fields


def _parse_fields(lines: list[bytes], limits: Limits) -> Headers:
    """From the second line on; the first is the start line."""
    if len(lines) - 1 > limits.fields:
        raise RemoteProtocolError(f"more than {limits.fields} fields", 431)
    del lines[0]
    known = _judged.get
    index = {}
    for line in lines:
        field = known(line) or _judge(line)
        index[field[0]] = field
    if len(index) == len(lines):
        return Headers.of_index(index)
    return Headers.of([known(line) or _judge(line) for line in lines])


def _judge(line: bytes) -> Field:
    match = _USUAL_FIELD_LINE.fullmatch(line)
    if match is not None:
        name, value = match.groups()
        lower = name.lower()
        field = (lower, name, value, line)
    else:
        match = _FIELD_LINE.fullmatch(line)
        if match is None:
            raise RemoteProtocolError(_complaint(line))
        name, value = match.groups()
        value = value.strip(b" \t")
        lower = name.lower()
        field = (lower, name, value, b"%b: %b" % (name, value))
    if lower in REPEATED and len(line) <= _CACHE_LENGTH:
        if len(_judged) >= _CACHE_LINES:
            _judged.clear()
        _judged[line] = field
    return field


def _judge_host(value: bytes) -> None:
    try:
        parse_authority(value)
    except ValueError as error:
        raise RemoteProtocolError(f"a Host that is no valid authority: {error}") from None
    if len(_hosts) >= _CACHE_LINES:
        _hosts.clear()
    _hosts.add(value)


def _complaint(line: bytes) -> str:
    if line[:1] in (b" ", b"\t"):
        return "a folded field line"
    if b"\r" in line or b"\n" in line:
        return "a bare CR or LF in the head"
    name = line.partition(b":")[0]
    if name != line and name != name.rstrip(b" \t"):
        return "a space before a field's colon"
    return "no valid field line"
