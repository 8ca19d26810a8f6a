"""What a listener for a URL is: its name, its port, its keys. Pure but for a look at which ports are free."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lanrelay.config import hosts, model, stored_trust
from lanrelay.config.kinds import KINDS, Kind, kind_for, kind_of, upstreams_of
from lanrelay.config.values import Unfit
from lanrelay.edit.masking import mask
from lanrelay.edit.masking import url as masked_url
from lanrelay.setup import configuration

PROXY = "proxy"
"""What stands for a URL where a forward proxy is wanted."""

_OF_UPSTREAM = ("url", "address", "via", "send_proxy", "tls")
_PATHS = ("ca", "cert", "key", "client_ca", "file", "cwd")


class Unusable(Exception):
    """No listener can be made of it; the text is a sentence for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """
    What a person wants to reach.

    @ivar kind: of the listener that leads there.
    @ivar url: of the origin, as the configuration has it; C{None} for a forward proxy.
    @ivar path: the path, without the final slash of a bare one; empty for none.
    @ivar query: with its mark; for the client alone.
    """

    kind: Kind
    url: model.UpstreamUrl | None = None
    path: str = ""
    query: str = ""

    @property
    def origin(self) -> str:
        """What the port is derived from."""
        return PROXY if self.url is None else str(self.url)

    @property
    def is_http(self) -> bool:
        """Whether it is an HTTP server."""
        return self.url is not None and self.url.scheme in ("http", "https")

    @property
    def looks_like_mcp(self) -> bool:
        """Whether the path is most likely that of an MCP endpoint."""
        return any(
            "mcp" in segment or segment in ("sse", "messages") for segment in self.path.lower().split("/")
        )


def wanted(text: str) -> Wanted:
    """
    Read what the person named.

    @raise Unusable: it is none of these.
    """
    if text == PROXY:
        return Wanted(kind=next(kind for kind in KINDS if kind.proxy == "http"))
    scheme, separator, rest = text.partition("://")
    scheme = scheme.lower()
    kind = kind_for(scheme)
    if not separator or kind is None or scheme not in ("http", "https", "tcp", "tls"):
        raise Unusable(
            f"Found {json.dumps(masked_url(text))}, "
            f"expected a URL (http://, https://, tcp:// or tls://) or `{PROXY}`."
        )
    try:
        if scheme in ("tcp", "tls"):
            return Wanted(kind=kind, url=hosts.upstream_url(text, hosts.FORWARD_SCHEMES, Path))
        cut = min((rest.find(mark) for mark in "/?#" if mark in rest), default=len(rest))
        path, mark, query = rest[cut:].partition("#")[0].partition("?")
        origin = f"{scheme}://{rest[:cut]}"
        hosts.upstream_url(origin + path, hosts.HTTP_SCHEMES, Path)  # the path, too
        url = hosts.upstream_url(origin, hosts.HTTP_SCHEMES, Path)
    except Unfit as unfit:
        raise Unusable(f"Found {json.dumps(masked_url(text))}, {unfit}.") from None
    return Wanted(kind=kind, url=url, path="" if path == "/" else path, query=mark + query)


def serving(config: model.Config, target: Wanted, *, prefix: str = "") -> configuration.Serving | None:
    """The listener that leads there already."""
    if target.is_http:
        return configuration.serving(config, f"{target.url}{prefix}")
    for listener in config.listeners:
        if not listener.enabled or listener.tls is not None or kind_of(listener) is not target.kind:
            continue
        same = target.url is None or [one.url for one in upstreams_of(listener)] == [target.url]
        port = _loopback_port(listener)
        if same and port is not None:
            return configuration.Serving(listener.name, port)
    return None


def body(
    target: Wanted,
    *,
    file: Path,
    listen: str,
    address: str = "",
    mcp: str = "",
    prefix: str = "",
    settings: Sequence[str] = (),
    folder: Path | None = None,
) -> dict[str, Any]:
    """
    The keys of the listener.

    What lies in C{trust/} for the host is in force for it.

    @param file: the configuration.
    @param mcp: the path of the MCP endpoint, which is not made a prefix.
    @param prefix: a path that is.
    @param settings: C{KEY=VALUE}, which win.
    @param folder: where relative paths in them begin; the working folder.
    @raise Unusable: one of them is nothing of that form.
    """
    made: dict[str, Any] = {"type": target.kind.word, "listen": listen}
    upstream: dict[str, Any] = {}
    if target.url is not None:
        upstream["url"] = f"{target.url}{prefix}"
        if address:
            upstream["address"] = address
        tls = stored_tls(file, target.url.host, target.url.port) if target.url.tls else {}
        if tls:
            upstream["tls"] = tls
        made["upstream"] = upstream
    if mcp and masked_url(f"{target.url}{mcp}") == f"{target.url}{mcp}":
        made["mcp"] = mcp
    for setting in settings:
        _set(made, setting, Path.cwd() if folder is None else folder)
    if made.get("upstream") == {"url": upstream.get("url")}:
        made["upstream"] = upstream["url"]
    return made


def listen_address(target: Wanted, config: model.Config | None) -> str:
    """
    C{localhost} with the port that the origin has on all of a person's machines, or with the next free one.

    @raise NotEdited: none is free.
    """
    taken = Taken(set() if config is None else configuration.ports_of(config))
    return f"localhost:{configuration.port_for(target.origin, taken)}"


def given_out(listener: model.Listener, target: Wanted, *, path: str) -> str:
    """
    What a client is to be given.

    @param path: behind the listener's origin.
    """
    address = next(
        (one for one in listener.listen if isinstance(one, (model.LocalhostAddress, model.TcpAddress))), None
    )
    if address is None:
        return str(listener.listen[0])
    host = "127.0.0.1"
    if isinstance(address, model.TcpAddress) and not address.host.is_unspecified:
        host = f"[{address.host}]" if address.host.version == 6 else str(address.host)
    place = f"{host}:{address.port}"
    if target.url is not None and not target.is_http:
        return place
    scheme = "http" if listener.tls is None else "https"
    return f"{scheme}://{place}{path}{target.query}"


def stored_tls(file: Path, host: str, port: int, more: Iterable[Path] = ()) -> dict[str, Any]:
    """
    The key C{tls} for what lies in C{trust/} for a host.

    @param more: files of authorities that are trusted beside that.
    """
    files = [str(each) for each in more]
    authorities = stored_trust.authorities_file(file, host, port)
    if authorities.is_file():
        files.append(os.path.relpath(authorities, file.parent))
    if files:
        return {"ca": ["system", *files]}
    pin = stored_trust.pin_file(file, host, port)
    if pin.is_file():
        return {"pin": pin.read_text("ascii", "replace").strip()}
    return {}


def _set(made: dict[str, Any], setting: str, folder: Path) -> None:
    key, equals, value = setting.partition("=")
    steps = key.split(".")
    if not equals or not all(steps):
        raise Unusable(f"Found --set {json.dumps(mask(key))}, expected KEY=VALUE, as in tls.ca=root.crt.")
    if steps[0] == "listener":
        steps = steps[1:]
    elif steps[0] in _OF_UPSTREAM and "upstream" in made:
        steps = ["upstream", *steps]
    if not steps:
        raise Unusable(f"Found --set {json.dumps(mask(key))}, expected the key behind `listener.`, too.")
    holder = made
    for step in steps[:-1]:
        inner = holder.get(step)
        if not isinstance(inner, dict):
            inner = {"url": inner} if step == "upstream" and isinstance(inner, str) else {}
            holder[step] = inner
        holder = inner
    found = _value(value)
    holder[steps[-1]] = _paths(found, folder) if steps[-1] in _PATHS else found


def _value(text: str) -> Any:
    """Text, or a list or map in brackets."""
    if text[:1] not in ("[", "{"):
        return text
    import yaml

    try:
        return yaml.load(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        raise Unusable(f"Found {json.dumps(text)}, which is no list or map of YAML: {error}.") from None


def _paths(value: Any, folder: Path) -> Any:
    """Paths that the person wrote from where they are; the configuration lies elsewhere."""
    if isinstance(value, list):
        return [_paths(each, folder) for each in value]
    if isinstance(value, str) and (folder / value).exists() and not os.path.isabs(value):
        return str(folder / value)
    return value


def _loopback_port(listener: model.Listener) -> int | None:
    for address in listener.listen:
        if isinstance(address, model.LocalhostAddress) or (
            isinstance(address, model.TcpAddress)
            and (address.host.is_loopback or address.host.is_unspecified)
        ):
            return address.port
    return None


class Taken:
    """Ports that the configuration has, or on which somebody else listens."""

    def __init__(self, own: Iterable[int]) -> None:
        self._own = frozenset(own)

    def __contains__(self, port: object) -> bool:
        assert isinstance(port, int)
        return port in self._own or not all(_is_free(family, port) for family in _LOOPBACKS)


_LOOPBACKS: Mapping[socket.AddressFamily, str] = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


def _is_free(family: socket.AddressFamily, port: int) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trying:
            trying.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trying.bind((_LOOPBACKS[family], port))
    except OSError as error:
        import errno

        return error.errno != errno.EADDRINUSE  # a family that this machine lacks is no obstacle
    return True
