"""From a record of the configuration to the listener that serves it."""

from __future__ import annotations

from lanrelay.config import model
from lanrelay.config.kinds import kind_of, named
from lanrelay.listeners.service import Environment, ListenerService


def build(environment: Environment, config: model.Listener) -> ListenerService:
    """
    Make the listener that C{config} describes; nothing is opened yet.

    The table of kinds says which it is. Its module is imported now: a relay without HTTP need not load it.
    """
    make = named(kind_of(config).service(config))
    service: ListenerService = make(environment, config)
    return service
