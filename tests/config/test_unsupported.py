from __future__ import annotations

from lanrelay.config import unsupported
from lanrelay.config.unsupported import NOT_YET
from tests.config.support import ConfigCase, listener_text
from tests.config.tables import TABLES


class UnsupportedTests(ConfigCase):
    """With one value that the relay could not serve yet; whether there is one at the time or not."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(unsupported, "NOT_YET", {"exec.protocol": (lambda word: word == "mcp-http", "this")})

    def test_what_is_asked_for_is_refused_and_never_ignored(self) -> None:
        for text, place, what in (
            (
                listener_text("protocol: mcp-http\nenabled: true", kind="exec"),
                "4:15: listeners.one.protocol",
                '"mcp-http"',
            ),
        ):
            found = self.complaint(text)
            self.assertIn("is not supported yet", found)
            self.assertIn(place, found)
            self.assertIn(what, found)

    def test_what_switches_it_off_or_is_the_default_is_not(self) -> None:
        for text in (
            listener_text("upstream: {url: 'tls://h:1', tls: {pin: []}}"),
            f"control: none\n{listener_text('')}",
        ):
            self.load(text)

    def test_a_listener_that_is_not_enabled_is_never_refused_for_it(self) -> None:
        for text in (
            listener_text("protocol: mcp-http", kind="exec"),
            listener_text("protocol: mcp-http\nenabled: off", kind="exec"),
            listener_text("protocol: mcp-http\nenabled: ${NO:-never}", kind="exec"),
        ):
            self.load(text)

    def test_but_it_is_validated(self) -> None:
        for text in (
            listener_text("command: []", kind="exec"),
            listener_text("max_processes: 0", kind="exec"),
        ):
            self.assertNotIn("not supported yet", self.complaint(text))

    def test_everything_that_is_wrong_is_said_beside_it(self) -> None:
        found = self.complaints(
            listener_text("enabled: true\nprotocol: mcp-http\nmax_processes: 0", kind="exec")
        )
        self.assertEqual(len(found), 2)

    def test_the_table_names_keys_that_there_are(self) -> None:
        known = {key.name for table in TABLES for key in table.keys.values()}
        self.assertEqual(set(NOT_YET) - known, set())
