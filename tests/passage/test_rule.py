"""L{lanrelay.passage.rule}"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.errors import RequestDenied
from lanrelay.passage.rule import Asked, Reply, Rule, Rules, Undeclared, View, changed, judged
from lanrelay.wire.headers import Field, Headers, make_field

HEADERS = Headers([(b"Host", b"a"), (b"X-One", b"1"), (b"X-Two", b"2"), (b"x-one", b"3")])
ONE = frozenset({b"x-one"})
TWO = frozenset({b"x-two"})
ASKED = Asked(method=b"GET", target=b"/")


def names(headers: Headers) -> list[bytes]:
    return [name for name, _ in headers]


class ViewTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.view = View.through(Rule(looks_at=ONE, sees=frozenset({b"x-new"})), HEADERS)

    def test_what_a_rule_names_it_sees(self) -> None:
        view = self.view
        self.assertEqual(view.get(b"x-one"), b"1")
        self.assertEqual(view.all(b"x-one"), [b"1", b"3"])
        self.assertEqual(view.tokens(b"x-one"), [b"1", b"3"])
        self.assertIn(b"x-one", view)
        self.assertNotIn(b"x-new", view)
        self.assertEqual(view.get(b"host"), b"a")  # that belongs to everybody

    def test_any_other_field_raises(self) -> None:
        attempts: list[Callable[[View], Any]] = [
            lambda view: view.get(b"x-two"),
            lambda view: view.all(b"x-two"),
            lambda view: view.tokens(b"x-two"),
            lambda view: b"x-two" in view,
            lambda view: view.without({b"x-one", b"x-two"}),
            lambda view: view.replaced(b"X-Two", b"3"),
            lambda view: view.replaced_by(make_field(b"X-Two", b"3")),
            lambda view: view.added(b"X-Two", b"3"),
            lambda view: view.appended([make_field(b"X-One", b"3"), make_field(b"X-Two", b"3")]),
            lambda view: view.mapped({b"x-two"}, lambda field: None),
        ]
        for attempt in attempts:
            self.assertRaises(Undeclared, attempt, self.view)
            # What follows from a view is one.
            self.assertRaises(Undeclared, attempt, self.view.without(ONE))

    def test_all_of_them_raise(self) -> None:
        attempts: list[Callable[[View], Any]] = [
            *(lambda view: view.fields, lambda view: view.index, lambda view: view.unique),
            *(list, len, repr, hash, lambda view: view.encode(), lambda view: view == HEADERS),
        ]
        for attempt in attempts:
            self.assertRaises(Undeclared, attempt, self.view)

    def test_changes_are_made_to_all_fields(self) -> None:
        def doubled(field: Field) -> Field:
            return make_field(field[1], field[2] * 2)

        view = self.view.mapped(ONE, doubled).added(b"X-New", b"n").replaced(b"Host", b"b")
        self.assertEqual(
            list(view.headers),
            [(b"Host", b"b"), (b"X-One", b"11"), (b"X-Two", b"2"), (b"x-one", b"33"), (b"X-New", b"n")],
        )
        self.assertEqual(names(view.without(ONE).headers), [b"Host", b"X-Two", b"X-New"])

    def test_what_changes_nothing_is_the_same(self) -> None:
        self.assertIs(self.view.without({b"x-new"}), self.view)
        self.assertIs(self.view.mapped({b"x-new"}, lambda field: None), self.view)


class RulesTests(SynchronousTestCase):
    def ran(self, rules: Rules, headers: Headers, start: bytes | int = b"GET", target: bytes = b"/") -> int:
        return len(rules.concerned(headers, start, target))

    def test_only_what_concerns_it_runs(self) -> None:
        def change(view: View, asked: Asked) -> Headers:
            return view

        one = Rule(looks_at=ONE, change=change)
        for rule, yes in (
            (one, True),
            (Rule(looks_at=frozenset({b"x-other"}), change=change), False),
            (Rule(sees=ONE, change=change), False),
            (Rule(sees=ONE, concerns=lambda view, start: view.get(b"x-one") == b"1", change=change), True),
            (Rule(sees=ONE, concerns=lambda view, start: view.get(b"x-one") == b"2", change=change), False),
            (Rule(sees=ONE, concerns=lambda view, start: start == b"GET", change=change), True),
            (Rule(sees=frozenset({b"x"}), concerns=lambda view, start: True, change=change), False),
            (Rule(in_target=(b"/a",), change=change), True),
            (Rule(in_target=(b"/b", b"/c"), change=change), False),
            (Rule(always=True, change=change), True),
            (Rule(looks_at=ONE), False),  # somebody else looks at it
        ):
            self.assertEqual(self.ran(Rules(rule), HEADERS, target=b"/a"), yes, rule)
            self.assertEqual(self.ran(Rules(rule, one), HEADERS, target=b"/a"), yes + 1, rule)
        self.assertEqual(self.ran(Rules(Rule(statuses=frozenset({404}), change=change)), HEADERS, 404), 1)
        self.assertEqual(self.ran(Rules(Rule(statuses=frozenset({404}), change=change)), HEADERS, 200), 0)

    def test_a_new_host_concerns_who_judges_it(self) -> None:
        guard = Rule(looks_at=frozenset({b"x-other"}), judges_host=True, judge=lambda view, asked: None)
        other = replace(guard, judges_host=False)
        rules = Rules(other, guard, other)
        self.assertEqual(list(rules.concerned(HEADERS, b"GET", new_host=True)), [guard])
        self.assertEqual(list(rules.concerned(HEADERS, b"GET")), [])

    def test_it_is_the_same_whatever_came_before(self) -> None:
        """What is compiled for some fields is for these alone, and bounded."""
        names = [b"x-%d" % number for number in range(12)]
        rules = Rules(
            *(
                Rule(looks_at=frozenset({name}), change=lambda view, asked: view, in_target=(name,))
                for name in names
            )
        )
        for number in range(1 << 12):
            there = [name for place, name in enumerate(names) if number >> place & 1]
            headers = Headers([(name, b"") for name in there])
            target = b"/" + names[number % 12]
            found = {min(rule.looks_at) for rule in rules.concerned(headers, b"GET", target)}
            self.assertEqual(found, {*there, names[number % 12], *([b"x-1"] if number % 12 > 9 else [])})
        self.assertLessEqual(len(rules._by_fields), 256)

    def test_what_is_known_beside_the_head_may_concern_one(self) -> None:
        def let_in(asked: Asked) -> bool:
            return asked.page is not None

        page = Rule(sees=frozenset({b"vary"}), beside=let_in, change=lambda view, asked: view)
        rules = Rules(page, Rule(looks_at=frozenset({b"via"}), change=lambda view, asked: view))
        asked = Asked(method=b"GET", target=b"/")
        self.assertEqual(list(rules.concerned(HEADERS, 200, asked=asked)), [])
        asked.page = b"http://a.example"
        self.assertEqual(list(rules.concerned(HEADERS, 200, asked=asked)), [page])
        self.assertEqual(list(rules.concerned(HEADERS, 200)), [])
        self.assertEqual(rules.looked_at, {b"via"}, "it is nothing for the plain way")

    def test_a_concern_is_shown_a_name_that_comes_twice(self) -> None:
        rule = Rule(
            sees=ONE,
            concerns=lambda view, start: b"3" in view.all(b"x-one"),
            change=lambda view, asked: view,
        )
        self.assertEqual(self.ran(Rules(rule), HEADERS), 1)

    def test_a_concern_is_about_what_the_rule_sees(self) -> None:
        rules = Rules(
            Rule(sees=ONE, concerns=lambda view, start: b"x-two" in view, change=lambda view, asked: view)
        )
        self.assertRaises(Undeclared, rules.concerned, HEADERS, b"GET")
        self.assertRaises(Undeclared, rules.weigh, HEADERS.index, b"GET")

    def test_what_is_looked_at_needs_no_weighing(self) -> None:
        rules = Rules(Rule(looks_at=ONE), Rule(sees=ONE | TWO, concerns=lambda view, start: False))
        self.assertEqual((rules.looked_at, rules.weighed), (ONE, TWO))

    def test_what_a_rule_sees_beside_is_not_weighed(self) -> None:
        self.assertEqual(Rules(Rule(looks_at=ONE, sees=TWO)).weighed, frozenset())

    def test_the_first_answer_or_refusal_ends_the_judging(self) -> None:
        seen = []

        def pass_(view: View, asked: Asked) -> None:
            seen.append(view.get(b"x-one"))

        def refuse(view: View, asked: Asked) -> None:
            raise RequestDenied("no")

        def answer(view: View, asked: Asked) -> Reply:
            return Reply(204)

        rules = [Rule(looks_at=ONE, judge=each) for each in (pass_, answer, refuse)]
        self.assertEqual(judged(rules, HEADERS, ASKED), Reply(204))
        self.assertIsNone(judged(rules[:1], HEADERS, ASKED))
        self.assertRaises(RequestDenied, judged, [rules[0], rules[2], rules[1]], HEADERS, ASKED)
        self.assertEqual(seen, [b"1"] * 3)

    def test_each_changes_what_the_one_before_left(self) -> None:
        rules = [
            Rule(looks_at=ONE, change=lambda view, asked: view.without(ONE)),
            Rule(
                looks_at=ONE | TWO, change=lambda view, asked: view if b"x-one" in view else view.without(TWO)
            ),
        ]
        self.assertEqual(names(changed(rules, HEADERS, ASKED)), [b"Host"])
