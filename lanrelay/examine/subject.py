"""Finds out which target a person means by a name, a URL, or a host and a port."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lanrelay.config import hosts, model, stored_trust
from lanrelay.config.kinds import kind_of, upstreams_of
from lanrelay.config.values import Unfit
from lanrelay.edit.masking import url as masked_url

MCP_PATHS = ("/mcp", "/sse")
"""Where MCP servers mostly are: Streamable HTTP, and the older HTTP+SSE."""


class Unknown(Exception):
    """The word names nothing that can be examined; the text is a sentence for the person at the terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """
    One upstream, and how a client's request would be sent there.

    @ivar target: as it was asked for.
    @ivar listener: whose upstream it is, or C{None}.
    @ivar path: the path, with its query, for the GET.
    @ivar path_is_named: the path was typed or configured, so that a 404 is a mistake.
    @ivar mcp: paths to try for an MCP server, in this order; empty if the target is no HTTP.
    @ivar mcp_is_named: the person or the configuration says that there is an MCP server.
    @ivar host: the Host field.
    @ivar preserved: the Host is the client's own (C{host: preserve}).
    @ivar origin: the Origin field, where the listener lets one through.
    @ivar fields: what the listener sets, credentials mostly.
    @ivar proxies: forward proxies whose clients may mean this target.
    """

    target: str
    upstream: model.Upstream
    listener: str | None = None
    path: str = "/"
    path_is_named: bool = False
    mcp: tuple[str, ...] = ()
    mcp_is_named: bool = False
    host: str = ""
    preserved: bool = False
    origin: str | None = None
    fields: tuple[tuple[str, str], ...] = ()
    proxies: tuple[model.ForwardProxy, ...] = ()

    @property
    def url(self) -> str:
        return str(self.upstream.url)

    @property
    def is_http(self) -> bool:
        return self.upstream.url.scheme in ("http", "https")


def every_subject(config: model.Config) -> list[Subject]:
    """All upstreams of the enabled listeners, in the file's order."""
    return list(_of_listeners(config.listeners))


def subjects(
    word: str, config: model.Config | None, *, file: Path | None = None, expect_mcp: bool = False
) -> list[Subject]:
    """
    What C{word} means: the name of a listener, the URL of an upstream, any URL, or C{HOST:PORT}.

    A URL at an upstream's origin is examined as that listener would ask: with its trust, its address, its
    fields. For any other URL, what was trusted earlier (C{trust/}) counts.

    @param file: the configuration file, existing or not, beside which C{trust/} is; C{config}'s by default.
    @param expect_mcp: the URL is that of an MCP server, whatever its path looks like.
    @raise Unknown: it means nothing that can be examined.
    """
    listeners = () if config is None else config.listeners
    file = file or (None if config is None else config.path)
    for listener in listeners:
        if listener.name == word:
            return list(_of_listener(listener, word)) or [_itself(listener)]
    known = [one for one in _of_listeners(listeners) if word in (one.url, f"{one.url}/")]
    if known and not expect_mcp:
        return [replace(one, target=word) for one in known]
    return [_of_text(word, listeners, file, expect_mcp)]


def _itself(listener: model.Listener) -> Subject:
    """
    A listener that has no upstream but answers MCP itself, as a client of it sees it.

    @raise Unknown: it does not answer MCP, or has no port that is known.
    """
    name, mcp = listener.name, kind_of(listener).mcp(listener)
    if kind_of(listener).proxy:
        raise Unknown(f"{name} leads wherever its clients ask: name a URL, or HOST:PORT, that they want.")
    if mcp is None:
        raise Unknown(f"{name} leads to no upstream that could be examined.")
    for address in listener.listen:
        if isinstance(address, (model.TcpAddress, model.LocalhostAddress)) and address.port:
            host = str(address).rpartition(":")[0].strip("[]")
            url = model.UpstreamUrl(scheme="http", host=host, port=address.port)
            return Subject(
                target=name,
                upstream=model.Upstream(url=url),
                listener=name,
                path=mcp,
                path_is_named=True,
                mcp=(mcp,),
                mcp_is_named=True,
                host=str(address),
            )
    raise Unknown(f"{name} has no port of its own in the file: name the URL that `lanrelay status` shows.")


# --- listeners ------------------------------------------------------------------------------------------


def _of_listeners(listeners: Sequence[model.Listener]) -> Iterator[Subject]:
    for listener in listeners:
        if listener.enabled:
            yield from _of_listener(listener)


def _of_listener(listener: model.Listener, target: str = "") -> Iterator[Subject]:
    name, kind = listener.name, kind_of(listener)
    routes, parent = kind.routes(listener), kind.parent(listener)
    for route in routes:
        for member in route.upstreams.members:
            yield _of_route(listener, route, member, target or name)
    if not routes:
        for member in upstreams_of(listener):
            yield Subject(target=target or name, upstream=member, listener=name)
    if parent is not None:
        url = model.UpstreamUrl(scheme="tcp", host=parent.host, port=parent.port)
        yield Subject(target=target or name, upstream=model.Upstream(url=url), listener=name)


def _of_route(listener: model.Listener, route: model.Route, upstream: model.Upstream, target: str) -> Subject:
    url = upstream.url
    health = route.upstreams.health
    named = health.path if health is not None else None
    removed = {field.lower() for field in route.request_headers.remove}
    rules = route.request_headers
    fields = tuple(
        (name, str(value)) for name, value in (*rules.set, *rules.add) if name.lower() not in removed
    )
    mcp = _mcp_path(listener, route)
    root = f"{url.path}/" if url.slash else url.path
    return Subject(
        target=target,
        upstream=upstream,
        listener=listener.name,
        path=named or (f"{url.path}{mcp}" if mcp else root) or "/",
        path_is_named=named is not None or mcp is not None or bool(url.path),
        mcp=(f"{url.path}{mcp}",) if mcp else (root,) if root else MCP_PATHS,
        mcp_is_named=mcp is not None or _looks_like_mcp(url.path),
        host=_sent_host(listener, route, url),
        preserved=route.host == "preserve",
        origin=_sent_origin(listener, url),
        fields=fields,
    )


def _mcp_path(listener: model.Listener, route: model.Route) -> str | None:
    """Where the listener's MCP server is behind a route, without the path of the upstream's URL."""
    named = kind_of(listener).mcp(listener)
    if named is None:
        return None
    prefix = route.path.removesuffix("/")
    if named != prefix and not named.startswith(f"{prefix}/"):
        return None  # another route has it
    return (named.removeprefix(prefix) if route.strip_prefix else named) or "/"


def _sent_host(listener: model.Listener, route: model.Route, url: model.UpstreamUrl) -> str:
    if route.host == "upstream":
        return url.authority
    return _own_authority(listener) if route.host == "preserve" else route.host


def _sent_origin(listener: model.Listener, url: model.UpstreamUrl) -> str | None:
    if not isinstance(listener, model.ReverseProxy):
        return None
    if listener.origin == "upstream":
        return f"{url.scheme}://{url.authority}"
    return f"http://{_own_authority(listener)}" if listener.origin == "keep" else None


def _own_authority(listener: model.Listener) -> str:
    """What a client on this machine sends as Host."""
    for address in listener.listen:
        if isinstance(address, (model.TcpAddress, model.LocalhostAddress)):
            return str(address)
    return "localhost"


# --- what was typed -------------------------------------------------------------------------------------


def _of_text(word: str, listeners: Sequence[model.Listener], file: Path | None, expect_mcp: bool) -> Subject:
    url, path = _parsed(word, [listener.name for listener in listeners])
    for known in _of_listeners(listeners):
        there = known.upstream.url
        if (there.host, there.port, there.tls) == (url.host, url.port, url.tls) and there.host:
            upstream = known.upstream._replace(url=url)
            if known.is_http != (url.scheme in ("http", "https")):
                return Subject(target=word, upstream=upstream, listener=known.listener)
            known = replace(known, target=word, upstream=upstream)
            return _with_path(known, path, expect_mcp) if path else known
    upstream = model.Upstream(url=url)
    if url.tls and file is not None:
        try:
            trusted = stored_trust.stored_trust(file, url.host, url.port)
        except Unfit as unfit:
            place = stored_trust.pin_file(file, url.host, url.port)
            raise Unknown(f"{place} holds no pin: {unfit}.") from None
        if trusted is not None:
            upstream = upstream._replace(trust=trusted)
    proxies = tuple(one for one in listeners if isinstance(one, model.ForwardProxy) and one.enabled)
    subject = Subject(target=word, upstream=upstream, host=url.authority, proxies=proxies)
    return _with_path(subject, path, expect_mcp) if subject.is_http else subject


def _with_path(subject: Subject, path: str, expect_mcp: bool) -> Subject:
    """The subject for a URL that was typed; C{path} is empty if the URL had none."""
    bare = path.partition("?")[0]
    return replace(
        subject,
        path=path or "/",
        path_is_named=bare not in ("", "/"),
        mcp=(path,) if bare not in ("", "/") else subject.mcp if subject.listener else MCP_PATHS,
        mcp_is_named=expect_mcp or _looks_like_mcp(bare),
    )


def _looks_like_mcp(path: str) -> bool:
    return any("mcp" in segment or segment in ("sse", "messages") for segment in path.lower().split("/"))


def _parsed(word: str, names: Sequence[str]) -> tuple[model.UpstreamUrl, str]:
    """The URL without its path, and the path with its query."""
    scheme, separator, rest = word.partition("://")
    try:
        if not separator:
            if ":" not in word or word.startswith(("unix:", "http+unix:")):
                which = f" ({', '.join(names)})" if names else ""
                raise Unfit(f"expected the name of a listener{which}, a URL, or HOST:PORT")
            return hosts.upstream_url(f"tcp://{word}", hosts.FORWARD_SCHEMES, Path), ""
        if scheme.lower() in ("tcp", "tls"):
            return hosts.upstream_url(word, hosts.FORWARD_SCHEMES, Path), ""
        cut = min((rest.find(mark) for mark in "/?#" if mark in rest), default=len(rest))
        path = rest[cut:].partition("#")[0]
        path = f"/{path}" if path.startswith("?") else path
        url = hosts.upstream_url(f"{scheme}://{rest[:cut]}", ("http", "https"), Path)
    except Unfit as unfit:
        raise Unknown(f"{masked_url(word)} is nothing that can be examined: {unfit}.") from None
    if not path.isascii() or not path.isprintable() or " " in path:
        raise Unknown(
            f"{masked_url(word)} is nothing that can be examined: "
            "a path has ASCII characters, without blanks."
        )
    return url, path
