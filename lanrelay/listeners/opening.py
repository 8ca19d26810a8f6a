"""Has the listeners read their files, and then open their ports."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lanrelay.config.whereabouts import NamedFile, located
from lanrelay.errors import AlreadyRunning, StartError
from lanrelay.listeners.service import ListenerService


def make_ready(listeners: Sequence[ListenerService], files: Sequence[NamedFile]) -> list[StartError]:
    """
    Load every file, then bind every port: until all files are read, no client is let in anywhere.

    The ports are tried even if a file is wrong, so that all errors come at once; the caller closes them.

    @param files: where the configuration names them.
    @return: everything that is wrong, in the order of the listeners. If the same relay runs already, that is
        the only error, because all others would follow from it.
    """
    errors: list[list[StartError]] = [[] for _ in listeners]
    try:
        for step in ("load", "bind"):
            for listener, wrong in zip(listeners, errors, strict=True):
                take: Callable[[], None] = getattr(listener, step)
                try:
                    take()
                except AlreadyRunning:
                    raise
                except StartError as error:
                    wrong.append(error)
    except AlreadyRunning as error:
        return [error]
    return [located(error, files) for wrong in errors for error in wrong]
