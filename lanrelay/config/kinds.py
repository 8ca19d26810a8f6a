"""
The one table of kinds: what a kind of listener is, and what the rest of the program asks about it.

It knows neither Twisted nor the listeners: readers and services stand here by their names, and are imported
when a configuration has such a listener. A relay without HTTP does not load HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any, Literal, NamedTuple

from lanrelay.config import model

Group = Callable[[model.Upstreams], model.Upstreams]


class Kind(NamedTuple):
    """
    One kind of listener. No field has a default, so whoever adds a kind answers every question.

    Each function is given a record of this kind.

    @ivar word: C{type} in the file; the kind in the log, on the status page and in metrics.
    @ivar called: what the status page calls it.
    @ivar record: its class, exactly.
    @ivar reader: what reads it, as C{MODULE:NAME}; a L{lanrelay.config.listeners.Reader}.
    @ivar service: what serves it, as C{MODULE:NAME}; a C{ListenerService}.
    @ivar habits: what people write for C{word}, in small letters, without dashes.
    @ivar schemes: of the URLs for which the commands that help people make such a listener.
    @ivar http: whether its clients speak HTTP to it; its argument tells the value of a key.
    @ivar groups: the upstreams that it leads to, in the file's order.
    @ivar regrouped: the record with every such group changed.
    @ivar routes: the routes by which an HTTP request finds its group; empty where none does.
    @ivar proxy: the scheme of the URL by which programs name their proxy, if clients say themselves what they
        want to reach; else empty. No such proxy of ours may be reached through another.
    @ivar parent: the proxy through which it reaches all else.
    @ivar files: what has to be loaded beside certificates, as C{MODULE:NAME} and what that is made of.
    @ivar mcp: the path of its MCP endpoint, as far as the configuration says.
    """

    word: str
    called: str
    record: type[model.Listener]
    reader: str
    service: Callable[[Any], str]
    habits: tuple[str, ...]
    schemes: tuple[str, ...]
    http: Callable[[Callable[[str], object]], bool]
    groups: Callable[[Any], tuple[model.Upstreams, ...]]
    regrouped: Callable[[Any, Group], model.Listener]
    routes: Callable[[Any], tuple[model.Route, ...]]
    proxy: Literal["", "http", "socks5h"]
    parent: Callable[[Any], model.ParentProxy | None]
    files: Callable[[Any], Iterable[tuple[str, object]]]
    mcp: Callable[[Any], str | None]


def _nothing(listener: model.Listener) -> tuple[()]:
    return ()


def _none(listener: model.Listener) -> None:
    return None


def _unchanged(listener: model.Listener, change: Group) -> model.Listener:
    return listener


def _routes_changed(listener: model.ReverseProxy, change: Group) -> model.ReverseProxy:
    routes = tuple(route._replace(upstreams=change(route.upstreams)) for route in listener.routes)
    return replace(listener, routes=routes)


def _passwords(listener: model.ForwardProxy) -> Iterable[tuple[str, object]]:
    if listener.auth is not None:
        yield "lanrelay.policy.credentials:Credentials", listener.auth


KINDS: tuple[Kind, ...] = (
    Kind(
        word="tcp-forward",
        called="port forward",
        record=model.TcpForward,
        reader="lanrelay.config.tcp_forward:READER",
        service=lambda listener: "lanrelay.listeners.tcp_forward:TcpForwardService",
        habits=(
            *("tcp", "tls", "ssl", "stream", "forward", "portforward", "tcpproxy", "tunnel"),
            "tcpforward",
        ),
        schemes=("tcp", "tls", "unix"),
        http=lambda get: False,
        groups=lambda listener: (listener.upstreams,),
        regrouped=lambda listener, change: replace(listener, upstreams=change(listener.upstreams)),
        routes=_nothing,
        proxy="",
        parent=_none,
        files=_nothing,
        mcp=_none,
    ),
    Kind(
        word="reverse-proxy",
        called="reverse proxy",
        record=model.ReverseProxy,
        reader="lanrelay.config.reverse_proxy:READER",
        service=lambda listener: "lanrelay.listeners.reverse_proxy:ReverseProxyService",
        habits=("http", "https", "reverse", "reverseproxy", "web", "webproxy", "mcp", "sse", "api"),
        schemes=("http", "https", "http+unix"),
        http=lambda get: True,
        groups=lambda listener: tuple(route.upstreams for route in listener.routes),
        regrouped=_routes_changed,
        routes=lambda listener: listener.routes,
        proxy="",
        parent=_none,
        files=_nothing,
        mcp=lambda listener: listener.mcp,
    ),
    Kind(
        word="connect-proxy",
        called="forward proxy",
        record=model.ConnectProxy,
        reader="lanrelay.config.forward_proxy:CONNECT",
        service=lambda listener: "lanrelay.listeners.connect_proxy:ConnectProxyService",
        habits=("proxy", "httpproxy", "httpsproxy", "forwardproxy", "connect", "connectproxy"),
        schemes=(),
        http=lambda get: True,
        groups=_nothing,
        regrouped=_unchanged,
        routes=_nothing,
        proxy="http",
        parent=lambda listener: listener.parent,
        files=_passwords,
        mcp=_none,
    ),
    Kind(
        word="socks-proxy",
        called="SOCKS proxy",
        record=model.SocksProxy,
        reader="lanrelay.config.forward_proxy:SOCKS",
        service=lambda listener: "lanrelay.listeners.socks_proxy:SocksProxyService",
        habits=("socks", "socks5", "socks5h", "socks5proxy", "socksproxy"),
        schemes=(),
        http=lambda get: False,
        groups=_nothing,
        regrouped=_unchanged,
        routes=_nothing,
        proxy="socks5h",
        parent=lambda listener: listener.parent,
        files=_passwords,
        mcp=_none,
    ),
    Kind(
        word="exec",
        called="program",
        record=model.Exec,
        reader="lanrelay.config.programs:READER",
        service=lambda listener: (
            "lanrelay.listeners.exec_mcp:McpService"
            if listener.protocol == "mcp-http"
            else "lanrelay.listeners.exec_raw:ExecService"
        ),
        habits=("stdio", "command", "program", "process", "cmd", "shell"),
        schemes=(),
        http=lambda get: get("protocol") == "mcp-http",
        groups=_nothing,
        regrouped=_unchanged,
        routes=_nothing,
        proxy="",
        parent=_none,
        files=lambda listener: (("lanrelay.transport.program:Folder", listener.cwd),),
        mcp=lambda listener: "/mcp" if listener.protocol == "mcp-http" else None,
    ),
)
"""In the order in which people are told of them."""


def kind_of(listener: model.Listener) -> Kind:
    """
    @raise ValueError: no kind has such a record.
    """
    for kind in KINDS:
        if kind.record is type(listener):
            return kind
    raise ValueError(f"no kind of listener has a {type(listener).__name__}")


def kind_named(word: str) -> Kind | None:
    """The one with this C{type}."""
    return next((kind for kind in KINDS if kind.word == word), None)


def kind_for(scheme: str) -> Kind | None:
    """The one that is made for an upstream with such a URL."""
    return next((kind for kind in KINDS if scheme in kind.schemes), None)


def upstreams_of(listener: model.Listener) -> tuple[model.Upstream, ...]:
    """Those that a listener names, in the file's order."""
    return tuple(member for group in kind_of(listener).groups(listener) for member in group.members)


def scheme_of(listener: model.Listener) -> str:
    """Of the URL that clients are told, if it were without TLS: C{http}, C{tcp} or C{socks5h}."""
    kind = kind_of(listener)
    return kind.proxy or ("http" if kind.http(partial(getattr, listener)) else "tcp")


def named(name: str) -> Any:
    """What C{MODULE:NAME} stands for; the module is imported."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)
