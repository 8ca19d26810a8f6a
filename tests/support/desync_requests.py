"""
Requests that two readers could understand in two ways, and tricky ones that are right.

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

    @ivar rule: where it is said that this must come of it; RFC and section.
    @ivar sent: on one connection.
    @ivar status: of each answer.
    @ivar meant: the requests that the origin is to hear, and no other: method, target, content.
    @ivar stays: the connection serves on; else it is closed.
    @ivar on: C{web} or C{proxy} where it is for that listener only.
    @ivar absent: fields that the origin must not be sent.
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


# What is wrong in a head, before a request that is not.
HEADS: list[Row] = [
    *refused(
        "RFC 9112 section 2.2",
        ("two empty lines first", b"\r\n\r\n" + NEXT),
        ("a bare LF as an empty line first", b"\n" + NEXT),
        ("bare LF after the request line", b"GET @T/a HTTP/1.1\nHost: @H\r\n\r\n" + POISON),
        ("bare LF after a field", GET + b"X: y\nZ: z\r\n\r\n" + POISON),
        ("bare LF hides a field", GET + b"X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + POISON),
        ("bare LF as the empty line", GET + b"\n" + POISON),
        ("bare LF twice", b"GET @T/a HTTP/1.1\nHost: @H\n\n" + POISON),
        ("bare CR in a value", GET + b"X: y\rZ: z\r\n\r\n" + POISON),
        ("bare CR hides a length", GET + b"X: y\rContent-Length: 5\r\n\r\n" + POISON),
        ("CR CR LF", GET + b"X: y\r\r\n\r\n" + POISON),
        ("CR before the method", b"\rGET @T/a HTTP/1.1\r\nHost: @H\r\n\r\n"),
        ("white space before the first field", b"GET @T/a HTTP/1.1\r\n Host: @H\r\n\r\n" + POISON),
    ),
    *refused(
        "RFC 9112 section 2.3",
        ("HTTP/0.9", b"GET @T/a\r\n\r\n"),
        ("HTTP/1", b"GET @T/a HTTP/1\r\nHost: @H\r\n\r\n"),
        ("HTTP/1.10", b"GET @T/a HTTP/1.10\r\nHost: @H\r\n\r\n"),
        ("http/1.1", b"GET @T/a http/1.1\r\nHost: @H\r\n\r\n"),
        ("a version and more", b"GET @T/a HTTP/1.1 HTTP/1.1\r\nHost: @H\r\n\r\n"),
    ),
    *refused(
        "RFC 9112 section 2.3",
        ("HTTP/0.9 written out", b"GET @T/a HTTP/0.9\r\nHost: @H\r\n\r\n"),
        ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("HTTP/2 on HTTP/1's wire", b"GET @T/a HTTP/2.0\r\nHost: @H\r\n\r\n"),
        status=505,
    ),
    *refused(
        "RFC 9112 section 3",
        ("two spaces", b"GET  @T/a HTTP/1.1\r\nHost: @H\r\n\r\n"),
        ("a tab", b"GET\t@T/a HTTP/1.1\r\nHost: @H\r\n\r\n"),
        ("a space at the end", b"GET @T/a HTTP/1.1 \r\nHost: @H\r\n\r\n"),
        ("a vertical tab", b"GET @T/a\x0bHTTP/1.1\r\nHost: @H\r\n\r\n"),
        ("a space in the target", b"GET @T/a /b HTTP/1.1\r\nHost: @H\r\n\r\n"),
        ("a fragment", b"GET @T/a#b HTTP/1.1\r\nHost: @H\r\n\r\n"),
        ("NUL in the target", b"GET @T/a\x00 HTTP/1.1\r\nHost: @H\r\n\r\n"),
        ("DEL in the target", b"GET @T/a\x7f HTTP/1.1\r\nHost: @H\r\n\r\n"),
        ("a method that is no token", b"G{T @T/a HTTP/1.1\r\nHost: @H\r\n\r\n"),
        ("no method", b" @T/a HTTP/1.1\r\nHost: @H\r\n\r\n"),
        ("no target", b"GET HTTP/1.1\r\nHost: @H\r\n\r\n"),
    ),
    *refused(
        "RFC 9112 section 3.2",
        ("no Host", b"GET @T/a HTTP/1.1\r\nX: y\r\n\r\n" + POISON),
        ("two Hosts", b"GET @T/a HTTP/1.1\r\nHost: @H\r\nHost: evil.example\r\n\r\n" + POISON),
        ("two equal Hosts", b"GET @T/a HTTP/1.1\r\nHost: @H\r\nhOST: @H\r\n\r\n" + POISON),
        ("an empty Host", b"GET @T/a HTTP/1.1\r\nHost:\r\n\r\n" + POISON),
        ("a list as Host", b"GET @T/a HTTP/1.1\r\nHost: @H, evil.example\r\n\r\n" + POISON),
        ("user information in Host", b"GET @T/a HTTP/1.1\r\nHost: x@localhost\r\n\r\n" + POISON),
        ("a path in Host", b"GET @T/a HTTP/1.1\r\nHost: localhost/x\r\n\r\n" + POISON),
        ("a fragment in Host", b"GET @T/a HTTP/1.1\r\nHost: localhost#x\r\n\r\n" + POISON),
        ("two ports in Host", b"GET @T/a HTTP/1.1\r\nHost: localhost:80:81\r\n\r\n" + POISON),
        ("a port of letters in Host", b"GET @T/a HTTP/1.1\r\nHost: localhost:http\r\n\r\n" + POISON),
        ("a tab in Host", b"GET @T/a HTTP/1.1\r\nHost: local\thost\r\n\r\n" + POISON),
        ("obs-text in Host", b"GET @T/a HTTP/1.1\r\nHost: localhost\xa0\r\n\r\n" + POISON),
        (
            "user information in the target",
            b"GET http://localhost@evil.example/ HTTP/1.1\r\nHost: @H\r\n\r\n",
        ),
        ("no host in the target", b"GET http:///a HTTP/1.1\r\nHost: @H\r\n\r\n"),
        ("another scheme", b"GET ftp://localhost/a HTTP/1.1\r\nHost: @H\r\n\r\n"),
        ("a target of no form", b"GET a HTTP/1.1\r\nHost: @H\r\n\r\n"),
        ("* for GET", b"GET * HTTP/1.1\r\nHost: @H\r\n\r\n"),
        ("a query alone", b"GET ?a HTTP/1.1\r\nHost: @H\r\n\r\n"),
    ),
    *refused(
        "RFC 9112 section 5.1 and 5.2",
        ("a space before the colon", GET + b"Content-Length : 5\r\n\r\n" + POISON),
        ("a tab before the colon", GET + b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n" + POISON),
        ("a space before the colon of Host", b"GET @T/a HTTP/1.1\r\nHost : @H\r\n\r\n" + POISON),
        ("a folded value", GET + b"X: y\r\n z\r\n\r\n" + POISON),
        ("a folded coding", POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + POISON),
        ("a folded length", POST + b"Content-Length:\r\n\t5\r\n\r\nhello" + POISON),
        ("a line of white space", GET + b" \r\n\r\n" + POISON),
        ("a field that hides in a fold", GET + b"X: y\r\n Transfer-Encoding: chunked\r\n\r\n" + POISON),
    ),
    *refused(
        "RFC 9110 sections 5.1 and 5.5",
        ("an empty name", GET + b": y\r\n\r\n" + POISON),
        ("no colon", GET + b"X\r\n\r\n" + POISON),
        ("NUL in a name", GET + b"Content-Length\x00: 5\r\n\r\n" + POISON),
        ("NUL in a value", GET + b"X: y\x00z\r\n\r\n" + POISON),
        ("ESC in a value", GET + b"X: \x1b]0;\x07\r\n\r\n" + POISON),
        ("a vertical tab after a coding", POST + b"Transfer-Encoding: chunked\x0b\r\n\r\n0\r\n\r\n" + POISON),
        ("a form feed before a coding", POST + b"Transfer-Encoding: \x0cchunked\r\n\r\n0\r\n\r\n" + POISON),
        ("no-break space in a name", GET + b"Content-Length\xa0: 5\r\n\r\n" + POISON),
        ("a bracket in a name", GET + b"Content-Length[: 5\r\n\r\n" + POISON),
        ("a quote in a name", GET + b'"Content-Length": 5\r\n\r\n' + POISON),
        ("a semicolon in a name", GET + b"Content-Length;: 5\r\n\r\n" + POISON),
        ("a name of HTTP/2", GET + b":path: /b\r\n\r\n" + POISON),
        ("a space in a name", GET + b"Content Length: 5\r\n\r\n" + POISON),
    ),
    *refused(
        "RFC 9112 section 6.1",
        ("CL.TE", POST + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG" + POISON),
        ("TE.CL", POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n" + POISON),
        (
            "both, and nothing in them",
            POST + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        ("both in a GET", GET + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + POISON),
        (
            "chunked in HTTP/1.0",
            b"POST @T/a HTTP/1.0\r\nHost: @H\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + POISON,
        ),
        *(
            (
                f"TE.TE {coding!r}",
                POST + b"Transfer-Encoding: %b\r\n\r\n0\r\n\r\n" % coding + POISON,
            )
            for coding in (
                b"",
                b"identity",
                b"xchunked",
                b"x chunked",
                b"chunkedx",
                b"chunk",
                b'"chunked"',
                b"'chunked'",
                b"chunked;q=1",
                b"chunked,",
                b",chunked",
                b"chunked, identity",
                b"identity, chunked",
                b"gzip, chunked",
                b"chunked, chunked",
                b"chunked, cow",
                b"chunked\xa0",
                b"\xc3\xa7hunked",
            )
        ),
        ("TE twice", POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (
            "TE twice, one wrong",
            POST + b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "TE twice, the other way",
            POST + b"Transfer-Encoding: chunked\r\nTransfer-encoding: x\r\n\r\n0\r\n\r\n",
        ),
    ),
    *refused(
        "RFC 9112 section 6.3, RFC 9110 section 8.6",
        *(
            (f"Content-Length {length!r}", POST + b"Content-Length: %b\r\n\r\nhello" % length + POISON)
            for length in (
                b"",
                b"+5",
                b"-5",
                b"-0",
                b"0x5",
                b"5,5",
                b"5, 5",
                b"5, 6",
                b"5 5",
                b"5;",
                b"5.0",
                b"5e0",
                b"1_0",
                b"five",
                b"\xb2",
                b"\xef\xbc\x95",
                b"18446744073709551621",  # 5 more than 2**64
                b"9" * 200,
            )
        ),
        ("0-length twice", POST + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n" + POISON),
        ("two lengths", POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello" + POISON),
        ("two lengths, one empty", POST + b"Content-Length:\r\nContent-Length: 5\r\n\r\nhello" + POISON),
    ),
    *refused(
        "RFC 9110 section 9.3.6",
        (
            "CONNECT with a length",
            b"CONNECT @H HTTP/1.1\r\nHost: @H\r\nContent-Length: 5\r\n\r\nhello" + POISON,
        ),
        (
            "CONNECT chunked",
            b"CONNECT @H HTTP/1.1\r\nHost: @H\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + POISON,
        ),
        ("CONNECT without a port", b"CONNECT localhost HTTP/1.1\r\nHost: localhost\r\n\r\n" + POISON),
        ("CONNECT with a path", b"CONNECT /a HTTP/1.1\r\nHost: @H\r\n\r\n" + POISON),
    ),
    *refused(
        "RFC 9110 section 10.1.1",
        ("another expectation", POST + b"Expect: 200-ok\r\nContent-Length: 5\r\n\r\nhello" + POISON),
        (
            "an expectation in words",
            POST + b"Expect: y 100-continue\r\nContent-Length: 5\r\n\r\nhello" + POISON,
        ),
        ("two expectations", POST + b"Expect: 100-continue\r\nExpect: x\r\nContent-Length: 5\r\n\r\nhello"),
        ("an empty expectation", POST + b"Expect:\r\nContent-Length: 5\r\n\r\nhello" + POISON),
        status=417,
    ),
    *refused(
        "RFC 6585 section 5",
        ("a head over 64 KiB", GET + b"X: " + b"y" * 65536 + b"\r\n\r\n" + POISON),
        ("201 fields", GET + b"X: y\r\n" * 200 + b"\r\n" + POISON),
        status=431,
    ),
    *refused(
        "RFC 9112 section 3",
        ("a target over its limit", b"GET @T/" + b"a" * 20000 + b" HTTP/1.1\r\nHost: @H\r\n\r\n" + POISON),
        status=414,
    ),
    *refused(
        "RFC 9112 section 3",
        ("a method over its limit", b"A" * 65 + b" @T/a HTTP/1.1\r\nHost: @H\r\n\r\n" + POISON),
        ("a method without end", b"A" * 300),
        status=501,
    ),
]

# What is wrong in a chunked body. The head may have gone on; the request must never be whole.
CHUNKS: list[Row] = refused(
    "RFC 9112 section 7.1",
    *(
        (f"chunked {body[:40]!r}", CHUNKED + body + POISON)
        for body in (
            b"+5\r\nhello\r\n0\r\n\r\n",
            b"-5\r\nhello\r\n0\r\n\r\n",
            b"0x5\r\nhello\r\n0\r\n\r\n",
            b" 5\r\nhello\r\n0\r\n\r\n",
            b"5 \r\nhello\r\n0\r\n\r\n",
            b"5\t;x\r\nhello\r\n0\r\n\r\n",
            b"5\nhello\r\n0\r\n\r\n",
            b"5\rhello\r\n0\r\n\r\n",
            b"5\r\r\nhello\r\n0\r\n\r\n",
            b"\n5\r\nhello\r\n0\r\n\r\n",
            b"5;x\nhello\r\n0\r\n\r\n",
            b"5;a=b\n5c\r\nhello\r\n0\r\n\r\n",  # an LF in an extension, TERM.EXT
            b"5;\x00\r\nhello\r\n0\r\n\r\n",
            b"5;\rx\r\nhello\r\n0\r\n\r\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"5\r\nhelloxx0\r\n\r\n",  # two bytes are taken for the end of the chunk by some
            b"5\r\nhello0\r\n\r\n",
            b"5\r\nhelloworld\r\n0\r\n\r\n",
            b"5\r\nhell\r\n0\r\n\r\n",
            b"00000000000000005\r\nhello\r\n0\r\n\r\n",
            b"100000000000000005\r\nhello\r\n0\r\n\r\n",  # 5 more than 2**68
            b"ffffffffffffffff\r\nhello",
            b"8000000000000005\r\nhello\r\n0\r\n\r\n",
            b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n",
            b"\xef\xbc\x95\r\nhello\r\n0\r\n\r\n",
            b"five\r\nhello\r\n0\r\n\r\n",
            b"5.\r\nhello\r\n0\r\n\r\n",
            b"\r\nhello\r\n0\r\n\r\n",
            b";x\r\nhello\r\n0\r\n\r\n",
            b"5;" + b"x" * 5000 + b"\r\nhello\r\n0\r\n\r\n",
            b"5\r\nhello\r\n0\r\n\n",
            b"5\r\nhello\r\n0\n\r\n",
            b"0\r\nX : y\r\n\r\n",
            b"0\r\nX: y\r\n z\r\n\r\n",
            b"0\r\nX: y\nZ: z\r\n\r\n",
            b"0\r\nX: \x00\r\n\r\n",
            b"0\r\nGET /poison HTTP/1.1\r\nHost: a\r\n\r\n",
        )
    ),
) + refused(
    "RFC 9112 section 7.1.2",
    ("trailers over their limit", CHUNKED + b"0\r\nX: " + b"y" * 20000 + b"\r\n\r\n" + POISON),
    status=431,
)

# What is right, and what the origin is to hear of it.
RIGHT: list[Row] = [
    passed("RFC 9112 section 2.2", "one empty line first", b"\r\n" + GET + b"\r\n", b"GET /a"),
    passed("RFC 9112 section 2.2", "an empty line between", GET + b"\r\n\r\n" + NEXT, b"GET /a", b"GET /b"),
    passed("RFC 9112 section 2.3", "HTTP/1.2", GET.replace(b"1.1", b"1.2") + b"\r\n", b"GET /a"),
    passed("RFC 9112 section 3", "another method", b"GREP @T/a HTTP/1.1\r\nHost: @H\r\n\r\n", b"GREP /a"),
    passed("RFC 9112 section 3", "a method of symbols", b"!#$ @T/a HTTP/1.1\r\nHost: @H\r\n\r\n", b"!#$ /a"),
    passed(
        "RFC 9112 section 3.2.1", "two slashes", b"GET @T//b/a HTTP/1.1\r\nHost: @H\r\n\r\n", b"GET //b/a"
    ),
    passed("RFC 9112 section 3.2.1", "dots", b"GET @T/x/../a HTTP/1.1\r\nHost: @H\r\n\r\n", b"GET /x/../a"),
    passed(
        "RFC 9112 section 3.2.2",
        "the target wins over Host",
        b"GET @T/a HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"GET /a",
        on="proxy",
    ),
    passed(
        "RFC 9112 section 3.2.2",
        "the target wins over Host",
        b"GET http://localhost/a HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"GET /a",
        on="web",
    ),
    Row(
        "a Host that is let in lets no target in",
        "RFC 9112 section 3.2.2",
        b"GET http://evil.example/a HTTP/1.1\r\nHost: localhost\r\n\r\n",
        (421,),
        stays=True,
        on="web",
    ),
    passed(
        "RFC 9112 section 3.2.4",
        "OPTIONS *",
        b"OPTIONS * HTTP/1.1\r\nHost: @H\r\n\r\n",
        b"OPTIONS *",
        on="web",
    ),
    passed(
        "RFC 9112 section 3.2.4",
        "OPTIONS without a path",
        b"OPTIONS http://@H HTTP/1.1\r\nHost: @H\r\n\r\n",
        b"OPTIONS *",
    ),
    passed("RFC 9112 section 5.1", "no space after the colon", GET + b"X:y\r\n\r\n", b"GET /a"),
    passed("RFC 9110 section 5.5", "obs-text", GET + b"X: \xff\xfe\r\n\r\n", b"GET /a"),
    passed("RFC 9110 section 5.5", "an empty value", GET + b"X:\r\n\r\n", b"GET /a"),
    passed(
        "RFC 9112 section 6.1", "CHUNKED", CHUNKED.replace(b"chunked", b"ChunKED") + b"0\r\n\r\n", b"POST /a"
    ),
    passed(
        "RFC 9112 section 6.1",
        "spaces",
        CHUNKED.replace(b"chunked", b" \tchunked \t") + b"0\r\n\r\n",
        b"POST /a",
    ),
    passed(
        "RFC 9112 section 6.3",
        "a length with zeros",
        POST + b"Content-Length: 0005\r\n\r\nhello",
        b"POST /a hello",
    ),
    passed(
        "RFC 9112 section 6.3",
        "a length and spaces",
        POST + b"Content-Length: \t5 \r\n\r\nhello",
        b"POST /a hello",
    ),
    passed("RFC 9112 section 6.3", "CL.0", POST + b"Content-Length: 0\r\n\r\n" + NEXT, b"POST /a", b"GET /b"),
    passed("RFC 9112 section 6.3", "no framing is no content", POST + b"\r\n" + NEXT, b"POST /a", b"GET /b"),
    passed(
        "RFC 9112 section 6.3",
        "a GET with content",
        GET + b"Content-Length: 15\r\n\r\nGET /poison HTT",
        b"GET /a GET /poison HTT",
    ),
    passed(
        "RFC 9112 section 6.3",
        "a chunked GET",
        GET + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" + NEXT,
        b"GET /a abc",
        b"GET /b",
    ),
    passed(
        "RFC 9112 section 6.3",
        "a request inside content",
        POST + b"Content-Length: 36\r\n\r\nGET /poison HTTP/1.1\r\nHost: abcd\r\n\r\n" + NEXT,
        b"POST /a GET /poison HTTP/1.1\r\nHost: abcd\r\n\r\n",
        b"GET /b",
    ),
    passed(
        "RFC 9112 section 7.1",
        "zeros before a size",
        CHUNKED + b"005\r\nhello\r\n00\r\n\r\n",
        b"POST /a hello",
    ),
    passed(
        "RFC 9112 section 7.1", "hex digits", CHUNKED + b"A\r\n0123456789\r\n0\r\n\r\n", b"POST /a 0123456789"
    ),
    passed(
        "RFC 9112 section 7.1.1",
        "extensions are dropped",
        CHUNKED + b'2;x="\\"y;"\r\nhe\r\n3;a;b=c\r\nllo\r\n0;z\r\n\r\n',
        b"POST /a hello",
    ),
    passed(
        "RFC 9110 section 6.5.1",
        "trailers that frame are dropped",
        CHUNKED + b"0\r\nContent-Length: 9\r\nTransfer-Encoding: x\r\nHost: b\r\nX-Sum: 1\r\n\r\n" + NEXT,
        b"POST /a",
        b"GET /b",
    ),
    *(
        passed(
            "RFC 9110 section 7.6.1",
            f"Connection: {name.decode()} removes no length",
            POST + b"Connection: %b\r\nContent-Length: 5\r\n\r\nhello" % name + NEXT,
            b"POST /a hello",
            b"GET /b",
        )
        for name in (b"Content-Length", b"content-length, x", b"host", b"Transfer-Encoding", b"Expect")
    ),
    passed(
        "RFC 9110 section 7.6.1",
        "Connection removes what it names",
        GET + b"Connection: X-Internal\r\nX-Internal: 1\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\n\r\n",
        b"GET /a",
        absent=(b"x-internal", b"connection", b"keep-alive", b"proxy-connection"),
    ),
    passed(
        "RFC 9110 section 7.6.1",
        "Connection: Transfer-Encoding leaves the framing",
        POST
        + b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        + NEXT,
        b"POST /a hello",
        b"GET /b",
    ),
    passed(
        "RFC 9110 section 10.1.4", "TE", GET + b"TE: gzip;q=1, deflate\r\n\r\n", b"GET /a", absent=(b"te",)
    ),
    passed(
        "RFC 9110 section 7.8",
        "an upgrade that is not taken is a request",
        GET + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + NEXT,
        b"GET /a",
        b"GET /b",
    ),
    passed(
        "RFC 9113 section 3.1",
        "h2c is not passed on",
        GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n\r\n",
        b"GET /a",
        absent=(b"upgrade", b"http2-settings", b"connection"),
    ),
    passed(
        "RFC 9113 section 3.1",
        "H2C without a Connection",
        GET + b"Upgrade: H2C\r\nHTTP2-Settings: AAMAAABkAAQ\r\n\r\n",
        b"GET /a",
        absent=(b"upgrade", b"http2-settings", b"connection"),
    ),
    passed(
        "RFC 9112 section 9.3.2",
        "three in a row",
        GET + b"\r\n" + POST + b"Content-Length: 5\r\n\r\nhello" + NEXT,
        b"GET /a",
        b"POST /a hello",
        b"GET /b",
    ),
    passed(
        "RFC 9112 section 9.6",
        "what comes after the last request is none",
        GET + b"Connection: close\r\n\r\n" + POISON,
        b"GET /a",
        stays=False,
    ),
    passed(
        "RFC 9112 section 9.3",
        "an HTTP/1.0 client's next request is none",
        b"GET @T/a HTTP/1.0\r\nHost: @H\r\n\r\n" + POISON,
        b"GET /a",
        stays=False,
    ),
    passed(
        "RFC 9112 section 9.3",
        "HTTP/1.0 with keep-alive",
        b"GET @T/a HTTP/1.0\r\nHost: @H\r\nConnection: keep-alive\r\n\r\n" + NEXT,
        b"GET /a",
        b"GET /b",
    ),
    passed(
        "RFC 9112 section 3.2", "HTTP/1.0 without Host", b"GET @T/a HTTP/1.0\r\n\r\n", b"GET /a", stays=False
    ),
    passed(
        "RFC 9110 section 10.1.1",
        "Expect and its content at once",
        POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello" + NEXT,
        b"POST /a hello",
        b"GET /b",
    ),
    passed(
        "RFC 9110 section 10.1.1",
        "Expect without content",
        GET + b"Expect: 100-Continue\r\n\r\n" + NEXT,
        b"GET /a",
        b"GET /b",
    ),
    passed(
        "RFC 9110 section 10.1.1",
        "an HTTP/1.0 client's Expect does not go on",
        b"POST @T/a HTTP/1.0\r\nHost: @H\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
        b"POST /a hello",
        stays=False,
        absent=(b"expect",),
    ),
    Row(
        "a refused request, then a right one",
        "RFC 9112 section 9.3",
        b"GET /a HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 5\r\n\r\nhello" + NEXT,
        (421, 200),
        (b"GET /b",),
        stays=True,
        on="web",
    ),
    Row(
        "CONNECT on a reverse proxy runs nothing",
        "RFC 9110 section 9.3.6",
        b"CONNECT localhost:1 HTTP/1.1\r\nHost: localhost:1\r\n\r\n" + POISON,
        (405,),
        on="web",
    ),
    Row(
        "early bytes of a tunnel that failed are no request",
        "RFC 9110 section 9.3.6",
        b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n" + POISON,
        (502,),
        on="proxy",
    ),
    Row(
        "origin-form on a forward proxy",
        "CONFIG connect-proxy",
        b"GET /poison HTTP/1.1\r\nHost: @H\r\n\r\n",
        (400,),
        stays=True,
        on="proxy",
    ),
    Row(
        "HEAD with content, then a request",
        "RFC 9112 section 6.3",
        b"HEAD @T/a HTTP/1.1\r\nHost: @H\r\nContent-Length: 5\r\n\r\nhello",
        (200,),
        (b"HEAD /a hello",),
        stays=True,
        method=b"HEAD",
    ),
]

ROWS = HEADS + CHUNKS + RIGHT
