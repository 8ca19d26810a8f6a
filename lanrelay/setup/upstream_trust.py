"""
Whom the upstreams of a configuration trust, changed by range, so that every other byte stays.

Bytes in, bytes out. What comes out was read anew: it trusts as it did, with the change, and in no other way.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lanrelay.config import hosts, model
from lanrelay.config.expand import expand
from lanrelay.config.kinds import kind_of
from lanrelay.config.load import examine
from lanrelay.config.values import Unfit, pin
from lanrelay.edit.formats.edit import FORMATS, Append, Insert, Remove, apply
from lanrelay.edit.formats.tree import (
    Items,
    Node,
    NotEdited,
    Scalar,
    Splice,
    Table,
    at,
    plain,
    splice,
    text_of,
)
from lanrelay.edit.formats.tree import Path as Place
from lanrelay.edit.formats.yaml_text import written
from lanrelay.setup.in_force import Rewritten, edited, judged

_YAML = FORMATS["yaml"]
_SYSTEM = "system"


class Origin(NamedTuple):
    """Upstreams that speak TLS with this host on this port."""

    host: str
    port: int

    def has(self, upstream: model.Upstream) -> bool:
        url = upstream.url
        return url.tls and (url.host, url.port) == (self.host, self.port)


def trust_ca(
    path: Path,
    content: bytes,
    origin: Origin,
    file: str,
    *,
    without_pin: bool = False,
    environment: Mapping[str, str] = os.environ,
) -> Rewritten:
    """
    Have every upstream at C{origin} trust the authorities in a file, beside what it names, and verify.

    @param file: as it is to stand in the configuration.
    @param without_pin: pins there go, for they fit no more.
    @raise ConfigErrors: the file is not right.
    @raise NotEdited: it cannot be done by range.
    """
    whole = Path(os.path.join(os.path.abspath(path.parent), file))

    def wanted(trust: model.Trust) -> model.Trust:
        known = trust.ca or (_SYSTEM,)
        ca = known if whole in known else (*known, whole)
        return trust._replace(ca=ca, verify=True, pin=() if without_pin else trust.pin)  # type: ignore[arg-type]

    def edit(text: str, place: Place, tls: Table | None) -> str:
        ca = None if tls is None else tls.get("ca")
        text = _set_ca(text, place, tls, ca, file)
        return _without(text, place, ("verify", "pin") if without_pin else ("verify",))

    return _trusting(path, content, origin, wanted, edit, environment)


def trust_pin(
    path: Path,
    content: bytes,
    origin: Origin,
    key_pin: str,
    *,
    with_ca: bool,
    environment: Mapping[str, str] = os.environ,
) -> Rewritten:
    """
    Have every upstream at C{origin} trust a pin, in place of other pins, and verify; raises as L{trust_ca}.

    @param with_ca: the authorities that it names stay, so that the pin is wanted beside them; else it alone
        is.
    """
    found = pin(key_pin)

    def wanted(trust: model.Trust) -> model.Trust:
        ca = trust.ca if with_ca and trust.ca != (_SYSTEM,) else ()
        return trust._replace(ca=ca, verify=True, pin=(found,))

    def edit(text: str, place: Place, tls: Table | None) -> str:
        if tls is None:
            return _insert_tls(text, place, {"pin": key_pin})
        old = tls.get("pin")
        if old is None:
            text = apply(_YAML, text, [Insert((*place, "tls"), "pin", key_pin)])
        else:
            text = _replaced(text, old, written(key_pin))
        ca = tls.get("ca")
        stays = with_ca and ca is not None and plain(ca) not in (_SYSTEM, [_SYSTEM])
        return _without(text, place, ("verify",) if stays else ("verify", "ca"))

    return _trusting(path, content, origin, wanted, edit, environment)


def verify(
    path: Path, content: bytes, origin: Origin, *, environment: Mapping[str, str] = os.environ
) -> Rewritten:
    """Have every upstream at C{origin} verify, by what it trusts anyhow; raises as L{trust_ca}."""

    def wanted(trust: model.Trust) -> model.Trust:
        return trust._replace(verify=True)

    def edit(text: str, place: Place, tls: Table | None) -> str:
        if tls is not None and [entry.key for entry in tls.entries] == ["verify"]:
            return apply(_YAML, text, [Remove((*place, "tls"))])
        return _without(text, place, ("verify",))

    return _trusting(path, content, origin, wanted, edit, environment)


def forget(
    path: Path,
    content: bytes,
    origin: Origin,
    *,
    file: str = "",
    key_pin: str = "",
    environment: Mapping[str, str] = os.environ,
) -> Rewritten:
    """
    Have no upstream at C{origin} trust the file, or the pin, any more; raises as L{trust_ca}.

    What then trusts nothing by itself trusts what the system trusts.
    """
    whole = Path(os.path.join(os.path.abspath(path.parent), file)) if file else None
    gone = pin(key_pin) if key_pin else None

    def wanted(trust: model.Trust) -> model.Trust:
        pins = tuple(one for one in trust.pin if one != gone)
        ca = tuple(one for one in trust.ca if one != whole)
        return trust._replace(ca=ca or (() if pins else (_SYSTEM,)), pin=pins)  # type: ignore[arg-type]

    def edit(text: str, place: Place, tls: Table | None) -> str:
        if tls is None:
            return text
        for key, word in (("ca", file), ("pin", key_pin)):
            text = _without_item(text, place, key, word)
        return text

    return _trusting(path, content, origin, wanted, edit, environment)


Edit = Callable[[str, Place, "Table | None"], str]
"""The text with an upstream's trust changed, whose map is at the place."""


def _trusting(
    path: Path,
    content: bytes,
    origin: Origin,
    wanted: Callable[[model.Trust], model.Trust],
    edit: Edit,
    environment: Mapping[str, str],
) -> Rewritten:
    before = examine(path, content=content, environment=environment).config.listeners
    wanted_listeners = tuple(_with_trust(one, origin, wanted) for one in before)
    if tuple(before) == wanted_listeners:
        return judged(path, content, content, lambda _: True, environment)  # no byte needs to change

    def changed(text: str) -> str:
        now = text
        for place in list(_upstreams(_YAML.parse(now), origin, environment)):
            node = at(_YAML.parse(now), place)
            if isinstance(node, Scalar):
                now = _as_map(now, node)
                node = at(_YAML.parse(now), place)
            assert isinstance(node, Table)
            tls = node.get("tls")
            if isinstance(tls, Scalar) and tls.value is None:
                raise NotEdited("`tls` is written without a value")
            if tls is not None and not isinstance(tls, Table):
                raise NotEdited("`tls` is no map")
            now = edit(now, place, tls)
        return now

    def expected(listeners: Sequence[model.Listener]) -> bool:
        return tuple(listeners) == wanted_listeners

    return judged(path, content, edited(content, changed), expected, environment)


def _with_trust(
    listener: model.Listener, origin: Origin, wanted: Callable[[model.Trust], model.Trust]
) -> model.Listener:
    def group(upstreams: model.Upstreams) -> model.Upstreams:
        return upstreams._replace(
            members=tuple(
                one._replace(trust=wanted(one.trust)) if origin.has(one) else one for one in upstreams.members
            )
        )

    return kind_of(listener).regrouped(listener, group)


def _upstreams(root: Node, origin: Origin, environment: Mapping[str, str]) -> Iterator[Place]:
    """Where in the text the upstreams at an origin are."""
    listeners = at(root, ("listeners",))
    if not isinstance(listeners, Table):
        return
    for entry in listeners.entries:
        holders: list[Place] = [("listeners", entry.key, "upstream")]
        routes = at(entry.value, ("routes",))
        if isinstance(routes, Items):
            holders += [
                ("listeners", entry.key, "routes", index, "upstream") for index in range(len(routes.items))
            ]
        elif isinstance(routes, Table):
            holders.append(("listeners", entry.key, "routes", "upstream"))
        for holder in holders:
            node = at(root, holder)
            places = (
                [(*holder, index) for index in range(len(node.items))]
                if isinstance(node, Items)
                else [holder]
            )
            yield from (place for place in places if _is_at(at(root, place), origin, environment))


def _is_at(node: Node | None, origin: Origin, environment: Mapping[str, str]) -> bool:
    text = text_of(node.get("url") if isinstance(node, Table) else node)
    if text is None:
        return False

    def unread(name: str) -> str:
        raise Unfit("not read here")

    try:
        text = expand(text, environment, unread)
        schemes = hosts.HTTP_SCHEMES if text[:4].lower() == "http" else hosts.FORWARD_SCHEMES
        return origin.has(model.Upstream(url=hosts.upstream_url(text, schemes, Path)))
    except Unfit:
        return False


def _as_map(text: str, node: Scalar) -> str:
    """A URL alone becomes a map of one key."""
    assert isinstance(node.value, str)
    raw = text[node.start : node.end]
    if raw not in (node.value, f'"{node.value}"', f"'{node.value}'"):
        raise NotEdited("the URL has an anchor, a tag or several lines")
    return _replaced(text, node, f"{{url: {_in_flow(raw, node.value)}}}")


def _set_ca(text: str, place: Place, tls: Table | None, ca: Node | None, file: str) -> str:
    if tls is None:
        return _insert_tls(text, place, {"ca": [_SYSTEM, file]})
    if ca is None:
        return apply(_YAML, text, [Insert((*place, "tls"), "ca", [_SYSTEM, file])])
    if isinstance(ca, Items):
        if file in map(text_of, ca.items):
            return text
        return apply(_YAML, text, [Append((*place, "tls", "ca"), file)])
    value = text_of(ca)
    if value is None:
        raise NotEdited("`ca` is no text")
    if value == file:
        return text
    return _replaced(text, ca, f"[{_in_flow(text[ca.start : ca.end], value)}, {written(file)}]")


def _insert_tls(text: str, place: Place, value: Mapping[str, Any]) -> str:
    return apply(_YAML, text, [Insert(place, "tls", value)])


def _without(text: str, place: Place, keys: Sequence[str]) -> str:
    """Take keys out of C{tls}, which has another one."""
    for key in keys:
        if at(_YAML.parse(text), (*place, "tls", key)) is not None:
            text = apply(_YAML, text, [Remove((*place, "tls", key))])
    return text


def _without_item(text: str, place: Place, key: str, word: str) -> str:
    node = at(_YAML.parse(text), (*place, "tls", key))
    if not word or node is None:
        return text
    found = list(map(text_of, node.items)) if isinstance(node, Items) else [text_of(node)]
    if word not in found:
        return text
    rest = [one for one in found if one != word]
    if isinstance(node, Items) and rest not in ([], [_SYSTEM]):
        return apply(_YAML, text, [Remove((*place, "tls", key, found.index(word)))])
    tls = at(_YAML.parse(text), (*place, "tls"))
    assert isinstance(tls, Table)
    gone = (*place, "tls") if len(tls.entries) == 1 else (*place, "tls", key)
    return apply(_YAML, text, [Remove(gone)])


def _in_flow(raw: str, value: str) -> str:
    """The text as it was, if it means the same within brackets."""
    return written(value) if re.search(r"[,\[\]{}]", raw) and raw == value else raw


def _replaced(text: str, node: Node, new: str) -> str:
    if isinstance(node, (Table, Items)) and node.block:
        raise NotEdited("what is to be replaced has several lines")
    return splice(text, [Splice(node.start, node.end, new)])
