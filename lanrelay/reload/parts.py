"""What a relay is made of. What a reload does with it stands elsewhere, because a start does without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from lanrelay.config import model

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from lanrelay.listeners.service import Environment, ListenerService


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """
    A listener of the new configuration.

    @ivar kind: C{type}, or another word; listeners of different kinds never stand for one another.
    @ivar record: whatever it is made of; equal records make equal listeners.
    @ivar policy: what decides whether a connection may go on.
    """

    kind: str
    name: str
    record: object
    listen: tuple[model.ListenAddress, ...]
    policy: object = None


class Blueprint(NamedTuple):
    """A listener as the configuration describes it, and how it is made."""

    wanted: Wanted
    build: Callable[[Environment], ListenerService]


@dataclass(slots=True, kw_only=True)
class Part:
    """A listener that runs, and what it was made of."""

    wanted: Wanted
    listener: ListenerService


@dataclass(slots=True, kw_only=True)
class Past:
    """
    A listener that only lets its connections end.

    @ivar heirs: as long as one of these listeners is there, the connections may go on.
    @ivar ended: fires with the last.
    """

    listener: ListenerService
    heirs: list[ListenerService]
    ended: Deferred[None]
