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


class EndTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.session = Session(1, "web", "reverse-proxy", "127.0.0.1:50123", 0.0, 0.0, phase="body")

    def ended(self) -> tuple[str, str, str]:
        return self.session.phase, self.session.ended_by, self.session.error

    def test_as_it_should(self) -> None:
        self.session.done(by="upstream")
        self.assertEqual(self.ended(), ("done", "upstream", ""))

    def test_where_it_is(self) -> None:
        self.session.left(by="downstream")
        self.assertEqual(self.ended(), ("body", "downstream", ""))

    def test_who_was_noted_first_stands(self) -> None:
        self.session.failed(DialError("no"), by="upstream")
        self.session.failed(DialError("nor this"), by="relay")
        self.session.left(by="downstream")
        self.assertEqual(self.ended(), ("body", "upstream", DialError.proxy_status))
        self.assertEqual(self.session.detail, "no")
        self.session.done(by="relay")
        self.assertEqual(self.ended(), ("done", "upstream", DialError.proxy_status))
