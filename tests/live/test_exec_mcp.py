"""MCP over HTTP in front of real programs: by hand, and with the SDK's clients."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.live.test_exec import alive, until
from tests.support.progress import LIMIT, PATIENCE
from tests.support.relay import Relay
from tests.support.servers import CHECKOUT

BOTH = "application/json, text/event-stream"
VERSION = "2025-06-18"
LINES = "tests.support.mcp_lines_program"
SDK = "tests.support.mcp_stdio_program"


class Answer:
    """An answer whose content is read as it is asked for."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection
        self._response = connection.getresponse()
        self.status = self._response.status
        self.kind = self._response.headers.get_content_type()
        self.session = self._response.headers.get("Mcp-Session-Id")
        self.fields = self._response.headers

    def read(self) -> bytes:
        return self._response.read()

    def json(self) -> Any:
        return json.loads(self.read())

    def events(self) -> Iterator[tuple[str, str, str]]:
        """Kind, id and data of each event."""
        found = {"event": "message", "id": "", "data": ""}
        while line := self._response.readline().decode():
            if line == "\n":
                if found["data"] or found["id"]:
                    yield found["event"], found["id"], found["data"]
                found = {"event": "message", "id": "", "data": ""}
            elif not line.startswith(":"):
                name, _, value = line.rstrip("\n").partition(": ")
                found[name] = value

    def messages(self) -> Iterator[Any]:
        """The data of each event that has some."""
        return (json.loads(data) for _, _, data in self.events() if data)

    def message(self) -> Any:
        """The answer itself: the last event, where a slow machine has had it become a stream, else JSON."""
        return list(self.messages())[-1] if self.kind == "text/event-stream" else self.json()

    def close(self) -> None:
        self._connection.close()


class Peer:
    """A client by hand."""

    def __init__(self, port: int, session: str = "", version: str = VERSION) -> None:
        self.port, self.session, self.version = port, session, version

    def ask(self, method: str, path: str = "/mcp", body: Any = None, **fields: str | None) -> Answer:
        """A field of C{None} is left out."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        headers: dict[str, str | None] = {"Accept": BOTH}
        if body is not None:
            headers["Content-Type"] = "application/json"
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
        if self.session:
            headers |= {"Mcp-Session-Id": self.session, "MCP-Protocol-Version": self.version}
        headers |= {name.replace("_", "-"): value for name, value in fields.items()}
        connection.request(
            method,
            path,
            body=body,
            headers={name: value for name, value in headers.items() if value is not None},
        )
        return Answer(connection)

    def initialize(self) -> Peer:
        params = {
            "protocolVersion": self.version,
            "capabilities": {},
            "clientInfo": {"name": "t", "version": "1"},
        }
        answer = self.ask("POST", body=request("initialize", 0, **params))
        greeting = answer.message()
        assert answer.status == 200, greeting
        assert greeting["id"] == 0, greeting
        self.session = answer.session or ""
        self.pid = int(greeting["result"]["serverInfo"]["version"])
        assert self.tell("notifications/initialized") == 202
        return self

    def call(self, method: str, identity: Any = 1, **params: Any) -> Any:
        answer = self.ask("POST", body=request(method, identity, **params))
        return answer.message()

    def tell(self, method: str, **params: Any) -> int:
        answer = self.ask("POST", body={"jsonrpc": "2.0", "method": method, "params": params})
        answer.read()
        return answer.status


def request(method: str, identity: Any = 1, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": identity, "method": method, "params": params}


class McpCase(TestCase):
    timeout = LIMIT
    environ: ClassVar[dict[str, str]] = {}

    def relay(self, keys: str = "", program: str = LINES) -> Relay:
        text = (
            "listeners:\n  tool:\n    type: exec\n    listen: 127.0.0.1:0\n    protocol: mcp-http\n"
            f"    command: [{sys.executable}, -m, {program}]\n    env: {{PYTHONPATH: {CHECKOUT}}}\n"
            + "".join(f"    {line}\n" for line in keys.splitlines())
        )
        relay = Relay(text, environ=self.environ).start()
        self.addCleanup(relay.stop)
        self.port = relay.port("tool")
        return relay

    def peer(self, **keys: Any) -> Peer:
        return Peer(self.port, **keys).initialize()

    def in_thread(self, use: Callable[[], None]) -> Deferred[None]:
        return deferToThread(use)


class SessionTests(McpCase):
    def test_each_session_has_a_process_which_delete_ends(self) -> Deferred[None]:
        relay = self.relay()

        def use() -> None:
            one, two = self.peer(), self.peer()
            self.assertNotEqual((one.session, one.pid), (two.session, two.pid))
            self.assertEqual(
                one.call("echo", "a", x=1.50), {"jsonrpc": "2.0", "id": "a", "result": {"x": 1.5}}
            )
            self.assertEqual(one.ask("DELETE").status, 200)
            self.assertEqual(one.ask("POST", body=request("echo")).status, 404)
            self.assertEqual(one.ask("GET").status, 404)
            until(lambda: not alive(one.pid))
            self.assertEqual(two.call("echo", 0)["id"], 0)
            relay.wait_for(
                rf'tool 127.0.0.1:\d+ "exec" - .* addr="pid {one.pid}" .*end=downstream phase=done'
            )

        return self.in_thread(use)

    def test_a_process_that_dies_ends_its_session_and_says_why(self) -> Deferred[None]:
        relay = self.relay()

        def use() -> None:
            peer = self.peer()
            stream = peer.ask("GET")
            answer = peer.ask("POST", body=request("die", 5, status=7))
            self.assertEqual((answer.status, answer.kind), (502, "application/json"))
            said = answer.json()
            self.assertEqual(said["id"], 5)
            self.assertIn("the program ended with status 7", said["error"]["message"])
            self.assertEqual(list(stream.messages()), [])
            self.assertEqual(peer.ask("POST", body=request("echo")).status, 404)
            relay.wait_for(r'"exec" - .*error=connection_terminated detail=".*status 7"')
            self.assertNotEqual(self.peer().pid, peer.pid)

        return self.in_thread(use)

    def test_a_program_that_is_not_there_says_so(self) -> Deferred[None]:
        relay = self.relay()

        def use() -> None:
            relay.config.write_text(relay.config.read_text().replace(sys.executable, "no-such-program"))
            os.kill(relay.process.pid, signal.SIGHUP)
            relay.wait_for("reloaded: ")
            answer = Peer(self.port).ask("POST", body=request("initialize", 3))
            self.assertEqual(answer.status, 502)
            said = answer.json()
            self.assertEqual(said["id"], 3)
            self.assertIn("no-such-program cannot be started", said["error"]["message"])

        return self.in_thread(use)

    def test_what_is_no_session_is_told_so(self) -> Deferred[None]:
        self.relay()

        def use() -> None:
            nobody = Peer(self.port)
            self.assertEqual(nobody.ask("POST", body=request("echo")).status, 400)
            self.assertEqual(nobody.ask("GET").status, 400)
            self.assertEqual(nobody.ask("DELETE").status, 400)
            discover = nobody.ask(
                "POST", body=request("server/discover", "d"), MCP_Protocol_Version="2026-07-28"
            )
            self.assertEqual(discover.status, 400)
            said = discover.json()
            self.assertEqual((said["id"], said["error"]["code"]), ("d", -32601))
            peer = self.peer()
            self.assertEqual(peer.ask("POST", body=request("echo"), MCP_Protocol_Version="1").status, 400)
            self.assertEqual(peer.ask("POST", body=request("echo"), MCP_Protocol_Version=None).status, 200)
            for wrong in (b"{", b"[]", b"1", b'{"id": 1}', b"\xff", b"[" * 100_000):
                answer = peer.ask("POST", body=wrong)
                self.assertEqual((answer.status, answer.json()["error"]["code"]), (400, -32700), wrong[:9])
            self.assertEqual(peer.ask("POST", body=b"{}", Content_Type="text/plain").status, 415)
            self.assertEqual(peer.ask("POST", body=request("echo"), Accept="text/html").status, 406)
            self.assertEqual(peer.ask("GET", Accept="application/json").status, 406)
            put = peer.ask("PUT", body=request("echo"))
            self.assertEqual((put.status, put.fields["Allow"]), (405, "GET, POST, DELETE"))
            self.assertEqual(peer.ask("GET", "/.well-known/oauth-protected-resource").status, 404)
            self.assertEqual(peer.call("echo")["result"], {})

        return self.in_thread(use)

    def test_web_pages_are_kept_out(self) -> Deferred[None]:
        self.relay("origins: [https://app.example]")

        def use() -> None:
            peer = self.peer()
            body = request("echo")
            self.assertEqual(peer.ask("POST", body=body, Origin="https://evil.example").status, 403)
            self.assertEqual(peer.ask("POST", body=body, Host="evil.example").status, 421)
            self.assertEqual(peer.ask("POST", body=body, Sec_Fetch_Site="cross-site").status, 403)
            allowed = peer.ask("POST", body=body, Origin="https://app.example")
            self.assertEqual(
                (allowed.status, allowed.fields["Access-Control-Allow-Origin"]), (200, "https://app.example")
            )
            self.assertIn("Mcp-Session-Id", allowed.fields["Access-Control-Expose-Headers"])
            preflight = peer.ask(
                "OPTIONS",
                Origin="https://app.example",
                Access_Control_Request_Method="POST",
                Access_Control_Request_Headers="mcp-session-id",
            )
            self.assertEqual(preflight.status, 204)

        return self.in_thread(use)

    def test_the_longest_idle_session_makes_room_and_a_busy_one_does_not(self) -> Deferred[None]:
        relay = self.relay("max_processes: 2")

        def use() -> None:
            first, second = self.peer(), self.peer()
            stream = first.ask("GET")  # listens only
            first.call("echo")
            third = self.peer()
            self.assertEqual(second.ask("POST", body=request("echo")).status, 404)
            self.assertEqual([peer.call("echo")["id"] for peer in (first, third)], [1, 1])
            busy = [
                peer.ask("POST", body=request("slow", 9, _meta={"progressToken": 1}))
                for peer in (first, third)
            ]
            answer = Peer(self.port).ask("POST", body=request("initialize", 4))
            self.assertEqual((answer.status, answer.fields["Retry-After"]), (503, "2"))
            self.assertEqual(answer.json()["id"], 4)
            relay.wait_for(r"\[warn\] tool: 2 run already")
            self.assertEqual(first.tell("notifications/go"), 202)
            self.assertEqual(list(busy[0].messages())[-1]["result"], {"done": True})
            self.peer()
            self.assertEqual(list(stream.messages()), [])
            self.assertEqual(first.ask("POST", body=request("echo")).status, 404)
            self.assertEqual(third.tell("notifications/go"), 202)

        return self.in_thread(use)

    def test_an_answer_that_is_there_at_once_is_no_stream(self) -> Deferred[None]:
        """On a slow machine it may be late now and then."""
        self.relay()

        def use() -> None:
            peer = self.peer()
            until(lambda: peer.ask("POST", body=request("echo")).kind == "application/json")

        return self.in_thread(use)

    def test_an_idle_session_ends(self) -> Deferred[None]:
        relay = self.relay("timeouts: {tunnel: 500ms}")

        def use() -> None:
            peer = self.peer()
            stream = peer.ask("GET")  # somebody is there
            other, lost = self.peer(), self.peer()
            lost.ask("POST", body=request("slow", 1, _meta={"progressToken": 1})).close()
            until(lambda: not alive(other.pid))
            until(lambda: not alive(lost.pid))
            self.assertEqual(other.ask("POST", body=request("echo")).status, 404)
            self.assertEqual(peer.call("echo")["id"], 1)
            stream.close()
            until(lambda: not alive(peer.pid))
            relay.wait_for(rf'"exec" - .*pid {peer.pid}" .*end=relay phase=done')

        return self.in_thread(use)

    def test_a_reload_leaves_sessions_as_they_are_and_an_end_ends_them(self) -> Deferred[None]:
        relay = self.relay()

        def use() -> None:
            peer = self.peer()
            relay.config.write_text(relay.config.read_text() + "    max_processes: 3\n")
            os.kill(relay.process.pid, signal.SIGHUP)
            relay.wait_for("reloaded: ")
            self.assertEqual(peer.call("echo", x=[])["result"], {"x": []})
            other = self.peer()
            stream = other.ask("GET")
            relay.stop()
            self.assertEqual([alive(each.pid) for each in (peer, other)], [False, False])
            self.assertEqual(list(stream.messages()), [])

        return self.in_thread(use)

    def test_what_is_under_way_when_the_relay_is_told_to_end_has_time(self) -> Deferred[None]:
        relay = self.relay("timeouts: {drain: 30s}")

        def use() -> None:
            peer, idle = self.peer(), self.peer()
            path = relay.folder / "go"
            os.mkfifo(path)
            answer = peer.ask("POST", body=request("wait", 1, path=str(path)))
            self.assertEqual(answer.kind, "text/event-stream")  # so it is under way
            os.kill(relay.process.pid, signal.SIGTERM)
            relay.wait_for("given time to end")
            until(lambda: not alive(idle.pid))
            path.write_text("now")
            self.assertEqual([message["result"] for message in answer.messages()], [{"read": "now"}])
            relay.stop()
            self.assertFalse(alive(peer.pid))

        return self.in_thread(use)


class EndedTests(McpCase):
    def test_what_is_under_way_at_a_delete_is_told(self) -> Deferred[None]:
        relay = self.relay()

        def use() -> None:
            peer = self.peer()
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
            fields = {
                "Content-Type": "application/json",
                "Accept": "application/json",
                "Mcp-Session-Id": peer.session,
            }
            body = request("slow", 4, _meta={"progressToken": 1})
            connection.request("POST", "/mcp", json.dumps(body), fields)
            relay.wait_for("tool: heard slow")
            peer.ask("DELETE")
            answer = Answer(connection)
            self.assertEqual((answer.status, answer.json()["id"]), (404, 4))

        return self.in_thread(use)

    def test_a_program_that_does_not_read_is_ended_nevertheless(self) -> Deferred[None]:
        relay = self.relay("stop_timeout: 200ms")

        def use() -> None:
            peer = self.peer()
            before = relay.rss
            peer.tell("notifications/stop-reading")
            peer.tell("notifications/a", data="x" * 1_000_000)
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
            fields = {"Content-Type": "application/json", "Accept": BOTH, "Mcp-Session-Id": peer.session}
            with self.assertRaises(TimeoutError):  # it is not let in while the program is stuffed
                connection.request("POST", "/mcp", bytes(50_000_000), fields)
            self.assertLess(relay.rss - before, 16 * 1024 * 1024)
            connection.close()
            self.assertEqual(peer.ask("DELETE").status, 200)
            until(lambda: not alive(peer.pid))

        return self.in_thread(use)

    def test_a_client_that_leaves_before_its_session_is_made_leaves_none(self) -> Deferred[None]:
        relay = self.relay(program="tests.support.mcp_stdio_program")

        def use() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
            fields = {"Content-Type": "application/json", "Accept": BOTH}
            connection.request("POST", "/mcp", json.dumps(request("initialize", 0)), fields)
            connection.close()
            relay.wait_for(r'"exec" - .*end=downstream phase=done')

        return self.in_thread(use)


class SharedTests(McpCase):
    def test_one_process_serves_all_and_nobody_hears_of_the_other(self) -> Deferred[None]:
        relay = self.relay("shared: true\nmax_processes: 1")

        def use() -> None:
            one, two = self.peer(), self.peer(version="2025-11-25")
            self.assertEqual(one.pid, two.pid)
            self.assertNotEqual(one.session, two.session)
            slow = [
                peer.ask("POST", body=request("slow", 1, _meta={"progressToken": "t"})) for peer in (one, two)
            ]
            first, second = (answer.messages() for answer in slow)
            self.assertEqual(next(first)["params"], {"progressToken": "t", "progress": 1})
            self.assertEqual(next(second)["params"], {"progressToken": "t", "progress": 1})
            two.tell("notifications/go")
            self.assertEqual(list(second)[-1], {"jsonrpc": "2.0", "id": 1, "result": {"done": True}})
            self.assertEqual(one.tell("notifications/cancelled", requestId=1), 202)
            self.assertEqual(list(first), [])
            relay.wait_for(r"tool: cancelled \d+")
            self.assertEqual(len(re.findall("tool: heard initialize$", relay.log, re.MULTILINE)), 1)
            self.assertEqual(len(re.findall("tool: heard notifications/initialized", relay.log)), 1)
            one.ask("DELETE")
            self.assertEqual(two.call("echo", "z")["id"], "z")
            two.ask("DELETE")
            until(lambda: not alive(two.pid))
            self.assertNotEqual(self.peer().pid, one.pid)

        return self.in_thread(use)

    def test_its_end_ends_all_sessions(self) -> Deferred[None]:
        self.relay("shared: true")

        def use() -> None:
            one, two = self.peer(), self.peer()
            slow = one.ask("POST", body=request("slow", 1, _meta={"progressToken": "t"}))
            messages = slow.messages()
            next(messages)
            self.assertEqual(two.ask("POST", body=request("die", 2, status=0)).status, 502)
            [error] = messages
            self.assertEqual((error["id"], error["error"]["code"]), (1, -32000))
            self.assertEqual([peer.ask("GET").status for peer in (one, two)], [404, 404])
            self.assertNotEqual(self.peer().pid, one.pid)

        return self.in_thread(use)


def _stands(relay: Relay, pid: int) -> bool:
    """Whether the program waits to be read."""
    with open(f"/proc/{pid}/wchan") as file:
        where = file.read()
    if where not in ("", "0"):
        return "pipe_write" in where or "pipe_wait" in where
    return relay.process.poll() is None  # the kernel does not say
