"""MCP: servers of each era, and what stands in the place of one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.examine.checks import Check, Examined
from lanrelay.examine.mcp_talk import _Events
from tests.examine.scripted import Heard, Legacy, Reply, Scripted, always, without_end
from tests.examine.support import ExamineTestCase
from tests.support.peers import free_ports
from tests.support.servers import McpServer, Server


def local_mcp() -> McpServer:
    """The SDK's server with its protection as it is by default: for localhost alone."""
    return McpServer(name="localhost")


class McpTests(ExamineTestCase):
    def server(self, server: Server) -> Server:
        server.start()
        self.addCleanup(server.stop)
        return server

    def listener(self, url: str, *keys: str, address: str = "") -> str:
        more = "".join(f"\n                {key}" for key in keys)
        dialed = f', address: "{address}"' if address else ""
        return f"""
            listeners:
              nas:
                type: reverse-proxy
                listen: 127.0.0.1:7777
                upstream: {{url: "{url}"{dialed}}}{more}
            """

    def mcp(self, examined: Examined, state: str, cause: str | None = None) -> Check:
        check = self.only(examined, "mcp")
        self.assertEqual((check.state, check.cause), (state, cause), examined.checks)
        return check

    async def test_the_newest_era(self) -> None:
        server = self.server(local_mcp())
        for target in (f"http://localhost:{server.port}/mcp", f"http://localhost:{server.port}"):
            found = self.mcp(await self.examine(target), "ok").facts["mcp"]
            self.assertEqual((found["era"], found["server"]), ("2026-07-28", "lan-host"))
            self.assertEqual((found["tools"], found["session"], found["path"]), (2, False, "/mcp"))

    async def test_sessions(self) -> None:
        legacy = Legacy(pages=(2, 3, 1), stream=True)
        server = Scripted(self, legacy)
        found = self.mcp(await self.examine(f"{server.url}/mcp"), "ok").facts["mcp"]
        self.assertEqual((found["era"], found["server"], found["version"]), ("2025-11-25", "old", "1.2"))
        self.assertEqual((found["tools"], found["session"], found["stream"]), (6, True, True))
        self.assertEqual(legacy.sessions, set(), "sessions that nobody ended")
        self.assertEqual(server.heard[-1].method, "DELETE")

    async def test_json_rpc_without_sense_is_no_refused_host(self) -> None:
        content = b'{"jsonrpc": "2.0", "id": 1, "result": [1]}'
        server = Scripted(self, always(200, content, Content_Type="application/json"))
        self.mcp(await self.examine(f"{server.url}/mcp"), "failed", "not_mcp")

    async def test_no_get_stream(self) -> None:
        said = self.mcp(await self.examine(f"{Scripted(self, Legacy()).url}/mcp"), "ok").said
        self.assertIn("no GET stream", said)

    async def test_http_and_sse_alone(self) -> None:
        server = self.server(local_mcp())
        check = self.mcp(await self.examine(f"http://localhost:{server.port}/sse"), "warn")
        found = check.facts["mcp"]
        self.assertEqual((found["era"], found["tools"], found["path"]), ("2024-11-05", 2, "/sse"))
        self.assertIn("HTTP+SSE alone", check.said)

    async def test_sse_is_found_where_nobody_named_a_path(self) -> None:
        server = self.server(local_mcp())

        config = """
            {
                admin off
                auto_https off
            }
            http://:PORT {
                bind 127.0.0.1
                reverse_proxy 127.0.0.1:MCP
                respond /mcp 404
            }
        """
        (port,) = free_ports(1)
        config = config.replace("PORT", str(port)).replace("MCP", str(server.port))
        self.program(
            ["caddy", "run", "--adapter", "caddyfile", "--config", "{config}"], [port], config=config
        )
        found = self.mcp(await self.examine(f"http://localhost:{port}"), "warn").facts["mcp"]
        self.assertEqual((found["path"], found["sse_only"]), ("/sse", True))

    async def test_the_listener_s_path(self) -> None:
        server = self.server(McpServer())
        text = self.listener(server.lan_url, "mcp: /mcp", address=server.address)
        self.assertEqual(self.mcp(await self.examine("nas", text), "ok").facts["mcp"]["path"], "/mcp")

    async def test_host_protection(self) -> None:
        server = self.server(local_mcp())
        self.names["nas.lan"] = ["127.0.0.1"]
        check = self.mcp(
            await self.examine("nas", self.listener(f"http://nas.lan:{server.port}")),
            "failed",
            "host_refused",
        )
        self.assertEqual(check.facts["host_that_works"], f"localhost:{server.port}")
        self.assertEqual(check.facts["status"], 421)
        named = await self.examine("nas", self.listener(f"http://nas.lan:{server.port}", "mcp: /mcp"))
        self.assert_cause(named, "http", "host_refused", f"it accepts localhost:{server.port}")

    async def test_origin_protection(self) -> None:
        server = self.server(McpServer())
        text = self.listener(server.lan_url, "origin: keep", address=server.address)
        check = self.mcp(await self.examine("nas", text), "failed", "origin_refused")
        self.assertIn("origin: strip", check.remedy or "")

    async def caddy(self, server: Server) -> int:
        """Caddy with a site for nas.lan alone. To other Hosts it answers 200, and nothing."""
        (port,) = free_ports(1)
        config = """
            {
                admin off
                auto_https off
            }
            http://nas.lan:PORT {
                bind 127.0.0.1
                reverse_proxy 127.0.0.1:MCP
            }
        """
        config = config.replace("PORT", str(port)).replace("MCP", str(server.port))
        self.program(
            ["caddy", "run", "--adapter", "caddyfile", "--config", "{config}"], [port], config=config
        )
        return port

    async def test_caddy_as_it_is_hands_the_host_on(self) -> None:
        port = await self.caddy(self.server(local_mcp()))
        self.names["nas.lan"] = ["127.0.0.1"]
        check = self.mcp(
            await self.examine("nas", self.listener(f"http://nas.lan:{port}")), "failed", "host_refused"
        )
        self.assertIsNone(check.facts["host_that_works"])

    async def test_caddy_as_a_virtual_host(self) -> None:
        server = Scripted(self, Legacy())
        port = await self.caddy(server)  # type: ignore[arg-type]
        self.names["nas.lan"] = ["127.0.0.1"]
        text = self.listener(f"http://nas.lan:{port}", "host: preserve", "mcp: /mcp")
        check = self.mcp(await self.examine("nas", text), "failed", "host_refused")
        self.assertEqual(check.facts["host_that_works"], f"nas.lan:{port}")
        by_address = await self.examine(f"http://127.0.0.1:{port}/mcp")
        self.assertIn("no site for this Host", self.mcp(by_address, "failed", "not_mcp").said)

    async def test_a_redirect_to_the_same_path_with_a_slash(self) -> None:
        legacy = Legacy()

        def script(request: Heard) -> Reply:
            if request.path == "/mcp":
                return 307, {"Location": "/mcp/"}, b""
            request.path = request.path.replace("/mcp/", "/mcp")
            return legacy(request)

        server = Scripted(self, script)
        check = self.mcp(
            await self.examine("nas", self.listener(server.url, "mcp: /mcp")), "warn", "redirected"
        )
        self.assertEqual(check.facts["mcp"]["path"], "/mcp/")
        self.assertIn("mcp: /mcp/", check.remedy or "")
        self.assertEqual(legacy.sessions, set())

    # --- what is none ---

    async def test_a_web_page(self) -> None:
        page = always(200, b"<html>", Content_Type="text/html; charset=utf-8")
        check = self.mcp(await self.examine(f"{Scripted(self, page).url}/mcp"), "failed", "not_mcp")
        self.assertIn("web page", check.said)
        self.assertIn("login page", check.said)

        def only_get(request: Heard) -> Reply:
            return page(request) if request.method == "GET" else (405, {}, b"")

        check = self.mcp(await self.examine(f"{Scripted(self, only_get).url}/mcp"), "failed", "not_mcp")
        self.assertIn("web page", check.said)

    async def test_a_web_server_of_which_nobody_said_that_it_is_one(self) -> None:
        examined = await self.examine(
            Scripted(self, lambda heard: (200 if heard.path == "/" else 404, {}, b"")).url
        )
        self.assertTrue(examined.ok)
        self.assertIn("/mcp or /sse", self.mcp(examined, "skipped").said)

    async def test_other_json(self) -> None:
        other = always(200, b'{"openapi": "3.1"}', Content_Type="application/json")
        self.mcp(await self.examine(f"{Scripted(self, other).url}/mcp"), "failed", "not_mcp")
        self.mcp(await self.examine(f"{Scripted(self, other).url}/api"), "warn", "not_mcp")

    async def test_a_server_that_fails(self) -> None:
        examined = await self.examine(f"{Scripted(self, Legacy(error='no database')).url}/mcp")
        check = self.assert_cause(examined, "mcp", "mcp_error", "no database", "tools/list")
        self.assertTrue(check.remedy)

        def script(request: Heard) -> Reply:
            return (200 if request.method == "GET" else 502), {}, b""

        self.mcp(await self.examine(f"{Scripted(self, script).url}/mcp"), "failed", "server_error")

    async def test_a_stream_of_everything_but_the_answer(self) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
        note = b'data: {"jsonrpc":"2.0","method":"notifications/message","params":{}}\n\n'
        port = without_end(self, head, note)
        self.assert_cause(
            await self.examine(f"http://127.0.0.1:{port}/mcp", timeout=1.0),
            "mcp",
            "http_timeout",
            "no answer within 1 s",
        )

    async def test_a_login_for_what_is_sent_alone(self) -> None:
        def script(request: Heard) -> Reply:
            return (404 if request.method == "GET" else 401), {}, b""

        self.mcp(await self.examine(f"{Scripted(self, script).url}/mcp"), "warn", "login_wanted")

    async def test_what_a_server_says_does_not_speak_to_the_terminal(self) -> None:
        script: Any = Legacy(error="\x1b[2J\x07 gone")
        check = self.mcp(await self.examine(f"{Scripted(self, script).url}/mcp"), "failed", "mcp_error")
        self.assertNotIn("\x1b", check.said)


class Parts:
    """What a stream brings, part by part; no more of an answer than its events look at."""

    def __init__(self, *parts: bytes) -> None:
        self._parts = [*parts, b""]

    async def parts(self, timeout: float, *, of: float) -> bytes:
        return self._parts.pop(0)


class EventsTests(SynchronousTestCase):
    def read(self, *parts: bytes) -> list[tuple[str, str]]:
        async def all_of() -> list[tuple[str, str]]:
            look: Any = SimpleNamespace(now=lambda: 0.0, timeout=5.0)
            answer: Any = Parts(*parts)
            events = _Events(answer, look)
            found = []
            while (event := await events.next()) != ("end", ""):
                found.append(event)
            return found

        return self.successResultOf(Deferred.fromCoroutine(all_of()))

    def test_each_end_of_a_line_may_come_in_any_two_parts(self) -> None:
        for end in (b"\n", b"\r\n", b"\r"):
            stream = end.join((b"event: endpoint", b"data: /a", b"data: b", b"", b"data: c", b"", b""))
            for cut in range(len(stream) + 1):
                parts = [part for part in (stream[:cut], stream[cut:]) if part]
                self.assertEqual(self.read(*parts), [("endpoint", "/a\nb"), ("message", "c")], parts)
            each = [stream[at : at + 1] for at in range(len(stream))]
            self.assertEqual(self.read(*each), [("endpoint", "/a\nb"), ("message", "c")], each)
