"""The call that a client will make: C{initialize} and C{tools/list}, or C{server/discover}."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Literal, NamedTuple
from urllib.parse import urljoin, urlsplit

from lanrelay.clients.judge import is_variable
from lanrelay.edit.masking import mask

OLD, NEW = "2025-06-18", "2026-07-28"
"""Versions of the protocol that are spoken; every server so far knows one of them."""

PATIENCE = 15.0
"""Seconds for the whole call. The relay itself gives an upstream up after some."""

LARGEST = 8 * 1024 * 1024
"""Bytes of an answer."""

_GRACE = 0.25
"""Seconds after which a read that waits in vain raises by itself."""

_LATE = "The call failed: nothing came in time."

_WHO = {"name": "lanrelay", "version": "1"}

Json = dict[str, Any]


class Called(NamedTuple):
    """
    What came of the call.

    @ivar good: the client will get as far as a list of tools, or to a login of its own.
    @ivar said: that in a sentence.
    @ivar tools: how many; C{None} where they were not listed.
    @ivar login: the server wants a login that the entry does not bring.
    """

    good: bool
    said: str
    tools: int | None = None
    login: bool = False


class _Failed(Exception):
    """The text is a sentence."""

    def __init__(self, sentence: str) -> None:
        super().__init__(_line(sentence))


class _Status(_Failed):
    def __init__(self, status: int, reason: str, content: str) -> None:
        first = next((line.strip() for line in content.splitlines() if line.strip()), "")
        # A page says nothing here; the relay's own answers are a line of text or of JSON.
        more = f": {mask(first)[:200]}" if first and not first.startswith("<") else ""
        super().__init__(f"The answer is {status} {reason}{more}")
        self.status = status


def call(
    url: str,
    *,
    headers: Mapping[str, str] = {},
    transport: Literal["http", "sse", "stdio"] | None = None,
    patience: float = PATIENCE,
) -> Called:
    """
    Make the call of a client.

    @param headers: what the entry sends; a value that only the client knows (C{${VAR}}) is left out.
    @param transport: how the client will speak; without it, and with C{stdio}, HTTP is tried, then SSE.
    """
    sent = {name: value for name, value in headers.items() if not is_variable(value)}
    hidden = len(sent) != len(headers)
    until = time.monotonic() + patience
    try:
        if transport == "sse":
            return _over_sse(url, sent, until)
        try:
            return _over_http(url, sent, until)
        except _Status as refused:
            if transport == "http" or refused.status not in (400, 404, 405, 406):
                raise
            try:
                return _over_sse(url, sent, until)
            except _Failed:
                raise refused from None
    except _Status as refused:
        if refused.status in (401, 403) and hidden:
            return Called(True, f"The server answers {refused.status} without what only the client knows.")
        login = refused.status == 401 and not _credentials(sent)
        return Called(False, f"{refused}.", login=login)
    except _Failed as failed:
        return Called(False, _LATE if time.monotonic() >= until else f"{failed}.")
    except (OSError, http.client.HTTPException, ValueError) as error:
        if time.monotonic() >= until and not isinstance(error, TimeoutError):
            return Called(False, _LATE)
        return Called(False, f"The call failed: {error or type(error).__name__}.")


def _credentials(headers: Mapping[str, str]) -> bool:
    return any(re.search("authorization|key|token|cookie", name, re.IGNORECASE) for name in headers)


# --- Streamable HTTP ----------------------------------------------------------------------------------


def _over_http(url: str, headers: Mapping[str, str], until: float) -> Called:
    talk = _Http(url, headers, until)
    try:
        began = talk.ask("initialize", _hello(), 1)
    except _Status as refused:
        if refused.status != 400:
            raise
        began = {}
    if "result" not in began:
        return _modern(talk, began)
    result = began["result"]
    talk.version = str(result.get("protocolVersion", OLD))
    talk.tell("notifications/initialized")
    tools = _tools(talk.ask("tools/list", {}, 2)) if "tools" in result.get("capabilities", {}) else 0
    talk.end()
    return _good(result, tools)


def _modern(talk: _Http, began: Json) -> Called:
    """A server that has no C{initialize} any more."""
    talk.version, talk.session = NEW, ""
    meta = {
        "io.modelcontextprotocol/protocolVersion": NEW,
        "io.modelcontextprotocol/clientInfo": _WHO,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    found = talk.ask("server/discover", {"_meta": meta}, 2, method=True)
    if "result" not in found:
        error = began.get("error") or found.get("error") or {}
        raise _Failed(f"The server refuses to begin: {str(error.get('message', 'no reason given'))[:200]}")
    tools = talk.ask("tools/list", {"_meta": meta}, 3, method=True)
    return _good(found["result"], _tools(tools))


class _Http:
    """One server; a connection for each request, as nothing here needs to be quick."""

    def __init__(self, url: str, headers: Mapping[str, str], until: float) -> None:
        self._url = url
        self._headers = headers
        self._until = until
        self.version = ""
        self.session = ""

    def ask(self, name: str, params: Json, id: int, *, method: bool = False) -> Json:
        """The JSON-RPC answer to a request."""
        fields = {"Mcp-Method": name} if method else {}
        message = {"jsonrpc": "2.0", "id": id, "method": name, "params": params}
        connection, answer = self._post(message, fields)
        try:
            self.session = answer.headers.get("Mcp-Session-Id", self.session)
            if answer.status != 200:
                raise _Status(answer.status, answer.reason, _text(answer))
            if "text/event-stream" in answer.headers.get("Content-Type", ""):
                for _, data in _events(answer, self._until):
                    said = _object(data)
                    if said.get("id") == id:
                        return said
                raise _Failed("The stream of the answer ended without the answer")
            return _object(_text(answer))
        finally:
            connection.close()

    def tell(self, name: str) -> None:
        """A notification."""
        connection, answer = self._post({"jsonrpc": "2.0", "method": name}, {})
        with_body = answer.read(LARGEST)
        connection.close()
        if answer.status >= 400:
            raise _Status(answer.status, answer.reason, with_body.decode("utf-8", "replace"))

    def end(self) -> None:
        """Nobody has to keep this session."""
        if self.session:
            connection = _connect(self._url, self._until)
            fields = {**self._headers, "Mcp-Session-Id": self.session, "MCP-Protocol-Version": self.version}
            connection.request("DELETE", _target(self._url), headers=fields)
            connection.getresponse().read(LARGEST)
            connection.close()

    def _post(
        self, message: Json, fields: Mapping[str, str]
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = _connect(self._url, self._until)
        sent = {
            **self._headers,
            "Accept": "application/json, text/event-stream",
            "Content-Type": "application/json",
            **({"MCP-Protocol-Version": self.version} if self.version else {}),
            **({"Mcp-Session-Id": self.session} if self.session else {}),
            **fields,
        }
        connection.request("POST", _target(self._url), json.dumps(message).encode(), sent)
        return connection, connection.getresponse()


# --- HTTP with SSE, of 2024 ---------------------------------------------------------------------------


def _over_sse(url: str, headers: Mapping[str, str], until: float) -> Called:
    listening = _connect(url, until)
    try:
        listening.request("GET", _target(url), headers={**headers, "Accept": "text/event-stream"})
        stream = listening.getresponse()
        if stream.status != 200 or "text/event-stream" not in stream.headers.get("Content-Type", ""):
            raise _Status(stream.status, stream.reason, "" if stream.status == 200 else _text(stream))
        events = _events(stream, until)
        event, data = next(events, ("", ""))
        if event != "endpoint":
            raise _Failed("The stream does not begin with the place for requests")
        there = urljoin(url, data.strip())
        if urlsplit(there)[:2] != urlsplit(url)[:2]:
            raise _Failed("The stream sends its client elsewhere")

        def ask(message: Json) -> Json:
            connection = _connect(there, until)
            sent = {**headers, "Content-Type": "application/json"}
            connection.request("POST", _target(there), json.dumps(message).encode(), sent)
            answer = connection.getresponse()
            content = _text(answer)
            connection.close()
            if answer.status >= 400:
                raise _Status(answer.status, answer.reason, content)
            if "id" not in message:
                return {}
            for _, data in events:
                said = _object(data)
                if said.get("id") == message["id"]:
                    return said
            raise _Failed("The stream ended without an answer")

        began = ask({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": _hello()})
        if "result" not in began:
            raise _Failed("The server refuses to begin")
        ask({"jsonrpc": "2.0", "method": "notifications/initialized"})
        listed = ask({"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}})
        return _good(began["result"], _tools(listed))
    finally:
        listening.close()


# --- what both need -----------------------------------------------------------------------------------


def _hello() -> Json:
    return {"protocolVersion": OLD, "capabilities": {}, "clientInfo": _WHO}


def _line(text: str) -> str:
    """A server's words are part of a line of ours, and never begin a line."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _good(result: Json, tools: int) -> Called:
    newer = (result.get("_meta") or {}).get("io.modelcontextprotocol/serverInfo")
    server = result.get("serverInfo") or newer or {}
    name = _line(str(server.get("name") or "the server")[:80])
    word = "tool" if tools == 1 else "tools"
    return Called(True, f"{name} answers with {tools} {word}.", tools)


def _tools(listed: Json) -> int:
    tools = (listed.get("result") or {}).get("tools")
    if not isinstance(tools, list):
        raise _Failed("The server does not list its tools")
    return len(tools)


def _connect(url: str, until: float) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("nothing came in time")
    assert parts.scheme == "http", "the relay listens on loopback without TLS"
    return _Connection(parts.hostname or "", parts.port or 80, timeout=left)


class _Connection(http.client.HTTPConnection):
    """One that is cut when the time is over: what comes byte by byte never keeps a read waiting for long."""

    def connect(self) -> None:
        super().connect()
        cutting = threading.Timer(float(self.timeout or 0) + _GRACE, _cut, [self.sock])
        cutting.daemon = True
        cutting.start()


def _cut(connected: socket.socket) -> None:
    with suppress(OSError):  # closed long since
        connected.shutdown(socket.SHUT_RDWR)


def _target(url: str) -> str:
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _text(answer: http.client.HTTPResponse) -> str:
    return answer.read(LARGEST).decode("utf-8", "replace")


def _object(text: str) -> Json:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        raise _Failed("What came back is not MCP; perhaps the path is wrong, or it is a login page") from None
    return said if isinstance(said, dict) else {}


def _events(answer: http.client.HTTPResponse, until: float) -> Iterator[tuple[str, str]]:
    """Events of a stream: their names and data."""
    name, data, size = "message", [], 0
    while time.monotonic() < until:
        line = answer.readline(LARGEST).decode("utf-8", "replace")
        size += len(line)
        if not line or size > LARGEST:
            return
        line = line.rstrip("\r\n")
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data.append(value)
        elif not line:
            if data:
                yield name, "\n".join(data)
            name, data = "message", []
    raise TimeoutError("nothing came in time")
