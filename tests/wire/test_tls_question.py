"""Tests for L{lanrelay.wire.tls_question}."""

from __future__ import annotations

import ssl

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.wire.tls_question import client_hello, is_tls


class QuestionTests(SynchronousTestCase):
    def answer(self, context: ssl.SSLContext) -> bytes:
        """What a server says to the question."""
        asked, said = ssl.MemoryBIO(), ssl.MemoryBIO()
        asked.write(client_hello())
        with self.assertRaises(ssl.SSLError):  # it has no certificate, or no version in common
            context.wrap_bio(asked, said, server_side=True).do_handshake()
        return said.read()

    def test_any_server_of_tls_is_known_by_its_answer_also_one_that_refuses(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.assertTrue(is_tls(self.answer(context)))

    def test_its_handshake_and_its_alert_are_known_by_two_bytes(self) -> None:
        self.assertTrue(is_tls(b"\x16\x03"))
        self.assertTrue(is_tls(b"\x15\x03\x01\x00\x02\x02\x46"))

    def test_nothing_else_is_tls(self) -> None:
        for answer in (
            b"",
            b"\x15",
            b"\x16",
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            b"SSH-2.0-x",
            b"\x17\x03\x03",
        ):
            self.assertFalse(is_tls(answer), answer)
