"""This machine's network: what sits between programs and the LAN, VPNs, and several ways out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lanrelay.commands import Runner
from lanrelay.examine.checks import Check

_TUNNELS = re.compile(r"(?:utun|tun|tap|wg|ppp|ipsec|tailscale|zt|nordlynx|proton)")


@dataclass(frozen=True, slots=True)
class Default:
    """A default route."""

    interface: str
    gateway: str


def network_checks(run: Runner, *, platform: str) -> list[Check]:
    """
    What is to be known of it; blocks.

    @param run: for C{systemextensionsctl} and C{netstat} on macOS.
    """
    if platform == "darwin":
        extensions = active_extensions(run(["systemextensionsctl", "list"]).output)
        defaults = darwin_defaults(run(["netstat", "-rn", "-f", "inet"]).output)
    else:
        extensions = []
        try:
            defaults = linux_defaults(Path("/proc/net/route").read_text("ascii"))
        except OSError:
            defaults = []
    found = [_extensions(extensions)] if extensions else []
    return [*found, _defaults(defaults)]


def _extensions(names: Sequence[str]) -> Check:
    return Check(
        layer="network",
        state="warn",
        cause="network_extension",
        said=f"Network extensions are active, and may keep programs from the LAN: {', '.join(names)}.",
        remedy="Switch them off for a moment; if that helps, let them pass what is local.",
        facts={"extensions": list(names)},
    )


def _defaults(defaults: Sequence[Default]) -> Check:
    facts = {"defaults": [f"{one.gateway} by {one.interface}" for one in defaults]}
    if not defaults:
        said = "There is no default route: this machine reaches its own networks, and nothing beyond."
        return Check(layer="network", state="ok", said=said, facts=facts)
    first = defaults[0]
    said = f"The way out is {first.gateway}, by {first.interface}"
    if len(defaults) > 1:
        others = ", ".join(dict.fromkeys(one.interface for one in defaults[1:]))
        said += f"; there are others, by {others}"
    if any(_TUNNELS.match(one.interface) for one in defaults):
        said += "; a VPN is among them"
    return Check(layer="network", state="ok", said=f"{said}.", facts=facts)


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


def linux_defaults(table: str) -> list[Default]:
    """The default routes of the main table, as C{/proc/net/route} has them, the best first."""
    found = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7 and fields[1] == fields[7] == "00000000" and int(fields[3], 16) & 1:
            gateway = ".".join(str(byte) for byte in reversed(bytes.fromhex(fields[2])))
            found.append((int(fields[6]), Default(interface=fields[0], gateway=gateway)))
    return [default for _, default in sorted(found, key=lambda each: each[0])]
