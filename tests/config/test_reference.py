"""conf/reference.yaml, the loader's tables and the model's records hold each other in place."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path

from lanrelay.cli.check import render
from lanrelay.config import model, terms, upstream_records
from lanrelay.config.load import examine
from lanrelay.config.place import Key, Shown, Table
from lanrelay.config.schema import schema
from tests.config.support import ConfigCase
from tests.config.tables import TABLES

REFERENCE = Path(__file__).parents[2] / "conf" / "reference.yaml"
SMALLEST = REFERENCE.with_name("relay.yaml")

# Keys that the reference shows in a comment: no fixed default, or they exclude one that is shown.
IN_COMMENTS = {
    "file.control",
    "listener.access_log",
    "upstream.address",
    "upstream-tls.server_name",
    "reverse-proxy.routes",
    "route.path",
    "route.upstream",
    "route.strip_prefix",
    "route.host",
    "route.headers",
    "forward-proxy.allow",
    "auth.users",
    "auth.file",
}

# Every key with another value than its default; most listeners are not enabled.
EVERYTHING = """\
log: {level: debug, format: json, access: false}
admin: {listen: "0.0.0.0:1", clients: private, hosts: nas.lan}
control: unix:control.sock
listeners:
  forward:
    type: tcp-forward
    enabled: false
    listen: ["127.0.0.1:2", 3, unix:a, systemd:b, launchd:c]
    listen_mode: 0660
    tls: {cert: a, key: b, passphrase: d, client_ca: c, alpn: h2, min_version: 1.3}
    clients: [10.0.0.0/8, private]
    max_connections: 1
    accept_proxy: any
    access_log: true
    timeouts: {connect: 1, handshake: 1, head: 1, body: 1, response: 1, stream: 1, tunnel: 1, keepalive: 1,
               close: 1, drain: 1}
    upstream:
      - {url: "tls://h:1", address: "a:2", via: "http://u:p@h:1", send_proxy: v1,
         tls: {ca: a, pin: ["sha256:PIN", "sha256//KEY="], server_name: b, cert: c, key: d, passphrase: e,
               min_version: 1.3, alpn: [h2, http/1.1]}}
      - {url: "tls://h:2", tls: {verify: false}}
      - unix:x
    balance: round-robin
    health: {path: /, status: 200, interval: 1, down_interval: 1, timeout: 1, rise: 2, fall: 3}
    retry: {for: 1, backoff: 1}
  reverse:
    type: reverse-proxy
    enabled: false
    listen: 4
    routes:
      - {path: /a, upstream: "https://h/b/", strip_prefix: true, host: preserve,
         headers: {request: {set: {A: "1"}, add: {B: "1"}, remove: C}, response: {set: {A: "1"}}}}
    host: preserve
    hosts: nas.lan
    origins: "https://app"
    origin: keep
    health: {path: /h}
    headers: {request: {set: {D: "1"}}}
    forwarded: x-forwarded
    rewrite: off
    sse_keepalive: 1
    session_recovery: false
    mcp: /mcp
    max_body: 1
    pool: {size: 1, idle: 1}
  single: {type: reverse-proxy, listen: 5, upstream: "http://h"}
  connect:
    type: connect-proxy
    enabled: false
    listen: 6
    allow: [nas.lan, "*.lan:1-2", 10.0.0.0/8, any]
    deny: any
    auth: {users: {a: b}}
    parent: socks5://u:p@h:1
    parent_bypass: any
    resolve: {a: 10.0.0.1}
  socks: {type: socks-proxy, enabled: false, listen: 7, auth: {file: x}}
  program:
    type: exec
    enabled: false
    listen: 8
    command: cat
    cwd: /
    env: {A: b}
    protocol: mcp-http
    shared: true
    hosts: a
    origins: 'null'
    max_processes: 1
    stop_timeout: 1
""".replace("PIN", "0" * 64).replace("KEY", "A" * 43)

# What only a configuration that names files, or that has something wrong, could fill.
NOT_REACHED = {"Config.included", "Config.warnings", "Log.file", "Log.rotate", "Log.keep"}

# Where a field comes from, when it is not from the key of its own name in the table beside the record.
FROM = {
    "TcpAddress.host": "listener.listen",
    "TcpAddress.port": "listener.listen",
    "LocalhostAddress.port": "listener.listen",
    "UnixAddress.path": "listener.listen",
    "SystemdSocket.name": "listener.listen",
    "LaunchdSocket.name": "listener.listen",
    "DestinationRule.name": "forward-proxy.allow",
    "DestinationRule.below": "forward-proxy.allow",
    "DestinationRule.network": "forward-proxy.allow",
    "DestinationRule.word": "forward-proxy.allow",
    "DestinationRule.ports": "forward-proxy.allow",
    "DestinationRule.implied": "forward-proxy.allow",
    "ClientRule.network": "listener.clients",
    "ClientRule.word": "listener.clients",
    "PublicKeyPin.digest": "upstream-tls.pin",
    "CertificatePin.digest": "upstream-tls.pin",
    "UpstreamUrl.scheme": "upstream.url",
    "UpstreamUrl.host": "upstream.url",
    "UpstreamUrl.port": "upstream.url",
    "UpstreamUrl.unix_path": "upstream.url",
    "UpstreamUrl.path": "upstream.url",
    "UpstreamUrl.slash": "upstream.url",
    "TargetAddress.host": "upstream.address",
    "TargetAddress.port": "upstream.address",
    "ParentProxy.scheme": "upstream.via",
    "ParentProxy.host": "upstream.via",
    "ParentProxy.port": "upstream.via",
    "ParentProxy.username": "upstream.via",
    "ParentProxy.password": "upstream.via",
    "Upstream.trust": "upstream.tls",
    "Retry.duration": "retry.for",
    "Upstreams.members": "tcp-forward.upstream",
    "Upstreams.balance": "upstreams.balance",
    "Upstreams.health": "upstreams.health",
    "Upstreams.retry": "upstreams.retry",
    "Timeouts.half_closed": "timeouts.tunnel",
    "Listener.name": "file.listeners",
    "TcpForward.upstreams": "tcp-forward.upstream",
    "Route.upstreams": "route.upstream",
    "Route.request_headers": "both-headers.request",
    "Route.response_headers": "both-headers.response",
    "BrowserGuard.hosts": "reverse-proxy.hosts",
    "BrowserGuard.origins": "reverse-proxy.origins",
    "Health.host": "reverse-proxy.host",
    "ReverseProxy.guard": "reverse-proxy.hosts",
    "Exec.guard": "exec.hosts",
    "Control.paths": "file.control",
    "Control.named": "file.control",
    "Config.path": "file.listeners",  # the file itself
    "Config.included": "file.listeners",  # any ${file:...}
    "Config.warnings": "file.listeners",  # any ${file:...}
}
TABLE_OF = {
    "ServerTls": "tls",
    "Trust": "upstream-tls",
    "Upstream": "upstream",
    "Health": "health",
    "Retry": "retry",
    "Pool": "pool",
    "Timeouts": "timeouts",
    "Listener": "listener",
    "TcpForward": "tcp-forward",
    "HeaderRules": "headers",
    "Route": "route",
    "ReverseProxy": "reverse-proxy",
    "Auth": "auth",
    "ForwardProxy": "forward-proxy",
    "Exec": "exec",
    "Log": "log",
    "Admin": "admin",
    "Config": "file",
}


def _keys() -> dict[str, Key]:
    return {key.name: key for table in TABLES for key in table.keys.values()}


def _records() -> list[type]:
    modules = {model.__name__, terms.__name__, upstream_records.__name__}
    return [
        value
        for value in vars(model).values()
        if isinstance(value, type) and _fields(value) and value.__module__ in modules
    ]


def _fields(record: type) -> dict[str, object]:
    """The fields of a dataclass or a named tuple with their defaults; of anything else none."""
    if dataclasses.is_dataclass(record):
        return {
            field.name: field.default
            if field.default_factory is dataclasses.MISSING
            else field.default_factory()
            for field in dataclasses.fields(record)
        }
    names: tuple[str, ...] = getattr(record, "_fields", ())
    defaults: dict[str, object] = getattr(record, "_field_defaults", {})
    return {name: defaults.get(name, dataclasses.MISSING) for name in names}


def _own_fields(record: type) -> list[str]:
    inherited = {name for base in record.__mro__[1:] for name in _fields(base)}
    return [name for name in _fields(record) if name not in inherited]


def _inside(value: object) -> Iterator[object]:
    """All records in a record."""
    names = _fields(type(value))
    if names:
        yield value
        for name in names:
            yield from _inside(getattr(value, name))
    elif isinstance(value, (tuple, list, frozenset)):
        for item in value:
            yield from _inside(item)
    elif isinstance(value, dict):
        yield from _inside(list(value.values()))


class ReferenceTests(ConfigCase):
    def setUp(self) -> None:
        super().setUp()
        self.text = REFERENCE.read_text()
        self.loaded = examine(REFERENCE, environment={"HOME": "/home/nobody"})

    def test_it_shows_every_key(self) -> None:
        missing = set(_keys()) - self.loaded.given - IN_COMMENTS
        self.assertEqual(missing, set())

    def test_it_shows_in_comments_what_it_cannot_show_otherwise(self) -> None:
        self.assertEqual(IN_COMMENTS & self.loaded.given, set())
        for name in IN_COMMENTS:
            word = name.partition(".")[2]
            self.assertRegex(self.text, re.compile(rf"^ *#.*\b{word}:", re.MULTILINE), name)
            self.assertFalse(isinstance(_keys()[name].default, str) and not name.startswith("route."), name)

    def test_what_it_shows_are_the_defaults(self) -> None:
        for listener in ("nas-db", "secured", "lan-mcp", "lan-proxy", "lan-socks", "local-tool"):
            self.assertIn(f"\n  {listener}:\n", self.text)
        different = dict(self._differences())
        # What a listener cannot do without, and what "secured" and the examples are there to show.
        self.assertEqual(
            sorted(different),
            ["exec.cwd", "listener.enabled", "listener.tls"],
            different,
        )

    def _differences(self) -> Iterator[tuple[str, Shown]]:
        """Keys whose effective value is not the default that their table has."""
        assert isinstance(self.loaded.effective, dict)
        names = {table.name: table for table in TABLES}
        for name in ("log", "admin"):
            yield from self._compared(names[name], self.loaded.effective[name])
        for body in self.loaded.effective["listeners"].values():
            yield from self._compared(names[body["type"]], body)

    def _compared(self, table: Table, shown: object) -> Iterator[tuple[str, Shown]]:
        assert isinstance(shown, dict)
        for word, value in shown.items():
            key = table.keys[word]
            if isinstance(key.default, Table):
                yield from self._compared(key.default, value)
            elif isinstance(value, dict) and word == "upstream":
                yield from self._compared(next(t for t in TABLES if t.name == "upstream"), value)
            elif key.required or key.name in {
                "forward-proxy.allow",
                "listener.access_log",
                "upstreams.health",
            }:
                pass
            elif key.default != value and key.name != "reverse-proxy.upstream":
                yield key.name, value

    def test_a_default_means_what_is_meant_without_the_key(self) -> None:
        """C{check} prints the tables' defaults; loaded again they must change nothing."""
        for file in (REFERENCE, SMALLEST):
            first = examine(file, environment={"HOME": "/home/nobody"})
            again = self.load(render(first.effective))
            same_file = again._replace(path=first.config.path, control=first.config.control)
            self.assertEqual(same_file, first.config)

    def test_the_schema_beside_it_is_that_of_the_tables(self) -> None:
        said = "after a change of keys: lanrelay schema > conf/relay.schema.json"
        self.assertEqual(json.loads(REFERENCE.with_name("relay.schema.json").read_text()), schema(), said)

    def test_the_smallest_configuration_names_no_file(self) -> None:
        config = examine(SMALLEST, environment={}).config
        self.assertEqual(
            [(listener.name, listener.enabled) for listener in config.listeners],
            [("lan-proxy", True), ("lan-host", False), ("nas-db", False)],
        )
        paths = [value for record in _inside(config) for value in _paths(record)]
        self.assertEqual(paths, [SMALLEST])

    def test_the_enabled_listeners_of_the_reference_name_no_file(self) -> None:
        for listener in self.loaded.config.listeners:
            if listener.enabled:
                self.assertEqual([path for record in _inside(listener) for path in _paths(record)], [])


def _paths(record: object) -> list[Path]:
    values = [getattr(record, name) for name in _fields(type(record))]
    return [value for value in values if isinstance(value, Path)]


class ModelTests(ConfigCase):
    def test_every_field_of_every_record_comes_from_a_key(self) -> None:
        keys = _keys()
        by_field = {f"{name.partition('.')[0]}.{key.field}": name for name, key in keys.items() if key.field}
        for record in _records():
            for field in _own_fields(record):
                name = f"{record.__name__}.{field}"
                source = FROM.get(name) or f"{TABLE_OF.get(record.__name__)}.{field}"
                self.assertIn(by_field.get(source, source), keys, name)

    def test_every_field_of_every_record_can_be_set(self) -> None:
        config = self.load(EVERYTHING)
        changed: set[str] = set()
        for record in _inside(config):
            for field, default in _fields(type(record)).items():
                if getattr(record, field) != default:
                    changed.update(
                        f"{base.__name__}.{field}"
                        for base in type(record).__mro__
                        if field in _own_fields(base)
                    )
        every = {f"{record.__name__}.{field}" for record in _records() for field in _own_fields(record)}
        self.assertEqual(every - changed, NOT_REACHED)

    def test_every_key_is_in_the_configuration_that_sets_everything(self) -> None:
        given = self.examine(EVERYTHING).given
        self.assertEqual(set(_keys()) - given, {"log.file", "log.rotate", "log.keep"})
