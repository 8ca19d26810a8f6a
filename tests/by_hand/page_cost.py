"""
What the status page costs a relay with 60 listeners, as the kernel counts it: the first look, another one
when all rows are different, and an event while a browser looks on. It ends with 1 if a page takes 30 ms of a
processor or more, or an event 5.

It takes half a minute of a machine that does nothing else.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from http.client import HTTPConnection
from pathlib import Path

from tests.support.ports import free_port
from tests.support.relay import Relay
from tests.support.servers import TcpServer

LISTENERS = 60
PAGE, EVENT = 30.0, 5.0  # ms


class Cost:
    """C{with} it, the milliseconds of a processor that a process has used."""

    def __init__(self, relay: Relay) -> None:
        self._file = Path(f"/proc/{relay.process.pid}/schedstat")
        self.spent = 0.0

    def _used(self) -> float:
        return int(self._file.read_text().split()[0]) / 1e6

    def __enter__(self) -> Cost:
        self._before = self._used()
        return self

    def __exit__(self, *error: object) -> None:
        self.spent = self._used() - self._before


def main() -> int:
    upstream = TcpServer("echo").start()
    admin = free_port()
    leads_to = f"tcp://{upstream.address}"
    entry = {"type": "tcp-forward", "listen": "127.0.0.1:0", "health": "on", "upstream": leads_to}
    listeners = {f"to-{number}": entry for number in range(LISTENERS)}
    text = json.dumps({"admin": {"listen": f"127.0.0.1:{admin}"}, "listeners": listeners})
    relay = Relay(text).start()
    try:
        ports = [relay.port(f"to-{number}") for number in range(LISTENERS)]
        time.sleep(2)  # until all have been looked at
        with Cost(relay) as first:
            size = page(admin)
        dear = []
        for _ in range(10):
            for port in ports:
                visit(port)
            with Cost(relay) as again:
                page(admin)
            dear.append(again.spent)
        event = events(relay, admin, ports[7])
    finally:
        relay.stop()
        upstream.stop()
    middle = sorted(dear)[len(dear) // 2]
    print(f"{LISTENERS} listeners, {size // 1000} KB")
    print(f"the first page, with what has to be imported for it: {first.spent:.0f} ms")
    print(f"a page, all rows of which are different: {middle:.1f} ms, {max(dear):.1f} at most")
    print(f"an event, while a browser looks on: {event:.1f} ms")
    return int(first.spent >= PAGE or middle >= PAGE or event >= EVENT)


def page(admin: int) -> int:
    connection = HTTPConnection("127.0.0.1", admin, timeout=20)
    connection.request("GET", "/")
    size = len(connection.getresponse().read())
    connection.close()
    return size


def visit(port: int) -> None:
    """A session that ends."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(b"x")
        client.recv(1)


def events(relay: Relay, admin: int, port: int, count: int = 10) -> float:
    """What a session that ends costs more when somebody looks on."""
    spent = []
    for looks in (False, True):
        stream = HTTPConnection("127.0.0.1", admin, timeout=20)
        if looks:
            stream.request("GET", "/events")
            answer = stream.getresponse()
            answer.fp.readline()
        with Cost(relay) as cost:
            for _ in range(count):
                visit(port)
                time.sleep(1.05)
        spent.append(cost.spent / count)
        stream.close()
    return spent[1] - spent[0]


if __name__ == "__main__":
    sys.exit(main())
