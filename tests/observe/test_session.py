"""Tests for L{lanrelay.observe.session}."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.errors import DialError
from lanrelay.observe.accesslog import as_fields, as_line
from lanrelay.observe.session import BRIEF, TARGET, Session, brief


class BriefTests(SynchronousTestCase):
    def test_what_is_short_stays(self) -> None:
        for text in ("", "/", "/" + "a" * 511, '"' * BRIEF, "\U0001f600" * BRIEF, '/say?"hello"' * 10):
            self.assertEqual(brief(text), text)

    def test_what_is_left_out_is_counted(self) -> None:
        self.assertEqual(brief("a" * 16384), "a" * 512 + "...(+15872)")
        self.assertEqual(brief('"' * 16384), '"' * 256 + "...(+16128)")
        self.assertEqual(brief("\x00" * 100), "\x00" * 85 + "...(+15)")

    def test_a_line_is_short_whatever_a_client_chooses(self) -> None:
        for letter in ("a", '"', "\\", " ", "\x00", "\x9f", "\xe4", "\u2028", "\U0001f600", "\ud800"):
            session = Session(1, "web", "reverse-proxy", "127.0.0.1:50123", 0.0, 0.0)
            session.method, session.path, session.target = (
                "GET",
                brief(letter * 16384),
                brief(letter * 300, TARGET),
            )
            session.failed(DialError(letter * 65536), by="upstream")
            self.assertLess(len(as_line(session, 1.0).encode()), 2048, letter)
            self.assertLess(len(json.dumps(as_fields(session, 1.0))), 2048, letter)
