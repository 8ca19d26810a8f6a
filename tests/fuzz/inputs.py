"""Makes inputs: from grammars that come near to what is right, and by damage to what was right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from random import Random

from tests.support import desync_requests, desync_responses

Make = Callable[[Random], bytes]

TOKENS: tuple[bytes, ...] = (
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b"\x00", b"\x0b", b"\x7f", b"\xa0", b"\xff", b":",
    b",", b";", b"=", b'"', b"#", b"%00", b"0\r\n\r\n", b"5\r\nhello\r\n", b"ffffffffffffffff", b"0x5",
    b"+5", b"-1", b"00", b"99999", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Connection: keep-alive, Host\r\n",
    b"Expect: 100-continue\r\n", b"Upgrade: websocket\r\n", b"TE: trailers\r\n", b"Connection: upgrade\r\n",
    b"Host: localhost\r\n", b"HTTP/1.0", b"HTTP/1.1", b"chunked", b"identity", b"X: y\r\n",
    b"GET /b HTTP/1.1\r\nHost: localhost\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 100 Continue\r\n\r\n", b"http://localhost", b"[::1]", b"@", b"/", b"*", b"..",
)  # fmt: skip


def requests() -> list[bytes]:
    """What the corpus of the live tests sends to a reverse proxy."""
    rows = [row for row in desync_requests.ROWS if row.on != "proxy" and len(row.sent) < 4096]
    return [row.sent.replace(b"@T", b"").replace(b"@H", b"localhost") for row in rows]


def responses() -> list[bytes]:
    tables = (
        desync_responses.MALFORMED,
        desync_responses.BROKEN,
        desync_responses.EXCESS,
        desync_responses.RIGHT,
    )
    found = [b"".join(row.reply.parts) for table in tables for row in table]
    return [reply for reply in found if len(reply) < 4096]


def damaged(random: Random, data: bytes, others: Sequence[bytes], tokens: Sequence[bytes] = TOKENS) -> bytes:
    """C{data} with one to four things done to it."""
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 4))):
        at = random.randrange(len(data) + 1)
        length = min(random.choice((0, 0, 1, 1, 2, 4, 8, 20)), len(data) - at)
        kind = random.randrange(9)
        if kind <= 2:
            data = data[:at] + random.choice(tokens) + data[at + length :]
        elif kind == 3:
            data = data[:at] + bytes([random.randrange(256)]) + data[at + length :]
        elif kind == 4:
            data = data[:at] + data[at + length :]
        elif kind == 5:
            data = data[:at] + data[at : at + length] * random.choice((2, 3, 30)) + data[at + length :]
        elif kind == 6 and at < len(data):
            data = data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]
        elif kind == 7:
            other = random.choice(others)
            data = data[:at] + other[random.randrange(len(other) + 1) :]
        else:
            lines = data.split(b"\r\n")
            one, two = random.randrange(len(lines)), random.randrange(len(lines))
            lines[one], lines[two] = lines[two], lines[one]
            data = b"\r\n".join(lines)
    return data


def one_of(corpus: Sequence[bytes], tokens: Sequence[bytes] = TOKENS) -> Make:
    """Damage to one of C{corpus}; now and then one as it is."""

    def make(random: Random) -> bytes:
        data = random.choice(corpus)
        return data if random.random() < 0.02 else damaged(random, data, corpus, tokens)

    return make


def written(words: Sequence[bytes], most: int = 30) -> Make:
    """Words one after another, and now and then a random byte."""

    def make(random: Random) -> bytes:
        return b"".join(
            random.choice(words) if random.random() < 0.95 else bytes([random.randrange(256)])
            for _ in range(random.randrange(most))
        )

    return make


def chunked(random: Random) -> bytes:
    """A chunked body, mostly right."""
    data = b""
    for _ in range(random.randrange(6)):
        content = random.randbytes(random.choice((1, 2, 5, 16, 300)))
        size = random.choice((b"%x", b"%X", b"0%x", b"%04x")) % len(content)
        data += size + random.choice((b"", b"", b";", b";a=b", b';a="b;c"')) + b"\r\n" + content + b"\r\n"
    data += random.choice((b"0", b"00", b"0;x")) + b"\r\n"
    for _ in range(random.choice((0, 0, 0, 1, 3))):
        data += random.choice((b"X: y", b"Content-Length: 3", b"X:", b"Set-Cookie: a", b"Via: b")) + b"\r\n"
    data += b"\r\n" + random.choice((b"", b"", b"GET / HTTP/1.1\r\n"))
    return data if random.random() < 0.5 else damaged(random, data, [data])


def cut(random: Random, data: bytes) -> list[bytes]:
    """In pieces: two, a few, or single bytes."""
    kind = random.randrange(4)
    if kind == 0:
        return [data[at : at + 1] for at in range(len(data))]
    edges = sorted({0, len(data), *(random.randrange(len(data) + 1) for _ in range(kind))})
    return [data[start:end] for start, end in pairwise(edges)]
