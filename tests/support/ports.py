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


def _all() -> Iterator[int]:
    """Each once, then again; every process in an order of its own."""
    order = list(_RANGE)
    random.Random(os.urandom(8)).shuffle(order)
    while True:
        yield from order


_ports = _all()


def free_port() -> int:
    """
    A port of loopback that is free now, and that no kernel gives away by chance.

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
