"""Answers of an origin that two readers could understand in two ways, and tricky ones that are right."""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.desync import Reply

OK = b"HTTP/1.1 200 OK\r\n"
TWO = OK + b"Content-Length: 2\r\n\r\nok"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"


@dataclass(frozen=True)
class Row:
    """
    One thing that an origin says to a request for C{/r}.

    @ivar rule: the RFC and section that demand this.
    @ivar status: what the client is told; 0 for nothing at all.
    @ivar body: the content that the client gets, C{None} for whatever the relay says of the failure.
    @ivar cut: the client sees that the answer broke off.
    @ivar pooled: the connection to the origin serves the next request.
    @ivar tries: how often the origin was asked; by a forward proxy once at most.
    @ivar ask: the request, from its method on; C{@T} and C{@H} as for requests.
    """

    name: str
    rule: str
    reply: Reply
    status: int = 502
    body: bytes | None = None
    cut: bool = False
    pooled: bool = False
    tries: int = 1
    interim: tuple[int, ...] = ()
    ask: bytes = b"POST @T/r HTTP/1.1\r\nHost: @H\r\n\r\n"
    absent: tuple[bytes, ...] = ()

    @property
    def method(self) -> bytes:
        return self.ask.partition(b" ")[0]


GET = b"GET @T/r HTTP/1.1\r\nHost: @H\r\n\r\n"
HEAD = b"HEAD @T/r HTTP/1.1\r\nHost: @H\r\n\r\n"
OLD = b"GET @T/r HTTP/1.0\r\nHost: @H\r\n\r\n"
UPGRADE = b"GET @T/r HTTP/1.1\r\nHost: @H\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
UPLOAD = b"POST @T/r HTTP/1.1\r\nHost: @H\r\nContent-Length: 100000\r\n\r\nbegun"
EXPECTS = b"POST @T/r HTTP/1.1\r\nHost: @H\r\nExpect: 100-continue\r\nContent-Length: 70\r\n\r\n"


def bad(rule: str, *replies: tuple[str, bytes]) -> list[Row]:
    """Answers that are not valid."""
    return [Row(name, rule, Reply((reply,))) for name, reply in replies]


MALFORMED: list[Row] = [
    *bad(
        "RFC 9112 section 4",
        ("no status line", b"hello, this is HTTP/0.9"),
        ("another protocol", b"SSH-2.0-OpenSSH_9.6\r\n"),
        ("ICY", b"ICY 200 OK\r\n\r\n"),
        ("HTTP/2", b"HTTP/2 200\r\n\r\n"),
        ("HTTP/2.0", b"HTTP/2.0 200 OK\r\n\r\n"),
        ("HTTP/0.9", b"HTTP/0.9 200 OK\r\n\r\n"),
        ("lower case", b"http/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        ("two digits", b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok"),
        ("four digits", b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok"),
        ("a status below 100", b"HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok"),
        ("a negative status", b"HTTP/1.1 -20 OK\r\nContent-Length: 2\r\n\r\nok"),
        ("no space before the status", b"HTTP/1.1200 OK\r\nContent-Length: 2\r\n\r\nok"),
        ("two spaces before the status", b"HTTP/1.1  200 OK\r\nContent-Length: 2\r\n\r\nok"),
        ("a control byte in the reason", b"HTTP/1.1 200 O\x1bK\r\nContent-Length: 2\r\n\r\nok"),
        ("an empty line first", b"\r\n" + TWO),
        ("content of the answer before", b"x" + TWO),
    ),
    *bad(
        "RFC 9112 section 2.2",
        ("bare LF after the status line", b"HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nok"),
        ("bare LF after the first field", OK + b"X: y\nContent-Length: 2\r\n\r\nok"),
        ("bare LF but once", TWO.replace(b"\r", b"").replace(b"\n\n", b"\nX: y\r\n\n")),
        ("bare CR in a value", OK + b"X: y\rSet-Cookie: evil=1\r\nContent-Length: 2\r\n\r\nok"),
        ("bare LF in a value", OK + b"X: y\nSet-Cookie: evil=1\r\nContent-Length: 2\r\n\r\nok"),
        ("bare LF splits", OK + b"A: b\r\nX: y\n\nHTTP/1.1 200 OK\nContent-Length: 4\n\nevil\r\n\r\n"),
        ("bare CR in the reason", b"HTTP/1.1 200 OK\rX: y\r\nContent-Length: 2\r\n\r\nok"),
    ),
    *bad(
        "RFC 9112 section 5",
        ("a space before the colon", OK + b"Content-Length : 2\r\n\r\nok"),
        ("a folded value", OK + b"X: y\r\n z\r\nContent-Length: 2\r\n\r\nok"),
        ("an empty name", OK + b": y\r\nContent-Length: 2\r\n\r\nok"),
        ("no colon", OK + b"X\r\nContent-Length: 2\r\n\r\nok"),
        ("NUL in a value", OK + b"X: y\x00\r\nContent-Length: 2\r\n\r\nok"),
        ("white space first", OK + b" X: y\r\nContent-Length: 2\r\n\r\nok"),
        ("too many fields", OK + b"X: y\r\n" * 201 + b"Content-Length: 2\r\n\r\nok"),
        ("a head without end", OK + b"X: " + b"y" * 70000),
    ),
    *bad(
        "RFC 9112 section 6.1",
        ("both", OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        ("chunked in HTTP/1.0", CHUNKED.replace(b"1.1", b"1.0") + b"2\r\nok\r\n0\r\n\r\n"),
        *(
            (f"Transfer-Encoding {coding!r}", CHUNKED.replace(b"chunked", coding) + b"2\r\nok\r\n0\r\n\r\n")
            for coding in (
                b"",
                b"identity",
                b"gzip",
                b"gzip, chunked",
                b"chunked, chunked",
                b"xchunked",
                b"chunked\xa0",
            )
        ),
        ("twice", OK + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n2\r\nok\r\n0\r\n\r\n"),
    ),
    *bad(
        "RFC 9112 section 6.3",
        *(
            (f"Content-Length {length!r}", OK + b"Content-Length: %b\r\n\r\nok" % length)
            for length in (
                b"",
                b"+2",
                b"-2",
                b"0x2",
                b"2,3",
                b"2, 02",
                b"2,",
                b"2 2",
                b"2.0",
                b"18446744073709551618",
            )
        ),
        ("two lengths", OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok"),
    ),
    *bad(
        "RFC 9112 section 7.1",
        *(
            (f"chunked {body!r}", CHUNKED + body + EVIL)
            for body in (
                b"+2\r\nok\r\n0\r\n\r\n",
                b"0x2\r\nok\r\n0\r\n\r\n",
                b" 2\r\nok\r\n0\r\n\r\n",
                b"2\nok\r\n0\r\n\r\n",
                b"2;a\nb\r\nok\r\n0\r\n\r\n",
                b"2\r\nok\n0\r\n\r\n",
                b"2\r\nokxx0\r\n\r\n",
                b"2\r\nok\r\n0\r\n\n",
                b"ffffffffffffffff2\r\nok\r\n0\r\n\r\n",
                b"\r\nok\r\n0\r\n\r\n",
                b"0\r\nX : y\r\n\r\n",
            )
        ),
    ),
    Row(
        "101 that nobody asked for",
        "RFC 9110 section 15.2.2",
        Reply((b"HTTP/1.1 101 X\r\nUpgrade: x\r\n\r\n",)),
    ),
    Row(
        "101 to another protocol than HTTP inside an upload",
        "RFC 9110 section 15.2.2",
        Reply((b"HTTP/1.1 101 X\r\nUpgrade: echo\r\n\r\n",), early=True),
        ask=UPLOAD.replace(b"\r\n\r\n", b"\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"),
        tries=0,
    ),
    Row(
        "1xx without end",
        "RFC 9110 section 15.2",
        Reply((b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 3000,)),
    ),
    Row(
        "an interim head that is none",
        "RFC 9112 section 4",
        Reply((b"HTTP/1.1 100 Continue\r\nX\r\n\r\n" + TWO,)),
    ),
    Row("the end before an answer", "RFC 9112 section 8", Reply((b"",), "close")),
    Row("the end inside a head", "RFC 9112 section 8", Reply((OK + b"Content-Le",), "close")),
    Row(
        "the end after an interim head",
        "RFC 9112 section 8",
        Reply((b"HTTP/1.1 100 Continue\r\n\r\n",), "close"),
    ),
    # On the reverse proxy its connection is a kept one.
    Row("a GET is tried again", "RFC 9112 section 9.3.1", Reply((b"",), "close"), ask=GET, tries=2),
    Row("a GET is not after the first byte", "RFC 9112 section 9.3.1", Reply((b"H",), "close"), ask=GET),
]

BROKEN: list[Row] = [
    Row(f"{name}", rule, Reply((first, second), then), 200, cut=True)
    for name, rule, first, second, then in (
        (
            "a fault behind a chunk",
            "RFC 9112 section 7.1",
            CHUNKED + b"2\r\nok\r\n",
            b"zz\r\n" + EVIL,
            "keep",
        ),
        (
            "a chunk that is too long",
            "RFC 9112 section 7.1",
            CHUNKED + b"2\r\nok",
            b"evil\r\n0\r\n\r\n",
            "keep",
        ),
        (
            "a trailer that is none",
            "RFC 9112 section 7.1.2",
            CHUNKED + b"2\r\nok\r\n",
            b"0\r\nX\r\n\r\n",
            "keep",
        ),
        ("the end inside a length", "RFC 9112 section 8", TWO[:-1], b"", "close"),
        ("the end inside a chunk", "RFC 9112 section 8", CHUNKED + b"5\r\nhel", b"", "close"),
        ("the end between chunks", "RFC 9112 section 8", CHUNKED + b"2\r\nok\r\n", b"", "close"),
        ("the end inside the last chunk", "RFC 9112 section 8", CHUNKED + b"2\r\nok\r\n0\r\n", b"", "close"),
        (
            "the end inside trailers",
            "RFC 9112 section 8",
            CHUNKED + b"2\r\nok\r\n0\r\nX: y\r\n",
            b"",
            "close",
        ),
        ("a reset inside a length", "RFC 9112 section 8", TWO[:-1], b"", "reset"),
        ("a reset between chunks", "RFC 9112 section 8", CHUNKED + b"2\r\nok\r\n", b"", "reset"),
        ("a reset instead of the end", "RFC 9112 section 8", OK + b"\r\nok", b"", "reset"),
    )
]

EXCESS: list[Row] = [
    Row(f"{name}, {when}", "RFC 9112 section 9.2 and 6.3", Reply(parts), status, body, ask=ask)
    for name, status, body, whole, ask in (
        ("an answer behind the answer", 200, b"ok", TWO, GET),
        ("an answer behind chunks", 200, b"ok", CHUNKED + b"2\r\nok\r\n0\r\n\r\n", GET),
        ("content of HEAD", 200, b"", OK + b"Content-Length: %d\r\n\r\n" % len(EVIL), HEAD),
        ("chunks of HEAD", 200, b"", CHUNKED + b"0\r\n\r\n", HEAD),
        ("content of a 204", 204, b"", b"HTTP/1.1 204 X\r\nContent-Length: %d\r\n\r\n" % len(EVIL), GET),
        ("content of a 304", 304, b"", b"HTTP/1.1 304 X\r\nContent-Length: %d\r\n\r\n" % len(EVIL), GET),
        ("more than the length", 200, b"ok", TWO, GET),
        ("an empty line", 200, b"ok", TWO, GET),
    )
    for when, parts in (("at once", (whole + EVIL,)), ("later", (whole, EVIL)))
]

RIGHT: list[Row] = [
    Row("a length", "RFC 9112 section 6.3", Reply((TWO,)), 200, b"ok", pooled=True),
    *(
        Row(name, "RFC 9112 section 2.2", Reply((reply,)), 200, b"ok", pooled=True)
        for name, reply in (
            ("LF everywhere", TWO.replace(b"\r", b"")),
            ("LF but for the status line", OK + b"X: y\nContent-Length: 2\n\nok"),
        )
    ),
    *(
        Row(name, "RFC 9110 section 8.6", Reply((reply,)), 200, b"ok", pooled=True)
        for name, reply in (
            ("two equal lengths", OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok"),
            ("a list of equal lengths", OK + b"Content-Length: 2, 2\r\n\r\nok"),
        )
    ),
    Row(
        "blanks after sizes",
        "RFC 9112 section 7.1.1",
        Reply((CHUNKED + b"2  \r\nok\r\n0\t\r\n\r\n",)),
        200,
        b"ok",
        pooled=True,
    ),
    Row(
        "chunks",
        "RFC 9112 section 7.1",
        Reply((CHUNKED + b"2;x=y\r\nok\r\n0\r\n\r\n",)),
        200,
        b"ok",
        pooled=True,
    ),
    Row("no reason", "RFC 9112 section 4", Reply((TWO.replace(b" OK", b" "),)), 200, b"ok", pooled=True),
    Row(
        "no space behind the status",
        "RFC 9112 section 4",
        Reply((TWO.replace(b" OK", b""),)),
        200,
        b"ok",
        pooled=True,
    ),
    Row(
        "a status of its own",
        "RFC 9110 section 15",
        Reply((TWO.replace(b"200", b"799"),)),
        799,
        b"ok",
        pooled=True,
    ),
    Row(
        "obs-text", "RFC 9110 section 5.5", Reply((TWO.replace(b"OK", b"\xe9\xff"),)), 200, b"ok", pooled=True
    ),
    Row(
        "trailers that frame are dropped",
        "RFC 9110 section 6.5.1",
        Reply((CHUNKED + b"2\r\nok\r\n0\r\nContent-Length: 9\r\nSet-Cookie: a=b\r\n\r\n",)),
        200,
        b"ok",
        pooled=True,
    ),
    Row("until the end", "RFC 9112 section 6.3", Reply((OK + b"\r\nok",), "close"), 200, b"ok"),
    Row("HTTP/1.0", "RFC 9112 section 9.3", Reply((TWO.replace(b"1.1", b"1.0"),)), 200, b"ok"),
    Row(
        "HTTP/1.0 that stays",
        "RFC 9112 section 9.3",
        Reply((b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",)),
        200,
        b"ok",
        pooled=True,
    ),
    Row("close", "RFC 9112 section 9.6", Reply((OK + b"Connection: x, Close\r\n" + TWO[17:],)), 200, b"ok"),
    Row(
        "hop-by-hop fields end here",
        "RFC 9110 section 7.6.1",
        Reply((OK + b"Connection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nUpgrade: h2c\r\n" + TWO[17:],)),
        200,
        b"ok",
        pooled=True,
        absent=(b"x-hop", b"keep-alive", b"upgrade"),
    ),
    Row(
        "Connection removes no cookie",
        "RFC 9110 section 7.6.1",
        Reply((OK + b"Connection: Content-Length, Set-Cookie\r\n" + TWO[17:],)),
        200,
        b"ok",
        pooled=True,
    ),
    Row(
        "interim heads pass",
        "RFC 9110 section 15.2",
        Reply((b"HTTP/1.1 102 X\r\n\r\nHTTP/1.1 103 X\r\nLink: </x>\r\n\r\n" + TWO,)),
        200,
        b"ok",
        pooled=True,
        interim=(102, 103),
    ),
    Row(
        "an interim head frames nothing",
        "RFC 9110 section 15.2",
        Reply((b"HTTP/1.1 103 X\r\nContent-Length: 99\r\n\r\n" + TWO,)),
        200,
        b"ok",
        pooled=True,
        interim=(103,),
    ),
    Row(
        "no interim head goes to HTTP/1.0",
        "RFC 9110 section 15.2",
        Reply((b"HTTP/1.1 100 X\r\n\r\nHTTP/1.1 103 X\r\n\r\n" + TWO,)),
        200,
        b"ok",
        pooled=True,
        ask=OLD,
    ),
    Row(
        "HEAD and its length",
        "RFC 9110 section 9.3.2",
        Reply((OK + b"Content-Length: 9\r\n\r\n",)),
        200,
        b"",
        ask=HEAD,
        pooled=True,
    ),
    Row("HEAD and chunked", "RFC 9110 section 9.3.2", Reply((CHUNKED,)), 200, b"", ask=HEAD, pooled=True),
    Row(
        "HEAD and nothing", "RFC 9110 section 9.3.2", Reply((OK + b"\r\n",)), 200, b"", ask=HEAD, pooled=True
    ),
    Row(
        "304 and a length",
        "RFC 9110 section 15.4.5",
        Reply((b"HTTP/1.1 304 X\r\nContent-Length: 9\r\n\r\n",)),
        304,
        b"",
        ask=GET,
        pooled=True,
    ),
    Row(
        "204 and a length",
        "RFC 9110 section 8.6",
        Reply((b"HTTP/1.1 204 X\r\nContent-Length: 9\r\n\r\n",)),
        204,
        b"",
        ask=GET,
        pooled=True,
    ),
    Row(
        "204", "RFC 9110 section 15.3.5", Reply((b"HTTP/1.1 204 X\r\n\r\n",)), 204, b"", ask=GET, pooled=True
    ),
    Row(
        "an answer before the upload ends",
        "RFC 9112 section 9.6",
        Reply((TWO,), early=True),
        200,
        b"ok",
        ask=UPLOAD,
        tries=0,
    ),
    Row(
        "a final answer to Expect",
        "RFC 9110 section 10.1.1",
        Reply((TWO.replace(b"200", b"417"),), early=True),
        417,
        b"ok",
        ask=EXPECTS,
        tries=0,
    ),
    Row(
        "an upgrade that is not taken",
        "RFC 9110 section 7.8",
        Reply((TWO,)),
        200,
        b"ok",
        ask=UPGRADE,  # and the origin may take the next bytes for anything
    ),
]
