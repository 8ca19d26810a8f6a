"""
A changed configuration, judged by what it puts in force: the old one with the change, and nothing else.

Bytes in, bytes out: nothing is read or written here. Every command that changes the user's file goes this
way.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lanrelay.config import model
from lanrelay.config.load import examine
from lanrelay.edit.formats.edit import FORMATS, decode
from lanrelay.edit.formats.tree import Broken, NotEdited, Table
from lanrelay.setup import configuration


class Rewritten(NamedTuple):
    """
    A file's content after a change.

    @ivar config: what is in force with it.
    @ivar changed: whether it is another than before.
    """

    content: bytes
    config: model.Config
    changed: bool


def added(
    path: Path,
    content: bytes | None,
    name: str,
    body: Mapping[str, Any],
    *,
    environment: Mapping[str, str] = os.environ,
) -> Rewritten:
    """
    With a listener more, at the end.

    @param content: of the file at C{path}; C{None} where there is none.
    @param body: its keys, with texts, lists and maps.
    @raise ConfigErrors: the file is not right, or the listener is not.
    @raise NotEdited: it cannot be done by range.
    """
    begin = content or b""
    if content is not None and not says_anything(content):
        content = None
    before: tuple[model.Listener, ...] = ()
    if content is not None:
        before = examine(path, content=content, environment=environment).config.listeners

    def expected(listeners: Sequence[model.Listener]) -> bool:
        return tuple(listeners[:-1]) == before and listeners[-1].name == name

    after = edited(begin, lambda text: configuration.add_listener(text, name, body))
    return judged(path, content, after, expected, environment)


def removed(
    path: Path, content: bytes, name: str, *, environment: Mapping[str, str] = os.environ
) -> Rewritten:
    """
    Without a listener; raises as L{added}.

    @raise NotEdited: it is the only one, too: a relay has one at least.
    """
    before = examine(path, content=content, environment=environment).config.listeners
    if [one.name for one in before] == [name]:
        raise NotEdited(f"{name} is the only listener, and a relay has one at least")

    def expected(listeners: Sequence[model.Listener]) -> bool:
        return tuple(listeners) == tuple(one for one in before if one.name != name)

    after = edited(content, lambda text: configuration.remove_listener(text, name))
    return judged(path, content, after, expected, environment)


def edited(content: bytes, change: Callable[[str], str]) -> bytes:
    """
    The content with its text changed; the mark before it stays.

    @raise NotEdited: whatever is wrong.
    """
    try:
        text, mark = decode(content)
        return mark + change(text).encode()
    except Broken as error:
        raise NotEdited(str(error)) from None


def judged(
    path: Path,
    before: bytes | None,
    after: bytes,
    expected: Callable[[Sequence[model.Listener]], bool],
    environment: Mapping[str, str],
) -> Rewritten:
    """
    @param expected: whether these are the listeners that there are to be.
    @raise ConfigErrors: it would not be right.
    @raise NotEdited: something else would be in force.
    """
    config = examine(path, content=after, environment=environment).config
    same = True
    if before is not None:
        old = examine(path, content=before, environment=environment).config
        same = (old.log, old.admin, old.control) == (config.log, config.admin, config.control)
    if not same or not expected(config.listeners):
        raise NotEdited("something else would be in force than before and the change")
    return Rewritten(after, config, after != before)


def says_anything(content: bytes) -> bool:
    """C{False}: there is nothing in it, or comments alone."""
    try:
        root = FORMATS["yaml"].parse(decode(content)[0])
    except Broken:
        return True  # its reader says what is wrong with it
    return not isinstance(root, Table) or bool(root.entries)
