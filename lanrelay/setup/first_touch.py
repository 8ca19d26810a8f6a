"""
Touches the LAN once, so that macOS asks its question while somebody looks.

Run by the app bundle of the relay's own, in its own process. Apple's Technote TN3179 does it so: a datagram
to the discard port, on each network of this machine that has broadcasts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

from lanrelay import commands
from lanrelay.commands import Runner
from lanrelay.examine.routes import call


def touch_once(
    marker: str, *, run: Runner = commands.run, send: Callable[[IPv4Address], None] = call
) -> list[IPv4Address]:
    """
    @param marker: a file that says that it was done.
    @param send: sends an empty datagram to port 9 of an address.
    @return: the addresses.
    """
    file = Path(marker)
    if file.exists():
        return []
    found = neighbours(run(["ifconfig"]).output)
    for address in found:
        send(address)
    if found:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        except OSError:
            pass  # then it is done at the next start, too
    return found


def neighbours(output: str) -> list[IPv4Address]:
    """An address beside each of this machine's own, by C{ifconfig}, on what can be broadcast to."""
    found = []
    for block in re.split(r"^(?=\w+: flags=)", output, flags=re.MULTILINE):
        flags = re.match(r"\w+: flags=\w+<([^>]*)>", block)
        if flags is None or not {"UP", "BROADCAST"} <= set(flags[1].split(",")):
            continue
        for address, mask in re.findall(r"^\s+inet (\S+) netmask 0x([0-9a-f]{8})\b", block, re.MULTILINE):
            own = IPv4Interface(f"{address}/{int(mask, 16).bit_count()}")
            if own.network.prefixlen < 31:
                first = own.network.network_address + 1
                found.append(first if first != own.ip else first + 1)
    return found
