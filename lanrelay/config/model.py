"""
The configuration as the rest of the program sees it: frozen records, checked and typed.

Most are named tuples, which take a fifth of what a frozen dataclass takes of every start. Dataclasses are
those that inherit fields, or that stand where records of another class may stand, too, for tuples of the same
fields are equal whatever their class. All of them are made with keywords.

Durations are seconds, C{None} is C{never}. Sizes are bytes, C{None} is no limit. Paths are absolute.
Text that came from C{${...}} is already expanded here; C{repr} of a record never shows a L{Secret}.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Literal, NamedTuple

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network
Duration = float | None


class Secret(str):
    """Text that no log, page or message may show. C{str(secret)} is the text; C{repr} is not."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret('***')"


# --- addresses to listen on ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpAddress:
    """A literal address and a port; port 0 takes a free one."""

    host: IPAddress
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if self.host.version == 6 else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalhostAddress:
    """Both loopback addresses on one port; port 0 takes a port that is free on both."""

    port: int

    def __str__(self) -> str:
        return f"localhost:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnixAddress:
    """A unix socket."""

    path: Path

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemdSocket:
    """A socket handed over by systemd, by name or index."""

    name: str

    def __str__(self) -> str:
        return f"systemd:{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchdSocket:
    """A socket handed over by launchd, by name."""

    name: str

    def __str__(self) -> str:
        return f"launchd:{self.name}"


ListenAddress = TcpAddress | LocalhostAddress | UnixAddress | SystemdSocket | LaunchdSocket

# --- rules --------------------------------------------------------------------------------------------

AddressWord = Literal["private", "loopback", "link-local", "public", "any"]


class DestinationRule(NamedTuple):
    """
    One entry of C{allow} or C{deny}: exactly one of C{name}, C{network} and C{word} is set.

    @ivar name: lower case, without a trailing dot.
    @ivar below: with C{name}: C{*.name}, what is below it and not the name itself.
    @ivar ports: first and last port, C{None} for all.
    @ivar implied: nobody wrote it. Of a word: it is for literal addresses, C{localhost}, C{*.localhost} and
        names in C{resolve}, and not for what any other name turns out to be.
    """

    name: str | None = None
    below: bool = False
    network: IPNetwork | None = None
    word: AddressWord | None = None
    ports: tuple[int, int] | None = None
    implied: bool = False


class ClientRule(NamedTuple):
    """One entry of C{clients}: a network or a word."""

    network: IPNetwork | None = None
    word: Literal["loopback", "private", "any"] | None = None


# --- TLS ----------------------------------------------------------------------------------------------

TlsVersion = Literal["1.0", "1.1", "1.2", "1.3"]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKeyPin:
    """C{sha256//BASE64} of a SubjectPublicKeyInfo, as curl's C{--pinnedpubkey}."""

    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificatePin:
    """C{sha256:HEX} of a whole certificate."""

    digest: bytes


class Trust(NamedTuple):
    """
    Which certificates an upstream may show, and what we show it.

    @ivar ca: PEM files, folders of them, or the word C{"system"}; empty where C{pin} alone decides.
    @ivar server_name: C{None}: the host of the URL.
    """

    ca: tuple[Path | Literal["system"], ...] = ("system",)
    pin: tuple[PublicKeyPin | CertificatePin, ...] = ()
    server_name: str | None = None
    cert: Path | None = None
    key: Path | None = None
    passphrase: Secret | None = None
    min_version: TlsVersion = "1.2"
    alpn: tuple[str, ...] = ()
    verify: bool = True


# --- upstreams ----------------------------------------------------------------------------------------


class UpstreamUrl(NamedTuple):
    """
    A parsed upstream URL.

    @ivar scheme: C{http+unix} is C{http} with C{unix_path} set.
    @ivar host: lower case, without brackets; empty for a unix socket.
    @ivar port: as given or the scheme's; 0 for a unix socket.
    @ivar path: the path prefix without its trailing slash; empty for none.
    @ivar slash: the path prefix was written with one.
    """

    scheme: Literal["tcp", "tls", "unix", "http", "https"]
    host: str = ""
    port: int = 0
    unix_path: Path | None = None
    path: str = ""
    slash: bool = False

    @property
    def tls(self) -> bool:
        """Whether the connection is secured."""
        return self.scheme in ("tls", "https")

    @property
    def authority(self) -> str:
        """What a Host field says: the port only when it is not the scheme's; brackets around IPv6."""
        if self.unix_path is not None:
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = {"http": 80, "https": 443}.get(self.scheme)
        return host if self.port == default else f"{host}:{self.port}"

    def __str__(self) -> str:
        if self.unix_path is not None:
            scheme = "unix:" if self.scheme == "unix" else "http+unix:"
            return f"{scheme}{self.unix_path}"
        return f"{self.scheme}://{self.authority}{self.path}{'/' if self.slash else ''}"


class TargetAddress(NamedTuple):
    """C{address} of an upstream: what to dial instead of the URL's host and port."""

    host: str
    port: int


class ParentProxy(NamedTuple):
    """A proxy to go through: C{http://user:pass@proxy:3128} or C{socks5://...}."""

    scheme: Literal["http", "socks5"]
    host: str
    port: int
    username: str | None = None
    password: Secret | None = None


class Upstream(NamedTuple):
    """One configured upstream."""

    url: UpstreamUrl
    address: TargetAddress | None = None
    via: ParentProxy | None = None
    send_proxy: Literal["v1", "v2"] | None = None
    trust: Trust = Trust()

    @property
    def server_name(self) -> str:
        """The name that the certificate must bear."""
        return self.trust.server_name or self.url.host


class Health(NamedTuple):
    """
    Background checks.

    @ivar status: accepted answers to a GET of C{path}, as closed ranges.
    @ivar host: the Host of that GET; empty for that of the URL.
    """

    path: str | None = None
    status: tuple[tuple[int, int], ...] = ((200, 399), (401, 401), (405, 405), (406, 406))
    interval: float = 15.0
    down_interval: float = 2.0
    timeout: float = 3.0
    rise: int = 1
    fall: int = 2
    host: str = ""


class Retry(NamedTuple):
    """
    New tries for a connection that could not be made.

    @ivar duration: the key C{for}: seconds in which new tries begin; 0 for none.
    @ivar backoff: seconds before the second try; grows, with jitter.
    """

    duration: float = 3.0
    backoff: float = 0.1


class Pool(NamedTuple):
    """Idle upstream connections: how many are kept, and for how many seconds; size 0 keeps none."""

    size: int = 32
    idle: float = 4.0


POOL = Pool()


Balance = Literal["first", "round-robin", "least-connections"]


class Upstreams(NamedTuple):
    """What a listener or a route leads to: at least one upstream, and how they are tried."""

    members: tuple[Upstream, ...]
    balance: Balance = "first"
    health: Health | None = None
    retry: Retry = Retry()


# --- listeners ----------------------------------------------------------------------------------------


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
    The default of C{clients} where a service manager will hand a socket over: whether that is open to others,
    so that somebody must say who may connect, shows when it is there.
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
