"""
The configuration as the rest of the program sees it: frozen records, checked and typed.

Most are named tuples, which take a fifth of what a frozen dataclass takes of every start. A record is a
dataclass if it inherits fields, or if a record of another class may stand in its place, because tuples of the
same fields are equal whatever their class. All are made with keywords.

Listeners and the whole stand here. What values and upstreams are made of stands in L{lanrelay.config.terms}
and L{lanrelay.config.upstream_records}; others find it here, too.

Durations are seconds, C{None} is C{never}. Sizes are bytes, C{None} is no limit. Paths are absolute.
Text that came from C{${...}} is already expanded here; C{repr} of a record never shows a L{Secret}.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal, NamedTuple

from lanrelay.config.terms import (
    AddressWord,
    ClientRule,
    DestinationRule,
    Duration,
    IPAddress,
    IPNetwork,
    LaunchdSocket,
    ListenAddress,
    LocalhostAddress,
    Secret,
    SystemdSocket,
    TcpAddress,
    TlsVersion,
    UnixAddress,
)
from lanrelay.config.upstream_records import (
    POOL,
    Balance,
    CertificatePin,
    Health,
    ParentProxy,
    Pool,
    PublicKeyPin,
    Retry,
    TargetAddress,
    Trust,
    Upstream,
    Upstreams,
    UpstreamUrl,
)

__all__ = [
    "POOL",
    "AddressWord",
    "Balance",
    "CertificatePin",
    "ClientRule",
    "DestinationRule",
    "Duration",
    "Health",
    "IPAddress",
    "IPNetwork",
    "LaunchdSocket",
    "ListenAddress",
    "LocalhostAddress",
    "ParentProxy",
    "Pool",
    "PublicKeyPin",
    "Retry",
    "Secret",
    "SystemdSocket",
    "TargetAddress",
    "TcpAddress",
    "TlsVersion",
    "Trust",
    "UnixAddress",
    "Upstream",
    "UpstreamUrl",
    "Upstreams",
]

# --- listeners ----------------------------------------------------------------------------------------


class ServerTls(NamedTuple):
    """TLS on a listener."""

    cert: Path
    key: Path
    passphrase: Secret | None = None
    client_ca: tuple[Path, ...] = ()
    alpn: tuple[str, ...] = ()
    min_version: TlsVersion = "1.2"

    @property
    def policy(self) -> object:
        """What of it decides who may connect; see L{Listener.policy}."""
        return self.client_ca


class Timeouts(NamedTuple):
    """Seconds, C{None} for never; each is named by what it bounds."""

    connect: float = 5.0
    handshake: float = 10.0
    head: Duration = 10.0
    body: Duration = 60.0
    response: Duration = None
    stream: Duration = None
    tunnel: Duration = None
    half_closed: float = 3600.0
    """Silence on a tunnel once one side has ended: C{tunnel} if that is set, else an hour."""
    keepalive: Duration = 75.0
    close: float = 5.0
    drain: float = 3.0


LOOPBACK_CLIENTS = (ClientRule(word="loopback"),)


class UnstatedClients(tuple[ClientRule, ...]):
    """
    The default of C{clients} where a service manager will hand a socket over. Only then does it show whether
    others can reach the socket, so that the file must say who may connect.
    """

    __slots__ = ()


TIMEOUTS = Timeouts()


DECIDES = {"decides": True}
"""The metadata of a field that decides who may come, or where to; see L{Listener.policy}."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """What every kind of listener has."""

    name: str
    listen: tuple[ListenAddress, ...]
    listen_mode: int = 0o600
    tls: ServerTls | None = field(default=None, metadata=DECIDES)
    clients: tuple[ClientRule, ...] = field(default=LOOPBACK_CLIENTS, metadata=DECIDES)
    max_connections: int = 4096
    accept_proxy: tuple[ClientRule, ...] = field(default=(), metadata=DECIDES)  # they say who the client is
    timeouts: Timeouts = TIMEOUTS
    access_log: bool = True
    enabled: bool = True

    @property
    def policy(self) -> tuple[object, ...]:
        """
        What decides whether a connection may go on. Where a reload changes it, connections have to end.

        It is the value of each field that is marked so, or that value's own C{policy}.
        """
        values = [getattr(self, each.name) for each in fields(self) if "decides" in each.metadata]
        return tuple(getattr(value, "policy", value) for value in values)


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpForward(Listener):
    """C{type: tcp-forward}."""

    upstreams: Upstreams


class HeaderRules(NamedTuple):
    """Fields to set (replacing), add and remove; values may be L{Secret}."""

    set: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()


class Route(NamedTuple):
    """
    One entry of C{routes}; a reverse proxy with C{upstream} has a single one for C{/}.

    @ivar path: the prefix, matched at segment borders; C{"/"} matches all.
    @ivar host: C{"upstream"}, C{"preserve"} or a literal.
    """

    upstreams: Upstreams
    path: str = "/"
    strip_prefix: bool = False
    host: str = "upstream"
    request_headers: HeaderRules = HeaderRules()
    response_headers: HeaderRules = HeaderRules()


Rewrite = Literal["location", "cookies", "endpoint", "oauth"]


class BrowserGuard(NamedTuple):
    """
    Which Host and Origin values are let in beside the loopback ones.

    @ivar hosts: lower case, without port and trailing dot; C{None} disables the check (C{any}).
    @ivar origins: as browsers write them (C{https://app.example:8443}, C{null}), lower case; C{None}: C{any}.
    """

    hosts: tuple[str, ...] | None = ()
    origins: tuple[str, ...] | None = ()


LOOPBACK_NAMES = BrowserGuard()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReverseProxy(Listener):
    """
    C{type: reverse-proxy}. C{routes} are sorted, the longest prefix first.

    @ivar mcp: the path of the MCP endpoint, for people and the commands that help them; traffic ignores it.
    """

    routes: tuple[Route, ...]
    guard: BrowserGuard = LOOPBACK_NAMES
    origin: Literal["auto", "strip", "keep", "upstream"] = "auto"
    forwarded: Literal["none", "x-forwarded", "rfc7239"] = "none"
    rewrite: frozenset[Rewrite] = frozenset({"location", "cookies", "endpoint", "oauth"})
    sse_keepalive: Duration = 15.0
    session_recovery: bool = True
    mcp: str | None = None
    max_body: int | None = None
    pool: Pool = POOL


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """Who may use a forward proxy: names and passwords, or an htpasswd file."""

    users: Mapping[str, Secret] = field(default_factory=dict)
    file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardProxy(Listener):
    """What C{connect-proxy} and C{socks-proxy} share."""

    allow: tuple[DestinationRule, ...] = field(metadata=DECIDES)
    deny: tuple[DestinationRule, ...] = field(default=(), metadata=DECIDES)
    auth: Auth | None = field(default=None, metadata=DECIDES)
    parent: ParentProxy | None = None
    parent_bypass: tuple[DestinationRule, ...] = ()
    resolve: Mapping[str, tuple[IPAddress, ...]] = field(default_factory=dict)


class ConnectProxy(ForwardProxy):  # no field of its own, so it needs no methods of its own
    """C{type: connect-proxy}."""

    __slots__ = ()


class SocksProxy(ForwardProxy):  # no field of its own, so it needs no methods of its own
    """C{type: socks-proxy}."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Exec(Listener):
    """C{type: exec}."""

    command: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str] = field(default_factory=dict)
    protocol: Literal["raw", "mcp-http"] = "raw"
    shared: bool = False
    guard: BrowserGuard = LOOPBACK_NAMES
    max_processes: int = 8
    stop_timeout: float = 2.0


# --- the whole ----------------------------------------------------------------------------------------


class Log(NamedTuple):
    """What is written about what happens."""

    level: Literal["debug", "info", "warn", "error"] = "info"
    format: Literal["text", "json"] = "text"
    access: bool = True
    file: Path | None = None
    rotate: int | None = None
    keep: int = 5


class Admin(NamedTuple):
    """Where the status endpoints are, and who may see them."""

    listen: tuple[ListenAddress, ...]
    clients: tuple[ClientRule, ...] = LOOPBACK_CLIENTS
    hosts: tuple[str, ...] | None = ()

    @property
    def policy(self) -> object:
        """What decides whether a connection may go on; see L{Listener.policy}."""
        return self.clients


class Control(NamedTuple):
    """
    The control socket.

    @ivar paths: where it may be; the first that can be had is it.
    @ivar named: the file says where; it must be had.
    """

    paths: tuple[Path, ...]
    named: bool = False


class Config(NamedTuple):
    """
    A whole configuration file.

    @ivar listeners: in the file's order, the disabled ones too.
    @ivar control: C{None} for no control socket.
    @ivar included: the files whose content it holds (C{${file:PATH}}).
    @ivar warnings: what the reader of the log should know (a secret's file that others can read), as
        sentences.
    """

    path: Path
    listeners: tuple[Listener, ...]
    log: Log = Log()
    admin: Admin | None = None
    control: Control | None = None
    warnings: tuple[str, ...] = ()
    included: tuple[Path, ...] = ()
