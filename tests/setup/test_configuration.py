"""Listeners that come into the configuration and go again, and that nothing else is touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config.complaints import ConfigErrors
from lanrelay.config.load import load
from lanrelay.edit.formats.tree import Broken, NotEdited
from lanrelay.setup.configuration import (
    FIRST_PORT,
    LAST_PORT,
    Serving,
    add_listener,
    checked,
    name_for,
    port_for,
    ports_of,
    remove_listener,
    serving,
)

BODY: dict[str, Any] = {
    "type": "reverse-proxy",
    "listen": "localhost:28123",
    "upstream": {"url": "https://nas.lan", "tls": {"ca": ["system", "trust/nas.lan_443.pem"]}},
}
LINES = """\
  nas:
    type: reverse-proxy
    listen: localhost:28123
    upstream:
      url: https://nas.lan
      tls:
        ca: [system, trust/nas.lan_443.pem]
"""
EXISTING = """\
# mine
log: {level: warn}   # quiet

listeners:   # all
  lan-proxy:
    type: connect-proxy   # for curl
    listen: localhost:28080

# the end
"""


class AddTests(SynchronousTestCase):
    def test_into_a_file_with_others(self) -> None:
        expected = EXISTING.replace("28080\n", "28080\n" + LINES)
        self.assertEqual(add_listener(EXISTING, "nas", BODY), expected)

    def test_into_nothing(self) -> None:
        self.assertEqual(add_listener("", "nas", BODY), "listeners:\n" + LINES)
        self.assertEqual(add_listener("# mine\n", "nas", BODY), "# mine\n\nlisteners:\n" + LINES)
        self.assertEqual(add_listener("admin: none", "nas", BODY), "admin: none\n\nlisteners:\n" + LINES)

    def test_the_indentation_and_the_line_ends_are_those_of_the_file(self) -> None:
        before = "listeners:\r\n    a:\r\n        type: x"
        after = "listeners:\r\n    a:\r\n        type: x\r\n    b:\r\n      type: y"
        self.assertEqual(add_listener(before, "b", {"type": "y"}), after)

    def test_into_a_flow(self) -> None:
        after = 'listeners: {a: {type: x}, b: {type: y, listen: "[::1]:1"}} # c\n'
        body = {"type": "y", "listen": "[::1]:1"}
        self.assertEqual(add_listener("listeners: {a: {type: x}} # c\n", "b", body), after)
        self.assertEqual(add_listener("listeners: {}", "b", {"type": "y"}), "listeners: {b: {type: y}}")

    def test_what_cannot_be_added_to_is_left(self) -> None:
        for text in ("listeners: [a]\n", "listeners:\n", "- a\n", EXISTING.replace("lan-proxy", "nas")):
            self.assertRaises(NotEdited, add_listener, text, "nas", BODY)
        self.assertRaises(Broken, add_listener, "a: [\n", "nas", BODY)

    def test_what_comes_goes_again(self) -> None:
        for text in (EXISTING, EXISTING.replace("\n", "\r\n"), "listeners: {a: {type: x}}\n"):
            self.assertEqual(remove_listener(add_listener(text, "nas", BODY), "nas"), text)


class CheckedTests(SynchronousTestCase):
    def test_it_is_read_as_the_relay_reads_it(self) -> None:
        path = Path(self.mktemp()) / "relay.yaml"
        config = checked(path, add_listener(EXISTING, "nas", BODY).encode())
        self.assertEqual([listener.name for listener in config.listeners], ["lan-proxy", "nas"])
        self.assertEqual(ports_of(config), {28080, 28123})
        self.assertEqual(serving(config, "https://nas.lan"), Serving("nas", 28123))
        self.assertIsNone(serving(config, "http://nas.lan"))
        self.assertRaises(ConfigErrors, checked, path, b"listeners: {a: {type: nope}}\n")
        self.assertFalse(path.exists())

    def test_listeners_that_do_not_serve_an_origin_as_it_is(self) -> None:
        path = Path(self.mktemp())
        for more in (
            "upstream: 'https://nas.lan/mcp'\n",
            "routes: [{path: /a, upstream: 'https://nas.lan'}]\n",
            "upstream: 'https://nas.lan'\n    enabled: false\n",
            "upstream: [{url: 'https://nas.lan'}, {url: 'https://other.lan'}]\n",
        ):
            path.write_text(
                f"listeners:\n  a:\n    type: reverse-proxy\n    listen: localhost:1234\n    {more}"
            )
            self.assertIsNone(serving(load(path), "https://nas.lan"), more)

    def test_listeners_that_a_client_cannot_be_given(self) -> None:
        path = Path(self.mktemp())
        for listen in ("localhost:0", "127.0.0.1:0", "'[::1]:1234'", "unix:/x/y"):
            body = f"{{type: reverse-proxy, listen: {listen}, upstream: 'https://nas.lan'}}"
            path.write_text(f"listeners: {{a: {body}}}\n")
            self.assertIsNone(serving(load(path), "https://nas.lan"), listen)


class DerivedTests(SynchronousTestCase):
    def test_an_origin_has_one_port_everywhere(self) -> None:
        port = port_for("https://nas.lan", ())
        self.assertEqual(port, port_for("HTTPS://NAS.lan", ()))
        self.assertEqual(port, 28882)
        self.assertTrue(FIRST_PORT <= port <= LAST_PORT)

    def test_a_taken_port_makes_it_the_next(self) -> None:
        port = port_for("https://nas.lan", ())
        self.assertEqual(port_for("https://nas.lan", {port, port + 1}), port + 2)
        all_but_first = set(range(FIRST_PORT + 1, LAST_PORT + 1))
        self.assertEqual(port_for("https://nas.lan", all_but_first), FIRST_PORT)
        self.assertRaises(NotEdited, port_for, "https://nas.lan", range(FIRST_PORT, LAST_PORT + 1))

    def test_names(self) -> None:
        for host, name in (
            ("nas.lan", "nas"),
            ("192.168.1.5", "192-168-1-5"),
            ("fd00::1", "fd00-1"),
            ("b\u00fccher.lan", "b-cher"),
            ("::", "listener"),
        ):
            self.assertEqual(name_for(host, ()), name)
        self.assertEqual(name_for("nas.lan", {"nas", "nas-2"}), "nas-3")
