"""From a record of the configuration to the listener that serves it."""

from __future__ import annotations

from lanrelay.config import model
from lanrelay.config.kinds import kind_of, named
from lanrelay.listeners.service import Environment, ListenerService


def build(environment: Environment, config: model.Listener) -> ListenerService:
    """
    Make the listener that C{config} describes; nothing is opened yet.

    The table of kinds says its class. The module is imported only now, so a relay without HTTP does not load
    that.
    """
    make = named(kind_of(config).service(config))
    service: ListenerService = make(environment, config)
    return service
