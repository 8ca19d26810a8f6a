"""Tests of an OAuth login through the reverse proxy, in memory: what is rewritten, and what is not."""

from __future__ import annotations

from typing import Any

from lanrelay.http.held import HELD
from lanrelay.passage.oauth import DOCUMENT_MAX, FORM_MAX
from tests.listeners.test_reverse_proxy import ReverseProxyTestCase, get

RESOURCE = "/.well-known/oauth-protected-resource"
SERVER = "/.well-known/oauth-authorization-server"
DOCUMENT = b'{"resource":"http://nas.lan/mcp", "x":1}'
REWRITTEN = b'{"resource":"http://localhost:8080/mcp", "x":1}'
RESOURCE_THERE = "resource=http%3A%2F%2Fnas.lan%2Fmcp"


def form(content: bytes, *fields: str, chunked: bool = False) -> bytes:
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(content)}"
    lines = ["POST /token HTTP/1.1", "Host: localhost:8080", framing]
    if not any(field.startswith("Content-Type") for field in fields):
        lines.append("Content-Type: application/x-www-form-urlencoded")
    head = "\r\n".join([*lines, *fields, "", ""]).encode()
    return head + (b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content) if chunked else content)


class LoginTestCase(ReverseProxyTestCase):
    def document(
        self,
        content: bytes,
        *fields: str,
        request: bytes = b"",
        kind: str = "application/json",
        status: str = "200 OK",
        length: bool = True,
    ) -> bytes:
        """What the client is sent for a document with this content."""
        self.origin = self.asked(request or get(RESOURCE + "/mcp"))
        lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", *fields]
        if length:
            lines.append(f"Content-Length: {len(content)}")
            body = content
        else:
            lines.append("Transfer-Encoding: chunked")
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content)
        self.origin.receive("\r\n".join([*lines, "", ""]).encode() + body)
        return self.client.take()


class WellKnownRouteTests(LoginTestCase):
    def test_the_path_behind_the_name_decides(self) -> None:
        for url, path, strip, asked, expected in (
            ("http://nas.lan", "/", False, RESOURCE, RESOURCE),
            ("http://nas.lan", "/", False, RESOURCE + "/mcp?x", RESOURCE + "/mcp?x"),
            ("http://nas.lan/up", "/", False, RESOURCE, RESOURCE + "/up"),
            ("http://nas.lan/up", "/", False, RESOURCE + "/mcp", RESOURCE + "/up/mcp"),
            ("http://nas.lan/up", "/nas", False, SERVER + "/nas/x", SERVER + "/up/nas/x"),
            ("http://nas.lan", "/nas", False, SERVER + "/nas/x", SERVER + "/nas/x"),
            ("http://nas.lan", "/nas", True, RESOURCE + "/nas", RESOURCE),
            ("http://nas.lan", "/nas", True, RESOURCE + "/nas?q=/x", RESOURCE + "?q=/x"),
            ("http://nas.lan", "/nas", True, RESOURCE + "/nas/", RESOURCE + "/"),
            ("http://nas.lan", "/nas", True, RESOURCE + "/nas/mcp", RESOURCE + "/mcp"),
            ("http://nas.lan/up", "/nas", True, RESOURCE + "/nas/mcp", RESOURCE + "/up/mcp"),
            (
                "http://nas.lan",
                "/nas",
                True,
                "/.well-known/openid-configuration/nas",
                "/.well-known/openid-configuration",
            ),
            (
                "http://nas.lan",
                "/nas",
                True,
                "/nas/.well-known/openid-configuration",
                "/.well-known/openid-configuration",
            ),
            ("http://nas.lan/up", "/", False, "/.well-known/other", "/up/.well-known/other"),
        ):
            self.serve(routes=(self.route(url, path, strip_prefix=strip),))
            self.assertEqual(self.sent(get(asked)).split(b" ")[1], expected.encode(), asked)

    def test_the_longest_prefix_wins_there_too(self) -> None:
        routes = (
            self.route("http://known.lan", "/.well-known"),
            self.route("http://deep.lan", "/nas/deep", strip_prefix=True),
            self.route("http://nas.lan", "/nas"),
            self.route("http://rest.lan"),
        )
        for path, host in (
            (RESOURCE + "/nas/deep/x", b"deep.lan"),
            (RESOURCE + "/nas/deeper", b"nas.lan"),
            (RESOURCE + "/nas", b"nas.lan"),
            (RESOURCE + "/nasty", b"known.lan"),
            (RESOURCE, b"known.lan"),
            ("/.well-known/other/nas", b"known.lan"),
        ):
            self.serve(routes=routes)
            sent = self.sent(get(path))
            self.assertIn(b"Host: " + host + b"\r\n", sent, path)
        self.serve(routes=routes[1:])
        self.assertIn(b"Host: rest.lan\r\n", self.sent(get(RESOURCE)))

    def test_without_a_route_there_is_none(self) -> None:
        for path in (RESOURCE, RESOURCE + "/other", SERVER + "/nasty", "/.well-known/x"):
            self.serve(routes=(self.route("http://nas.lan", "/nas", strip_prefix=True),))
            self.assertTrue(self.refused(get(path)).startswith(b"HTTP/1.1 404 "))

    def test_a_page_may_read_that_there_is_none(self) -> None:
        self.serve(routes=(self.route("http://nas.lan", "/nas"),))
        answer = self.refused(get(RESOURCE, "Origin: http://localhost:6274"))
        self.assertIn(b"Access-Control-Allow-Origin: http://localhost:6274\r\n", answer)


class DocumentTests(LoginTestCase):
    def test_it_names_the_relay(self) -> None:
        for length in (True, False):
            self.serve()
            answer = self.document(DOCUMENT, 'ETag: "a"', "Content-Digest: x", length=length)
            self.assertIn(REWRITTEN, answer)
            self.assertIn(b'ETag: W/"a"\r\n', answer)
            self.assertNotIn(b"Digest", answer)
            if length:
                self.assertIn(b"Content-Length: %d\r\n" % len(REWRITTEN), answer)
            self.assertEqual(self.session.sent, len(REWRITTEN))
            self.assertEqual((self.session.status, self.session.phase), (200, "done"))

    def test_by_the_name_that_this_client_used(self) -> None:
        for host in ("127.0.0.1:8080", "relay.localhost", "[::1]:8080"):
            self.serve()
            answer = self.document(DOCUMENT, request=get(RESOURCE, host=host))
            self.assertIn(b'"resource":"http://%b/mcp"' % host.encode(), answer)

    def test_it_may_come_in_parts_and_the_connection_goes_on(self) -> None:
        origin = self.asked(get(RESOURCE))
        origin.take()
        head = (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: %d\r\n\r\n"
        )
        origin.receive(head % len(DOCUMENT))
        for at in range(len(DOCUMENT)):
            self.assertEqual(self.client.take(), b"")
            origin.receive(DOCUMENT[at : at + 1])
        self.assertIn(REWRITTEN, self.client.take())
        self.client.receive(get(RESOURCE))
        self.assertIn(b"GET " + RESOURCE.encode(), origin.take())
        origin.receive((head % len(DOCUMENT)) + DOCUMENT)
        self.assertIn(REWRITTEN, self.client.take())

    def test_a_client_that_does_not_read_does_not_stop_a_pooled_connection(self) -> None:
        origin = self.asked(get(RESOURCE))
        self.client.full = True
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(
            DOCUMENT
        )
        origin.receive(head + DOCUMENT)
        self.assertTrue(origin.connected)
        self.assertTrue(origin.reading)
        self.client.full = False
        self.assertIn(REWRITTEN, self.client.take())

    def test_what_is_no_such_document_is_byte_identical(self) -> None:
        identical: tuple[dict[str, Any], ...] = (
            {"request": get("/mcp")},
            {"request": get("/.well-known/other")},
            {"request": get(RESOURCE + "s")},
            {"kind": "text/plain"},
            {"kind": "application/jsonp"},
            {"status": "404 Not Found"},
            {"status": "203 Changed"},
            {"request": get(RESOURCE, method="POST")},
        )
        for keys in identical:
            self.serve()
            answer = self.document(DOCUMENT, 'ETag: "a"', **keys)
            self.assertTrue(answer.endswith(b"\r\n\r\n" + DOCUMENT), keys)
            self.assertIn(b'ETag: "a"\r\n', answer)
        self.serve()
        self.assertTrue(self.document(DOCUMENT, "Content-Encoding: gzip").endswith(DOCUMENT))
        self.serve(rewrite=frozenset({"location", "cookies", "endpoint"}))
        self.assertTrue(self.document(DOCUMENT).endswith(DOCUMENT))

    def test_in_which_nothing_changes_is_byte_identical(self) -> None:
        content = b'{ "resource" : "http:\\/\\/other\\/mcp" }\n'
        answer = self.document(content, 'ETag: "a"', "Content-Digest: x")
        self.assertTrue(answer.endswith(b"\r\n\r\n" + content))
        self.assertIn(b'ETag: "a"\r\n', answer)
        self.assertIn(b"Content-Digest: x\r\n", answer)

    def test_a_long_one_is_byte_identical_and_streams(self) -> None:
        content = DOCUMENT + b" " * DOCUMENT_MAX
        for length in (True, False):
            self.serve()
            answer = self.document(content, length=length)
            self.assertIn(DOCUMENT, answer)
            self.assertEqual(answer.count(b" " * 1000), DOCUMENT_MAX // 1000)
        self.serve()
        origin = self.asked(get(RESOURCE))
        origin.receive(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n{"
            % (DOCUMENT_MAX + 1)
        )
        self.assertTrue(self.client.take().endswith(b"\r\n\r\n{"))

    def test_one_that_does_not_end_passes_after_a_while(self) -> None:
        origin = self.asked(get(RESOURCE))
        origin.receive(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\n{")
        self.clock.advance(HELD - 0.1)
        self.assertEqual(self.client.take(), b"")
        self.clock.advance(0.2)
        self.assertTrue(self.client.take().endswith(b"\r\n\r\n{"))
        origin.receive(b" }")
        self.assertEqual(self.client.take(), b" }")
        self.client.receive_eof()
        self.assertAllOver()

    def test_cut_it_is_a_502(self) -> None:
        origin = self.asked(get(RESOURCE))
        origin.receive(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{")
        origin.receive_eof()
        answer = self.client.take()
        self.assertTrue(answer.startswith(b"HTTP/1.1 502 "))
        self.assertIn(b"http_response_incomplete", answer)
        self.client.receive_eof()
        self.assertAllOver()

    def test_a_client_that_leaves_meanwhile_leaves_nothing(self) -> None:
        origin = self.asked(get(RESOURCE))
        origin.receive(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{")
        self.client.receive_eof()
        self.assertTrue(origin.aborted)
        self.assertAllOver()

    def test_it_is_asked_for_unencoded(self) -> None:
        for path, expected in (
            (RESOURCE, b"identity"),
            ("/nas/.well-known/openid-configuration", b"identity"),
            ("/mcp", b"gzip"),
        ):
            self.serve()
            sent = self.sent(get(path, "Accept-Encoding: gzip"))
            self.assertIn(b"Accept-Encoding: " + expected + b"\r\n", sent)

    def test_head_tells_no_wrong_length(self) -> None:
        self.origin = self.asked(get(RESOURCE, method="HEAD"))
        self.origin.receive(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 40\r\n\r\n"
        )
        answer = self.client.take()
        self.assertNotIn(b"Content-Length", answer)
        self.assertTrue(answer.endswith(b"\r\n\r\n"))

    def test_under_a_stripped_prefix(self) -> None:
        self.serve(routes=(self.route("http://nas.lan", "/nas", strip_prefix=True),))
        content = b'{"resource":"http://nas.lan/mcp","authorization_servers":["http://nas.lan"]}'
        answer = self.document(content, request=get(RESOURCE + "/nas/mcp"))
        self.assertTrue(
            answer.endswith(
                b'{"resource":"http://localhost:8080/nas/mcp",'
                b'"authorization_servers":["http://localhost:8080/nas"]}'
            )
        )


class ChallengeTests(LoginTestCase):
    def test_it_leads_to_the_relay(self) -> None:
        there = 'WWW-Authenticate: Bearer resource_metadata="http://nas.lan/.well-known/oauth-protected-resource/mcp"'
        answer = self.answered(there, status="401 Unauthorized")
        self.assertIn(there.replace("nas.lan", "localhost:8080").encode() + b"\r\n", answer)
        self.serve(rewrite=frozenset({"location"}))
        self.assertIn(there.encode() + b"\r\n", self.answered(there, status="401 Unauthorized"))

    def test_the_issuer_follows_in_a_redirect_to_the_callback(self) -> None:
        there = "Location: http://127.0.0.1:33418/cb?code=x&iss=http%3A%2F%2Fnas.lan%2F"
        here = "Location: http://127.0.0.1:33418/cb?code=x&iss=http%3A%2F%2Flocalhost%3A8080%2F"
        self.assertIn(here.encode() + b"\r\n", self.answered(there, status="302 Found"))
        self.serve(rewrite=frozenset({"location"}))
        self.assertIn(there.encode() + b"\r\n", self.answered(there, status="302 Found"))

    def test_a_redirect_within_the_upstream_keeps_it(self) -> None:
        there = "Location: http://nas.lan/cb?code=x&iss=http%3A%2F%2Fnas.lan%2F"
        here = "Location: http://localhost:8080/cb?code=x&iss=http%3A%2F%2Fnas.lan%2F"
        self.assertIn(here.encode() + b"\r\n", self.answered(there, status="302 Found"))


class AuthorizeTests(LoginTestCase):
    HERE = "resource=http%3A%2F%2Flocalhost%3A8080%2Fmcp"

    def test_the_resource_is_the_upstreams(self) -> None:
        sent = self.sent(get(f"/authorize?client_id=a+b&{self.HERE}&state=%41"))
        self.assertIn(f"GET /authorize?client_id=a+b&{RESOURCE_THERE}&state=%41 ".encode(), sent)

    def test_any_other_query_is_byte_identical(self) -> None:
        for target in (f"/search?{self.HERE}", "/authorize?client_id=x&resource=http%3A%2F%2Fother"):
            self.serve()
            self.assertIn(target.encode() + b" ", self.sent(get(target)))
        self.serve(rewrite=frozenset())
        target = f"/authorize?client_id=x&{self.HERE}"
        self.assertIn(target.encode() + b" ", self.sent(get(target)))

    def test_the_resource_may_lie_on_another_route(self) -> None:
        self.serve(
            routes=(
                self.route("http://login.lan", "/login", strip_prefix=True),
                self.route("https://mcp.lan:8443/up", "/mcp", strip_prefix=True),
            )
        )
        sent = self.sent(get(f"/login/authorize?client_id=x&{self.HERE}"))
        self.assertIn(b"/authorize?client_id=x&resource=https%3A%2F%2Fmcp.lan%3A8443%2Fup ", sent)

    def test_by_the_host_that_the_upstream_is_sent(self) -> None:
        for host, expected in (
            ("virtual.lan", b"http%3A%2F%2Fvirtual.lan%2Fmcp"),
            ("preserve", b"http%3A%2F%2Flocalhost%3A8080%2Fmcp"),
            ("upstream", b"http%3A%2F%2F192.0.2.7%3A9000%2Fmcp"),
        ):
            self.serve(routes=(self.route("http://192.0.2.7:9000", host=host),))
            sent = self.sent(get(f"/authorize?client_id=x&{self.HERE}"))
            self.assertIn(b"resource=" + expected + b" ", sent)


class FormTests(LoginTestCase):
    HERE = b"grant_type=code&resource=http%3A%2F%2Flocalhost%3A8080%2Fmcp&code=%41"
    THERE = HERE.replace(b"localhost%3A8080", b"nas.lan")

    def test_the_resource_is_the_upstreams(self) -> None:
        sent = self.sent(form(self.HERE))
        self.assertTrue(sent.endswith(b"\r\n\r\n" + self.THERE))
        self.assertEqual(sent.count(b"Content-Length: %d\r\n" % len(self.THERE)), 1)
        self.origin.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(self.session.received, len(self.HERE))
        self.client.receive(form(self.HERE))
        self.assertIn(self.THERE, self.origin.take())

    def test_of_unknown_length(self) -> None:
        sent = self.sent(form(self.HERE, chunked=True))
        self.assertIn(b"Transfer-Encoding: chunked\r\n", sent)
        self.assertTrue(sent.endswith(b"%x\r\n%b\r\n0\r\n\r\n" % (len(self.THERE), self.THERE)))

    def test_in_parts(self) -> None:
        request = form(self.HERE)
        for at in range(len(request)):
            self.assertEqual(self.around.dialer.asked, [])
            self.client.receive(request[at : at + 1])
        self.assertTrue(self.dialed().take().endswith(self.THERE))

    def test_in_which_nothing_changes_is_byte_identical(self) -> None:
        for content in (b"a=%zz&&b=+", b"", self.HERE.replace(b"8080", b"8081")):
            self.serve()
            self.assertTrue(self.sent(form(content)).endswith(b"\r\n\r\n" + content))

    def test_other_content_is_not_waited_for(self) -> None:
        for fields in (
            ("Content-Type: application/json",),
            ("Content-Type: multipart/form-data; boundary=x",),
            ("Content-Type: application/x-www-form-urlencoded", "Content-Encoding: gzip"),
        ):
            self.serve()
            request = form(self.HERE, *fields)
            origin = self.asked(request[:-1])
            self.assertTrue(origin.take().endswith(self.HERE[:-1]))

    def test_a_long_form_streams(self) -> None:
        content = self.HERE + b"&x=" + b"x" * FORM_MAX
        request = form(content)
        origin = self.asked(request[:-10])
        sent = origin.take()
        self.assertTrue(sent.endswith(content[:-10]))
        self.client.receive(request[-10:])
        self.assertEqual(origin.take(), content[-10:])

    def test_one_of_unknown_length_streams_from_the_limit_on(self) -> None:
        head, content = form(b"", chunked=True).removesuffix(b"0\r\n\r\n").removesuffix(b"0\r\n\r\n"), b""
        head = head[: head.index(b"\r\n\r\n") + 4]
        self.client.receive(head)
        while not self.around.dialer.asked:
            part = self.HERE + b"&" + b"x" * 10_000
            content += part
            self.client.receive(b"%x\r\n%b\r\n" % (len(part), part))
        self.assertGreater(len(content), FORM_MAX)
        self.assertLess(len(content), FORM_MAX + 20_000)
        origin = self.dialed()
        sent = origin.take()
        self.assertTrue(sent.endswith(b"%x\r\n%b\r\n" % (len(content), content)))
        self.client.receive(b"3\r\nend\r\n0\r\n\r\n")
        self.assertEqual(origin.take(), b"3\r\nend\r\n0\r\n\r\n")

    def test_a_client_that_waits_for_100_is_told(self) -> None:
        request = form(self.HERE, "Expect: 100-continue")
        head, content = request[: -len(self.HERE)], self.HERE
        self.client.receive(head)
        self.assertEqual(self.client.take(), b"HTTP/1.1 100 Continue\r\n\r\n")
        self.client.receive(content)
        sent = self.dialed().take()
        self.assertTrue(sent.endswith(self.THERE))
        self.assertNotIn(b"Expect", sent)

    def test_a_client_that_leaves_meanwhile_leaves_nothing(self) -> None:
        self.client.receive(form(self.HERE)[:-1])
        self.client.receive_eof()
        self.assertEqual(self.around.dialer.asked, [])
        self.assertEqual(self.session.ended_by, "downstream")
        self.assertAllOver()

    def test_one_that_stops_is_a_408(self) -> None:
        self.client.receive(form(self.HERE)[:-1])
        self.clock.pump([61])
        self.assertIn(b" 408 ", self.client.take())
        self.assertEqual((self.session.status, self.session.phase), (408, "request"))

    def test_max_body_holds(self) -> None:
        for chunked in (False, True):
            self.serve(max_body=20)
            self.client.receive(form(self.HERE, chunked=chunked))
            self.assertIn(b" 413 ", self.client.take())
            self.assertEqual(self.around.dialer.asked, [])

    def test_it_can_be_switched_off(self) -> None:
        self.serve(rewrite=frozenset({"location"}))
        origin = self.asked(form(self.HERE)[:-1])
        self.assertTrue(origin.take().endswith(self.HERE[:-1]))
