"""Messages as they came: cut out of batches, changed in one place, and refused where they are none."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.mcp.text import NotMcp, error, key_of, read, replaced


class ReadTests(SynchronousTestCase):
    def test_a_message_is_one_line_and_otherwise_as_it_came(self) -> None:
        [message], batch = read(b' {"jsonrpc":"2.0",\r\n "id": 1e2, "method":"a", "x": 1.50, "e": "\\n"}\n')
        self.assertFalse(batch)
        self.assertEqual(message.text, '{"jsonrpc":"2.0",   "id": 1e2, "method":"a", "x": 1.50, "e": "\\n"}')
        self.assertEqual((message.key, message.is_request), (("number", 100.0), True))

    def test_a_batch_is_cut_where_its_messages_are(self) -> None:
        one = '{"jsonrpc": "2.0", "method": "]", "n": 12345678901234567890.10}'
        two = '{"jsonrpc":"2.0","id":"]","result":[{}]}'
        messages, batch = read(f"[ {one} ,\n{two}]".encode())
        self.assertTrue(batch)
        self.assertEqual([message.text for message in messages], [one, two])
        self.assertEqual([message.is_response for message in messages], [False, True])

    def test_ids_are_told_apart_by_type(self) -> None:
        self.assertNotEqual(key_of("1"), key_of(1))
        self.assertEqual([key_of(None), key_of(True), key_of([]), key_of({})], [None] * 4)
        self.assertIsNotNone(key_of(0))

    def test_what_is_no_message_is_refused(self) -> None:
        for data in (
            *(b"", b"{", b"[]", b"1", b"null", b'"a"', b"[1]", b"\xff", b"{}", b'{"jsonrpc":"2.0"}'),
            *(b'{"jsonrpc":"1.0","method":"a"}', b'{"jsonrpc":"2.0","method":1}', b"[" * 200_000),
        ):
            with self.assertRaises(NotMcp, msg=data[:40]):
                read(data)


class ReplacedTests(SynchronousTestCase):
    def test_nothing_but_the_value_changes(self) -> None:
        text = '{ "params" : {"id":1, "_meta": {"progressToken":"a\\"b"} , "n":1.50}, "id" : "x" , "z":[]}'
        self.assertEqual(
            replaced(text, ["id"], 7),
            '{ "params" : {"id":1, "_meta": {"progressToken":"a\\"b"} , "n":1.50}, "id" : 7 , "z":[]}',
        )
        self.assertEqual(
            replaced(text, ["params", "_meta", "progressToken"], 7),
            '{ "params" : {"id":1, "_meta": {"progressToken":7} , "n":1.50}, "id" : "x" , "z":[]}',
        )

    def test_what_is_not_there_stays_so(self) -> None:
        for path in (["a"], ["b", "c"], ["id", "x"]):
            self.assertEqual(replaced('{"id": 1, "b": {}}', path, 2), '{"id": 1, "b": {}}')

    def test_the_last_of_two_counts_as_for_json(self) -> None:
        self.assertEqual(json.loads(replaced('{"id": 1, "id": 2}', ["id"], 3)), {"id": 3})

    def test_an_error_bears_the_id_as_it_was(self) -> None:
        for identity in (0, "x", None):
            self.assertEqual(json.loads(error(identity, -1, "ü"))["id"], identity)
