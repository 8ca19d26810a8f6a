"""Ports that stay free until a test uses them, though other tests run beside it."""

from __future__ import annotations

import errno
import os
import random
import socket
from collections.abc import Iterator

# Below the range from which kernels choose ports (Linux from 32768, macOS from 49152), for in that range
# another test's next connection may get the port a moment later; and outside of lanrelay's own defaults.
_RANGE = range(10000, 28000)


_BLOCK = 300
"""Ports that one process of tests has for itself: what is free is taken a moment later only."""

_FIRSTS = _RANGE[::_BLOCK]

_claims: list[socket.socket] = []  # until this process ends


def _all() -> Iterator[int]:
    """Each of this process's block once, then again, in an order of its own."""
    chance = random.Random(os.urandom(8))
    order = [port for port in _RANGE if port not in _FIRSTS]  # Caddy wants a datagram socket, too
    for first in chance.sample(_FIRSTS, len(_FIRSTS)):
        if _claimed(first):
            order = list(range(first + 1, first + _BLOCK))
            break
    chance.shuffle(order)
    while True:
        yield from order


def _claimed(first: int) -> bool:
    """Whether a block is now ours; a datagram socket at its first port says so to the others."""
    claim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        claim.bind(("127.0.0.1", first))
    except OSError:
        claim.close()
        return False
    _claims.append(claim)
    return True


_ports = _all()


def free_port() -> int:
    """
    A port of loopback that is free now, and that neither a kernel nor another process of tests gives away.

    It is for programs that must be told a port, and for places where nothing shall listen.
    """
    return next(port for port in _ports if _is_free("127.0.0.1", port) and _is_free("::1", port))


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as trying:
        trying.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trying.bind((host, port))
        except OSError as error:
            return error.errno != errno.EADDRINUSE  # a machine without IPv6
    return True
