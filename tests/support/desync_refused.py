"""Requests that two readers could understand in two ways, which are refused."""

from __future__ import annotations

from tests.support.desync_row import CHUNKED, GET, NEXT, POISON, POST, Row, refused

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
                b"chunked, chunked",
                b"chunked, cow",
                b"chunked\xa0",
                b"\xc3\xa7hunked",
            )
        ),
        ("TE twice", POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (
            "TE twice, the other way",
            POST + b"Transfer-Encoding: chunked\r\nTransfer-encoding: x\r\n\r\n0\r\n\r\n",
        ),
    ),
    *refused(
        "RFC 9112 section 6.1",
        *(
            (f"TE.TE {codings!r}", POST + b"Transfer-Encoding: %b\r\n\r\n0\r\n\r\n" % codings + POISON)
            for codings in (
                b"identity, chunked",
                b"gzip, chunked",
                b"x\r\nTransfer-Encoding: chunked",
            )
        ),
        status=501,
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
