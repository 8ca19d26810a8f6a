"""Tricky requests that are valid, and what the origin is to get of them."""

from __future__ import annotations

from tests.support.desync_row import CHUNKED, GET, NEXT, POISON, POST, Row, passed

EVIL = b"GET /a HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 5\r\n"

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
    *(
        passed(
            "RFC 9110 section 7.8; httptools reads it as the next request",
            f"{upgrade.decode()} with content",
            POST + b"Connection: Upgrade\r\nUpgrade: %b\r\n%b" % (upgrade, rest) + NEXT,
            b"POST /a hello",
            b"GET /b",
            absent=(b"upgrade", b"connection"),
        )
        for upgrade in (b"foo", b"h2c, foo", b"websocket")
        for rest in (
            b"Content-Length: 5\r\n\r\nhello",
            b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        )
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
        "Expect without content does not go on",
        GET + b"Expect: 100-Continue\r\n\r\n" + NEXT,
        b"GET /a",
        b"GET /b",
        absent=(b"expect",),
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
        "a refused request whose content is there, then a right one",
        "RFC 9112 section 9.3",
        EVIL + b"\r\nhello" + NEXT,
        (421, 200),
        (b"GET /b",),
        stays=True,
        on="web",
        together=b"\r\nhello" + NEXT,
    ),
    Row(
        "a refused request whose content is not there: nobody waits for it, and what comes is no request",
        "RFC 9112 section 9.3",
        EVIL + b"\r\nhel",
        (421,),
        on="web",
        together=b"\r\nhel",
        after=b"lo" + NEXT,
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
