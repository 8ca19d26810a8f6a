"""How much of a message's frame a peer may send."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """
    Bounds on what is buffered, in bytes; content is never counted here.

    @ivar head: start line and fields. nginx allows 4 x 8 KiB, Node 16 KiB, Apache 100 fields of 8 KiB,
        h11 and uvicorn 64 KiB.
    @ivar fields: how many. Apache allows 100, hyper 100, HAProxy 101; browsers with many cookies need
        some 40.
    @ivar method: the request method. The longest registered one has 17.
    @ivar target: the request target. nginx and Apache allow 8 KiB for the whole request line, Node 16 KiB for
        the head; OAuth redirects reach 8 KiB and more.
    @ivar chunk_line: one chunk-size line with its extensions. Go allows 4 KiB.
    @ivar extensions: all chunk extensions of one message. hyper allows 16 KiB.
    @ivar trailers: the whole trailer section. hyper allows 16 KiB.
    """

    head: int = 65536
    fields: int = 200
    method: int = 64
    target: int = 16384
    chunk_line: int = 4096
    extensions: int = 16384
    trailers: int = 16384


LIMITS = Limits()
