"""The smallest change of an entry that has it lead through the relay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from lanrelay.clients.finding import Finding
from lanrelay.clients.servers import Server
from lanrelay.edit.formats.edit import Append, Change, Insert, Remove, Set
from lanrelay.edit.formats.tree import Items, Scalar, Table, at, plain

LOOPBACK = "127.0.0.1"
"""Not C{localhost}: that is C{::1} first for some clients."""

NO_PROXY = "127.0.0.1,localhost,::1"


class Planned(NamedTuple):
    """
    @ivar notes: sentences on what a person should know of it.
    """

    changes: tuple[Change, ...]
    notes: tuple[str, ...] = ()


def through_listeners(finding: Finding, ports: Mapping[str, int]) -> Planned:
    """
    Have an entry lead to the listeners of its origins.

    @param ports: by origin.
    """
    if finding.bridged:
        return _bridged(finding, ports)
    changes: list[Change] = []
    notes: list[str] = []
    for target in finding.targets:
        url = target.url
        between = url.text[url.scheme_end : url.host_start]
        new = f"http{between}{LOOPBACK}:{ports[url.origin]}"
        begin = target.offset + url.scheme_end - len(url.scheme)
        changes.append(Set(target.path, begin, target.offset + url.host_end, new))
    changes += _to_the_front(finding, changes, notes)
    server = finding.server
    if server.client.typed and server.urls and not server.type:
        notes.append(
            f'{server.client.called} refuses a URL without a type; it needs "type": "http", or "sse".'
        )
    changes += _environment(finding, notes)
    changes += sandbox(finding.server, notes)
    return Planned(tuple(changes), tuple(notes))


def through_proxy(finding: Finding, port: int) -> Planned:
    """Have the program of an entry use the relay's forward proxy."""
    server = finding.server
    proxy = f"http://{LOOPBACK}:{port}"
    wanted = {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "NO_PROXY": NO_PROXY, "NODE_USE_ENV_PROXY": "1"}
    if server.environment_path is None:
        return Planned((Insert(server.path, server.client.environment, wanted),))
    changes: list[Change] = []
    for key, value in wanted.items():
        had = server.environment.get(key)
        if had is None:
            changes.append(Insert(server.environment_path, key, value))
        elif had != value and key != "NO_PROXY":
            changes.append(Set((*server.environment_path, key), 0, len(had), value))
    return Planned(tuple(changes))


def _bridged(finding: Finding, ports: Mapping[str, int]) -> Planned:
    server = finding.server
    url = finding.targets[0].url
    between = url.text[url.scheme_end : url.host_start]
    words = ["-y", "mcp-remote", f"http{between}{LOOPBACK}:{ports[url.origin]}{url.rest}"]
    if server.transport == "sse":
        words += ["--transport", "sse-only"]
    for name, value in server.headers.items():
        words += ["--header", f"{name}: {value}"]
    changes: list[Change] = [
        Insert(server.path, server.client.command, "npx"),
        Insert(server.path, "args", words),
        *(Remove(word.path) for word in server.urls),
    ]
    changes += [
        Remove((*server.path, key)) for key in ("type", "transport") if server.table.get(key) is not None
    ]
    if server.headers_path is not None:
        changes.append(Remove(server.headers_path))
    return Planned(tuple(changes), ("The bridge, mcp-remote, needs Node.js.",))


def _to_the_front(finding: Finding, changed: list[Change], notes: list[str]) -> list[Change]:
    """Have a bridge that takes its first argument for the URL find it there."""
    spelled = finding.spelling
    if spelled is None or spelled.front is None or spelled.url is None:
        return []
    first, last = spelled.front, spelled.url[0]
    words = finding.server.words[first : last + 1]
    [change] = changed
    assert isinstance(change, Set)
    url = words[-1].text[: change.start] + change.value + words[-1].text[change.end :]
    before = [*(word.text for word in words[:-1]), url]
    after = [url, *before[:-1]]
    assert spelled.bridge is not None
    notes.append(f"{spelled.bridge.name} takes its first argument for the URL, so that goes to the front.")
    return [Set(word.path, 0, len(old), new) for word, old, new in zip(words, before, after, strict=True)]


def _environment(finding: Finding, notes: list[str]) -> list[Change]:
    """The variables of a bridge that have no meaning, or another one, once its URL is the relay's."""
    server = finding.server
    path = server.environment_path
    if path is None:
        return []
    dropped = []
    if server.environment.get("NODE_TLS_REJECT_UNAUTHORIZED") == "0":
        dropped.append("NODE_TLS_REJECT_UNAUTHORIZED")
        notes.append("NODE_TLS_REJECT_UNAUTHORIZED=0 goes: the relay verifies the certificate.")
    if "NODE_EXTRA_CA_CERTS" in server.environment:
        dropped.append("NODE_EXTRA_CA_CERTS")
        notes.append("NODE_EXTRA_CA_CERTS goes: the relay trusts that CA for this server.")
    node = at(server.read.root, path)
    assert isinstance(node, Table)
    changes: list[Change] = [Remove((*path, key)) for key in dropped]
    if dropped and len(node.entries) == len(dropped) and node.block and not server.keeps_empty_maps:
        changes = [Remove(path)]
    return changes + _no_proxy(finding, notes)


def _no_proxy(finding: Finding, notes: list[str]) -> list[Change]:
    """A proxy that the entry sets must not get what is for loopback."""
    server, spelled = finding.server, finding.spelling
    path = server.environment_path
    assert path is not None
    if spelled is None or spelled.bridge is None:
        return []
    if spelled.bridge.name == "mcp-remote" and spelled.option("--enable-proxy") is None:
        return []  # it does not look
    if not any(name.lower() in ("http_proxy", "all_proxy") for name in server.environment):
        return []
    had = next((name for name in server.environment if name.lower() == "no_proxy"), None)
    if had is None:
        notes.append("NO_PROXY comes: else the proxy would be asked for 127.0.0.1.")
        return [Insert(path, "NO_PROXY", NO_PROXY)]
    value = server.environment[had]
    if LOOPBACK in value.replace(" ", "").split(",") or value.strip() == "*":
        return []
    end = len(value)
    return [Set((*path, had), end, end, f",{LOOPBACK}" if value else LOOPBACK)]


def sandbox(server: Server, notes: list[str]) -> list[Change]:
    """VS Code lets a sandboxed program reach only the names of a list."""
    enabled = at(server.table, ("sandboxEnabled",))
    domains = at(server.table, ("sandbox", "network", "allowedDomains"))
    if not (isinstance(enabled, Scalar) and enabled.value is True and isinstance(domains, Items)):
        return []
    if LOOPBACK in plain(domains):
        return []
    notes.append("Its sandbox now lets it reach 127.0.0.1.")
    return [Append((*server.path, "sandbox", "network", "allowedDomains"), LOOPBACK)]
