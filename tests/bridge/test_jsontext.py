"""JSON is changed in the ranges that have to change, and nowhere else."""

from __future__ import annotations

import json
import random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.bridge.jsontext import (
    NotJson,
    Number,
    elements,
    line_of,
    members_of,
    read,
    with_member,
    without_elements,
    without_member,
)
from lanrelay.bridge.rpc import Message, key_of, messages_of, quoted

ODD = ' { "a" : 1.0 ,"b":[ 1e400, {"a":2} ],"a":  -0.0E+1 , "\\u0063" : "\\ud800\\"}" } '


class RangeTests(SynchronousTestCase):
    def test_members_are_where_they_are(self) -> None:
        found, end = members_of(ODD, 1)
        self.assertEqual(list(found), ["a", "b", "c"])
        self.assertEqual(ODD[found["a"].start : found["a"].end], "-0.0E+1")
        self.assertEqual(end, len(ODD) - 1)

    def test_numbers_stay_text(self) -> None:
        value = read("[1, 1.0, 1e400, 123456789012345678901234567890]")
        self.assertEqual(value, ["1", "1.0", "1e400", "123456789012345678901234567890"])
        self.assertTrue(all(isinstance(each, Number) for each in value))
        self.assertEqual(quoted(value), "[1,1.0,1e400,123456789012345678901234567890]")
        self.assertEqual(read("9" * 10_000), "9" * 10_000)

    def test_a_member_is_replaced_put_in_or_taken_out(self) -> None:
        for text, name, replaced, without in (
            ('{"a":1}', "a", '{"a":9}', "{}"),
            ('{ "a" : 1 , "b":2}', "a", '{ "a" : 9 , "b":2}', '{ "b":2}'),
            ('{"b":2 , "a":1 }', "a", '{"b":2 , "a":9 }', '{"b":2  }'),
            ("{}", "a", '{"a":9}', "{}"),
            ('{ "b":2}', "a", '{"a":9, "b":2}', '{ "b":2}'),
        ):
            self.assertEqual(with_member(text, 0, name, "9"), replaced)
            self.assertEqual(without_member(text, 0, name), without)
            json.loads(without)
        self.assertEqual(without_member('{"a":1,"a":2}', 0, "a"), "{}")

    def test_elements_are_taken_out(self) -> None:
        text = '[ {"a":1.0} , 2,3 ]'
        found, end = elements(text)
        self.assertEqual(end, len(text))
        ranges = [(start, stop) for _, start, stop in found]
        for mask in range(8):
            wanted = [number for number in range(3) if mask & 1 << number]
            left = without_elements(text, [ranges[number] for number in wanted])
            kept = [each for number, each in enumerate(json.loads(text)) if number not in wanted]
            self.assertEqual(json.loads(left), kept)

    def test_random_json_is_read_as_json_reads_it(self) -> None:
        chance = random.Random(1)

        def some(depth: int) -> Any:
            kind = chance.randrange(7 if depth else 5)
            if kind == 5:
                return [some(depth - 1) for _ in range(chance.randrange(4))]
            if kind == 6:
                return {chance.choice('ab"\\é'): some(depth - 1) for _ in range(chance.randrange(4))}
            return chance.choice([None, True, False, 1, -2, 0.5, "", "x\n", '"', "\u2028"])

        for _ in range(300):
            value = {"id": 1, "x": some(4)}
            text = json.dumps(value, indent=chance.choice([None, 1]), ensure_ascii=chance.random() < 0.5)
            message = Message(text)
            self.assertEqual(json.loads(message.raw("x") or ""), value["x"])
            self.assertEqual(json.loads(quoted(message.value("x"))), value["x"])
            self.assertEqual(json.loads(line_of(message.with_id('"z"'))), {**value, "id": "z"})

    def test_what_is_no_json_raises_nothing_else(self) -> None:
        chance = random.Random(2)
        for _ in range(3000):
            data = bytearray(ODD.strip().encode())
            for _ in range(chance.randrange(1, 4)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            try:
                messages_of(bytes(data))
            except NotJson:
                pass
        for text in ("[" * 200_000, '{"a":' * 200_000, "", "1", "NaN", '{"a":Infinity}', "{}{}"):
            self.assertRaises(NotJson, messages_of, text)

    def test_ids_are_told_apart_by_their_type(self) -> None:
        ids = [key_of(read(text)) for text in ("1", '"1"', "0", "2", "1.5")]
        self.assertEqual(len(set(ids)), 5)
        self.assertEqual(key_of(read('"\\u0061"')), key_of(read('"a"')))
