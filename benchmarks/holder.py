"""C{python -m benchmarks.holder PORT STREAMS CA-FILE}: as C{load hold}, with TLS; standard library only."""

from __future__ import annotations

import json
import socket
import ssl
import sys
import time


def main(port: int, streams: int, root: str) -> None:
    began = time.monotonic()
    context = ssl.create_default_context(cafile=root)
    open_ones = []
    for _ in range(streams):
        sock = socket.create_connection(("127.0.0.1", port), timeout=10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        secured = context.wrap_socket(sock, server_hostname="localhost")
        secured.sendall(b"x" * 64)
        got = 0
        while got < 64:
            got += len(secured.recv(64))
        open_ones.append(secured)
    print("held", flush=True)
    sys.stdin.read()
    failures = 0
    for secured in open_ones:
        secured.sendall(b"y")
        failures += secured.recv(1) != b"y"
    took = time.monotonic() - began
    said = {"units": streams, "seconds": took, "p50": 0, "p99": 0, "most": 0, "failures": failures}
    print(json.dumps(said))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
