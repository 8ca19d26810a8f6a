"""What somebody sees who starts the configuration that comes with lanrelay, and has not read anything."""

from __future__ import annotations

import json
import re
import urllib.error
from typing import Any
from urllib.request import ProxyHandler, build_opener

from twisted.trial.unittest import SynchronousTestCase

from tests.support.browser import until
from tests.support.progress import PATIENCE
from tests.support.relay import Relay
from tests.support.servers import CHECKOUT


class FirstRunTests(SynchronousTestCase):
    def setUp(self) -> None:
        text = (CHECKOUT / "conf" / "relay.yaml").read_text()
        # Its own ports may be taken here; the listeners that are off keep theirs.
        for port in (28080, 28081):
            self.assertEqual(text.count(f"listen: localhost:{port}"), 1)
            text = text.replace(f"listen: localhost:{port}", "listen: 127.0.0.1:0")
        self.relay = Relay(text).start()
        self.addCleanup(self.relay.stop)

    def get(self, path: str) -> tuple[int, str]:
        url = f"http://127.0.0.1:{self.relay.port('admin')}{path}"
        try:
            with build_opener(ProxyHandler({})).open(url, timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def test_it_is_green_and_says_what_to_do_first(self) -> None:
        until(lambda: self.get("/readyz")[0] == 200)
        document: dict[str, Any] = json.loads(self.get("/status.json")[1])
        self.assertEqual((document["ready"], document["unready"], document["warnings"]), (True, [], []))
        self.assertEqual([one["problem"] for one in document["listeners"]], [None, None])
        page = self.get("/")[1]
        self.assertIn('<html lang="en" data-mood="good">', page)
        self.assertIn('<div data-part="problems"></div>', page)
        (first,) = re.findall(r'<section class="first".*?</section>', page, re.DOTALL)
        self.assertIn("Three things to do first", first)
        self.assertEqual([one["command"] in first for one in document["first_steps"]], [True] * 3)
        self.assertNotIn("lan-host.lan", page)  # which was invented, and is off
        self.assertNotRegex(self.relay.log, "(?i)warn|error|fail|refused|not reached")
