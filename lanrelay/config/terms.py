"""What single values of the configuration stand for: addresses, rules, secrets."""

from __future__ import annotations

from dataclasses import dataclass
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
    @ivar implied: the file does not have it. A word that is implied is for literal addresses, C{localhost},
        C{*.localhost} and names in C{resolve}, and not for what any other name turns out to be.
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


TlsVersion = Literal["1.0", "1.1", "1.2", "1.3"]
