"""This machine's network: filters between programs and the LAN, VPNs, and several ways out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lanrelay.commands import Runner
from lanrelay.examine.checks import Check

_TUNNELS = re.compile(r"(?:utun|tun|tap|wg|ppp|ipsec|tailscale|zt|nordlynx|proton)")


def is_tunnel(interface: str) -> bool:
    """Whether an interface has the name of a VPN's."""
    return _TUNNELS.match(interface) is not None


@dataclass(frozen=True, slots=True)
class Default:
    """A default route."""

    interface: str
    gateway: str


@dataclass(frozen=True, slots=True)
class Interface:
    """
    An interface that leads somewhere.

    @ivar vpn: the VPN's server, if the system itself knows the interface as a VPN; else empty.
    """

    name: str
    address: str
    vpn: str = ""

    @property
    def is_vpn(self) -> bool:
        return bool(self.vpn) or is_tunnel(self.name)


def network_checks(run: Runner, *, platform: str) -> list[Check]:
    """
    The checks of this machine's network; blocks.

    @param run: for C{systemextensionsctl}, C{netstat} and C{scutil} on macOS.
    """
    interfaces: list[Interface] = []
    if platform == "darwin":
        extensions = active_extensions(run(["systemextensionsctl", "list"]).output)
        defaults = darwin_defaults(run(["netstat", "-rn", "-f", "inet"]).output)
        interfaces = darwin_interfaces(run(["scutil", "--nwi"]).output)
    else:
        extensions = []
        try:
            defaults = linux_defaults(Path("/proc/net/route").read_text("ascii"))
        except OSError:
            defaults = []
    found = [_extensions(extensions)] if extensions else []
    return [*found, _defaults(defaults, interfaces)]


def _extensions(names: Sequence[str]) -> Check:
    return Check(
        layer="network",
        state="warn",
        cause="network_extension",
        said=f"Network extensions are active, and may keep programs from the LAN: {', '.join(names)}.",
        remedy="Switch them off for a moment; if that helps, let them pass what is local.",
        facts={"extensions": list(names)},
    )


def _defaults(defaults: Sequence[Default], interfaces: Sequence[Interface]) -> Check:
    facts = {"defaults": [f"{one.gateway} by {one.interface}" for one in defaults]}
    if interfaces:
        facts["interfaces"] = [f"{one.name} {one.address}".rstrip() for one in interfaces]
    if not defaults:
        said = "There is no default route: this machine reaches its own networks, and nothing beyond."
        return Check(layer="network", state="ok", said=said, facts=facts)
    first = defaults[0]
    said = f"The way out is {first.gateway}, by {first.interface}"
    if len(defaults) > 1:
        others = ", ".join(dict.fromkeys(one.interface for one in defaults[1:]))
        said += f"; there are others, by {others}"
    vpns = [one.name for one in interfaces if one.is_vpn]
    if vpns or any(is_tunnel(one.interface) for one in defaults):
        said += "; a VPN is among them"
    said += "."
    if vpns and interfaces[0].is_vpn:
        said += f" The VPN ({vpns[0]}) comes first: what is on no network of this machine's own goes by it."
    own = [one.name for one in interfaces if not one.is_vpn]
    if len(own) > 1:
        said += f" Several interfaces are up ({', '.join(own)}), and macOS asks {own[0]} first."
    return Check(layer="network", state="ok", said=said, facts=facts)


def active_extensions(output: str) -> list[str]:
    """The names of the network extensions that are enabled and active, in C{systemextensionsctl list}."""
    found, within = [], False
    for line in output.splitlines():
        if line.startswith("---"):
            within = "network_extension" in line
        fields = line.split("\t")
        if within and len(fields) >= 6 and fields[0] == "*" and fields[1] == "*":
            found.append(fields[4].strip() or fields[3].strip())
    return found


def darwin_defaults(output: str) -> list[Default]:
    """The default routes in C{netstat -rn -f inet}."""
    rows = [line.split() for line in output.splitlines() if line.startswith("default")]
    return [Default(interface=row[3], gateway=row[1]) for row in rows if len(row) > 3]


def darwin_interfaces(output: str) -> list[Interface]:
    """The interfaces in the order of C{scutil --nwi}; the address is that of IPv4 if there is one."""
    listed = re.search(r"^Network interfaces: (.*)$", output, re.MULTILINE)
    found: dict[str, dict[str, str]] = {name: {} for name in (listed[1].split() if listed else ())}
    current: dict[str, str] = {}
    for line in output.splitlines():
        name, colon, value = (part.strip() for part in line.partition(" : "))
        if colon and value.startswith("flags "):
            current = found.get(name, {})
        elif colon:
            current.setdefault(name, value)
    return [
        Interface(name=name, address=fields.get("address", ""), vpn=fields.get("VPN server", ""))
        for name, fields in found.items()
    ]


def linux_defaults(table: str) -> list[Default]:
    """The default routes of the main table, as C{/proc/net/route} has them, the best first."""
    found = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7 and fields[1] == fields[7] == "00000000" and int(fields[3], 16) & 1:
            gateway = ".".join(str(byte) for byte in reversed(bytes.fromhex(fields[2])))
            found.append((int(fields[6]), Default(interface=fields[0], gateway=gateway)))
    return [default for _, default in sorted(found, key=lambda each: each[0])]
