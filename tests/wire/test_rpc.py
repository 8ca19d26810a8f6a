from __future__ import annotations

import json
from itertools import permutations

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.wire.rpc import method_in


class MethodTests(SynchronousTestCase):
    def test_as_clients_write_it(self) -> None:
        for content, method in (
            (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}', "tools/call"),
            (b'{"method":"initialize","params":{},"jsonrpc":"2.0","id":0}', "initialize"),
            (b'{"jsonrpc": "2.0", "id": "a-1", "method": "ping"}', "ping"),
            (b'{"id":3,"jsonrpc":"2.0","method":"x_y.z/Name-1"}', "x_y.z/Name-1"),
            (b'{"jsonrpc":"2.0","method":"notifications/initialized"}', "notifications/initialized"),
        ):
            self.assertEqual(method_in(content), method, content)
            self.assertEqual(method_in(b"POST / HTTP/1.1\r\n\r\n" + content, 19), method, content)

    def test_what_is_not_sure_is_not_said(self) -> None:
        for content in (
            b"",
            b"{",
            b"[]",
            b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]',
            b'{"method":"s3cret"}',
            b'{"id":7,"method":"s3cret"}',
            b'{"method":"ping-s3cret"}',
            b'{"jsonrpc":"2.0","params":{"method":"s3cret"},"method":"tools/call"}',
            b'{"jsonrpc":"2.0","id":1,"result":{"method":"s3cret"}}',
            b'{"jsonrpc":"2.0","method":"two words"}',
            b'{"jsonrpc":"2.0","method":"' + b"x" * 65 + b'"}',
            b'{"jsonrpc":"2.0","method":"a\\u0062"}',
            b'{"jsonrpc":"2.0","method":7}',
            b'{"jsonrpc":"2.0","meth',
            b'{"jsonrpc":"2.0","method":"x',
            b'{"x":"\\"method\\":\\"ping\\"","jsonrpc":"2.0"}',
            b'{"x":["\\\\",{"method":"ping"}]}',
            b'"method":"ping"',
            b'grant_type=x&method="ping"',
        ):
            self.assertEqual(method_in(content), "", content)

    def test_what_is_said_is_the_method_in_whatever_order(self) -> None:
        members = {"jsonrpc": "2.0", "id": 'a"b', "method": "ping", "params": {"method": "s3cret"}, "x": "{"}
        for count in range(len(members) + 1):
            for names in permutations(members, count):
                message = {name: members[name] for name in names}
                for indent in (None, 1):
                    found = method_in(json.dumps(message, indent=indent).encode())
                    self.assertIn(found, ("", message.get("method", "")))

    def test_what_never_ends_takes_no_time(self) -> None:
        for begin in (b'{"id":', b'{"jsonrpc":"2.0",', b'{"id":"', b"{" + b" " * 10):
            self.assertEqual(method_in(begin + begin[1:] * 20_000), "")
