"""
One thing that a client sends to a relay, and what the result must be.

C{@T} stands for what goes before a path (nothing on a reverse proxy, the origin's URL on a forward proxy) and
C{@H} for the Host that belongs to it. C{/b} is what an attacker would smuggle, and C{/poison} what must never
arrive.
"""

from __future__ import annotations

from dataclasses import dataclass

GET = b"GET @T/a HTTP/1.1\r\nHost: @H\r\n"
POST = b"POST @T/a HTTP/1.1\r\nHost: @H\r\n"
NEXT = b"GET @T/b HTTP/1.1\r\nHost: @H\r\n\r\n"
POISON = b"GET @T/poison HTTP/1.1\r\nHost: @H\r\n\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


@dataclass(frozen=True)
class Row:
    """
    One thing that a client says.

    @ivar rule: the RFC and section that demand this.
    @ivar sent: on one connection.
    @ivar status: of each answer.
    @ivar meant: the requests that the origin is to hear, and no other: method, target, content.
    @ivar stays: whether the connection goes on serving; else it is closed.
    @ivar on: C{web} or C{proxy} where it is for that listener only.
    @ivar absent: fields that the origin must not be sent.
    @ivar together: the end of C{sent} that is never cut, for what becomes of it depends on whether all of it
        has come by then.
    @ivar after: what is sent once the first answer is there.
    """

    name: str
    rule: str
    sent: bytes
    status: tuple[int, ...] = (400,)
    meant: tuple[bytes, ...] = ()
    stays: bool = False
    on: str = ""
    absent: tuple[bytes, ...] = ()
    method: bytes = b"GET"
    together: bytes = b""
    after: bytes = b""


def refused(rule: str, *named: tuple[str, bytes], status: int = 400) -> list[Row]:
    return [Row(name, rule, sent, (status,)) for name, sent in named]


def passed(
    rule: str,
    name: str,
    sent: bytes,
    *meant: bytes,
    on: str = "",
    stays: bool = True,
    absent: tuple[bytes, ...] = (),
    status: int = 200,
) -> Row:
    return Row(name, rule, sent, (status,) * len(meant), meant, stays, on, absent)
