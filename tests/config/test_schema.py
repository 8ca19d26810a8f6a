"""The JSON schema takes what the relay takes, and refuses what is wrong in the ways in which people err."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft7Validator
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config.load import ConfigErrors, load
from lanrelay.config.schema import schema
from lanrelay.config.shapes import taken_by
from tests.config.support import ConfigCase, listener_text
from tests.config.tables import TABLES
from tests.config.test_load import EXAMPLE
from tests.config.test_reference import EVERYTHING

CONF = Path(__file__).parents[2] / "conf"

SCHEMA = schema()
VALIDATOR = Draft7Validator(SCHEMA)


class AsText(yaml.SafeLoader):
    """Every scalar is its text, as the relay reads it and as quotes have it."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, Any]]] = {}  # noqa: RUF012


def complaints(text: str) -> list[str]:
    """What an editor marks, for numbers and switches that it takes for such, and for texts."""
    return [
        f"{'.'.join(map(str, error.absolute_path))}: {error.message}"
        for loader in (yaml.SafeLoader, AsText)
        for error in VALIDATOR.iter_errors(yaml.load(text, loader))
    ]


class TakenTests(SynchronousTestCase):
    def test_it_is_a_schema(self) -> None:
        Draft7Validator.check_schema(SCHEMA)

    def test_the_files_of_the_project_are_right(self) -> None:
        for file in CONF.glob("*.yaml"):
            self.assertEqual(complaints(file.read_text()), [], file.name)
            self.assertEqual(
                file.read_text().splitlines()[0], "# yaml-language-server: $schema=relay.schema.json"
            )

    def test_every_key_with_another_value_than_its_default_is_right(self) -> None:
        for text in (EVERYTHING, EXAMPLE):
            self.assertEqual(complaints(text), [])

    def test_a_variable_may_stand_for_anything(self) -> None:
        text = listener_text("upstream: '${A}'\nmax_connections: '${B}'\nenabled: '${C:-on}'")
        self.assertEqual(complaints(text), [])

    def test_odd_spellings_of_off(self) -> None:
        for word in ("off", "Off", "NEVER", "none", "[]", "false"):
            text = listener_text(f"upstream: tcp://h:1\ntimeouts: {{tunnel: {word}}}")
            self.assertEqual(complaints(text), [], word)


class CompleteTests(SynchronousTestCase):
    def test_every_key_of_every_table_is_there(self) -> None:
        properties = {
            name: set(made["properties"])
            for name, made in SCHEMA["definitions"].items()
            if "properties" in made
        }
        properties["file"] = set(SCHEMA["properties"])
        beneath = {"listener", "forward-proxy", "upstreams"}  # what others take their keys from
        for table in TABLES:
            if table.name not in beneath:
                self.assertEqual(properties[table.name], set(table.keys), table.name)

    def test_every_key_says_what_it_takes(self) -> None:
        silent = {key.name for table in TABLES for key in table.keys.values() if not taken_by(key.read)}
        self.assertEqual(silent, {"file.listeners"})  # which the schema knows by itself


WRONG = {
    "an unknown key": "upstream: tcp://h:1\nspeed: 3",
    "a key of another type": "upstream: tcp://h:1\nhosts: nas.lan",
    "an unknown key within": "upstream: tcp://h:1\ntimeouts: {connects: 5s}",
    "another scheme": "upstream: https://h",
    "no duration": "upstream: tcp://h:1\ntimeouts: {connect: 5 minutes}",
    "a map for a text": "upstream: tcp://h:1\nclients: {a: b}",
    "a list for a map": "upstream: tcp://h:1\ntimeouts: [5s]",
    "no switch": "upstream: tcp://h:1\nenabled: perhaps",
    "no number": "upstream: tcp://h:1\nmax_connections: many",
    "too few": "upstream: tcp://h:1\nmax_connections: 0",
    "no such word": "upstream: tcp://h:1\nbalance: random",
    "no such version": "upstream: {url: 'tls://h:1', tls: {min_version: 1.5}}",
    "no mode": "upstream: tcp://h:1\nlisten_mode: rw",
    "an empty list": "upstream: []",
}


class WrongTests(ConfigCase):
    def test_what_is_wrong_is_refused_as_the_relay_refuses_it(self) -> None:
        for what, keys in WRONG.items():
            self.refused(listener_text(keys), what)

    def test_the_file_as_a_whole(self) -> None:
        right = listener_text("upstream: tcp://h:1")
        self.assertEqual(complaints(right), [])
        self.refused(right + "loging: {level: info}\n", "a key of the file")
        self.refused(right.replace("type: tcp-forward", "type: tcp"), "the type")
        self.refused("log: {level: info}\n", "no listeners")
        self.refused("listeners: {}\n", "no listener")
        self.refused("listeners: {a: {type: tcp-forward, listen: 1}}\n", "no upstream")
        self.refused("listeners: {a: {type: connect-proxy}}\n", "nothing to listen on")
        self.refused("listeners: {a: {listen: 1, upstream: 'tcp://h:1'}}\n", "no type")
        self.refused("listeners: {'a b': {type: connect-proxy, listen: 1}}\n", "its name")

    def refused(self, text: str, what: str) -> None:
        self.file.write_text(text)
        self.assertRaises(ConfigErrors, load, self.file)
        self.assertNotEqual(complaints(text), [], what)
