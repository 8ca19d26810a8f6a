"""A dialogue in memory: a client that says lines, servers of every era, and a clock."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from lanrelay.bridge.dialogue import Dialogue, Settings
from lanrelay.bridge.messages import Action, Ask, Done, Drop, Event, Failure, Fields, Note, Say, Wake

REFUSED = Failure("refused", "nas.lan refused the connection.", "Start the server.", False)
CUT = Failure("reset", "nas.lan ended the connection.", "", True)
JSON: Fields = (("Content-Type", "application/json"),)
STREAM: Fields = (("Content-Type", "text/event-stream"),)

HELLO = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "claude-ai", "version": "0.1.0"},
    },
}
CONFIRMATION = {"jsonrpc": "2.0", "method": "notifications/initialized"}

Json = dict[str, Any]


def request(id: Any, method: str, params: Json | None = None) -> Json:
    return {"jsonrpc": "2.0", "id": id, "method": method} | ({} if params is None else {"params": params})


def result(id: Any, value: Json) -> Json:
    return {"jsonrpc": "2.0", "id": id, "result": value}


def error(id: Any, code: int, message: str, **more: Any) -> Json:
    return {"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message, **more}}


class Memory:
    """What K{Remembered} keeps, in a dict."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, ...], bytes] = {}

    def get(self, key: tuple[str, ...]) -> bytes | None:
        return self.kept.get(key)

    def put(self, key: tuple[str, ...], value: bytes) -> None:
        self.kept[key] = value


class Scene:
    """
    @ivar asks: those without an end, in their order.
    @ivar lines: what the client was told, as bytes.
    @ivar server: answers each ask at once; without one the test does.
    """

    def __init__(self, server: Callable[[Scene, Ask], None] | None = None, **settings: Any) -> None:
        self.now = 1000.0
        self.dialogue = Dialogue(settings=Settings(**settings), now=self.now)
        self.server = server
        self.asks: dict[int, Ask] = {}
        self.all_asks: list[Ask] = []
        self.dropped: list[int] = []
        self.lines: list[bytes] = []
        self.notes: list[str] = []
        self.wake: float | None = None
        self.done = False
        self._depth = 0
        self._do(self.dialogue.begin(self.now))

    def _do(self, actions: Iterable[Action]) -> None:
        fresh: list[Ask] = []
        for action in actions:
            assert not self.done
            if isinstance(action, Ask):
                self.asks[action.number] = action
                self.all_asks.append(action)
                fresh.append(action)
            elif isinstance(action, Drop):
                assert action.number in self.asks, "dropped twice"
                del self.asks[action.number]
                self.dropped.append(action.number)
            elif isinstance(action, Say):
                assert b"\n" not in action.line
                self.lines.append(action.line)
            elif isinstance(action, Wake):
                self.wake = action.at
            elif isinstance(action, Note):
                self.notes.append(action.text)
            else:
                assert isinstance(action, Done)
                self.done = True
        for ask in fresh:
            if self.server is not None and ask.number in self.asks:
                self.server(self, ask)

    # --- the client ---

    def say(self, *messages: Json | list[Json] | bytes) -> None:
        for message in messages:
            line = message if isinstance(message, bytes) else json.dumps(message).encode()
            self._do(self.dialogue.said(line, self.now))

    def heard(self) -> list[Any]:
        """What the client was told since the last time."""
        lines, self.lines = self.lines, []
        return [json.loads(line) for line in lines]

    def end(self) -> None:
        self._do(self.dialogue.ended(self.now))

    def pass_time(self, seconds: float) -> None:
        until = self.now + seconds
        while self.wake is not None and self.wake <= until and not self.done:
            self.now = max(self.now, self.wake)
            self.wake = None
            self._do(self.dialogue.woken(self.now))
        self.now = until

    # --- the server ---

    def ask(self, method: str = "POST", rpc: str | None = None) -> Ask:
        """The one open ask of this kind."""
        found = [
            ask
            for ask in self.asks.values()
            if ask.method == method and (rpc is None or body_of(ask).get("method") == rpc)
        ]
        assert len(found) == 1, (method, rpc, self.asks)
        return found[0]

    def head(self, ask: Ask, status: int, fields: Fields = (), reason: str = "") -> None:
        self._do(self.dialogue.answered(ask.number, status, reason, fields, self.now))

    def answer(self, ask: Ask, body: Any, status: int = 200, fields: Fields = JSON) -> None:
        """With a whole body; C{None} has none."""
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        self.head(ask, status, fields if data else ())
        if data and ask.number in self.asks:
            self._do(self.dialogue.content(ask.number, data, self.now))
        self.finish(ask)

    def event(
        self, ask: Ask, data: Any, id: str | None = None, retry: int | None = None, kind: str = "message"
    ) -> None:
        text = data if isinstance(data, bytes) else json.dumps(data).encode()
        self._do(self.dialogue.event(ask.number, Event(kind, text, id, retry), self.now))

    def finish(self, ask: Ask) -> None:
        if self.asks.pop(ask.number, None) is not None:
            self._do(self.dialogue.finished(ask.number, self.now))

    def fail(self, ask: Ask, failure: Failure = REFUSED) -> None:
        if self.asks.pop(ask.number, None) is not None:
            self._do(self.dialogue.failed(ask.number, failure, self.now))


def body_of(ask: Ask) -> Json:
    if ask.body is None:
        return {}
    body = json.loads(ask.body)
    assert isinstance(body, dict)
    return body


def field(ask: Ask, name: str) -> str | None:
    for each, value in ask.fields:
        if each.lower() == name.lower():
            return value
    return None


class LegacyServer:
    """
    Streamable HTTP with sessions.

    @ivar executions: the calls that ran.
    @ivar is_down: refuses connections.
    @ivar streams: whether requests are answered by streams.
    """

    def __init__(self, version: str = "2025-11-25", *, streams: bool = False, listens: bool = True) -> None:
        self.version = version
        self.streams = streams
        self.listens = listens
        self.sessions: dict[str | None, bool] = {}
        self.made = 0
        self.ended: list[str] = []
        self.tools = ["add"]
        self.executions: list[Json] = []
        self.seen: list[Json] = []
        self.is_down = False
        self.silent: set[str] = set()
        self.stream: Ask | None = None

    def restart(self) -> None:
        self.sessions.clear()

    def __call__(self, scene: Scene, ask: Ask) -> None:
        if self.is_down:
            scene.fail(ask)
            return
        session = field(ask, "Mcp-Session-Id")
        if ask.method == "POST":
            message = body_of(ask)
            self.seen.append(message)
            if message.get("method") == "initialize":
                self._initialize(scene, ask, message)
            elif session not in self.sessions:
                scene.answer(ask, error(None, -32001, "Session not found"), 404)
            elif "id" not in message or "method" not in message:
                if message.get("method") == "notifications/initialized":
                    self.sessions[session] = True
                scene.answer(ask, None, 202)
            elif not self.sessions[session]:
                scene.answer(ask, error(message["id"], -32602, "not initialized"), 400)
            elif message["method"] not in self.silent:
                self._respond(scene, ask, message)
        elif ask.method == "DELETE":
            if self.sessions.pop(session, None) is not None:
                self.ended.append(str(session))
            scene.answer(ask, None)
        elif session not in self.sessions:
            scene.answer(ask, error(None, -32001, "Session not found"), 404)
        elif self.listens:
            self.stream = ask
            scene.head(ask, 200, STREAM)
        else:
            scene.answer(ask, None, 405)

    def _initialize(self, scene: Scene, ask: Ask, message: Json) -> None:
        assert field(ask, "Mcp-Session-Id") is None
        self.made += 1
        session = f"session-{self.made}"
        self.sessions[session] = False
        value = {
            "protocolVersion": self.version,
            "capabilities": {"tools": {"listChanged": True}},
            "serverInfo": {"name": "old", "version": "1"},
        }
        fields: Fields = (("Mcp-Session-Id", session),)
        self._send(scene, ask, result(message["id"], value), fields)

    def _respond(self, scene: Scene, ask: Ask, message: Json) -> None:
        assert field(ask, "MCP-Protocol-Version") == self.version
        self._send(scene, ask, self.answer_to(message))

    def _send(self, scene: Scene, ask: Ask, message: Json, fields: Fields = ()) -> None:
        if self.streams:
            scene.head(ask, 200, (*STREAM, *fields))
            scene.event(ask, message)
            scene.finish(ask)
        else:
            scene.answer(ask, message, fields=(*JSON, *fields))

    def answer_to(self, message: Json) -> Json:
        method, params = message["method"], message.get("params", {})
        if method == "tools/list":
            tools = [{"name": name, "inputSchema": {"type": "object"}} for name in self.tools]
            return result(message["id"], {"tools": tools})
        if method == "tools/call":
            self.executions.append(params)
            return result(message["id"], {"content": [{"type": "text", "text": "done"}]})
        if method in ("ping", "logging/setLevel", "resources/subscribe"):
            return result(message["id"], {})
        return error(message["id"], -32601, "Method not found")
