"""What C{lanrelay demo} shows: a client's side of it, request by request."""

from __future__ import annotations

import json
import shlex
import socket
import ssl
import time
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

from lanrelay.cli.demo_host import NAME, VERSIONS
from lanrelay.version import __version__

_TIMEOUT = 15.0
_EVENTS = 3


@dataclass(frozen=True, kw_only=True)
class Places:
    """
    Where everything is.

    @ivar host: the LAN host's port. C{proxy}, C{forward}, C{tcp} and C{admin} are the relay's.
    """

    folder: Path
    ca: Path
    ca_name: str
    config: Path
    host: int
    admin: int
    proxy: int
    forward: int
    tcp: int

    @property
    def url(self) -> str:
        return f"http://localhost:{self.proxy}"


def show(places: Places) -> None:
    """
    The whole show, some three seconds long.

    @raise OSError: a connection failed. HTTPException, ValueError and LookupError: an answer was not what it
        should be.
    """
    _say(f"""\
A host with a certificate of a private CA, and lanrelay {__version__} in front of it;
all on this machine.

   LAN host        https://{NAME} (127.0.0.1:{places.host})
                   has a certificate by "{places.ca_name}"
   relay           {places.url} leads to it
   forward proxy   http://localhost:{places.forward}""")
    _refused(places)
    _through_the_relay(places)
    _mcp(places)
    _stream(places)
    _next(places)


def _refused(places: Places) -> None:
    _say("\n1. Straight to the host, with the roots that this machine trusts")
    context = ssl.create_default_context()
    with socket.create_connection(("127.0.0.1", places.host), timeout=_TIMEOUT) as stream:
        try:
            context.wrap_socket(stream, server_hostname=NAME).close()
        except ssl.SSLCertVerificationError as error:
            _say(f"   refused: {error.verify_message}")
            _say(f'   Nobody here knows "{places.ca_name}", so a client must not go on.')
            return
    raise ValueError("this machine trusts the certificate of a CA that is a minute old")


def _through_the_relay(places: Places) -> None:
    _say("\n2. The same host through the relay, which trusts that CA for this upstream")
    with _Client(places.proxy) as client:
        response = client.request("GET", "/")
        _say(f"   GET {places.url}/  ->  {response.status} {response.reason}")
        for line in _body(response, 200).splitlines():
            _say(f"   | {line}")


def _mcp(places: Places) -> None:
    _say(f"\n3. MCP through the relay, at {places.url}/mcp")
    with _Client(places.proxy) as client:
        session = _Mcp(client)
        hello = session.call(
            "initialize",
            {
                "protocolVersion": VERSIONS[0],
                "capabilities": {},
                "clientInfo": {"name": "lanrelay demo", "version": "1"},
            },
        )
        _say(f"   initialize  ->  {hello['serverInfo']['name']}, protocol {hello['protocolVersion']}")
        session.notify("notifications/initialized")
        names = ", ".join(tool["name"] for tool in session.call("tools/list", {})["tools"])
        _say(f"   tools/list  ->  {names}")
        called = session.call("tools/call", {"name": "now", "arguments": {}})
        _say(f"   tools/call  ->  {called['content'][0]['text']}")


def _stream(places: Places) -> None:
    _say(f"\n4. A live stream through the relay, at {places.url}/events:")
    _say("   one event a second, as it comes")
    with _Client(places.proxy) as client:
        asked = time.monotonic()
        response = client.request("GET", "/events", fields={"Accept": "text/event-stream"})
        if response.status != 200:
            raise ValueError(_unexpected(response))
        seen = 0
        for line in response:
            if not line.startswith(b"data:"):
                continue
            event = json.loads(line[5:])
            late = max(0.0, time.time() - event["sent"]) * 1000
            since = time.monotonic() - asked
            _say(f"   after {since:4.2f} s  event {event['event']}, {late:.1f} ms after it was sent")
            seen += 1
            if seen == _EVENTS:
                return
    raise ValueError("the stream of events ended")


def _next(places: Places) -> None:
    call = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "count", "arguments": {"to": 5}, "_meta": {"progressToken": "p"}},
    }
    proxy = f"--proxy http://localhost:{places.forward}"
    _say(f"""
5. What to try next, in another window

   the events, live:
      curl -N {places.url}/events
   an MCP tool that reports progress:
      curl -N {places.url}/mcp -H 'Content-Type: application/json' \\
        -H 'Accept: application/json, text/event-stream' \\
        -d {shlex.quote(json.dumps(call, separators=(",", ":")))}
   the CONNECT proxy: TLS ends in curl, which must be told of the CA itself:
      curl {proxy} \\
        --cacert {shlex.quote(str(places.ca))} \\
        https://{NAME}:{places.host}/
   a TCP forward that adds the TLS:
      curl http://localhost:{places.tcp}/
   what the relay says when it cannot reach something:
      curl -i {proxy} http://{NAME}:1/
   what it is doing now:
      curl http://localhost:{places.admin}/status.json
   the configuration:
      cat {shlex.quote(str(places.config))}
   an MCP client of your own: its URL is {places.url}/mcp""")


class _Client:
    """One connection to the relay."""

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("localhost", port, timeout=_TIMEOUT)

    def __enter__(self) -> _Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection.close()

    def request(
        self, method: str, path: str, body: bytes | None = None, fields: dict[str, str] | None = None
    ) -> HTTPResponse:
        self._connection.request(method, path, body, fields or {})
        return self._connection.getresponse()


class _Mcp:
    """As much of an MCP client as the show needs."""

    def __init__(self, client: _Client) -> None:
        self._client = client
        self._session = ""
        self._count = 0

    def call(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._count += 1
        response = self._post({"jsonrpc": "2.0", "id": self._count, "method": method, "params": params})
        answer = json.loads(_body(response, 200))
        self._session = response.headers.get("Mcp-Session-Id") or self._session
        if "result" not in answer:
            raise ValueError(f"{method} was answered with {answer}")
        result = answer["result"]
        assert isinstance(result, dict)
        return result

    def notify(self, method: str) -> None:
        _body(self._post({"jsonrpc": "2.0", "method": method}), 202)

    def _post(self, message: dict[str, Any]) -> HTTPResponse:
        fields = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        if self._session:
            fields["Mcp-Session-Id"] = self._session
            fields["MCP-Protocol-Version"] = VERSIONS[0]
        return self._client.request("POST", "/mcp", json.dumps(message).encode(), fields)


def _body(response: HTTPResponse, status: int) -> str:
    """The whole body of an answer that has C{status}."""
    if response.status != status:
        raise ValueError(_unexpected(response))
    return response.read().decode()


def _unexpected(response: HTTPResponse) -> str:
    return (
        f"the answer was {response.status} {response.reason}:\n{response.read(4096).decode(errors='replace')}"
    )


def _say(text: str) -> None:
    print(text, flush=True)
