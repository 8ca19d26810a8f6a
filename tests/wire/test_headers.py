"""L{lanrelay.wire.headers}"""

from __future__ import annotations

import copy

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.wire.headers import Field, Headers, end_to_end, make_field


class HeadersTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.headers = Headers([(b"Host", b"a"), (b"X-A", b"1, Two"), (b"x-a", b" three ,, "), (b"B", b"")])

    def test_order_case_and_duplicates_are_kept(self) -> None:
        self.assertEqual(
            list(self.headers), [(b"Host", b"a"), (b"X-A", b"1, Two"), (b"x-a", b"three ,,"), (b"B", b"")]
        )
        self.assertEqual(len(self.headers), 4)
        self.assertEqual(self.headers.encode(), b"Host: a\r\nX-A: 1, Two\r\nx-a: three ,,\r\nB: \r\n")
        self.assertEqual(Headers().encode(), b"")

    def test_lookups(self) -> None:
        self.assertEqual(self.headers.get(b"host"), b"a")
        self.assertEqual(self.headers.get(b"x-a"), b"1, Two")
        self.assertEqual(self.headers.get(b"b"), b"")
        self.assertIsNone(self.headers.get(b"c"))
        self.assertEqual(self.headers.all(b"x-a"), [b"1, Two", b"three ,,"])
        self.assertEqual(self.headers.all(b"c"), [])
        self.assertIn(b"b", self.headers)
        self.assertNotIn(b"X-A", self.headers)

    def test_tokens(self) -> None:
        """RFC 9110 section 5.6.1.2: empty members are ignored."""
        self.assertEqual(self.headers.tokens(b"x-a"), [b"1", b"two", b"three"])
        self.assertEqual(self.headers.tokens(b"b"), [])
        self.assertEqual(self.headers.tokens(b"c"), [])
        self.assertEqual(Headers([(b"A", b"Close")]).tokens(b"a"), [b"close"])
        self.assertEqual(Headers([(b"A", b", X\t,y")]).tokens(b"a"), [b"x", b"y"])

    def test_what_is_made_of_them(self) -> None:
        def names(headers: Headers) -> list[tuple[bytes, bytes]]:
            return list(headers)

        self.assertEqual(names(self.headers.without({b"x-a", b"b", b"c"})), [(b"Host", b"a")])
        self.assertEqual(
            names(self.headers.replaced(b"X-a", b"9")), [(b"Host", b"a"), (b"X-a", b"9"), (b"B", b"")]
        )
        self.assertEqual(names(self.headers.replaced(b"C", b"9"))[-1], (b"C", b"9"))
        self.assertEqual(names(self.headers.added(b"host", b"b"))[-1], (b"host", b"b"))
        self.assertEqual(len(self.headers.appended([make_field(b"C", b"1")])), 5)
        self.assertEqual(len(self.headers), 4)

    def test_an_index_is_not_that_of_what_it_was_made_from(self) -> None:
        self.assertIn(b"host", self.headers)
        self.assertNotIn(b"host", self.headers.without({b"host"}))
        self.assertEqual(self.headers.replaced(b"Host", b"b").get(b"host"), b"b")

    def test_fields_of_some_names_are_changed(self) -> None:
        def change(field: Field) -> Field | None:
            return None if field[2] == b"none" else make_field(field[1], field[2] + b"!")

        for more in ([], [(b"a", b"2")]):  # whether a name comes twice or not
            headers = Headers([(b"A", b"1"), (b"B", b"none"), (b"C", b"3"), *more])
            changed = headers.mapped({b"a", b"b", b"x"}, change)
            self.assertEqual(list(changed)[:2], [(b"A", b"1!"), (b"C", b"3")])
            self.assertEqual(list(changed)[2:], [(name, value + b"!") for name, value in more])
            self.assertEqual(changed.get(b"a"), b"1!")
            self.assertEqual(headers.get(b"a"), b"1")
            self.assertEqual(headers.get(b"b"), b"none")
            self.assertIs(headers.mapped({b"x"}, change), headers)
        headers = Headers([(b"A", b"1")])
        self.assertIs(headers.mapped({b"a"}, lambda field: field), headers)

    def test_equality(self) -> None:
        self.assertEqual(Headers([(b"A", b"1")]), Headers([(b"A", b"1")]))
        self.assertNotEqual(Headers([(b"A", b"1")]), Headers([(b"a", b"1")]))
        self.assertNotEqual(Headers([(b"A", b"1"), (b"B", b"2")]), Headers([(b"B", b"2"), (b"A", b"1")]))
        self.assertNotEqual(Headers(), [])
        self.assertEqual(hash(Headers([(b"A", b"1")])), hash(Headers([(b"A", b"1")])))
        self.assertEqual(copy.copy(self.headers), self.headers)

    def test_values_are_not_shown(self) -> None:
        headers = Headers([(b"Authorization", b"Bearer secret")])
        self.assertEqual(repr(headers), "<Headers Authorization>")
        self.assertEqual(repr(Headers()), "<Headers>")

    def test_what_would_split_a_message_is_refused(self) -> None:
        for name, value in (
            (b"", b"x"),
            (b"A B", b"x"),
            (b"A:", b"x"),
            (b"A\r\n", b"x"),
            (b"\xff", b"x"),
            (b"A", b"x\r\nB: y"),
            (b"A", b"x\ny"),
            (b"A", b"x\ry"),
            (b"A", b"\x00"),
            (b"A", b"\x7f"),
        ):
            self.assertRaises(ValueError, Headers, [(name, value)])
            self.assertRaises(ValueError, Headers().added, name, value)
            self.assertRaises(ValueError, Headers().replaced, name, value)


class EndToEndTests(SynchronousTestCase):
    def left(self, *pairs: tuple[bytes, bytes]) -> list[bytes]:
        return [name for name, _ in end_to_end(Headers(pairs))]

    def test_hop_by_hop_fields_go(self) -> None:
        """RFC 9110 section 7.6.1."""
        for name in (
            b"Connection",
            b"Proxy-Connection",
            b"Keep-Alive",
            b"TE",
            b"Trailer",
            b"Transfer-Encoding",
            b"Upgrade",
            b"Proxy-Authenticate",
            b"Proxy-Authorization",
            b"Proxy-Authentication-Info",
            b"HTTP2-Settings",
        ):
            self.assertEqual(self.left((b"A", b"1"), (name, b"x"), (b"B", b"2")), [b"A", b"B"])

    def test_what_connection_names_goes(self) -> None:
        fields = (
            (b"Connection", b"close, X-One"),
            (b"x-one", b"1"),
            (b"Connection", b"x-TWO"),
            (b"X-Two", b"2"),
        )
        self.assertEqual(self.left(*fields, (b"X-Three", b"3")), [b"X-Three"])
        fields = (b"Connection", b"close"), (b"x-one", b"1"), (b"Connection", b"x-one"), (b"A", b"2")
        self.assertEqual(self.left(*fields), [b"A"])

    def test_connection_cannot_remove_what_guards(self) -> None:
        for name in (
            b"Host",
            b"Content-Length",
            b"Content-Type",
            b"Authorization",
            b"Cookie",
            b"Set-Cookie",
            b"WWW-Authenticate",
            b"Origin",
            b"X-Forwarded-For",
            b"Forwarded",
            b"Via",
            b"Sec-Fetch-Site",
            b"Mcp-Session-Id",
        ):
            self.assertEqual(self.left((b"Connection", b"close, " + name), (name, b"1")), [name])
            self.assertEqual(self.left((b"Connection", name.lower()), (name, b"1")), [name])

    def test_what_has_none_stays_the_same(self) -> None:
        headers = Headers([(b"Host", b"a"), (b"Accept", b"*/*")])
        self.assertIs(end_to_end(headers), headers)
