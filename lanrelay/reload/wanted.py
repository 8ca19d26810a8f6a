"""From a configuration to what has to be built of it: listeners, admin page, control socket."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from lanrelay.admin.watched import Watched
from lanrelay.config import model
from lanrelay.config.kinds import kind_of
from lanrelay.listeners import kinds
from lanrelay.listeners.service import Environment, ListenerService
from lanrelay.reload.parts import Blueprint, Wanted

if TYPE_CHECKING:
    from lanrelay.admin.control import Command

CONTROL = "control"
"""The kind of the control socket, which the status page does not show as a listener."""


def wanted_parts(
    config: model.Config, watched: Watched, commands: Mapping[str, Command]
) -> Iterator[Blueprint]:
    """In the order in which the log and the status page have them; the control socket is last."""
    for one in config.listeners:
        if one.enabled:
            yield _listener(one)
    if config.admin is not None:
        yield _admin(config.admin, watched)
    if config.control is not None:
        yield _control(config.control, commands)


def logged(config: model.Config) -> set[str]:
    """The names of the listeners that have a line in the access log for each session."""
    names = {one.name for one in config.listeners if one.access_log}
    return names | {"admin"} if config.admin is not None and config.log.access else names


def _listener(config: model.Listener) -> Blueprint:
    return Blueprint(
        wanted=Wanted(
            kind=kind_of(config).word,
            name=config.name,
            record=config,
            listen=config.listen,
            policy=config.policy,
        ),
        build=lambda environment: kinds.build(environment, config),
    )


def _admin(config: model.Admin, watched: Watched) -> Blueprint:
    def build(environment: Environment) -> ListenerService:
        from lanrelay.admin.endpoints import AdminService  # HTTP is not needed by a mere port forward

        return AdminService(environment, config, watched)

    wanted = Wanted(kind="admin", name="admin", record=config, listen=config.listen, policy=config.policy)
    return Blueprint(wanted=wanted, build=build)


def _control(config: model.Control, commands: Mapping[str, Command]) -> Blueprint:
    def build(environment: Environment) -> ListenerService:
        from lanrelay.admin.control import ControlService  # there may be none

        return ControlService(environment, config, commands)

    listen = tuple(model.UnixAddress(path=path) for path in config.paths[:1])
    return Blueprint(wanted=Wanted(kind=CONTROL, name=CONTROL, record=config, listen=listen), build=build)
