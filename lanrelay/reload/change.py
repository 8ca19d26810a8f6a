"""Makes a new configuration ready beside the one in force, then puts it in its place, or lets it go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_address

from twisted.logger import Logger

from lanrelay.config import model
from lanrelay.config.whereabouts import NamedFile
from lanrelay.errors import StartError
from lanrelay.listeners.opening import make_ready
from lanrelay.listeners.service import Environment, Given, ListenerService
from lanrelay.reload.parts import Blueprint, Part, Past
from lanrelay.reload.plan import Beginning, BoundAt, Held, Opening, Running, plan
from lanrelay.transport.port import BoundSocket
from lanrelay.upstream.inheritance import Inheritance


class Change:
    """
    One reload. C{prepare} does all that can fail and changes nothing; then comes C{commit} or C{discard}.

    @param files: those that the new configuration names, and where.
    @ivar parts: after C{commit}: what runs.
    @ivar past: after C{commit}: what ran before and only lets its connections end.
    """

    log = Logger()

    def __init__(
        self,
        environment: Environment,
        parts: Sequence[Part],
        blueprints: Sequence[Blueprint],
        *,
        files: Sequence[NamedFile] = (),
    ) -> None:
        self._files = files
        self._environment = environment
        self._old = parts
        self._blueprints = blueprints
        self._sockets = [list(part.listener.bound) for part in parts]  # lists that are not going to change
        running = [_running(part) for part in parts]
        self._plan = plan(running, [blueprint.wanted for blueprint in blueprints])
        self._new: dict[int, ListenerService] = {}
        self._closed: list[tuple[ListenerService, model.ListenAddress, model.ListenAddress]] = []
        self.parts: list[Part] = []
        self.past: list[Past] = []

    # --- before ---

    def prepare(self) -> list[StartError]:
        """
        Build what is new or different, read its files and open its ports.

        @return: everything that is wrong; then all is as it was.
        """
        beginnings = self._plan.beginnings
        for index, (blueprint, beginning) in enumerate(zip(self._blueprints, beginnings, strict=True)):
            if beginning.kept is not None:
                continue
            inheritance = self._inheritance(beginning)
            listener = blueprint.build(replace(self._environment, inheritance=inheritance))
            inheritance.spend()
            self._new[index] = listener
            listener.given = Given(
                sockets=[(self._socket(socket), listed) for socket, listed in beginning.sockets],
                missing=[
                    (opening.address, opening.listed)
                    for opening in beginning.openings
                    if not opening.displaced
                ],
            )
        errors = make_ready(list(self._new.values()), self._files)
        if not errors:
            errors = self._displace()
        if errors:
            self.discard()
        return errors

    def discard(self) -> None:
        """Close what was made ready; the configuration in force stays."""
        for listener in self._new.values():
            listener.unbind()
            listener.stopService()
        self._new.clear()
        for old, address, listed in self._closed:
            try:
                old.reopen(address, listed)
            except StartError as error:
                self.log.error("a socket that was closed cannot be opened again: {error}", error=str(error))
        self._closed.clear()

    def _displace(self) -> list[StartError]:
        """
        Open what cannot be opened while another socket listens on every address of the same port, or on one.

        So the old socket is closed first, after the connections in its queue were accepted. If the new one
        cannot be opened, the old one is opened again.
        """
        for index, listener in self._new.items():
            for opening in self._plan.beginnings[index].openings:
                if not opening.displaced:
                    continue
                self._surrender(opening)
                try:
                    listener.open(opening.address, opening.listed)
                except StartError as error:
                    return [listener.start_error(error)]
        return []

    def _surrender(self, opening: Opening) -> None:
        for position, number in opening.displaced:
            old = self._old[position].listener
            bound = self._socket((position, number))
            if bound.socket.fileno() == -1:
                continue  # two entries displace it
            host, port = bound.socket.getsockname()[:2]
            address = model.TcpAddress(host=ip_address(host), port=port)
            old.surrender(bound)
            self._closed.append((old, address, bound.address))

    # --- the change ---

    def commit(self) -> None:
        """Put it in force, within this turn of the reactor."""
        moved: dict[int, list[BoundSocket]] = {}
        for beginning in self._plan.beginnings:
            for socket, _ in beginning.sockets:
                moved.setdefault(socket[0], []).append(self._socket(socket))
        for position, sockets in moved.items():
            self._old[position].listener.give_away(sockets)
        counted: set[int] = set()
        for index, (blueprint, beginning) in enumerate(
            zip(self._blueprints, self._plan.beginnings, strict=True)
        ):
            if beginning.kept is not None:
                self.parts.append(self._old[beginning.kept])
                continue
            listener = self._new[index]
            heirs = [position for position in beginning.predecessors if position not in counted][:1]
            counted.update(heirs)
            listener.follow(self._old[heirs[0]].listener if heirs else None)
            self.parts.append(Part(wanted=blueprint.wanted, listener=listener))
            try:
                listener.startService()
            except Exception:  # a bug; the others must be started all the same
                self.log.failure("bug while starting {name}", name=listener.config.name)
        for position, ending in self._plan.endings.items():
            old = self._old[position].listener
            old.draining = True
            ended = old.stopService() if ending.drains else old.retire()
            self.past.append(Past(listener=old, heirs=self._heirs(old), ended=ended))

    def inherit(self, past: Past) -> None:
        """
        After C{commit}: note which listeners now decide about connections that earlier reloads have left.
        """
        had = bool(past.heirs)
        past.heirs = [heir for before in past.heirs for heir in self._heirs(before)]
        if had and not past.heirs:
            past.listener.stopService()

    def _heirs(self, old: ListenerService) -> list[ListenerService]:
        for position, part in enumerate(self._old):
            if part.listener is old:
                ending = self._plan.endings.get(position)
                if ending is None:
                    return [old]
                return [self.parts[heir].listener for heir in ending.heirs]
        return []

    def changes(self) -> Iterator[str]:
        """What becomes different, as sentences; before C{commit}."""
        beginnings, endings = self._plan.beginnings, self._plan.endings
        for blueprint, beginning in zip(self._blueprints, beginnings, strict=True):
            name = blueprint.wanted.name
            before = [self._old[position].wanted.name for position in beginning.predecessors]
            if beginning.kept is not None:
                continue
            if not before:
                yield f"{name} is new"
            elif name in before:
                yield f"{name} has changed"
            else:
                yield f"{name} stands for {before[0]}"
        for position, ending in endings.items():
            old = self._old[position]
            if not ending.successors:
                yield f"{old.wanted.name} was removed"
            left = old.listener.open_connections
            if ending.drains and left:
                seconds = old.listener.config.timeouts.drain
                yield f"{old.wanted.name}: connections that have {seconds:g} s to end: {left}"

    # ----------------------------------------------------------------------------------------------------

    def _socket(self, socket: tuple[int, int]) -> BoundSocket:
        return self._sockets[socket[0]][socket[1]]

    def _inheritance(self, beginning: Beginning) -> Inheritance:
        listeners = [self._old[position].listener for position in beginning.predecessors]
        return Inheritance(
            groups=[group for listener in listeners for group in listener.groups],
            pools=[
                pool for listener in listeners for route in listener.routes for pool in route.origins.pools
            ],
            sessions=[
                (route.group, route.sessions)
                for listener in listeners
                for route in listener.routes
                if route.sessions is not None
            ],
        )


def _running(part: Part) -> Running:
    wanted = part.wanted
    return Running(
        kind=wanted.kind,
        name=wanted.name,
        record=wanted.record,
        listen=wanted.listen,
        policy=wanted.policy,
        sockets=tuple(Held(place=_place(bound), address=bound.address) for bound in part.listener.bound),
        stale=part.listener.stale(),
    )


def _place(bound: BoundSocket) -> BoundAt:
    if isinstance(bound.address, (model.TcpAddress, model.LocalhostAddress)):
        host, port = bound.socket.getsockname()[:2]
        return ip_address(host), port
    return str(bound.address)
