"""
What a reload does to each listener and socket, worked out before anything is touched.

Sockets are matched by where they listen. So a listener with another name, or two that were swapped, go on
with the same sockets, and no connection in the kernel's queue is lost.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from lanrelay.config import model
from lanrelay.reload.parts import Wanted

BoundAt = tuple[model.IPAddress, int] | str
"""Where a socket listens: address and real port, or the whole text of what has none (a path, a name)."""

LOOPBACKS: tuple[model.IPAddress, ...] = (IPv4Address("127.0.0.1"), IPv6Address("::1"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """
    A socket that a running listener has.

    @ivar address: the entry of C{listen} it was opened for.
    """

    place: BoundAt
    address: model.ListenAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class Running(Wanted):
    """
    A listener that runs.

    @ivar stale: files that it has read have changed, so it is not what its record would make now.
    """

    sockets: tuple[Held, ...] = ()
    stale: bool = False


Socket = tuple[int, int]
"""A running listener and one of its sockets, by their positions."""


@dataclass(slots=True, kw_only=True)
class Opening:
    """
    What one entry of C{listen} still needs.

    @ivar listed: the entry.
    @ivar address: what to open; one loopback address where the other is there already.
    @ivar displaced: sockets that have to be closed first, because one of the two listens on every address.
    """

    listed: model.ListenAddress
    address: model.ListenAddress
    displaced: list[Socket] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Beginning:
    """
    What becomes of a listener of the new configuration.

    @ivar kept: the running listener that goes on as it is, with all it has; then the rest is empty.
    @ivar sockets: those it is given, each with the entry of C{listen} it serves from now on.
    @ivar openings: what is missing.
    @ivar predecessors: the running listeners that it stands for now, the nearest first: of the same kind, and
        at the same place or of the same name.
    """

    kept: int | None = None
    sockets: list[tuple[Socket, model.ListenAddress]] = field(default_factory=list)
    openings: list[Opening] = field(default_factory=list)
    predecessors: list[int] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Ending:
    """
    What becomes of a running listener that does not go on as it is.

    @ivar successors: those that are wanted and stand for it, by position; none for one that was removed.
    @ivar heirs: those of them by whose word its connections may go on, under the settings they know; with
        none they have C{timeouts.drain} to end.
    """

    successors: list[int] = field(default_factory=list)
    heirs: list[int] = field(default_factory=list)

    @property
    def drains(self) -> bool:
        """Whether its connections have to end."""
        return not self.heirs


@dataclass(slots=True, kw_only=True)
class Plan:
    """
    @ivar beginnings: one for each listener that is wanted.
    @ivar endings: by position, for each running listener that is not kept.
    """

    beginnings: list[Beginning]
    endings: dict[int, Ending]


def plan(running: Sequence[Running], wanted: Sequence[Wanted]) -> Plan:
    """Compare what runs with what shall run."""
    beginnings = [Beginning(kept=_same(running, one)) for one in wanted]
    kept = {beginning.kept for beginning in beginnings}
    free: dict[Socket, Held] = {
        (index, number): held
        for index, one in enumerate(running)
        if index not in kept
        for number, held in enumerate(one.sockets)
    }
    changed = [
        (one, beginning) for one, beginning in zip(wanted, beginnings, strict=True) if beginning.kept is None
    ]
    found = _matched(running, [one for one, _ in changed], free)
    for (one, beginning), sockets in zip(changed, found, strict=True):
        for address, given in zip(one.listen, sockets, strict=True):
            beginning.sockets += [(socket, address) for socket in given]
            beginning.openings += _openings(address, [_held(running, socket).place for socket in given])
        for opening in beginning.openings:
            opening.displaced = [
                socket for socket, held in free.items() if _clash(opening.address, held.place)
            ]
        beginning.predecessors = _predecessors(running, one, beginning, kept)
    return Plan(beginnings=beginnings, endings=_endings(running, wanted, beginnings, kept))


# --- listeners ----------------------------------------------------------------------------------------


def _same(running: Sequence[Running], one: Wanted) -> int | None:
    for index, other in enumerate(running):
        if (other.kind, other.name, other.record) == (one.kind, one.name, one.record) and not other.stale:
            return index
    return None


def _predecessors(
    running: Sequence[Running], one: Wanted, beginning: Beginning, kept: Collection[int | None]
) -> list[int]:
    at_its_place = [index for (index, _), _ in beginning.sockets]
    of_its_name = [
        index for index, other in enumerate(running) if other.name == one.name and index not in kept
    ]
    return [index for index in dict.fromkeys(at_its_place + of_its_name) if running[index].kind == one.kind]


def _endings(
    running: Sequence[Running],
    wanted: Sequence[Wanted],
    beginnings: Sequence[Beginning],
    kept: Collection[int | None],
) -> dict[int, Ending]:
    endings = {}
    for index, old in enumerate(running):
        if index in kept:
            continue
        successors = [
            position for position, beginning in enumerate(beginnings) if index in beginning.predecessors
        ]
        # Ports or names may have been swapped: the policy that let somebody in is in force as long as the
        # listener at its place, or of its name, has it.
        heirs = [
            position for position in successors if wanted[position].policy == old.policy and not old.stale
        ]
        endings[index] = Ending(successors=successors, heirs=heirs)
    return endings


# --- sockets ------------------------------------------------------------------------------------------


def _matched(
    running: Sequence[Running], wanted: Sequence[Wanted], free: dict[Socket, Held]
) -> list[list[list[Socket]]]:
    """
    For each listener and each entry of its C{listen} the sockets that serve it; they are taken from C{free}.

    Port 0 comes last, and takes what was opened for the same entry: the listener's own rather than another's.
    """
    found: list[list[list[Socket]]] = [[[] for _ in one.listen] for one in wanted]

    def take(entry: list[Socket], sockets: Sequence[Socket]) -> None:
        entry += sockets
        for socket in sockets:
            del free[socket]

    for one, entries in zip(wanted, found, strict=True):
        for address, entry in zip(one.listen, entries, strict=True):
            places = _places(address)
            take(entry, [socket for socket, held in free.items() if held.place in places])
    for own in (True, False):
        for one, entries in zip(wanted, found, strict=True):
            for address, entry in zip(one.listen, entries, strict=True):
                if not entry and not _places(address):
                    take(entry, _any_port(running, one, address, free, own=own))
    return found


def _any_port(
    running: Sequence[Running],
    one: Wanted,
    address: model.ListenAddress,
    free: dict[Socket, Held],
    *,
    own: bool,
) -> list[Socket]:
    """Those of one port: C{localhost:0} has two."""
    sockets = [
        (socket, held.place)
        for socket, held in free.items()
        if held.address == address
        and (not own or (running[socket[0]].kind, running[socket[0]].name) == (one.kind, one.name))
    ]
    return [socket for socket, place in sockets if place[1] == sockets[0][1][1]]


def _places(address: model.ListenAddress) -> Collection[BoundAt]:
    """Where an entry listens; empty for port 0, which may be anywhere."""
    if isinstance(address, model.TcpAddress):
        return [(address.host, address.port)] if address.port else []
    if isinstance(address, model.LocalhostAddress):
        return [(host, address.port) for host in LOOPBACKS] if address.port else []
    return [str(address)]


def _openings(address: model.ListenAddress, there: Collection[BoundAt]) -> Iterator[Opening]:
    if not there:
        yield Opening(listed=address, address=address)
    elif isinstance(address, model.LocalhostAddress) and address.port:
        for host in LOOPBACKS:
            if (host, address.port) not in there:
                yield Opening(listed=address, address=model.TcpAddress(host=host, port=address.port))


def _clash(address: model.ListenAddress, place: BoundAt) -> bool:
    """Whether C{address} cannot be opened while something listens at C{place}; both are not the same."""
    if isinstance(place, str):
        return False
    host, port = place
    return any(
        not isinstance(wanted, str)
        and wanted[1] == port
        and wanted[0].version == host.version
        and (wanted[0].is_unspecified or host.is_unspecified)
        for wanted in _places(address)
    )


def _held(running: Sequence[Running], socket: Socket) -> Held:
    return running[socket[0]].sockets[socket[1]]
