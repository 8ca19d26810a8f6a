"""One table says what a kind of listener is, and everybody who wants to know asks it."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

import lanrelay
from lanrelay.bridge.names import PIPES
from lanrelay.config import kinds, model
from lanrelay.config.habits import meant_type
from lanrelay.config.kinds import KINDS, Kind, kind_for, kind_named, kind_of, named, upstreams_of
from lanrelay.config.listeners import Reader
from lanrelay.config.risks import risks_of
from lanrelay.examine.subject import every_subject
from lanrelay.listeners.kinds import build
from lanrelay.listeners.service import ListenerService
from lanrelay.setup.installer import leading
from tests.config.support import ConfigCase
from tests.support.listening import Surroundings

PACKAGE = Path(lanrelay.__file__).parent

RECORDS = {kind.record.__name__ for kind in KINDS} | {"ForwardProxy"}
WORDS = {kind.word for kind in KINDS}

# Who looks at a record's class all the same, and why.
BY_CLASS = {
    "examine/subject.py": "what only a reverse proxy sends (Origin), and only a forward proxy lets through",
}
# Who names a kind by its word all the same, and why.
BY_WORD = {
    "config/reverse_proxy.py": "the name of its table",
    "config/forward_proxy.py": "the names of its tables",
    "config/tcp_forward.py": "the name of its table",
    "config/programs.py": "the name of its table",
    "bridge/names.py": "it reads no YAML, so it cannot have the table; a test here compares them",
    "clients/bridges.py": "npm exec",
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = str(path.relative_to(PACKAGE))
        if name not in ("config/kinds.py", "config/model.py"):
            yield name, ast.parse(path.read_text())


def classes_asked(tree: ast.Module) -> Iterator[str]:
    """The records of kinds in C{isinstance}, C{issubclass}, C{type(x) is} and C{match}."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            asked = node.args[1:] if node.func.id in ("isinstance", "issubclass") else []
        elif isinstance(node, ast.Compare):
            asked = node.comparators
        elif isinstance(node, ast.MatchClass):
            asked = [node.cls]
        else:
            continue
        for part in (inner for one in asked for inner in ast.walk(one)):
            name = part.attr if isinstance(part, ast.Attribute) else getattr(part, "id", "")
            if name in RECORDS:
                yield name


def words_said(tree: ast.Module) -> Iterator[str]:
    """Words of kinds that stand alone in quotes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in WORDS:
            yield str(node.value)


class TableTests(SynchronousTestCase):
    def test_nobody_else_tells_kinds_apart_by_their_classes(self) -> None:
        found = {name for name, tree in modules() if list(classes_asked(tree))}
        self.assertEqual(found, set(BY_CLASS))

    def test_nobody_else_tells_kinds_apart_by_their_words(self) -> None:
        found = {name for name, tree in modules() if list(words_said(tree))}
        self.assertEqual(found, set(BY_WORD))

    def test_every_question_has_to_be_answered(self) -> None:
        self.assertEqual(Kind._field_defaults, {})

    def test_every_record_of_a_listener_is_of_one_kind(self) -> None:
        records = [
            value
            for value in vars(model).values()
            if isinstance(value, type) and issubclass(value, model.Listener) and not value.__subclasses__()
        ]
        self.assertEqual(set(records), {kind.record for kind in KINDS})
        self.assertEqual(len(WORDS), len(KINDS))

    def test_readers_and_services_are_where_they_are_said_to_be(self) -> None:
        for kind in KINDS:
            reader = named(kind.reader)
            self.assertIsInstance(reader, Reader, kind.word)
            self.assertEqual(reader.table.name, kind.word)
        for dotted in _dotted(kinds):
            self.assertTrue(callable(named(dotted)) or isinstance(named(dotted), Reader), dotted)

    def test_the_bridge_has_the_kinds_that_are_never_spoken_to_in_http(self) -> None:
        silent = {kind.word for kind in KINDS if not kind.proxy and not kind.http(lambda key: "mcp-http")}
        self.assertEqual(set(PIPES), silent)

    def test_a_word_or_a_scheme_means_one_kind(self) -> None:
        for words in (
            [word for kind in KINDS for word in kind.habits],
            [s for k in KINDS for s in k.schemes],
        ):
            self.assertEqual(len(words), len(set(words)))
        self.assertIs(kind_for("https"), kind_named("reverse-proxy"))
        self.assertIsNone(kind_for("ftp"))
        self.assertEqual(meant_type("Port-Forward"), "tcp-forward")


def _dotted(module: ModuleType) -> Iterator[str]:
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node.value.startswith("lanrelay.")
        ):
            yield node.value


class Echo(ListenerService):
    """The service of a kind that somebody adds."""

    def leads_to(self) -> str:
        return "itself"


class _Echoing(model.Listener):
    """The record of a kind that somebody adds."""

    __slots__ = ()


class MadeUpKindTests(ConfigCase):
    """A kind that is in the table and nowhere else is known to all who ask."""

    def setUp(self) -> None:
        super().setUp()
        to = model.Upstream(
            url=model.UpstreamUrl(scheme="tls", host="h", port=1), trust=model.Trust(verify=False)
        )
        forward = kind_named("tcp-forward")
        assert forward is not None
        self.kind = forward._replace(
            word="echo",
            record=_Echoing,
            service=lambda listener: f"{__name__}:Echo",
            groups=lambda listener: (model.Upstreams(members=(to,)),),
            schemes=("echo",),
            habits=("parrot",),
        )
        self.patch(kinds, "KINDS", (*KINDS, self.kind))
        self.record = _Echoing(name="bird", listen=())

    def test_the_relay_serves_it_under_its_word(self) -> None:
        service = build(Surroundings().environment, self.record)
        self.assertIsInstance(service, Echo)
        self.assertEqual(service.kind, "echo")

    def test_its_upstreams_are_known(self) -> None:
        config = model.Config(path=Path("x"), listeners=(self.record,))
        self.assertEqual([str(one.url) for one in upstreams_of(self.record)], ["tls://h:1"])
        self.assertEqual([one.url for one in every_subject(config)], ["tls://h:1"])
        self.assertEqual(leading(config), ["bird"])
        [risk] = risks_of(self.record)
        self.assertIn("NOT verified", risk)

    def test_the_file_may_have_it(self) -> None:
        complaints = self.complaints("listeners: {bird: {type: echo, listen: 1, upstream: 'tcp://h:1'}}")
        self.assertEqual(complaints, [])

    def test_a_record_without_a_kind_is_refused(self) -> None:
        with self.assertRaises(ValueError):
            kind_of(model.Listener(name="x", listen=()))


class PolicyTests(ConfigCase):
    """Each field of a record says itself whether a change of it makes connections end."""

    def test_a_change_of_a_marked_field_is_a_change_of_policy_and_no_other_is(self) -> None:
        text = """\
listeners:
  forward: {type: tcp-forward, listen: 1, upstream: "tcp://h:1"}
  reverse: {type: reverse-proxy, listen: 2, upstream: "http://h"}
  connect: {type: connect-proxy, listen: 3}
  socks: {type: socks-proxy, listen: 4}
  program: {type: exec, listen: 5, command: cat}
"""
        decide: set[str] = set()
        for listener in self.load(text).listeners:
            for field in fields(listener):
                another: dict[str, Any] = {field.name: "another"}
                changed = replace(listener, **another)
                if changed.policy != listener.policy:
                    decide.add(field.name)
        self.assertEqual(decide, {"clients", "accept_proxy", "tls", "allow", "deny", "auth"})

    def test_of_tls_it_is_whose_certificates_clients_must_have(self) -> None:
        tls = model.ServerTls(cert=Path("a"), key=Path("b"))
        listener = model.Listener(name="x", listen=(), tls=tls)
        other = replace(listener, tls=tls._replace(cert=Path("c")))
        self.assertEqual(listener.policy, other.policy)
        stricter = replace(listener, tls=tls._replace(client_ca=(Path("d"),)))
        self.assertNotEqual(listener.policy, stricter.policy)
