"""Servers of the oldest and of the newest era, in memory."""

from __future__ import annotations

from typing import Any

from lanrelay.bridge.messages import Ask
from tests.bridge.scene import CUT, STREAM, Json, Scene, body_of, error, field, request, result

MODERN = "2026-07-28"
META = "io.modelcontextprotocol/"


def modern(id: Any, method: str, params: Json | None = None, **meta: Any) -> Json:
    """A request of 2026-07-28."""
    about: Json = {
        f"{META}protocolVersion": MODERN,
        f"{META}clientInfo": {"name": "new", "version": "2"},
        f"{META}clientCapabilities": {},
    }
    return request(id, method, {**(params or {}), "_meta": about | meta})


class ModernServer:
    """
    Streamable HTTP of 2026-07-28 alone; it is as strict as the specification.

    @ivar tools: by name, their input schemas.
    @ivar questions: answers to calls with what is wanted first, in their order.
    """

    def __init__(self, *, streams: bool = False) -> None:
        self.streams = streams
        self.tools: dict[str, Json] = {"add": {"type": "object"}}
        self.capabilities: Json = {"tools": {"listChanged": True}, "resources": {}}
        self.versions = [MODERN]
        self.executions: list[Json] = []
        self.questions: list[Json] = []
        self.seen: list[Json] = []
        self.listeners: dict[Any, Ask] = {}
        self.is_down = False
        self.pages = False
        self.silent: set[str] = set()

    def __call__(self, scene: Scene, ask: Ask) -> None:
        if self.is_down:
            scene.fail(ask)
            return
        assert field(ask, "Mcp-Session-Id") is None
        if ask.method != "POST":
            scene.answer(ask, None, 405)
            return
        message = body_of(ask)
        self.seen.append(message)
        assert "method" in message, "a response"
        refusal = self._refusal(ask, message)
        if refusal is not None:
            scene.answer(ask, *refusal)
            return
        method = message["method"]
        if method in self.silent:
            return
        if method == "subscriptions/listen":
            self.listeners[message["id"]] = ask
            scene.head(ask, 200, STREAM)
            self.tell(scene, message["id"], "notifications/subscriptions/acknowledged", {"notifications": {}})
            return
        answer = self.answer_to(message)
        if "error" in answer:
            scene.answer(ask, answer, 404)
        elif self.streams:
            scene.head(ask, 200, STREAM)
            scene.event(ask, answer)
            scene.finish(ask)
        else:
            scene.answer(ask, answer)

    def tell(self, scene: Scene, listener: Any, method: str, params: Json | None = None) -> None:
        about = {"_meta": {f"{META}subscriptionId": listener}}
        note = {"jsonrpc": "2.0", "method": method, "params": {**about, **(params or {})}}
        scene.event(self.listeners[listener], note)

    def _refusal(self, ask: Ask, message: Json) -> tuple[Json, int] | None:
        id, params = message.get("id"), message.get("params", {})
        meta = params.get("_meta", {})
        version = field(ask, "MCP-Protocol-Version")
        if version is None or message["method"] == "initialize":
            data = {"supported": self.versions, "requested": version}
            return error(id, -32022, "Unsupported protocol version", data=data) if id is not None else {}, 400
        if f"{META}clientCapabilities" not in meta:
            return error(id, -32602, "Missing _meta"), 400
        if version not in self.versions:
            data = {"supported": self.versions, "requested": version}
            return error(id, -32022, "Unsupported protocol version", data=data), 400
        wanted: Json = {
            "MCP-Protocol-Version": meta[f"{META}protocolVersion"],
            "Mcp-Method": message["method"],
        }
        if message["method"] in ("tools/call", "prompts/get"):
            wanted["Mcp-Name"] = params["name"]
        if message["method"] == "resources/read":
            wanted["Mcp-Name"] = params["uri"]
        if message["method"] == "tools/call":
            schema = self.tools.get(params["name"], {})
            for name, each in schema.get("properties", {}).items():
                if "x-mcp-header" in each and name in params.get("arguments", {}):
                    wanted[f"Mcp-Param-{each['x-mcp-header']}"] = params["arguments"][name]
        for name, value in wanted.items():
            if field(ask, name) != value:
                return error(id, -32020, f"Header mismatch: {name}"), 400
        return None

    def answer_to(self, message: Json) -> Json:
        method, params, id = message["method"], message["params"], message["id"]
        if method == "server/discover":
            about = {f"{META}serverInfo": {"name": "new", "version": "3"}}
            value = {"supportedVersions": self.versions, "capabilities": self.capabilities, "_meta": about}
            return result(id, {"resultType": "complete", "instructions": "Be kind.", **value})
        if method == "tools/list":
            tools = [{"name": name, "inputSchema": schema} for name, schema in self.tools.items()]
            if self.pages:
                at = int(params.get("cursor", "0"))
                more = {"nextCursor": str(at + 1)} if at + 1 < len(tools) else {}
                return result(id, {"resultType": "complete", "tools": tools[at : at + 1], **more})
            return result(id, {"resultType": "complete", "tools": tools})
        if method == "tools/call":
            if self.questions:
                return result(id, {"resultType": "input_required", **self.questions.pop(0)})
            self.executions.append(params)
            return result(id, {"resultType": "complete", "content": [{"type": "text", "text": "done"}]})
        return error(id, -32601, "Method not found")


class SseServer:
    """
    HTTP+SSE of 2024-11-05.

    @ivar endpoint: what the first event says.
    """

    def __init__(self, endpoint: str = "/messages?session=1") -> None:
        self.endpoint = endpoint
        self.stream: Ask | None = None
        self.executions: list[Json] = []
        self.seen: list[Json] = []
        self.is_down = False
        self.silent: set[str] = set()

    def __call__(self, scene: Scene, ask: Ask) -> None:
        if self.is_down:
            scene.fail(ask)
        elif ask.method == "GET" and ask.path is None:
            self.stream = ask
            scene.head(ask, 200, STREAM)
            scene.event(ask, self.endpoint.encode(), kind="endpoint")
        elif ask.path != "/messages?session=1" or ask.method != "POST" or self.stream is None:
            scene.answer(ask, b"Not Found", 404, (("Content-Type", "text/plain"),))
        else:
            message = body_of(ask)
            self.seen.append(message)
            scene.answer(ask, b"Accepted", 202, (("Content-Type", "text/plain"),))
            if "id" in message and "method" in message and message["method"] not in self.silent:
                scene.event(self.stream, self._answer_to(message))

    def cut(self, scene: Scene) -> None:
        stream, self.stream = self.stream, None
        assert stream is not None
        scene.fail(stream, CUT)

    def _answer_to(self, message: Json) -> Json:
        if message["method"] == "initialize":
            about = {"serverInfo": {"name": "oldest", "version": "0"}, "capabilities": {"tools": {}}}
            return result(message["id"], {"protocolVersion": "2024-11-05", **about})
        if message["method"] == "tools/call":
            self.executions.append(message["params"])
        return result(message["id"], {"content": [], "tools": []})
