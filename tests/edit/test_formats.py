"""Edits by range: what changes, and that nothing else does."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import skipIf

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.edit.formats.edit import (
    FORMATS,
    Append,
    Change,
    Insert,
    Remove,
    Set,
    apply,
    decode,
    put_back,
    spans,
)
from lanrelay.edit.formats.tree import Broken, NotEdited, Opaque, Other, Scalar, at, plain
from tests.support.properties import given, settings

FILES = Path(__file__).parent.parent / "clients" / "files"


class EditCase(SynchronousTestCase):
    form = "json"

    def becomes(self, before: str, change: Change, after: str) -> None:
        """The change makes this of it, and the entry's pieces give the very text back."""
        self.assertEqual(apply(FORMATS[self.form], before, [change]), after)

    def is_broken(self, text: str, line: int, column: int, message: str = "") -> None:
        error = self.assertRaises(Broken, FORMATS[self.form].parse, text)
        self.assertEqual((error.line, error.column), (line, column), error)
        self.assertIn(message, error.message)

    def is_left(self, text: str, change: Change) -> None:
        self.assertRaises(NotEdited, apply, FORMATS[self.form], text, [change])


class JsonTests(EditCase):
    def test_a_part_of_a_text(self) -> None:
        self.becomes(
            '{ "u" :"http://a/b" }\n', Set(("u",), 0, 8, "https://c:1"), '{ "u" :"https://c:1/b" }\n'
        )

    def test_a_part_of_a_text_with_escapes(self) -> None:
        self.becomes('{"u":"http:\\/\\/a\\/b"}', Set(("u",), 0, 8, "http://c"), '{"u":"http://c/b"}')

    def test_in_a_list(self) -> None:
        self.becomes('{"a":["x",\n"http://a/"]}', Set(("a", 1), 7, 8, "b"), '{"a":["x",\n"http://b/"]}')

    def test_a_key_goes_with_its_comma(self) -> None:
        for before, after in (
            ('{"A": "0", "B": 1}', '{"B": 1}'),
            ('{"B": 1, "A": "0"}', '{"B": 1}'),
            ('{"B": 1, "A": "0", "C": 2}', '{"B": 1, "C": 2}'),
            ('{"A": "0"}', "{}"),
            ('{ "A": "0" }', "{}"),
            ('{\n  "A": "0",\n  "B": 1\n}', '{\n  "B": 1\n}'),
            ('{\n  "B": 1,\n  "A": "0"\n}', '{\n  "B": 1\n}'),
            ('{\r\n\t"B": 1,\r\n\t"A": "0"\r\n}', '{\r\n\t"B": 1\r\n}'),
        ):
            self.becomes(before, Remove(("A",)), after)

    def test_an_item_goes(self) -> None:
        self.becomes('{"a": ["x", "y", "z"]}', Remove(("a", 1)), '{"a": ["x", "z"]}')

    def test_a_key_comes_in_the_manner_of_its_sisters(self) -> None:
        for before, after in (
            ('{"B": 1}', '{"B": 1, "A": "0"}'),
            ('{"B":1,"C":2}', '{"B":1,"C":2,"A":"0"}'),
            ('{\n  "B": 1\n}', '{\n  "B": 1,\n  "A": "0"\n}'),
            ('{\r\n\t"B" : 1\r\n}', '{\r\n\t"B" : 1,\r\n\t"A" : "0"\r\n}'),
            ("{}", '{"A": "0"}'),
        ):
            self.becomes(before, Insert((), "A", "0"), after)

    def test_lists_and_maps_come(self) -> None:
        self.becomes("{}", Insert((), "e", {"A": "1", "b": ["c"]}), '{"e": {"A": "1", "b": ["c"]}}')
        self.becomes('{"a": ["x"]}', Append(("a",), "y"), '{"a": ["x", "y"]}')

    def test_an_empty_file_has_nothing(self) -> None:
        self.assertEqual(plain(FORMATS["json"].parse("")), {})
        self.assertEqual(plain(FORMATS["json"].parse(" \n")), {})

    def test_what_is_wrong_has_a_place(self) -> None:
        self.is_broken('{"a": [1,\n 2,],}', 2, 3, 'a comma before "]"')
        self.is_broken("{\n  // no\n}", 2, 3)
        self.is_broken('{"a": 1} x', 1, 10)
        self.is_broken('{"a": 1', 1, 8, "the end of the file")
        self.is_broken('{"a": 01}', 1, 8)
        self.is_broken('{"a": "x\ny"}', 1, 7)
        self.is_broken('{"a" 1}', 1, 6)
        self.is_broken('{"a": nope}', 1, 7)
        self.is_broken("{a: 1}", 1, 2, "JSON5")
        self.is_broken("[" * 101, 1, 101)

    def test_what_nobody_asked_for_is_passed_over(self) -> None:
        projects = '"p": {"/x": {"m": {"u": "v"}, "h": [{}]}}'
        text = f'{{"history": [{{"a": [1.50, "\\u00e9"]}}], {projects}, "m": {{"u": "w"}}}}'
        form = FORMATS["json"]
        root = form.parse(text, [("m",), ("p", "*", "m")])
        self.assertEqual(type(at(root, ("history",))), Opaque)
        self.assertEqual(type(at(root, ("p", "/x", "h"))), Opaque)
        for path in (("m", "u"), ("p", "/x", "m", "u")):
            self.assertEqual(type(at(root, path)), Scalar)
            found, whole = at(root, path), at(form.parse(text), path)
            assert found is not None
            assert whole is not None
            self.assertEqual((found.start, found.end), (whole.start, whole.end))

    def test_what_is_wrong_in_what_is_passed_over_has_a_place_too(self) -> None:
        for text, column in (('{"h": [{"a": 1,}], "m": {}}', 15), ('{"h": [NaN], "m": {}}', 8)):
            error = self.assertRaises(Broken, FORMATS["json"].parse, text, [("m",)])
            self.assertEqual(error.column, column)

    def test_the_last_of_equal_keys_counts(self) -> None:
        self.becomes('{"a": "x", "a": "y"}', Set(("a",), 0, 1, "z"), '{"a": "x", "a": "z"}')
        self.is_left('{"a": "x", "a": "y"}', Remove(("a",)))

    def test_what_is_there_is_not_added(self) -> None:
        self.is_left('{"a": "x"}', Insert((), "a", "y"))

    def test_bytes_that_are_no_text(self) -> None:
        error = self.assertRaises(Broken, decode, b'{\n "\xff"}')
        self.assertEqual((error.line, error.column), (2, 3))
        self.assertEqual(decode(b"\xef\xbb\xbf{}"), ("{}", b"\xef\xbb\xbf"))


class JsonWithCommentsTests(EditCase):
    form = "jsonc"

    def test_comments_stay(self) -> None:
        for before, after in (
            ('{"A": "0", // off\n "B": 1}', '{ // off\n "B": 1}'),
            ('{"B": 1, // b\n "A": "0"}', '{"B": 1 // b\n }'),
            ('{"B": 1, /* x */ "A": "0",}', '{"B": 1, /* x */ }'),
            ('{\n // c\n "A": "0"\n}', "{\n // c\n \n}"),
        ):
            self.becomes(before, Remove(("A",)), after)

    def test_a_comma_at_the_end_stays(self) -> None:
        self.becomes('{\n\t"B": 1,\n}', Insert((), "A", "0"), '{\n\t"B": 1,\n\t"A": "0",\n}')
        self.becomes('{\n\t"B": 1, // b\n}', Insert((), "A", "0"), '{\n\t"B": 1,\n\t"A": "0", // b\n}')

    def test_comments_that_look_like_values(self) -> None:
        text = '{/*"u": "http://no"*/ "u": "http://a", // "u": "http://no"\n}'
        self.becomes(text, Set(("u",), 7, 8, "b"), text.replace("//a", "//b"))


class TomlTests(EditCase):
    form = "toml"

    def test_a_part_of_a_text_in_any_quotes(self) -> None:
        for quote in ('"', "'", '"""', "'''"):
            text = f"[s.x]\nu = {quote}http://a/b{quote}  # c\n"
            self.becomes(text, Set(("s", "x", "u"), 7, 8, "z"), text.replace("//a", "//z"))

    def test_in_an_array_of_several_lines(self) -> None:
        text = '[s."a b"]\nargs = [\n  "x", # one\n  "http://a/",\n]\n'
        self.becomes(text, Set(("s", "a b", "args", 1), 7, 8, "z"), text.replace("//a", "//z"))

    def test_lines_come_and_go(self) -> None:
        text = '[s.x]\ncommand = "c"\n\n[s.x.env]\nA = "0"\nB = "1" # b\n\n[t]\n'
        self.becomes(text, Remove(("s", "x", "env", "A")), text.replace('A = "0"\n', ""))
        self.becomes(text, Insert(("s", "x", "env"), "C", "2"), text.replace("# b\n", '# b\nC = "2"\n'))
        self.becomes(
            text,
            Insert(("s", "x"), "e", {"A": "1", "b c": ["d"]}),
            text.replace('"c"\n', '"c"\ne = { A = "1", "b c" = ["d"] }\n'),
        )
        self.becomes("[s]\r\n  a = 1", Insert(("s",), "b", "2"), '[s]\r\n  a = 1\r\n  b = "2"')
        self.becomes("[s]", Insert(("s",), "b", "2"), '[s]\nb = "2"')

    def test_inline_tables(self) -> None:
        text = 'm = { x = { u = "http://a", env = { A = "0", B = "1" } } }\n'
        self.becomes(text, Remove(("m", "x", "env", "A")), text.replace('A = "0", ', ""))
        self.becomes(text, Insert(("m", "x", "env"), "C", "2"), text.replace('"1" }', '"1", C = "2" }'))

    def test_dotted_keys_and_arrays_of_tables(self) -> None:
        text = '[m]\nx.u = "http://a"\nx.env.A = "0"\n[[v]]\nname = "n"\n[[v]]\nname = "o"\nu = "http://a"\n'
        self.becomes(text, Set(("m", "x", "u"), 7, 8, "z"), text.replace("//a", "//z", 1))
        self.becomes(text, Set(("v", 1, "u"), 7, 8, "z"), text[:-10] + text[-10:].replace("//a", "//z"))
        self.is_left(text, Insert(("m", "x"), "b", "2"))

    def test_the_pieces_of_an_entry(self) -> None:
        text = '[m.x]\nu = "a"\n[o]\n[m.x.env]\nA = "0"\n\n# end\n[[v]]\nname = "n"\n'
        self.assertEqual(spans(FORMATS["toml"], text, ("m", "x")), ['[m.x]\nu = "a"', '[m.x.env]\nA = "0"'])
        self.assertEqual(spans(FORMATS["toml"], text, ("v", 0)), ['[[v]]\nname = "n"'])
        self.assertEqual(
            spans(FORMATS["toml"], "m.x.u = 1\nm.x.v = 2\n", ("m", "x")), ["m.x.u = 1", "m.x.v = 2"]
        )

    def test_what_is_wrong_has_a_place(self) -> None:
        self.is_broken("[a]\nb = \n", 2, 5)
        self.is_broken("a = 1\na = 2\n", 2, 1)
        self.is_broken("[a]\n[a]\n", 2, 1)
        self.is_broken('a = "x\n', 1, 5)
        self.is_broken("a = 1 b = 2", 1, 7)
        self.is_broken('a = "\\q"', 1, 5)

    @skipIf(sys.version_info < (3, 11), "this Python does not read TOML itself")
    def test_it_is_read_as_python_reads_it(self) -> None:
        tomllib: Any = import_module("tomllib")
        texts = [
            (FILES / "28-codex-config.toml").read_text(),
            "a = 1979-05-27 07:32:00Z\nb = [1.5, inf, -nan, 0xf]\n",
            'c = """\n"a"" \\\n  b"""\n"d e".f = \'\\x\'\n',
            '[x]\na = "\\u00e9\\t"\n[[y.z]]\n[y.z.w]\nb = true\n[[y.z]]\nc = {d.e = 1, f = []}\n',
        ]
        for text in texts:
            found = plain(FORMATS["toml"].parse(text))
            self.assertEqual(_texts(found), _texts(tomllib.loads(text)))


def _texts(value: Any) -> Any:
    """Only what is text, truth, map or list."""
    if isinstance(value, dict):
        return {key: _texts(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_texts(each) for each in value]
    return value if isinstance(value, (str, bool)) and not isinstance(value, Other) else "other"


class YamlTests(EditCase):
    form = "yaml"

    def test_a_part_of_a_text(self) -> None:
        for quote in ("", '"', "'"):
            text = f"m:\n  - name: n # c\n    url: {quote}http://a/b{quote}  # d\n"
            self.becomes(text, Set(("m", 0, "url"), 7, 8, "z"), text.replace("//a", "//z"))

    def test_lines_come_and_go(self) -> None:
        text = "x:\n  env: # e\n    A: '0' # a\n    B: b # b\n# end\n"
        self.becomes(text, Remove(("x", "env", "A")), text.replace("    A: '0' # a\n", ""))
        self.becomes(text, Remove(("x", "env", "B")), text.replace("    B: b # b\n", ""))
        self.becomes(text, Insert(("x", "env"), "C", "1"), text.replace("# b\n", '# b\n    C: "1"\n'))
        self.becomes(
            text, Insert(("x", "env"), "C", "http://a:1"), text.replace("# b\n", "# b\n    C: http://a:1\n")
        )
        self.becomes("x:\n- a", Append(("x",), "b"), "x:\n- a\n- b")
        self.becomes("x:\r\n  a: 1\r\n  b: 2", Remove(("x", "b")), "x:\r\n  a: 1")

    def test_flows(self) -> None:
        self.becomes("x: {a: [b, c], d: e}", Remove(("x", "d")), "x: {a: [b, c]}")
        self.becomes("x: {}  # c\n", Insert(("x",), "A", "no"), 'x: {A: "no"}  # c\n')
        self.becomes("x: [a]", Append(("x",), "- b"), 'x: [a, "- b"]')

    def test_a_value_that_has_two_places_is_left(self) -> None:
        self.is_left("a: &u http://a\nb: *u\n", Set(("b",), 7, 8, "z"))
        self.is_left("a: &u http://a\nb: *u\n", Set(("a",), 7, 8, "z"))
        self.is_left("a: !x http://a\n", Set(("a",), 7, 8, "z"))

    def test_blocks_of_text(self) -> None:
        text = "x:\n  a: |\n    one\n\n    two\n\ny: 1\n"
        self.becomes(text, Insert(("x",), "b", "2"), text.replace("two\n", 'two\n  b: "2"\n'))

    def test_what_is_wrong_has_a_place(self) -> None:
        self.is_broken("a: 1\n\tb: 2\n", 2, 1)
        self.is_broken("a: [1\nb: 2\n", 2, 2)
        self.is_broken("a: *b\n", 1, 4)

    def test_many_aliases_are_not_written_out(self) -> None:
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
        self.assertRaises(Broken, FORMATS["yaml"].parse, "\n".join(lines))


_TEXTS = st.text(alphabet='ab"\\/:{}[],é😀\t #', max_size=6)
_VALUES = st.recursive(
    st.one_of(_TEXTS, st.booleans(), st.none(), st.integers()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_TEXTS, inner, max_size=3)),
    max_leaves=8,
)


class AnyJsonTests(SynchronousTestCase):
    """Whatever stands around it, a change and its undoing leave every other byte."""

    @settings(max_examples=150)
    @given(
        before=st.dictionaries(_TEXTS, _VALUES, max_size=3),
        entry=st.dictionaries(_TEXTS, _VALUES, max_size=3),
        indent=st.sampled_from([None, 0, 1, "\t"]),
        escaped=st.booleans(),
        old=_TEXTS,
        new=_TEXTS,
    )
    def test_change_and_back(
        self,
        before: dict[str, Any],
        entry: dict[str, Any],
        indent: int | str | None,
        escaped: bool,
        old: str,
        new: str,
    ) -> None:
        document = {**before, "the one": {**entry, "url": old, "A": "0"}, "after": entry}
        text = json.dumps(document, indent=indent, ensure_ascii=escaped) + "\n"
        path: tuple[str, ...] = ("the one",)
        changes: list[Change] = [
            Set((*path, "url"), 0, len(old), new),
            Remove((*path, "A")),
            Insert(path, "new", {"x": [new]}),
        ]
        pieces = spans(FORMATS["json"], text, path)
        for form in ("json", "jsonc"):
            after = apply(FORMATS[form], text, changes)
            expected = {**document, "the one": {**entry, "url": new, "new": {"x": [new]}}}
            self.assertEqual(json.loads(after), expected)
            begin = text.index(pieces[0])
            rest = len(text) - begin - len(pieces[0])
            self.assertEqual(
                (after[:begin], after[len(after) - rest :]), (text[:begin], text[len(text) - rest :])
            )
            self.assertEqual(put_back(FORMATS[form], after, path, pieces), text)
