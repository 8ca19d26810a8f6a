"""What a client needs to use a listener: lines and settings to copy, for its kind and what it leads to."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from lanrelay.config.kinds import kind_named
from lanrelay.proxy_variables import variables

Json = dict[str, Any]


class Snippet(NamedTuple):
    """
    One thing to copy.

    @ivar client: the program that it is for.
    @ivar text: the lines.
    @ivar place: the file into which they go; empty for a terminal.
    """

    client: str
    text: str
    place: str = ""


def snippets(listener: Json, leads_to: Sequence[str]) -> tuple[Snippet, ...]:
    """
    The snippets for a listener; none where clients cannot connect to it by an address.

    @param listener: as the status document has it.
    @param leads_to: the URLs of its upstreams.
    """
    try:
        return _snippets(listener, told(listener), leads_to)
    except ValueError:
        return ()  # no URL can be made of where it is bound


def _snippets(listener: Json, url: str, leads_to: Sequence[str]) -> tuple[Snippet, ...]:
    path, kind = mcp_path(listener), kind_named(listener["kind"])
    if not url or kind is None:
        return ()
    if "unix:" in url:
        http = kind.http(partial(_key, listener))
        return _unix(url.partition("unix:")[2].partition(":")[0], path or "/", http=http, proxy=kind.proxy)
    if kind.proxy:
        return _connect_proxy(url) if kind.proxy == "http" else _socks_proxy(url)
    if path is not None:
        return tuple(_mcp(listener["name"], with_path(url, path), _is_sse(listener, path), _program()))
    if kind.http(partial(_key, listener)):
        return (Snippet("Browser", url if urlsplit(url).path else f"{url}/"), Snippet("curl", _curl(url)))
    return tuple(_stream(url, leads_to[0] if leads_to else "", secure=listener["tls"]))


def told(listener: Json) -> str:
    """The URL or address that a client is told; empty where there is none."""
    if listener.get("url"):
        return str(listener["url"])
    if not listener["listening"] or not listener["addresses"]:
        return ""
    address = str(listener["addresses"][0])
    kind, tls = kind_named(listener["kind"]), listener["tls"]
    if address.startswith("unix:"):
        return address
    if kind is None or kind.http(partial(_key, listener)):
        return f"{'https' if tls else 'http'}://{address}"
    return f"{kind.proxy or ('tls' if tls else 'tcp')}://{address}"


def _key(listener: Json, word: str) -> str | None:
    """The value of a key of the configuration, as far as the status document tells."""
    return "mcp-http" if word == "protocol" and listener.get("mcp") else None


def mcp_path(listener: Json) -> str | None:
    """
    The path of its MCP endpoint; C{None} where none is known.

    Where the configuration does not say it and yet MCP was seen, it is the usual one.
    """
    if listener.get("mcp"):
        return str(listener["mcp"])
    return "/mcp" if listener.get("mcp_server") else None


def with_path(url: str, path: str) -> str:
    """C{url} with that path, if it has none."""
    parts = urlsplit(url)
    return url if parts.path.strip("/") else urlunsplit(parts._replace(path=path))


def _is_sse(listener: Json, path: str) -> bool:
    """It speaks the HTTP with SSE of 2024."""
    era = str((listener.get("mcp_server") or {}).get("era") or "")
    return "sse" in era.lower() or era.startswith("2024") or path.rstrip("/").endswith("/sse")


@lru_cache(maxsize=1)
def _program() -> str:
    """C{lanrelay} as a program finds it without the PATH of a shell."""
    beside = Path(sys.executable).with_name("lanrelay")
    return str(beside) if beside.exists() else shutil.which("lanrelay") or "lanrelay"


# --- MCP ---


def _mcp(name: str, url: str, sse: bool, program: str) -> Iterator[Snippet]:
    speaks = "sse" if sse else "http"
    yield Snippet(
        "Claude Desktop",
        _entry("mcpServers", name, command=program, args=["stdio", url]),
        "claude_desktop_config.json",
    )
    yield Snippet("Claude Code", f"claude mcp add --transport {speaks} {quote(name)} {quote(url)}")
    yield Snippet("Cursor", _entry("mcpServers", name, url=url), "~/.cursor/mcp.json")
    yield Snippet("VS Code", _entry("servers", name, type=speaks, url=url), ".vscode/mcp.json")
    if sse:
        yield Snippet("curl", f"curl -N -H 'Accept: text/event-stream' {quote(url)}")
        return
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "curl", "version": "1"},
        },
    }
    yield Snippet(
        "curl",
        f"curl {quote(url)} -H 'Content-Type: application/json' \\\n"
        "  -H 'Accept: application/json, text/event-stream' \\\n"
        f"  -d {quote(json.dumps(hello))}",
    )


def _entry(holder: str, name: str, **keys: object) -> str:
    """A file with one server, a key on each line."""
    lines = ",\n".join(f"      {_json(key)}: {_json(value)}" for key, value in keys.items())
    return f"{{\n  {_json(holder)}: {{\n    {_json(name)}: {{\n{lines}\n    }}\n  }}\n}}"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


# --- proxies ---


def _connect_proxy(url: str) -> tuple[Snippet, ...]:
    exports = "\n".join(f"export {name}={quote(value)}" for name, value in variables(url).items())
    return (
        Snippet("Shell", exports),
        Snippet("curl", f"curl -x {quote(url)} https://nas.lan/"),
        Snippet("git", f"git config --global http.proxy {quote(url)}"),
        Snippet("Browsers and systems", with_path(url, "/proxy.pac"), "address of the proxy configuration"),
    )


def _socks_proxy(url: str) -> tuple[Snippet, ...]:
    parts = urlsplit(url)
    named = urlunsplit(parts._replace(scheme="socks5h"))  # so that the relay looks names up
    return (
        Snippet("Shell", f"export all_proxy={quote(named)}\nexport ALL_PROXY={quote(named)}"),
        Snippet("curl", f"curl -x {quote(named)} https://nas.lan/"),
        Snippet("Chromium", f"chromium --proxy-server={quote(f'socks5://{parts.netloc}')}"),
    )


# --- streams ---


def _stream(url: str, leads_to: str, *, secure: bool) -> Iterator[Snippet]:
    here = urlsplit(url if "://" in url else f"tcp://{url}")
    host, port = here.hostname or "localhost", here.port or 0
    there = urlsplit(leads_to) if "://" in leads_to else None
    try:
        number = None if there is None else there.port
    except ValueError:
        number = None
    known = _PROGRAMS.get(number or 0)
    if known is not None and not secure:
        program, text = known
        yield Snippet(program, text.format(host=quote(host), number=_number(host), port=port))
    elif number == 443 and there is not None and there.scheme == "tcp" and there.hostname:
        # TLS passes through: the client asks for the name, and comes by this port.
        name = there.hostname
        yield Snippet("curl", f"curl --connect-to {name}:443:{_bracketed(host)}:{port} https://{name}/")
    elif number in (80, 8000, 8080) and not secure:
        yield Snippet("curl", f"curl http://{_bracketed(host)}:{port}/")
    if secure:
        yield Snippet("openssl", f"openssl s_client -connect {_bracketed(host)}:{port}")
    else:
        yield Snippet("nc", f"nc {quote(host)} {port}")


# By the port of the upstream. `localhost` makes MySQL's clients look for a socket in the file system.
_PROGRAMS = {
    5432: ("psql", "psql -h {host} -p {port} -U USER DATABASE"),
    6379: ("redis-cli", "redis-cli -h {host} -p {port}"),
    3306: ("mysql", "mysql -h {number} -P {port} -u USER -p"),
    27017: ("mongosh", "mongosh mongodb://{host}:{port}/"),
    22: ("ssh", "ssh -p {port} USER@{host}"),
    1883: ("mosquitto_sub", "mosquitto_sub -h {host} -p {port} -t '#'"),
    5900: ("VNC", "vncviewer {host}::{port}"),
    3389: ("Remote desktop", "xfreerdp /v:{host}:{port}"),
}


def _number(host: str) -> str:
    return "127.0.0.1" if host == "localhost" else quote(host)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _unix(socket: str, path: str, *, http: bool, proxy: str) -> tuple[Snippet, ...]:
    if proxy == "http":
        return ()
    if http:
        return (Snippet("curl", f"curl --unix-socket {quote(socket)} {quote(f'http://localhost{path}')}"),)
    return (Snippet("nc", f"nc -U {quote(socket)}"),)


def _curl(url: str) -> str:
    return f"curl {quote(url)}"
