"""Asks the kernel for its route to an address: on-link or over a gateway, and from which address of ours."""

from __future__ import annotations

import os
import re
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from lanrelay.addresses import IPAddress, unmapped
from lanrelay.commands import Runner

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """
    The way to an address.

    @ivar gateway: C{None}: it is on-link, on a network of this machine's own (or this machine itself).
    @ivar source: the address of ours from which the packets would go.
    """

    interface: str
    source: str
    gateway: str | None = None

    @property
    def on_link(self) -> bool:
        return self.gateway is None


async def route_to(
    address: IPAddress, run: Runner, *, reactor: Any, platform: str = sys.platform
) -> Route | None:
    """
    The route to C{address}; C{None} if this system does not tell.

    @param run: for C{route get}, in a thread.
    @raise OSError: the kernel has no route; with its errno.
    """
    if platform == "linux":
        return linux_route(address)
    if platform == "darwin":
        words = ["route", "-n", "get", "-inet6" if address.version == 6 else "-inet", str(address)]
        answer = await in_thread(reactor, lambda: run(words))
        return darwin_route(answer.output, answer.errors, source_of(address))
    return None


def in_thread(reactor: Any, work: Callable[[], T]) -> Deferred[T]:
    """
    The result of C{work}, which runs in a thread of its own; the process does not wait for it at its end.

    A caller that cancels waits no longer; the work goes on.
    """
    result: Deferred[T] = Deferred()

    def tell(outcome: T | BaseException) -> None:
        if not result.called:
            (result.errback if isinstance(outcome, BaseException) else result.callback)(outcome)  # type: ignore[arg-type]

    def run() -> None:
        try:
            outcome: T | BaseException = work()
        except BaseException as error:  # it is raised in the one who waits
            outcome = error
        reactor.callFromThread(tell, outcome)

    Thread(target=run, daemon=True).start()
    return result


def source_of(address: IPAddress) -> str:
    """Our own address towards C{address}; empty if the kernel does not say. Nothing is sent."""
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as asking:
            asking.connect((str(address), 9))
            return str(asking.getsockname()[0])
    except OSError:
        return ""


# --- neighbours -----------------------------------------------------------------------------------------


def call(address: IPAddress) -> None:
    """Have the kernel look for a neighbour (ARP), by an empty datagram to its discard port."""
    if address.version == 4:
        with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as calling:
            calling.setblocking(False)
            calling.sendto(b"", (str(address), 9))


def is_neighbour(address: IPAddress, *, table: Path = Path("/proc/net/arp")) -> bool:
    """
    Whether Linux knows the hardware address of a neighbour, that is, whether the neighbour has answered.
    """
    try:
        rows = [line.split() for line in table.read_text("ascii").splitlines()[1:]]
    except OSError:
        return False
    return any(row[0] == str(address) and int(row[2], 16) & 2 for row in rows if len(row) > 3)


# --- macOS --------------------------------------------------------------------------------------------


def darwin_route(output: str, errors: str, source: str) -> Route | None:
    """
    What C{route -n get} says.

    @raise OSError: the table has no route.
    """
    fields = dict(re.findall(r"^\s*([a-z ]+): (.*)$", output, re.MULTILINE))
    if "interface" not in fields:
        if "not in table" in errors + output:
            import errno

            raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))
        return None
    gateway: str | None = fields.get("gateway")
    try:
        ip_address((gateway or "").partition("%")[0])
    except ValueError:
        gateway = None  # "link#14", "index: 14": on-link
    if "GATEWAY" not in fields.get("flags", "GATEWAY"):
        gateway = None
    return Route(interface=fields["interface"].strip(), source=source, gateway=gateway)


# --- Linux: rtnetlink(7), so that the rules and tables of VPNs count as for a connection --------------------

_GET, _NEW, _ERROR, _REQUEST = 26, 24, 2, 1
_DST, _OIF, _GATEWAY, _PREFSRC, _VIA = 1, 4, 5, 7, 18
_HEADER, _ROUTE, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=BBBBBBBBI"), struct.Struct("=HH")


def linux_route(address: IPAddress) -> Route | None:
    """
    The route that the kernel would take now.

    @raise OSError: the kernel has no route.
    """
    address = unmapped(address)
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    packed = address.packed
    body = _ROUTE.pack(family, len(packed) * 8, 0, 0, 0, 0, 0, 0, 0)
    body += _ATTRIBUTE.pack(4 + len(packed), _DST) + packed
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as asking:
            asking.settimeout(1.0)
            asking.send(_HEADER.pack(_HEADER.size + len(body), _GET, _REQUEST, 1, 0) + body)
            answer = asking.recv(65536)
    except OSError:
        return None  # a sandbox without netlink
    _, kind, _, _, _ = _HEADER.unpack_from(answer)
    if kind == _ERROR:
        (number,) = struct.unpack_from("=i", answer, _HEADER.size)
        raise OSError(-number, os.strerror(-number))
    if kind != _NEW:
        return None
    found = dict(_attributes(answer[_HEADER.size + _ROUTE.size :]))
    gateway = found.get(_GATEWAY) or (found[_VIA][2:] if _VIA in found else None)
    return Route(
        interface=_interface(found),
        source=str(ip_address(found[_PREFSRC])) if _PREFSRC in found else "",
        gateway=None if gateway is None else str(ip_address(gateway)),
    )


def _attributes(data: bytes) -> list[tuple[int, bytes]]:
    found, at = [], 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            break
        found.append((kind & 0x3FFF, data[at + _ATTRIBUTE.size : at + length]))
        at += (length + 3) & ~3
    return found


def _interface(found: dict[int, bytes]) -> str:
    if _OIF not in found:
        return ""
    (index,) = struct.unpack("=I", found[_OIF])
    try:
        return socket.if_indextoname(index)
    except OSError:
        return f"interface {index}"
