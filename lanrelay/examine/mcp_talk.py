"""
Speaks enough MCP with a server to describe it, in the eras from 2024-11-05 to 2026-07-28.

A session that is begun here is ended here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

from lanrelay.errors import RelayError, ResponseIncomplete, ResponseTimeout
from lanrelay.examine.asking import LONGEST, Asked, HttpAnswer, begin, request_head
from lanrelay.examine.look import Look
from lanrelay.examine.opener import Opener
from lanrelay.examine.web import request_fields

MODERN = "2026-07-28"
LATEST_WITH_SESSIONS = "2025-11-25"
HTTP_SSE = "2024-11-05"

_PAGES = 50  # of a list of tools that are read at most
_BOTH = "application/json, text/event-stream"
_META = "io.modelcontextprotocol/"
_CLIENT = {"name": "lanrelay-doctor", "version": "1"}

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """
    An MCP server.

    @ivar era: the newest version of the protocol that it speaks with us.
    @ivar tools: how many there are.
    @ivar stream: whether there is a GET stream; C{None} where the era has none.
    @ivar redirected_from: the path that led to C{path}.
    """

    era: str
    server: str
    version: str
    tools: int
    session: bool
    path: str
    stream: bool | None = None
    sse_only: bool = False
    redirected_from: str = ""

    def as_json(self) -> Json:
        shown = asdict(self)
        del shown["redirected_from"]
        return shown


class NoMcp(Exception):
    """
    The server that answers is no MCP server.

    @ivar answer: what it said to C{initialize}.
    """

    def __init__(self, answer: HttpAnswer) -> None:
        super().__init__(str(answer.status))
        self.answer = answer


class McpError(Exception):
    """The server answered C{method} with an error of its own; C{str} is its message."""

    def __init__(self, method: str, message: str) -> None:
        super().__init__(message)
        self.method = method


class Talk:
    """
    @param host: the Host to send instead of the subject's.
    @param origin: with the Origin field, where there is one.
    """

    def __init__(
        self, look: Look, opener: Opener, path: str, *, host: str | None = None, origin: bool = True
    ) -> None:
        self._look = look
        self._opener = opener
        self.path = path
        self._host = look.subject.host if host is None else host
        self._fields = request_fields(look, origin=origin)
        self._id = 0
        self._session = ""
        self._version = ""

    async def find(self) -> Found:
        """
        What a client would find.

        @raise NoMcp: there is no MCP server.
        @raise McpError: there is one, which fails.
        @raise RelayError: no answer.
        """
        found = await self._modern()
        return found if found is not None else await self._with_session()

    async def is_there(self) -> bool:
        """Whether an MCP server answers C{initialize}, be it with an error."""
        try:
            _, message = await self._call("initialize", _initialize())
        except RelayError:
            return False
        await self._end_session()
        return message is not None and (_result(message) is not None or "error" in message)

    # --- 2026-07-28 ---

    async def _modern(self) -> Found | None:
        """Try the era of 2026-07-28; C{None} for an older server, or none of MCP at all."""
        try:
            answer, message = await self._call("server/discover", {}, version=MODERN)
        except ResponseTimeout:
            return None  # an old server that never answers unknown methods
        result = _result(message)
        if answer.status != 200 or result is None or MODERN not in _listed(result.get("supportedVersions")):
            if answer.field(b"mcp-session-id"):
                await self._end_session()
            return None
        self._version = MODERN
        info = _map(_map(result.get("_meta")).get(f"{_META}serverInfo"))
        return Found(
            era=MODERN,
            server=_short(info.get("name")),
            version=_short(info.get("version")),
            tools=await self._tools(_map(result.get("capabilities"))),
            session=False,
            path=self.path,
        )

    # --- 2025-03-26 to 2025-11-25 ---

    async def _with_session(self) -> Found:
        answer, message = await self._call("initialize", _initialize())
        came_from = ""
        if message is None and answer.status in (301, 302, 307, 308):
            there = self._same_origin(answer.field(b"location"))
            if there is not None and there != self.path:
                came_from, self.path = self.path, there
                answer, message = await self._call("initialize", _initialize())
        if answer.status in (401, 403, 421):
            message = None  # it wants a login or another Host, even if it says so in JSON
        if message is None:
            await self._end_session()
            if answer.status in (400, 404, 405, 406, 415):
                found = await self._old_transport()
                if found is not None:
                    return found
            raise NoMcp(answer)
        try:
            return await self._known(message, came_from)
        finally:
            await self._end_session()

    async def _known(self, message: Json, came_from: str) -> Found:
        result = _result(message)
        if result is None:
            raise McpError("initialize", _error_text(message))
        self._version = _short(result.get("protocolVersion"))
        await self._post({"jsonrpc": "2.0", "method": "notifications/initialized"})
        info = _map(result.get("serverInfo"))
        return Found(
            era=self._version,
            server=_short(info.get("name")),
            version=_short(info.get("version")),
            tools=await self._tools(_map(result.get("capabilities"))),
            session=bool(self._session),
            path=self.path,
            stream=await self._has_stream(),
            redirected_from=came_from,
        )

    async def _tools(self, capabilities: Json) -> int:
        if "tools" not in capabilities:
            return 0
        count, cursor = 0, None
        for _ in range(_PAGES):
            params: Json = {} if cursor is None else {"cursor": cursor}
            answer, message = await self._call("tools/list", params, version=self._version)
            result = _result(message)
            if message is None or result is None:
                text = f"status {answer.status}" if message is None else _error_text(message)
                raise McpError("tools/list", text)
            count += len(_listed(result.get("tools")))
            cursor = result.get("nextCursor")
            if not cursor:
                break
        return count

    async def _has_stream(self) -> bool | None:
        try:
            asked = await self._begin("GET", [("Accept", "text/event-stream")])
        except RelayError:
            return None
        try:
            answer = HttpAnswer(await asked.head(self._look.timeout))
        except RelayError:
            return None  # some servers send no head before the first event
        finally:
            asked.close()
        return answer.status == 200 and answer.media_type == "text/event-stream"

    async def _end_session(self) -> None:
        if not self._session:
            return
        try:
            asked = await self._begin("DELETE", [])
            try:
                await asked.head(self._look.timeout)
            finally:
                asked.close()
        except RelayError:
            pass  # the server will forget the session by itself
        self._session = ""

    # --- 2024-11-05 ---

    async def _old_transport(self) -> Found | None:
        """HTTP+SSE: a stream, whose first event names the path for what the client says."""
        try:
            asked = await self._begin("GET", [("Accept", "text/event-stream")])
        except RelayError:
            return None
        stream = _Events(asked, self._look)
        try:
            answer = HttpAnswer(await asked.head(self._look.timeout))
            if answer.status != 200 or answer.media_type != "text/event-stream":
                return None
            kind, data = await stream.next()
            where = self._same_origin(data) if kind == "endpoint" else None
            if where is None:
                return None
            return await self._over(stream, where)
        except RelayError:
            return None
        finally:
            asked.close()

    async def _over(self, stream: _Events, where: str) -> Found | None:
        async def call(method: str, params: Json) -> Json:
            self._id += 1
            stream.begin()
            await self._post(
                {"jsonrpc": "2.0", "id": self._id, "method": method, "params": params}, path=where
            )
            while True:
                kind, data = await stream.next()
                if kind == "end":
                    raise ResponseIncomplete("its event stream ended before the answer")
                message = _of_id(data, self._id)
                if message is not None:
                    return message

        message = await call("initialize", _initialize(HTTP_SSE))
        result = _result(message)
        if result is None:
            raise McpError("initialize", _error_text(message))
        await self._post({"jsonrpc": "2.0", "method": "notifications/initialized"}, path=where)
        tools = 0
        if "tools" in _map(result.get("capabilities")):
            tools = len(_listed((_result(await call("tools/list", {})) or {}).get("tools")))
        info = _map(result.get("serverInfo"))
        return Found(
            era=_short(result.get("protocolVersion")) or HTTP_SSE,
            server=_short(info.get("name")),
            version=_short(info.get("version")),
            tools=tools,
            session=True,
            path=self.path,
            sse_only=True,
        )

    # --- requests ---

    async def _call(self, method: str, params: Json, *, version: str = "") -> tuple[HttpAnswer, Json | None]:
        """The HTTP answer, and the JSON-RPC answer in it; C{None} if there is none."""
        self._id += 1
        if version == MODERN:
            params = {**params, "_meta": _meta()}
        request = {"jsonrpc": "2.0", "id": self._id, "method": method, "params": params}
        return await self._post(request, version=version, method=method)

    async def _post(
        self, message: Json, *, version: str | None = None, method: str = "", path: str = ""
    ) -> tuple[HttpAnswer, Json | None]:
        content = json.dumps(message).encode()
        version = self._version if version is None else version
        fields = [("Content-Type", "application/json"), ("Accept", _BOTH)]
        if version:
            fields.append(("MCP-Protocol-Version", version))
        if version == MODERN and method:
            fields.append(("Mcp-Method", method))
        asked = await self._begin("POST", fields, content, path=path)
        try:
            answer = HttpAnswer(await asked.head(self._look.timeout))
            self._session = answer.field(b"mcp-session-id") or self._session
            number = message.get("id")
            if answer.media_type == "text/event-stream":
                return answer, await self._from_stream(asked, number)
            if number is None:
                return answer, None
            answer.content = await asked.content(LONGEST, self._look.timeout)
            return answer, _of_id(answer.text, number)
        finally:
            asked.close()

    async def _from_stream(self, asked: Asked, number: object) -> Json | None:
        stream = _Events(asked, self._look)
        while number is not None:
            kind, data = await stream.next()
            if kind == "end":
                return None
            message = _of_id(data, number)
            if message is not None:
                return message
        return None

    async def _begin(
        self, method: str, fields: list[tuple[str, str]], content: bytes = b"", *, path: str = ""
    ) -> Asked:
        more = [("Mcp-Session-Id", self._session)] if self._session else []
        if method != "POST" and self._version:
            more.append(("MCP-Protocol-Version", self._version))
        length = len(content) if content else None
        head = request_head(
            method, path or self.path, self._host, [*self._fields, *fields, *more], length=length
        )
        return await begin(self._look.means, self._opener, head, content)

    def _same_origin(self, reference: str) -> str | None:
        """The path and query that a reference means on this server; C{None} if it leads to another."""
        url = self._look.upstream.url
        base = f"{url.scheme}://{self._host}"
        place = urlsplit(urljoin(f"{base}{self.path}", reference.strip()))
        if place.scheme != url.scheme or place.netloc not in (self._host, url.authority):
            return None
        return (place.path or "/") + (f"?{place.query}" if place.query else "")


class _Events:
    """The events of a stream, one after another."""

    def __init__(self, asked: Asked, look: Look) -> None:
        self._asked = asked
        self._look = look
        self.begin()
        self._buffer = b""
        self._after_cr = False
        self._ready: list[tuple[str, str]] = []

    def begin(self) -> None:
        """Begin the time in which the awaited event has to come."""
        self._until = self._look.now() + self._look.timeout

    async def next(self) -> tuple[str, str]:
        """
        Kind and data; C{end} is the end of the stream.

        @raise RelayError: it broke off, or the time is over.
        """
        timeout = self._look.timeout
        while not self._ready:
            if self._look.now() >= self._until:
                raise ResponseTimeout(f"no answer within {timeout:g} s")
            data = await self._asked.parts(self._until - self._look.now(), of=timeout)
            if not data:
                return "end", ""
            if self._after_cr and data[:1] == b"\n":  # the rest of a line's end that came in two parts
                data = data[1:]
            self._after_cr = data.endswith(b"\r")
            self._buffer += data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            if len(self._buffer) > LONGEST:
                return "end", ""
            *whole, self._buffer = self._buffer.split(b"\n\n")
            self._ready += [event for block in whole for event in _event(block)]
        return self._ready.pop(0)


def _event(block: bytes) -> Iterator[tuple[str, str]]:
    kind, data = "message", []
    for line in block.decode("utf-8", "replace").split("\n"):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "data":
            data.append(value)
    if data:
        yield kind, "\n".join(data)


# --- messages -------------------------------------------------------------------------------------------


def _initialize(version: str = LATEST_WITH_SESSIONS) -> Json:
    return {"protocolVersion": version, "capabilities": {}, "clientInfo": _CLIENT}


def _meta() -> Json:
    return {
        f"{_META}protocolVersion": MODERN,
        f"{_META}clientInfo": _CLIENT,
        f"{_META}clientCapabilities": {},
    }


def _of_id(text: str, number: object) -> Json | None:
    """
    The JSON-RPC answer in C{text}.

    An error that refuses a request as a whole may have no id (MCP of 2025-06-18, transports).
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    for message in found if isinstance(found, list) else [found]:
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
            continue
        if not {"result", "error"} & message.keys():
            continue
        if message.get("id") == number or (message.get("id") is None and "error" in message):
            return message
    return None


def _result(message: Json | None) -> Json | None:
    result = None if message is None else message.get("result")
    return result if isinstance(result, dict) else None


def _error_text(message: Json) -> str:
    error = _map(message.get("error"))
    text = str(error.get("message", "")) or "no reason given"
    code = error.get("code")
    return f"{text[:200]} ({code})" if isinstance(code, int) else text[:200]


def _map(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _short(value: object) -> str:
    """A name or a version that a server gives itself."""
    text = value if isinstance(value, str) else ""
    return text if len(text) <= 80 else f"{text[:77]}..."
