"""The records of upstreams: which certificates they may show, and how they are tried."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from lanrelay.config.terms import Secret, TlsVersion

# --- trust ----------------------------------------------------------------------------------------------


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
