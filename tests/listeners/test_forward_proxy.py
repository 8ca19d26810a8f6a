"""Tests of what both forward proxies do with a parent, and of /proxy.pac."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from lanrelay.config import hosts, model
from lanrelay.errors import StartError
from lanrelay.listeners.connect_proxy import ConnectProxyService
from lanrelay.listeners.proxy_pac import script
from lanrelay.listeners.socks_proxy import SocksProxyService
from lanrelay.wire.socks5 import Reply, reply
from tests.listeners.test_socks_proxy import GREETING, NAS
from tests.support.listening import accept, without_via
from tests.support.memory import MemoryStream
from tests.support.proxying import ESTABLISHED, ProxyTestCase

HTTP = model.ParentProxy(
    scheme="http", host="10.9.9.9", port=3128, username="alice", password=model.Secret("secret")
)
SOCKS = model.ParentProxy(scheme="socks5", host="10.9.9.9", port=1080)
AUTHORIZATION = b"Proxy-Authorization: Basic YWxpY2U6c2VjcmV0\r\n"


def rules(*texts: str) -> tuple[model.DestinationRule, ...]:
    return tuple(map(hosts.destination_rule, texts))


class ParentCase(ProxyTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.service = self.proxy(parent=HTTP)

    def get(self, url: bytes, *fields: bytes) -> MemoryStream:
        lines = [b"GET " + url + b" HTTP/1.1", b"Host: x", *fields, b"", b""]
        return self.send(b"\r\n".join(lines))

    def connect(self, target: str) -> MemoryStream:
        return self.send(f"CONNECT {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


class TunnelTests(ParentCase):
    def test_connect_goes_through_an_http_parent(self) -> None:
        client = self.connect("nas.lan:443")
        self.assertEqual((self.network.asked, self.names.asked), (["10.9.9.9:3128"], []))
        upstream = self.network.answer()
        self.assertEqual(
            upstream.take(),
            b"CONNECT nas.lan:443 HTTP/1.1\r\nHost: nas.lan:443\r\n" + AUTHORIZATION + b"\r\n",
        )
        self.assertEqual(client.take(), b"")
        upstream.receive(b"HTTP/1.0 200 OK\r\n\r\nbanner")
        self.assertEqual(client.take(), ESTABLISHED + b"banner")
        client.receive(b"hello")
        self.assertEqual(upstream.take(), b"hello")
        client.receive_eof()
        upstream.receive_eof()
        session = self.session()
        self.assertEqual((session.target, session.address), ("nas.lan:443", "10.9.9.9:3128"))

    def test_a_socks_client_goes_through_a_socks_parent(self) -> None:
        config = model.SocksProxy(
            name="socks", listen=(model.LocalhostAddress(port=0),), allow=rules("any"), parent=SOCKS
        )
        self.service: Any = SocksProxyService(self.environment, config)
        client = self.send(GREETING + NAS)
        upstream = self.network.answer()
        self.assertEqual(upstream.take(), GREETING)
        upstream.receive(b"\x05\x00")
        self.assertEqual((upstream.take(), client.take()), (NAS, b"\x05\x00"))
        upstream.receive(reply(Reply.SUCCEEDED) + b"banner")
        self.assertEqual(client.take(), reply(Reply.SUCCEEDED) + b"banner")

    def test_a_refusal_is_told(self) -> None:
        client = self.connect("nas.lan:443")
        self.network.answer().receive(b"HTTP/1.1 403 Filtered\r\n\r\n")
        answer = self.answered(client, 502)
        self.assertIn("The parent proxy http://10.9.9.9:3128 does not lead to nas.lan:443", answer)
        self.assertIn("403 Filtered", answer)
        self.assertNotIn("secret", answer + self.session().detail)

    def test_a_client_that_leaves_resets_the_parent(self) -> None:
        client = self.connect("nas.lan:443")
        upstream = self.network.answer()
        client.lose()
        self.assertTrue(upstream.aborted)
        self.assertEqual(self.session().ended_by, "downstream")

    def test_it_is_said_where_it_leads(self) -> None:
        self.assertEqual(self.service.leads_to(), "whatever its rules permit through http://10.9.9.9:3128")


class DirectTests(ParentCase):
    def goes_to(self, target: str) -> str:
        client = self.connect(target)
        asked = self.network.asked.pop()
        client.lose()
        return asked

    def test_loopback_is_this_machine(self) -> None:
        for name in ("localhost", "app.localhost"):
            self.names.table[name] = (ip_address("127.0.0.1"), ip_address("::1"))
        for host in ("127.0.0.1", "[::1]", "localhost", "app.localhost", "2130706433", "[::ffff:127.0.0.1]"):
            self.assertNotEqual(self.goes_to(f"{host}:80"), "10.9.9.9:3128", host)
        self.assertEqual(self.goes_to("10.0.0.1:80"), "10.9.9.9:3128")

    def test_bypass(self) -> None:
        self.service = self.proxy(
            parent=HTTP,
            parent_bypass=rules("nas.lan", "*.home.lan:22", "10.1.0.0/16"),
            resolve={"fixed.lan": (ip_address("10.1.2.3"),)},
        )
        self.names.table["a.home.lan"] = (ip_address("192.168.1.21"),)
        for target, asked in (
            ("nas.lan:443", "192.168.1.20:443"),
            ("a.home.lan:22", "192.168.1.21:22"),
            ("a.home.lan:23", "10.9.9.9:3128"),
            ("10.1.2.3:80", "10.1.2.3:80"),
            ("10.2.2.3:80", "10.9.9.9:3128"),
            ("fixed.lan:80", "10.1.2.3:80"),
            ("other.lan:80", "10.9.9.9:3128"),
        ):
            self.assertEqual(self.goes_to(target), asked, target)

    def test_a_listener_is_not_its_own_parent(self) -> None:
        for host in ("localhost", "127.0.0.1"):
            service = self.proxy()
            service.bind()
            port = service.bound[0].socket.getsockname()[1]
            service.unbind()
            parent = model.ParentProxy(scheme="http", host=host, port=port)
            config = model.ConnectProxy(
                name="loop", listen=(model.LocalhostAddress(port=port),), allow=rules("any"), parent=parent
            )
            looped = ConnectProxyService(self.environment, config)
            with self.assertRaises(StartError) as caught:
                looped.bind()
            self.assertIn("listeners.loop: its parent is this listener itself", str(caught.exception))
            self.assertEqual(looped.bound, [])


class JudgementTests(ParentCase):
    def judged(self, host: str, **keys: Any) -> bool:
        """Whether it is let through to the parent."""
        self.service = self.proxy(parent=HTTP, **keys)
        client = self.connect(f"{host}:80")
        if self.network.pending:
            client.lose()
            return True
        self.answered(client, 403)
        return False

    def test_names_are_judged_by_name_and_as_public(self) -> None:
        for allow, deny, through in (
            (("private", "public"), (), True),
            (("any",), (), True),
            (("nas.lan",), (), True),
            (("*.lan:80",), (), True),
            (("*.lan:443",), (), False),
            (("private",), (), False),
            (("192.168.1.0/24",), (), False),
            (("any",), ("nas.lan",), False),
            (("any",), ("public",), False),
            (("any",), ("private",), True),
        ):
            self.assertEqual(
                self.judged("nas.lan", allow=rules(*allow), deny=rules(*deny)), through, (allow, deny)
            )
        self.assertEqual(self.names.asked, [])

    def test_addresses_are_judged_as_ever(self) -> None:
        for host, through in (
            ("10.0.0.1", True),
            ("8.8.8.8", False),
            ("169.254.169.254", False),
            ("2852039166", False),
            ("[::ffff:169.254.169.254]", False),
            ("[fe80::1]", False),
            ("0.0.0.0", False),
        ):
            self.assertEqual(self.judged(host, allow=rules("private")), through, host)
        self.assertFalse(self.judged("169.254.169.254", allow=rules("any")))

    def test_own_ports_are_forbidden_by_address(self) -> None:
        self.forbidden[80] = "the admin page"
        self.assertFalse(self.judged("10.0.0.1", allow=rules("any")))

    def test_fixed_names_are_judged_by_their_address(self) -> None:
        fixed = {"nas.lan": (ip_address("10.0.0.7"),)}
        self.assertTrue(self.judged("nas.lan", allow=rules("private"), resolve=fixed))
        self.assertFalse(self.judged("nas.lan", allow=rules("public"), resolve=fixed))


class RequestTests(ParentCase):
    def test_an_http_parent_is_asked_in_absolute_form(self) -> None:
        client = self.get(b"http://nas.lan:8080/a?b=c", b"X-One: 1", b"Proxy-Authorization: Basic eDp5")
        origin = self.network.answer()
        self.assertEqual(
            without_via(origin.take()),
            b"GET http://nas.lan:8080/a?b=c HTTP/1.1\r\nHost: nas.lan:8080\r\nX-One: 1\r\n"
            + AUTHORIZATION
            + b"\r\n",
        )
        origin.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        self.assertTrue(client.take().endswith(b"\r\n\r\nhi"))
        self.assertEqual(self.session().target, "http://nas.lan:8080")

    def test_addresses_and_options(self) -> None:
        for request, line in (
            (b"GET http://2130706434:80/", b"GET http://127.0.0.2:80/ HTTP/1.1\r\nHost: 127.0.0.2:80\r\n"),
            (b"GET http://[fd00:0::1]/", b"GET http://[fd00::1]:80/ HTTP/1.1\r\nHost: [fd00::1]:80\r\n"),
            (b"OPTIONS http://nas.lan", b"OPTIONS http://nas.lan HTTP/1.1\r\nHost: nas.lan\r\n"),
        ):
            self.service = self.proxy(parent=HTTP)
            self.send(request + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            asked = self.network.answer().take()
            if b"127.0.0.2" in line:
                self.assertTrue(asked.startswith(b"GET / HTTP/1.1\r\n"), "loopback goes directly")
            else:
                self.assertTrue(asked.startswith(line), asked)

    def test_names_that_only_we_know_go_through_a_tunnel(self) -> None:
        self.service = self.proxy(parent=HTTP, resolve={"wiki.lan": (ip_address("10.0.0.7"),)})
        self.get(b"http://wiki.lan/a")
        origin = self.network.answer()
        self.assertTrue(origin.take().startswith(b"CONNECT 10.0.0.7:80 "))
        origin.receive(b"HTTP/1.1 200 OK\r\n\r\n")
        self.assertEqual(without_via(origin.take()), b"GET /a HTTP/1.1\r\nHost: wiki.lan\r\n\r\n")

    def test_an_upgrade_goes_through_a_tunnel(self) -> None:
        self.get(b"http://nas.lan/ws", b"Connection: upgrade", b"Upgrade: websocket")
        origin = self.network.answer()
        self.assertTrue(origin.take().startswith(b"CONNECT nas.lan:80 "))

    def test_a_socks_parent_is_asked_for_a_tunnel(self) -> None:
        self.service = self.proxy(parent=SOCKS)
        self.get(b"http://nas.lan/a")
        origin = self.network.answer()
        origin.receive(b"\x05\x00" + reply(Reply.SUCCEEDED))
        self.assertTrue(without_via(origin.take()).endswith(b"GET /a HTTP/1.1\r\nHost: nas.lan\r\n\r\n"))

    def test_a_bypassed_host_is_asked_itself(self) -> None:
        self.service = self.proxy(parent=HTTP, parent_bypass=rules("nas.lan"))
        self.get(b"http://nas.lan/a")
        self.assertEqual(
            without_via(self.network.answer().take()), b"GET /a HTTP/1.1\r\nHost: nas.lan\r\n\r\n"
        )

    def test_the_parents_demand_for_credentials_is_not_passed_on(self) -> None:
        client = self.get(b"http://nas.lan/a")
        origin = self.network.answer()
        origin.receive(b"HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n")
        answer = self.answered(client, 502)
        self.assertNotIn("Proxy-Authenticate", answer)
        self.assertIn("NAME:PASSWORD", answer)
        self.assertFalse(origin.connected)

    def test_names_are_judged_for_requests_too(self) -> None:
        self.service = self.proxy(parent=HTTP, allow=rules("private"))
        self.answered(self.get(b"http://nas.lan/a"), 403)
        self.assertEqual(self.network.asked, [])


class SchemeTests(ProxyTestCase):
    """A client asks without TLS for what speaks it."""

    def ask(self, ended: bytes = b"") -> tuple[MemoryStream, MemoryStream]:
        client = self.send(b"GET http://nas.lan:8443/a HTTP/1.1\r\nHost: nas.lan:8443\r\n\r\n")
        origin = self.network.answer()
        if ended:
            origin.receive(ended)
        else:
            origin.receive_eof()
        return client, origin

    def test_an_alert_says_it(self) -> None:
        client, _ = self.ask(b"\x15\x03\x03\0\x02\x02\x0a")
        answer = self.answered(client, 502)
        self.assertTrue(
            answer.startswith("HTTP/1.1 502 nas.lan:8443 speaks TLS, and its URL says http\r\n"), answer
        )
        self.assertIn("Write `https://` for `http://`", answer)

    def test_one_connection_to_that_address_finds_out(self) -> None:
        for record, tls in ((b"\x16\x03\x03", True), (b"HTTP/1.1 400 B\r\n", False)):
            self.service = self.proxy()
            client, _ = self.ask()
            self.assertEqual(client.take(), b"")
            self.assertEqual(set(self.network.asked), {"192.168.1.20:8443"})
            looking = self.network.answer()
            self.assertEqual(looking.take()[:2], b"\x16\x03")
            looking.receive(record)
            self.assertTrue(looking.aborted)
            self.assertEqual("speaks TLS" in self.answered(client, 502), tls)
            client, _ = self.ask()  # it is known for a while
            self.assertEqual(self.network.pending, [])
            self.assertEqual("speaks TLS" in self.answered(client, 502), tls)
            self.around.closed.clear()

    def test_who_has_answered_does_not_speak_tls(self) -> None:
        client, _ = self.ask(b"HTTP/1.1 204 No Content\r\n\r\n")
        self.answered(client, 204)
        self.around.closed.clear()
        client, _ = self.ask()
        self.assertEqual(self.network.pending, [])
        self.assertIn("ended the connection without an answer", self.answered(client, 502))

    def test_nothing_is_found_out_behind_a_parent(self) -> None:
        self.service = self.proxy(parent=SOCKS)
        client = self.send(b"GET http://nas.lan/a HTTP/1.1\r\nHost: nas.lan\r\n\r\n")
        origin = self.network.answer()
        origin.receive(b"\x05\x00" + reply(Reply.SUCCEEDED))
        origin.receive_eof()
        self.assertEqual(self.network.pending, [])
        self.answered(client, 502)

    def test_a_client_that_leaves_meanwhile(self) -> None:
        client, _ = self.ask()
        looking = self.network.answer()
        client.lose()
        self.assertTrue(looking.aborted)
        self.assertEqual(self.service.open_connections, 0)


class PacTests(ProxyTestCase):
    def pac(self, *lines: bytes, service: Any = None) -> MemoryStream:
        client = accept(service or self.service)
        client.receive(b"\r\n".join([*lines, b"", b""]))
        return client

    def test_it_names_the_relay_as_the_client_does(self) -> None:
        for host in ("localhost:28080", "127.0.0.1:28080", "[::1]:28080", "proxy.localhost:1"):
            client = self.pac(b"GET /proxy.pac HTTP/1.1", b"Host: " + host.encode())
            answer = self.answered(client, 200)
            self.assertIn("\r\nContent-Type: application/x-ns-proxy-autoconfig\r\n", answer)
            self.assertIn(f'var relay = "PROXY {host}";', answer)

    def test_a_host_without_a_port(self) -> None:
        self.assertIn(
            "PROXY localhost:80", self.answered(self.pac(b"GET /proxy.pac HTTP/1.1", b"Host: localhost"), 200)
        )
        self.assertIn("PROXY 127.0.0.1:8080", self.answered(self.pac(b"GET /proxy.pac HTTP/1.0"), 200))

    def test_head_and_query(self) -> None:
        answer = self.answered(self.pac(b"HEAD /proxy.pac?x=1 HTTP/1.1", b"Host: localhost"), 200)
        self.assertTrue(answer.endswith("\r\n\r\n"))
        session = self.session()
        self.assertEqual((session.path, session.status, session.phase), ("/proxy.pac", 200, "done"))

    def test_the_host_guard(self) -> None:
        for lines, status in (
            ((b"GET /proxy.pac HTTP/1.1", b"Host: evil.example"), 421),
            ((b"GET / HTTP/1.1", b"Host: evil.example:28080"), 421),
            ((b"GET /proxy.pac HTTP/1.1", b"Host: localhost", b"Origin: https://evil.example"), 403),
            ((b"OPTIONS * HTTP/1.1", b"Host: evil.example"), 421),
            ((b"GET /other.pac HTTP/1.1", b"Host: localhost"), 400),
            ((b"POST /proxy.pac HTTP/1.1", b"Host: localhost", b"Content-Length: 0"), 400),
        ):
            answer = self.answered(self.pac(*lines), status)
            self.assertNotIn("FindProxyForURL", answer)
            self.assertNotIn(".hosts", answer)

    def test_no_credentials_are_asked_for(self) -> None:
        service = self.proxy(auth=model.Auth(users={"alice": model.Secret("secret")}))
        self.answered(self.pac(b"GET /proxy.pac HTTP/1.1", b"Host: localhost", service=service), 200)

    def test_the_listeners_own_names_are_in_it(self) -> None:
        text = script(
            "localhost:1",
            secure=True,
            allow=rules("nas.example", "*.lab.example:443", "10.20.0.0/16", "[fd00::/8]:443", "any"),
            fixed=["wiki.example"],
        ).decode()
        self.assertIn('"HTTPS localhost:1"', text)
        self.assertIn('["nas.example", "wiki.example"]', text)
        self.assertIn('"internal", "lab.example"]', text)
        self.assertIn("[169082880, 169148415]]", text)
