"""
A default is said once, in its key's table. The records and C{docs/configuration.md} are held against that
here, C{conf/reference.yaml} in L{tests.config.test_reference}.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import MISSING
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config import model, nodes, programs
from lanrelay.config.place import Context, Key, Place, Table
from lanrelay.config.upstreams import HEALTH
from tests.config.tables import TABLES
from tests.config.test_reference import TABLE_OF, _fields, _keys, _own_fields

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def read(key: Key, default: object) -> Any:
    """What a record holds where the file has C{default}; written in JSON, which is YAML."""
    context = Context(file="test", folder=Path("/folder"), environment={"HOME": "/"})
    root = Place(context, nodes.compose(json.dumps({"key": default})), "")
    [(_, place)] = root.entries()
    return key.read(place)


class RecordTests(SynchronousTestCase):
    def test_a_record_has_the_defaults_of_the_table(self) -> None:
        compared = 0
        for name, word in TABLE_OF.items():
            record = getattr(model, name)
            table = next(each for each in TABLES if each.name == word)
            defaults = _fields(record)
            fields = {key.field or word: key for word, key in table.keys.items()}
            for field in _own_fields(record):
                key = fields.get(field)
                if key is None or defaults[field] is MISSING or key.default is None:
                    continue
                default = key.default.defaults() if isinstance(key.default, Table) else key.default
                self.assertEqual(read(key, default), defaults[field], f"{name}.{field}")
                compared += 1
        self.assertGreater(compared, 60)

    def test_a_field_without_its_key_in_the_table_has_the_default_of_the_key_it_comes_from(self) -> None:
        keys = _keys()
        for record, field, name in (
            (model.BrowserGuard, "hosts", "reverse-proxy.hosts"),
            (model.BrowserGuard, "origins", "reverse-proxy.origins"),
            (model.BrowserGuard, "hosts", "exec.hosts"),
            (model.BrowserGuard, "origins", "exec.origins"),
            (model.Route, "host", "reverse-proxy.host"),
            (model.Upstreams, "balance", "upstreams.balance"),
        ):
            self.assertEqual(read(keys[name], keys[name].default), _fields(record)[field], name)

    def test_the_time_of_idle_sessions_is_that_which_is_shown(self) -> None:
        tunnel = _keys()["timeouts.tunnel"]
        self.assertEqual(read(tunnel, programs.IDLE_SESSION_SHOWN), programs.IDLE_SESSION)


class Row(NamedTuple):
    """A row of the page: the names of its keys, and what it says of their default."""

    names: tuple[str, ...]
    default: str


# What the page says in words, where the default depends on other keys or is best said so.
WORDED = {
    "admin.clients": "loopback",
    "admin.hosts": "loopback",
    "file.control": "a unix socket in the user's runtime folder, named after the configuration's path",
    "listener.timeouts": "[below](#timeouts)",
    "listener.access_log": "as `log.access`",
    "upstream.address": "from `url`",
    "upstream-tls.server_name": "the host of `url`",
    "upstreams.health": "see below",
    "reverse-proxy.upstream": "one of them",
    "reverse-proxy.routes": "one of them",
    "reverse-proxy.hosts": "loopback names",
    "reverse-proxy.origins": "loopback origins",
    "forward-proxy.allow": "`[private, public]`, with `loopback` where only loopback may connect",
    "exec.cwd": "the file's folder",
}

# A part of a map that has a row of its own, though another key of it decides whether it is there.
OF_A_MAP = {"tls.cert", "tls.key", "admin.listen"}

# What has no row: it is told in sentences, or in the row of the map that it is in.
IN_SENTENCES = {
    *("file.log", "file.admin", "listener.tls", "upstream.tls", "reverse-proxy.headers"),
    *("route.path", "route.upstream", "route.strip_prefix", "route.host", "route.headers"),
    *("headers.set", "headers.add", "headers.remove", "auth.users", "auth.file"),
    *("tcp-forward.upstream", "pool.size", "pool.idle", "retry.for", "retry.backoff"),
    *(f"health.{word}" for word in HEALTH.keys),
}

_TABLES_OF_SECTIONS = {
    "The top level": {"": "file", "log.": "log", "admin.": "admin"},
    "Every listener": {"": "listener", "tls.": "tls"},
    "key of the map": {"": "upstream", "tls.": "upstream-tls"},
    "key of the listener": {"": "upstreams"},
    "reverse-proxy": {"": "reverse-proxy", "headers.": "both-headers"},
    "connect-proxy": {"": "forward-proxy"},
    "exec": {"": "exec"},
    "Timeouts": {"": "timeouts"},
}


def rows(text: str) -> Iterator[Row]:
    """Of all tables with a column C{default}."""
    section, tables = "", None
    for line in text.splitlines():
        if line.startswith("#"):
            section, tables = line.lstrip("# "), None
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if len(cells) < 2:
            tables = None
        elif cells[1] == "default":
            tables = _TABLES_OF_SECTIONS[section if cells[0] == "key" else cells[0]]
        elif tables is not None and not cells[0].startswith("---"):
            yield Row(tuple(_named(word, tables) for word in re.findall(r"`([^`]+)`", cells[0])), cells[1])


def _named(word: str, tables: dict[str, str]) -> str:
    before = f"{word.partition('.')[0]}."
    return f"{tables[before]}.{word.partition('.')[2]}" if "." in word else f"{tables['']}.{word}"


def says(text: str, key: Key) -> bool:
    """Whether this is what a page is to say of a key's default."""
    if key.required:
        return text == "required"
    default = key.default.defaults() if isinstance(key.default, Table) else key.default
    if text == "none":
        return _is_nothing(default)
    shown = re.fullmatch(r"`([^`]+)`", text)
    return shown is not None and yaml.load(shown[1], Loader=yaml.BaseLoader) == default


def _is_nothing(default: object) -> bool:
    return all(map(_is_nothing, default.values())) if isinstance(default, dict) else default in ("none", [])


class PageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.text = PAGE.read_text()
        self.rows = list(rows(self.text))

    def test_the_page_has_the_defaults_of_the_tables(self) -> None:
        keys = _keys()
        for names, default in self.rows:
            for name in names:
                if name in WORDED:
                    self.assertEqual(default, WORDED[name], name)
                elif name in OF_A_MAP:
                    self.assertEqual(default, "none", name)
                else:
                    self.assertTrue(says(default, keys[name]), f"{name}: {default}, {keys[name].default}")

    def test_a_default_that_is_worded_is_worded_for_the_one_there_is(self) -> None:
        keys = _keys()
        worded = {name: keys[name].default for name in WORDED}
        self.assertEqual(
            {name: default for name, default in worded.items() if default is not None},
            {
                "admin.clients": "loopback",
                "admin.hosts": "none",
                "listener.timeouts": keys["listener.timeouts"].default,
                "reverse-proxy.hosts": "none",
                "reverse-proxy.origins": "none",
                "exec.cwd": ".",
            },
        )

    def test_every_key_has_a_row_or_is_told_of_in_sentences(self) -> None:
        told = [name for row in self.rows for name in row.names]
        self.assertEqual(len(told), len(set(told)))
        self.assertEqual(set(told) | IN_SENTENCES, set(_keys()))
        self.assertEqual(set(told) & IN_SENTENCES, set())
        for name in IN_SENTENCES:
            self.assertRegex(self.text, rf"\b{name.partition('.')[2]}\b", name)

    def test_the_defaults_of_health_checks_are_said_behind_their_names(self) -> None:
        text = " ".join(self.text.split())
        for word, key in HEALTH.keys.items():
            if key.default != "none":
                self.assertRegex(text, rf"`{word}` \(`?{re.escape(str(key.default))}`?\)", word)
