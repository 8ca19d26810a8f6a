"""Tests of the answers that the relay makes itself."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from hashlib import sha256

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.errors import (
    AllDown,
    ConnectionRefused,
    DialTimeout,
    RelayError,
    RemoteProtocolError,
    RequestDenied,
    UnknownIssuer,
)
from lanrelay.http.answers import Answer, failed, proxy_status
from lanrelay.wire.events import RequestHead
from lanrelay.wire.headers import Headers

REFUSED = ConnectionRefused("nothing listens there", target="nas.lan:443", address="192.0.2.1:443")


def request(method: bytes = b"GET", **fields: str) -> RequestHead:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    return RequestHead(method=method, target=b"/", headers=Headers(pairs))


def kind(answer: Answer) -> bytes:
    value = answer.headers.get(b"content-type")
    assert value is not None
    return value.partition(b";")[0]


class AnswerTests(SynchronousTestCase):
    def test_the_status_is_the_errors(self) -> None:
        for error, status in (
            (REFUSED, 502),
            (DialTimeout(), 504),
            (AllDown(), 503),
            (RemoteProtocolError("no Host"), 400),
            (RequestDenied("no", http_status=421), 421),
        ):
            self.assertEqual(failed(error, request()).status, status)

    def test_every_answer_may_be_read_and_none_kept(self) -> None:
        answer = failed(REFUSED, request())
        self.assertEqual(answer.headers.get(b"content-length"), b"%d" % len(answer.body))
        self.assertEqual(answer.headers.get(b"cache-control"), b"no-store")
        self.assertEqual(answer.headers.get(b"x-content-type-options"), b"nosniff")
        self.assertIn(b"date", answer.headers)

    def test_only_a_503_says_when_to_come_back(self) -> None:
        self.assertIsNotNone(failed(AllDown(), request()).headers.get(b"retry-after"))
        self.assertIsNone(failed(REFUSED, request()).headers.get(b"retry-after"))

    def test_what_failed_and_the_remedy_stand_in_body_field_and_session(self) -> None:
        error = RequestDenied("the Host 'evil' is not ours", http_status=421, remedy="add it to hosts")
        answer = failed(error, request())
        self.assertIn(b"The Host 'evil' is not ours.\nAdd it to hosts.\n", answer.body)
        self.assertEqual(answer.explanation, "The Host 'evil' is not ours. Add it to hosts.")
        self.assertEqual(
            answer.headers.get(b"proxy-status"),
            b"lanrelay; error=http_request_denied; details=\"The Host 'evil' is not ours.\"",
        )

    def test_who_reads_it_decides_the_form(self) -> None:
        table = (
            (request(), b"text/plain"),
            (request(accept="*/*"), b"text/plain"),
            (request(b"POST", content_type="application/json; charset=utf-8"), b"application/json"),
            (request(b"PUT", content_type="application/json"), b"text/plain"),
            (request(b"POST", content_type="application/json-seq"), b"text/plain"),
            (request(accept="text/html,application/xhtml+xml;q=0.9"), b"text/html"),
            (request(accept="text/html", sec_fetch_mode="navigate"), b"text/html"),
            (request(accept="text/html", sec_fetch_mode="cors"), b"text/plain"),
            (request(b"DELETE", accept="text/html"), b"text/plain"),
            (None, b"text/plain"),
        )
        for head, expected in table:
            self.assertEqual(kind(failed(REFUSED, head)), expected, head)

    def test_a_json_rpc_error_object(self) -> None:
        for error in (REFUSED, DialTimeout(), AllDown(), RequestDenied("no"), RelayError("bug")):
            answer = failed(error, request(b"POST", content_type="application/json"))
            reply = json.loads(answer.body)
            self.assertEqual((reply["jsonrpc"], reply["id"]), ("2.0", None))
            self.assertTrue(-32019 <= reply["error"]["code"] <= -32000)
            self.assertEqual(reply["error"]["message"], answer.explanation)
            self.assertEqual(reply["error"]["data"]["error"], error.proxy_status)

    def test_html_is_escaped(self) -> None:
        error = RequestDenied("""<script>alert("x" & 'y')</script>""", remedy="<b>")
        body = failed(error, request(accept="text/html")).body
        self.assertNotIn(b"<script", body)
        self.assertNotIn(b"<b>", body)
        self.assertIn(b"&lt;script&gt;alert(&quot;x&quot; &amp; &#x27;y&#x27;)", body)

    def test_a_browser_is_told_where_it_failed_and_under_a_strict_policy(self) -> None:
        browser = request(accept="text/html")
        answer = failed(
            REFUSED,
            browser,
            upstream="https://nas.lan/<b>",
            listener="web",
            status_page=lambda: "http://localhost:28081/",
        )
        body = answer.body.decode()
        for expected in (
            '<html lang="en">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            "prefers-color-scheme:dark",
            "<dt>Listener</dt><dd>web</dd><dt>Upstream</dt><dd>https://nas.lan/&lt;b&gt;</dd>",
            "<dt>Error</dt><dd>connection_refused</dd>",
            '<a href="http://localhost:28081/">',
        ):
            self.assertIn(expected, body)
        (style,) = re.findall("<style>(.*?)</style>", body, re.DOTALL)
        digest = b64encode(sha256(style.encode()).digest())
        policy = answer.headers.get(b"content-security-policy") or b""
        self.assertTrue(policy.startswith(b"default-src 'none'; style-src 'sha256-%b';" % digest))
        self.assertNotIn("<a ", failed(REFUSED, browser, status_page=lambda: "").body.decode())

    def test_nobody_but_a_browser_is_told_of_the_status_page(self) -> None:
        def asked() -> str:
            raise AssertionError("it was asked for")

        for head in (None, request(), request(b"POST", content_type="application/json")):
            answer = failed(REFUSED, head, status_page=asked)
            self.assertIsNone(answer.headers.get(b"content-security-policy"))


class ProxyStatusTests(SynchronousTestCase):
    def test_details_are_a_string_of_rfc_8941(self) -> None:
        for details, expected in (
            ('a "quoted" word', b'"a \\"quoted\\" word"'),
            ("a \\ b", b'"a \\\\ b"'),
            ("line\r\nSet-Cookie: x", b'"line??Set-Cookie: x"'),
            ("Müller", b'"M?ller"'),
        ):
            self.assertEqual(
                proxy_status(UnknownIssuer(), details),
                b"lanrelay; error=tls_certificate_error; details=" + expected,
            )

    def test_details_are_bounded(self) -> None:
        self.assertLess(len(proxy_status(REFUSED, "x" * 100_000)), 1000)
