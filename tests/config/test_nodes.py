from __future__ import annotations

from unittest import mock

import yaml
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config import nodes
from lanrelay.config.nodes import Mapping, NotYaml, Scalar, Sequence, compose
from tests.support.properties import given


def _plain(node: nodes.Node) -> object:
    if isinstance(node, Mapping):
        return [(key.text, _plain(value)) for key, value in node.entries]
    if isinstance(node, Sequence):
        return [_plain(item) for item in node.items]
    assert isinstance(node, Scalar)
    return node.text


class ComposeTests(SynchronousTestCase):
    def refusal(self, text: str) -> str:
        error = self.assertRaises(NotYaml, compose, text)
        return f"{error.line}:{error.column}: {error.message}"

    def test_scalars_are_their_text(self) -> None:
        text = "a: 0123\nb: 22:22\nc: 1.20\nd: no\ne: ~\nf: 0x10\ng: 2020-01-01\nh: .inf\ni: 1_000\nj: '1'\n"
        expected = ["0123", "22:22", "1.20", "no", "~", "0x10", "2020-01-01", ".inf", "1_000", "1"]
        self.assertEqual([value for _, value in _plain(compose(text))], expected)  # type: ignore[attr-defined]

    def test_nodes_know_where_they_are(self) -> None:
        root = compose("# x\na:\n  - b: ü c\n    d: [e,  f]\n")
        assert isinstance(root, Mapping)
        (key, items) = root.entries[0]
        assert isinstance(items, Sequence)
        (item,) = items.items
        assert isinstance(item, Mapping)
        flow = item.entries[1][1]
        assert isinstance(flow, Sequence)
        places = [
            (node.line, node.column) for node in (root, key, items, item, item.entries[0][1], *flow.items)
        ]
        self.assertEqual(places, [(2, 1), (2, 1), (3, 3), (3, 5), (3, 8), (4, 9), (4, 13)])

    def test_the_parser_written_in_python_does_as_well(self) -> None:
        text = "a: [1, {b: '2'}]\nc: &x {d: e}\nf: *x\n"
        fast = _plain(compose(text))
        with mock.patch.object(yaml, "CSafeLoader", yaml.SafeLoader, create=True):
            self.assertEqual(_plain(compose(text)), fast)
            self.assertIn('"*" needs quotes', self.refusal("a: *.lan\n"))

    def test_nothing_and_an_empty_text_are_told_apart(self) -> None:
        root = compose("a:\nb: ''\n")
        assert isinstance(root, Mapping)
        nothing, empty = (value for _, value in root.entries)
        assert isinstance(nothing, Scalar)
        assert isinstance(empty, Scalar)
        self.assertEqual((nothing.plain, nothing.line, nothing.column), (True, 1, 3))
        self.assertEqual(empty.plain, False)

    def test_an_alias_stands_for_a_value(self) -> None:
        self.assertEqual(
            _plain(compose("a: &x [1]\nb: *x\n&k c: *k\n")), [("a", ["1"]), ("b", ["1"]), ("c", "c")]
        )

    def test_what_is_no_document_of_ours(self) -> None:
        for text, expected in {
            "": "1:1: found an empty file",
            "# only\n\n": "1:1: found an empty file",
            "a: b\n---\nc: d\n": "2:1: found a second document",
            "a: *x\n": '1:4: found an alias, "*NAME", without its anchor',
            "a: &x [*x]\n": '1:8: found an alias, "*NAME", inside of what it stands for',
            "a: &x {b: {c: *x}}\n": '1:15: found an alias, "*NAME", inside of what it stands for',
            "a: !!python/object:os.system x\n": "1:4: found a YAML tag",
            "a: !!str x\n": "1:4: found a YAML tag",
            "a: !x {}\n": "1:4: found a YAML tag",
            "? [a]\n: b\n": "1:3: found a list or a map as a key",
            "a: &x {}\n*x : b\n": "2:1: found a list or a map as a key",
            "a: \x00": "1:4: found the character U+0000",
            "a: b\n\x1b[0m": "2:1: found the character U+001B",
            "[" * 100: f"1:{nodes.MAX_DEPTH + 1}: found more than {nodes.MAX_DEPTH} levels",
        }.items():
            self.assertIn(expected, self.refusal(text), repr(text))

    def test_a_billion_laughs_are_few(self) -> None:
        lines = ["a0: &a0 [x, x]"]
        lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
        self.assertIn(f"found more than {nodes.MAX_NODES} values", self.refusal("\n".join(lines)))

    def test_deep_nesting_ends_early(self) -> None:
        self.assertIn("levels", self.refusal("[" * 500_000))
        self.assertIn("levels", self.refusal("\n".join(" " * n + "a:" for n in range(900))))

    def test_a_syntax_error_in_a_long_line_is_told_in_time(self) -> None:
        """What looks for a hint took the square of the line: an hour for half a megabyte."""
        for text in ("[" * 20 + "@" * 500_000, "a: @" + "[" * 500_000, "a: @" + ":[0" * 200_000):
            self.assertIn("syntax error", self.refusal(text))

    def test_syntax_errors_say_where_and_what_to_quote(self) -> None:
        for text, place, hint in (
            ("x:\n  listen: [::1]:8080\n", "2:12", '"[" needs quotes'),
            ("allow: [fd00::/8]:443\n", "1:18", '"[" needs quotes'),
            ("allow:\n  - [fd00::/8]:443\n", "2:15", '"[" needs quotes'),
            ("a: {listen: [::1]:80}\n", "1:14", '"[" needs quotes'),
            ("allow: *.lan\n", "1:9", '"*" needs quotes'),
            ("allow: [nas, *.lan]\n", "1:15", '"*" needs quotes'),
            ("allow: *\n", "1:9", '"*" needs quotes'),
            ("a: {url: ${URL}}\n", "1:11", '"${...}" inside of "{...}"'),
            ("a: [${A}, b]\n", "1:6", '"${...}" inside of "{...}"'),
            ("a:\n\tb: c\n", "2:1", "not with tabs"),
            ("a: localhost: 80\n", "1:13", 'a value with ": " in it needs quotes'),
            ("a:8080\nb: c\n", "2:2", 'a key is followed by ": "'),
            ("a: @x\n", "1:4", "needs quotes"),
            ("a: `x`\n", "1:4", "needs quotes"),
            ('a: "x\nb: c\n', "2:5", "syntax error"),
        ):
            found = self.refusal(text)
            self.assertIn(hint, found, repr(text))
            self.assertTrue(found.startswith(place), (text, found))

    def test_indentation_is_called_so(self) -> None:
        for text, place, hint in (
            (
                "listeners:\n  a:\n    type: x\n   listen: 1\n",
                "4:4",
                "3 blanks before it, expected 0 or 2 or 4",
            ),
            (
                "a:\n  type: x\n    listen: 1\n",
                "3:11",
                "4 blanks before it, and the one above it, which has its",
            ),
            ("a:\n   b: 1\n  c: 2\n", "3:3", "2 blanks before it, expected 0 or 3"),
            ("a:\n  r:\n  - path: /a\n     to: x\n", "4:8", "5 blanks before it, and the one above it, "),
            (" a: 1\nb: 2\n", "2:1", "0 blanks before it, expected 1"),
            ("a:\n  b: 1\n  # c\n\n    d: 2\n", "5:5", "4 blanks before it"),
            ("a:\n\tb: 1\n", "2:1", "with spaces, not with tabs"),
        ):
            found = self.refusal(text)
            self.assertTrue(found.startswith(place), (text, found))
            self.assertIn("this is indentation", found)
            self.assertIn(hint, found)

    def test_what_is_no_matter_of_indentation_is_not_called_so(self) -> None:
        for text in (
            "a:\n  b: c: d\n",
            "a: [1\nb: 2\n",
            "a:8080\nb: c\n",
            "a:\nfoo\n  b: 1\n",
            "a: 'x\nb: 1\n",
        ):
            self.assertNotIn("indentation", self.refusal(text), repr(text))

    def test_the_same_with_quotes_is_right(self) -> None:
        for text in (
            'a: "[::1]:80"\n',
            'a: "*.lan"\n',
            'a: {u: "${U}"}\n',
            "a: ${U}\n",
            "a: x${U}:1\n",
            "a:\n- b\n",
        ):
            compose(text)

    @given(st.text())
    def test_random_text(self, text: str) -> None:
        try:
            compose(text)
        except NotYaml as error:
            self.assertTrue(error.line >= 1 and error.column >= 1)

    @given(st.text(alphabet="ab:,-[]{}&*!|>'\"%@`#? \t\n"))
    def test_random_syntax(self, text: str) -> None:
        try:
            compose(text)
        except NotYaml as error:
            self.assertTrue(error.line >= 1 and error.column >= 1)
