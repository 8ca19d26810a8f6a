"""What is said of an upstream before anything is known of it, by the real relay."""

from __future__ import annotations

import json
import socket
from signal import SIGTERM

from twisted.trial.unittest import SynchronousTestCase

from tests.process.support import Relay, poll

CONFIGURATION = """\
admin: {{listen: "127.0.0.1:0"}}
listeners:
  web:
    type: reverse-proxy
    listen: 127.0.0.1:0
    upstream: http://127.0.0.1:{port}
    health: {{path: /, timeout: 2s, fall: 5, down_interval: 1h}}
  db:
    type: tcp-forward
    listen: 127.0.0.1:0
    upstream: tcp://127.0.0.1:{port}
"""


class NotKnownTests(SynchronousTestCase):
    def test_neither_up_nor_down_before_the_first_check_which_counts_at_once(self) -> None:
        silent = socket.create_server(("127.0.0.1", 0))  # the check waits for an answer
        self.addCleanup(silent.close)
        relay = Relay(self, CONFIGURATION.format(port=silent.getsockname()[1])).start()
        status, body = relay.get("/readyz")
        answer = json.loads(body)
        self.assertEqual((status, answer["status"]), (503, "not ready"))
        self.assertRegex(answer["reasons"][0], r"^web: http://127\.0\.0\.1:\d+ is not known yet$")
        self.assertIn(b"not known yet", relay.get("/")[1])
        self.assertEqual([one["up"] for one in relay.ask("status")["upstreams"]], [None, None])
        table = relay.cli("status", "-c", "relay.yaml", columns=120).stdout
        self.assertRegex(table, r"(?m)^web +not known yet ")
        self.assertRegex(table, r"(?m)^db +not checked ")
        poll(lambda: relay.ask("status")["upstreams"][0]["up"] is False, "the outcome of the first check")
        self.assertEqual([one["up"] for one in relay.ask("status")["upstreams"]], [False, None])
        self.assertIn("is down", json.loads(relay.get("/readyz")[1])["reasons"][0])
        relay.signal(SIGTERM)
        self.assertEqual(relay.wait(), 0)
