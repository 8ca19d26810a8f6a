"""Has a parent proxy open the way to a target: CONNECT, or SOCKS5 with names (RFC 1928, RFC 1929)."""

from __future__ import annotations

import socket
from collections.abc import Generator
from typing import Any

from lanrelay import errors
from lanrelay.bridge.dial import HostPort, Parent, receive, send
from lanrelay.bridge.loop import Start

_LONGEST_HEAD = 16 * 1024
_WORDS = {
    1: "it failed",
    2: "its rules do not allow it",
    3: "the network cannot be reached from it",
    4: "the host cannot be reached from it",
    5: "the host refused the connection",
    6: "the connection took too long",
    7: "it does not know the command",
    8: "it does not know the kind of address",
}


def open_way(
    connected: socket.socket, parent: Parent, host_port: HostPort, until: float
) -> Generator[Start, Any, None]:
    """
    @raise errors.DialError: the parent did not open the way; the text has the words of the relay.
    """
    try:
        if parent.scheme == "http":
            yield from _connect(connected, parent, host_port, until)
        else:
            yield from _socks(connected, parent, host_port, until)
    except TimeoutError:
        raise _named(errors.ParentTimeout("no answer"), parent, host_port) from None
    except OSError as error:
        raise _named(errors.ParentMalformed(error.strerror or str(error)), parent, host_port) from None


def _named(error: errors.DialError, parent: Parent, host_port: HostPort) -> errors.DialError:
    error.parent = str(parent.host_port)
    error.target = str(host_port)
    return error


def _connect(
    connected: socket.socket, parent: Parent, host_port: HostPort, until: float
) -> Generator[Start, Any, None]:
    lines = [f"CONNECT {host_port} HTTP/1.1", f"Host: {host_port}"]
    if parent.name:
        from base64 import b64encode

        login = b64encode(f"{parent.name}:{parent.password}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {login}")
    yield from send(connected, "\r\n".join((*lines, "", "")).encode("ascii"), until)
    head = b""
    while b"\r\n\r\n" not in head:
        # Byte by byte: the bytes after the head are the target's, which may speak first.
        data = yield from receive(connected, 1, until)
        head += data
        if not data or len(head) > _LONGEST_HEAD or not head.startswith(b"HTTP/1."[: len(head)]):
            raise _named(errors.ParentMalformed("it does not answer as an HTTP proxy"), parent, host_port)
    words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
    is_number = len(words) > 1 and len(words[1]) == 3 and words[1].isascii() and words[1].isdigit()
    status = int(words[1]) if is_number else 0
    if not 200 <= status < 300:
        refused = errors.ParentRefused(
            f"it answered {status} {words[2] if len(words) > 2 else ''}".rstrip(),
            status=status,
            permanent=status in (403, 405, 407),
        )
        raise _named(refused, parent, host_port)


def _exactly(connected: socket.socket, count: int, until: float) -> Generator[Start, Any, bytes]:
    data = b""
    while len(data) < count:
        more = yield from receive(connected, count - len(data), until)
        if not more:
            raise OSError(0, "it ended the connection")
        data += more
    return data


def _socks(
    connected: socket.socket, parent: Parent, host_port: HostPort, until: float
) -> Generator[Start, Any, None]:
    methods = b"\x00\x02" if parent.name else b"\x00"
    yield from send(connected, b"\x05" + bytes([len(methods)]) + methods, until)
    answer = yield from _exactly(connected, 2, until)
    if answer[0] != 5:
        raise OSError(0, "it does not answer as a SOCKS5 proxy")
    if answer[1] == 2 and parent.name:
        name, password = parent.name.encode(), parent.password.encode()
        yield from send(
            connected, b"\x01" + bytes([len(name)]) + name + bytes([len(password)]) + password, until
        )
        answer = yield from _exactly(connected, 2, until)
        if answer[1] != 0:
            raise _named(
                errors.ParentRefused("it does not take the name and the password", permanent=True),
                parent,
                host_port,
            )
    elif answer[1] != 0:
        raise _named(errors.ParentRefused("it wants a login", permanent=True), parent, host_port)
    yield from send(
        connected, b"\x05\x01\x00" + _address(host_port) + host_port.port.to_bytes(2, "big"), until
    )
    answer = yield from _exactly(connected, 5, until)
    if answer[1] != 0:
        said = _WORDS.get(answer[1], f"it answered {answer[1]}")
        refused = errors.ParentRefused(said, reply=answer[1], permanent=answer[1] == 2)
        raise _named(refused, parent, host_port)
    length = {1: 4, 3: 1 + answer[4], 4: 16}.get(answer[3], 0)
    yield from _exactly(connected, 4 + length + 2 - len(answer), until)


def _address(host_port: HostPort) -> bytes:
    for kind, family in ((1, socket.AF_INET), (4, socket.AF_INET6)):
        try:
            return bytes([kind]) + socket.inet_pton(family, host_port.host)
        except OSError:
            continue
    name = host_port.host.encode("idna")
    return b"\x03" + bytes([len(name)]) + name
