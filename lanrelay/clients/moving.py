"""Takes a credential out of an entry, so that the relay's listener sends it instead."""

from __future__ import annotations

import re
from typing import NamedTuple

from lanrelay.clients.finding import Finding
from lanrelay.clients.judge import is_variable
from lanrelay.clients.sent import field_of
from lanrelay.edit.formats.edit import Change, Remove
from lanrelay.edit.formats.tree import NotEdited

_CREDENTIAL = re.compile(r"authorization|cookie|secret|password|(?:^|[-_])(?:api-?key|key|token|auth)$", re.I)
_BEARER = ("--bearer-token", "--oauth2Bearer")


class Moved(NamedTuple):
    """
    Credentials of an entry.

    @ivar fields: name and value of the header fields.
    @ivar changes: that take them out of the entry; to be made after all others.
    """

    fields: tuple[tuple[str, str], ...] = ()
    changes: tuple[Change, ...] = ()

    @property
    def key(self) -> frozenset[tuple[str, str]]:
        """Equal for the same credentials, however the names are spelled."""
        return frozenset((name.lower(), value) for name, value in self.fields)


def credentials(finding: Finding) -> Moved:
    """
    The credentials among an entry's header fields.

    @raise NotEdited: one is a variable that only the client knows.
    """
    fields, changes = _of_bridge(finding) if finding.spelling is not None else _of_headers(finding)
    for name, value in fields.items():
        if is_variable(value):
            raise NotEdited(f"the value of its field {name} is a variable, which only the client knows")
    return Moved(tuple(fields.items()), tuple(changes))


def _of_headers(finding: Finding) -> tuple[dict[str, str], list[Change]]:
    server = finding.server
    path = server.headers_path
    if path is None or finding.bridged:
        return {}, []
    found = {name: value for name, value in server.headers.items() if _CREDENTIAL.search(name)}
    if found and len(found) == len(server.headers) and not server.keeps_empty_maps:
        return found, [Remove(path)]
    return found, [Remove((*path, name)) for name in found]


def _of_bridge(finding: Finding) -> tuple[dict[str, str], list[Change]]:
    server, spelled = finding.server, finding.spelling
    assert spelled is not None
    if spelled.bridge is None:
        return {}, []
    found: dict[str, str] = {}
    changes: list[Change] = []
    if spelled.front is not None:
        raise NotEdited("its arguments are in an order that has to change first")
    for option in reversed(spelled.options):  # from the end, so that the places before stay what they are
        if option.name in spelled.bridge.headers and option.values:
            name, value = field_of(option.values)
        elif option.name in _BEARER and option.values:
            name, value = "Authorization", f"Bearer {option.values[0]}"
        else:
            continue
        if _CREDENTIAL.search(name):
            found[name] = value
            words = server.words[option.at : option.at + option.words]
            changes += [Remove(word.path) for word in reversed(words)]
    variable = spelled.bridge.variables[1]
    bearer = server.environment.get(variable, "")
    if bearer and server.environment_path is not None:
        found.setdefault("Authorization", f"Bearer {bearer}")
        changes.append(Remove((*server.environment_path, variable)))
    return found, changes
