"""TRACE and OPTIONS through the forward proxy, in memory: how far they go, and as what."""

from __future__ import annotations

from lanrelay.config import model
from tests.support.proxying import ProxyTestCase


def request(method: str, target: str, *fields: str) -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: nas.lan", *fields, "", ""]).encode()


class HopsTests(ProxyTestCase):
    def sent(self, data: bytes) -> bytes:
        self.send(data)
        return self.network.answer().take()

    def test_options_of_a_whole_server_goes_on_as_an_asterisk(self) -> None:
        """RFC 9112 section 3.2.4."""
        for target, line in (
            ("http://nas.lan", b"OPTIONS * HTTP/1.1\r\n"),
            ("http://nas.lan:8080", b"OPTIONS * HTTP/1.1\r\n"),
            ("http://nas.lan/", b"OPTIONS / HTTP/1.1\r\n"),
            ("http://nas.lan?x", b"OPTIONS /?x HTTP/1.1\r\n"),
        ):
            self.assertTrue(self.sent(request("OPTIONS", target)).startswith(line), target)
        self.assertTrue(self.sent(request("GET", "http://nas.lan")).startswith(b"GET / HTTP/1.1\r\n"))

    def test_max_forwards_is_counted_down(self) -> None:
        """RFC 9110 section 7.6.2."""
        for method, before, after in (("OPTIONS", 3, 2), ("TRACE", 1, 0), ("GET", 3, 3), ("GET", 0, 0)):
            sent = self.sent(request(method, "http://nas.lan/", f"Max-Forwards: {before}"))
            self.assertIn(f"Max-Forwards: {after}\r\n".encode(), sent)

    def test_at_nought_the_proxy_answers(self) -> None:
        client = self.send(request("OPTIONS", "http://nas.lan", "Max-Forwards: 0"))
        self.assertIn("Allow: GET, ", self.answered(client, 200))
        self.assertEqual((self.session().status, self.session().phase), (200, "done"))
        client = self.send(
            request("TRACE", "http://nas.lan/x", "Max-Forwards: 0", "Proxy-Authorization: Basic x")
        )
        answer = self.answered(client, 200)
        self.assertIn("Content-Type: message/http\r\n", answer)
        self.assertIn("\r\n\r\nTRACE http://nas.lan/x HTTP/1.1\r\nHost: nas.lan\r\n", answer)
        self.assertNotIn("Basic x", answer)
        self.assertEqual(self.network.asked, [])

    def test_but_only_for_those_who_may_use_it(self) -> None:
        self.service = self.proxy(auth=model.Auth(users={"a": model.Secret("b")}))
        client = self.send(request("OPTIONS", "http://nas.lan", "Max-Forwards: 0"))
        self.answered(client, 407)
