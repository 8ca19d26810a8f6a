"""HTTP: what each status means, and which Host a server accepts."""

from __future__ import annotations

import ssl
from typing import Any

from lanrelay.cli.authority import Authority
from lanrelay.examine.checks import Check, Examined, as_json
from tests.examine.scripted import Heard, Reply, Scripted, always, one_answer
from tests.examine.support import ExamineTestCase
from tests.support.peers import free_ports
from tests.support.servers import LAN_NAME, HttpOrigin, LoginServer
from tests.support.tls_origin import TlsOrigin


class WebTests(ExamineTestCase):
    async def look(self, script: Any, path: str = "/index") -> Examined:
        return await self.examine(f"{Scripted(self, script).url}{path}")

    def http(self, examined: Examined, state: str, cause: str | None) -> Check:
        check = self.only(examined, "http")
        self.assertEqual((check.state, check.cause), (state, cause), check)
        return check

    async def test_a_good_answer(self) -> None:
        origin = HttpOrigin().start()
        self.addCleanup(origin.stop)
        check = self.http(await self.examine(f"{origin.url}/status/200"), "ok", None)
        self.assertEqual(check.facts["status"], 200)
        self.assertIn("200 OK", check.said)

    async def test_the_listener_s_own_fields_are_sent(self) -> None:
        def script(request: Heard) -> Reply:
            return (200 if request.fields.get("authorization") == "Bearer s3cret" else 401), {}, b""

        server = Scripted(self, script)
        text = f"""
            listeners:
              web:
                type: reverse-proxy
                listen: 127.0.0.1:0
                host: web.lan
                headers: {{request: {{set: {{Authorization: "Bearer s3cret"}}}}}}
                health: {{path: /healthz}}
                upstream: {server.url}
            """
        self.http(await self.examine("web", text), "ok", None)
        first = server.heard[0]
        self.assertEqual((first.method, first.path, first.fields["host"]), ("GET", "/healthz", "web.lan"))
        refused = self.http(
            await self.examine("web", text.replace("s3cret", "0ther")), "warn", "login_wanted"
        )
        self.assertIn("does not accept the Authorization that the listener sets", refused.said)
        self.assertNotIn("0ther", str(refused))

    async def test_a_server_behind_a_unix_socket(self) -> None:
        (port,) = free_ports(1)
        path = self.folder / "s"
        config = f"""
            {{
                admin off
                auto_https off
            }}
            http://localhost:{port} {{
                bind unix/{path} 127.0.0.1
                respond "hello"
            }}
        """
        self.program(
            ["caddy", "run", "--adapter", "caddyfile", "--config", "{config}"], [port], config=config
        )
        text = f"""
            listeners:
              web: {{type: reverse-proxy, listen: 127.0.0.1:0, upstream: "http+unix:{path}"}}
            """
        self.assertTrue((await self.examine("web", text)).ok)

    async def test_secrets_in_a_path_are_masked_for_people_and_programs(self) -> None:
        secret = "/private_zctpwlX7ZkIAr7oqdfLPxw0123456789"
        for script in (always(200), always(404), always(401), always(302, Location=f"{secret}/")):
            examined = await self.look(script, f"{secret}/mcp")
            self.assertNotIn("zctpwlX7", str(as_json(examined)))

    async def test_a_server_that_wants_to_be_told_of_the_client(self) -> None:
        (port,) = free_ports(1)
        self.nginx(f"server {{ listen 127.0.0.1:{port} proxy_protocol; return 204; }}", port)
        text = f"""
            listeners:
              web:
                type: reverse-proxy
                listen: 127.0.0.1:0
                upstream: {{url: "http://127.0.0.1:{port}", send_proxy: v1}}
            """
        self.http(await self.examine("web", text), "ok", None)
        self.http(await self.examine("web", text.replace(", send_proxy: v1", "")), "failed", "reset")

    async def test_statuses(self) -> None:
        for status, state, cause in (
            (204, "ok", None),
            (401, "warn", "login_wanted"),
            (403, "warn", "forbidden"),
            (405, "ok", None),
            (421, "failed", "host_refused"),
            (500, "failed", "server_error"),
            (503, "failed", "server_error"),
        ):
            check = self.http(await self.look(always(status)), state, cause)
            self.assertEqual(check.facts["status"], status)

    async def test_a_path_that_is_not_there(self) -> None:
        examined = await self.look(always(404), "/nope")
        self.assert_cause(examined, "http", "path_unknown", "/nope")
        self.http(await self.look(always(404), ""), "ok", None)

    async def test_a_redirect(self) -> None:
        check = self.http(await self.look(always(302, Location="/login?next=s3cret")), "warn", "redirected")
        self.assertIn("/login", check.said)
        self.assertNotIn("s3cret", check.said)

    async def test_a_redirect_to_https(self) -> None:
        (plain,) = free_ports(1)
        config = """
            {
                admin off
                auto_https off
            }
            http://127.0.0.1:PORT {
                bind 127.0.0.1
                redir https://127.0.0.1{uri} 308
            }
        """.replace("PORT", str(plain))
        self.program(
            ["caddy", "run", "--adapter", "caddyfile", "--config", "{config}"], [plain], config=config
        )
        check = self.http(await self.examine(f"http://127.0.0.1:{plain}/a"), "warn", "redirected")
        self.assertEqual(check.remedy, f"url: https://127.0.0.1/a  # in place of http://127.0.0.1:{plain}")

    async def test_what_is_no_http(self) -> None:
        port = one_answer(self, b"SSH-2.0-OpenSSH_9.6\r\n")
        self.assert_cause(await self.examine(f"http://127.0.0.1:{port}/"), "http", "not_http")
        silent = one_answer(self, b"")
        self.assert_cause(await self.examine(f"http://127.0.0.1:{silent}/"), "http", "reset")

    async def test_no_answer_in_time(self) -> None:
        origin = HttpOrigin().start()
        self.addCleanup(origin.stop)
        origin.freeze()
        self.addCleanup(origin.thaw)
        self.assert_cause(await self.examine(f"{origin.url}/", timeout=1.0), "http", "http_timeout")

    async def test_tls_on_a_port_that_should_be_plain(self) -> None:
        authority = Authority(self.folder)
        origin = TlsOrigin(authority.issue("nas.lan"))
        self.addCleanup(origin.stop)
        check = self.assert_cause(
            await self.examine(f"http://127.0.0.1:{origin.port}"), "http", "tls_on_plain"
        )
        self.assertIn(f"url: https://127.0.0.1:{origin.port}", check.remedy or "")

    async def test_a_tls_port_that_says_so_in_plain_http(self) -> None:
        (port,) = free_ports(1)
        issued = Authority(self.folder).issue("nas.lan")
        config = f"""
            server {{
                listen 127.0.0.1:{port} ssl;
                ssl_certificate {issued.cert};
                ssl_certificate_key {issued.key};
            }}
        """
        self.nginx(config, port)
        check = self.assert_cause(await self.examine(f"http://127.0.0.1:{port}"), "http", "tls_on_plain")
        self.assertEqual(check.facts["status"], 400)

    async def test_a_client_certificate_that_is_missed_after_the_handshake(self) -> None:
        authority = Authority(self.folder)
        origin = TlsOrigin(
            authority.issue("nas.lan"), client_ca=authority.root, at_most=ssl.TLSVersion.TLSv1_3
        )
        self.addCleanup(origin.stop)
        self.names["nas.lan"] = ["127.0.0.1"]
        text = f"""
            listeners:
              nas:
                type: reverse-proxy
                listen: 127.0.0.1:0
                upstream: {{url: "https://nas.lan:{origin.port}", tls: {{ca: "{authority.root}"}}}}
            """
        self.assert_cause(await self.examine("nas", text), "tls", "client_certificate_wanted")


class HostTests(ExamineTestCase):
    """The upstream's name, its certificate's, localhost and the address are tried."""

    def guard(self, good: str, status: int) -> Scripted:
        def script(request: Heard) -> Reply:
            return (200 if request.fields["host"].partition(":")[0] == good else status), {}, b""

        return Scripted(self, script)

    async def test_the_one_that_works_is_named(self) -> None:
        self.names["nas.lan"] = ["127.0.0.1"]
        for status in (400, 403, 421):
            for good in ("localhost", "127.0.0.1"):
                server = self.guard(good, status)
                text = f"""
                    listeners:
                      nas: {{type: reverse-proxy, listen: 127.0.0.1:0, upstream: "http://nas.lan:{server.port}"}}
                    """
                check = self.assert_cause(await self.examine("nas", text), "http", "host_refused", "nas.lan")
                self.assertEqual(check.facts["host_that_works"], f"{good}:{server.port}")
                self.assertIn(f"host: {good}:{server.port}", check.remedy or "")

    async def test_the_upstream_s_name_where_another_is_sent(self) -> None:
        server = self.guard("nas.lan", 421)
        self.names["nas.lan"] = ["127.0.0.1"]
        text = f"""
            listeners:
              nas:
                type: reverse-proxy
                listen: 127.0.0.1:7777
                host: preserve
                upstream: "http://nas.lan:{server.port}"
            """
        check = self.assert_cause(await self.examine("nas", text), "http", "host_refused", "127.0.0.1:7777")
        self.assertEqual(check.facts["host_that_works"], f"nas.lan:{server.port}")

    async def test_a_url_is_mended_by_a_listener_with_another_host(self) -> None:
        server = self.guard("localhost", 421)
        check = self.assert_cause(await self.examine(f"{server.url}/mcp"), "http", "host_refused")
        self.assertEqual(check.remedy, f"lanrelay add {server.url} --set host=localhost:{server.port}")

    async def test_an_origin_that_is_refused(self) -> None:
        server = Scripted(self, lambda heard: (403 if "origin" in heard.fields else 200, {}, b""))
        text = f"""
            listeners:
              nas: {{type: reverse-proxy, listen: 127.0.0.1:7777, origin: keep, upstream: "{server.url}"}}
            """
        check = self.assert_cause(await self.examine("nas", text), "http", "origin_refused", "127.0.0.1:7777")
        self.assertIn("origin: strip", check.remedy or "")


class LoginTests(ExamineTestCase):
    async def test_a_login_page_that_the_answer_names(self) -> None:
        authority = Authority(self.folder)
        server = LoginServer(tls=authority.issue(LAN_NAME)).start()
        self.addCleanup(server.stop)
        text = f"""
            listeners:
              nas:
                type: reverse-proxy
                listen: 127.0.0.1:0
                mcp: /mcp
                upstream:
                  url: "{server.lan_url}"
                  address: "{server.address}"
                  tls: {{ca: "{authority.root}"}}
            """
        examined = await self.examine("nas", text)
        self.assertTrue(examined.ok)
        check = self.only(examined, "http")
        self.assertEqual((check.state, check.cause), ("warn", "login_wanted"))
        self.assertIn("/.well-known/oauth-protected-resource", check.said)
        self.assertIn("Log in from the client", check.remedy or "")
        self.assertEqual(self.only(examined, "mcp").state, "skipped")

    async def test_a_login_page_that_is_found_where_it_has_to_be(self) -> None:
        def script(request: Heard) -> Reply:
            if request.path == "/.well-known/oauth-authorization-server":
                return 200, {"Content-Type": "application/json"}, b'{"authorization_endpoint": "/a"}'
            return (404 if "well-known" in request.path else 401), {}, b""

        check = self.only(await self.examine(f"{Scripted(self, script).url}/mcp"), "http")
        self.assertIn("/.well-known/oauth-authorization-server", check.said)

    async def test_without_one_a_header_is_wanted(self) -> None:
        server = Scripted(self, always(401, WWW_Authenticate='Bearer realm="x"'))
        check = self.only(await self.examine(f"{server.url}/mcp"), "http")
        self.assertEqual((check.state, check.cause), ("warn", "login_wanted"))
        self.assertIn("a header is wanted", check.said)
        self.assertIn(
            'headers: {request: {set: {Authorization: "Bearer ${file:token}"}}}', check.remedy or ""
        )
