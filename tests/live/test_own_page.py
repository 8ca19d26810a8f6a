"""An application's own page, which came through the relay, in front of a server that looks for that."""

from __future__ import annotations

import httpx
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.support.progress import LIMIT
from tests.support.relay import Relay
from tests.support.servers import DjangoServer


class OwnPageTests(TestCase):
    timeout = LIMIT

    def setUp(self) -> None:
        self.server = DjangoServer().start()
        self.addCleanup(self.server.stop)
        upstream = f"upstream: {{url: '{self.server.lan_url}', address: '{self.server.address}'}}"
        self.relay = Relay(
            f"""
            listeners:
              web: {{type: reverse-proxy, listen: "127.0.0.1:0", {upstream}}}
              preserving: {{type: reverse-proxy, listen: "127.0.0.1:0", {upstream}, host: preserve}}
              keeping: {{type: reverse-proxy, listen: "127.0.0.1:0", {upstream}, origin: keep}}
            """
        ).start()
        self.addCleanup(self.relay.stop)

    def save(self, listener: str) -> httpx.Response:
        """What a browser does: it gets the page, and sends its form."""
        page = f"http://localhost:{self.relay.port(listener)}"
        with httpx.Client(trust_env=False) as browser:
            token = browser.get(page + "/").text
            headers = {"Origin": page, "Referer": page + "/", "X-CSRFToken": token}
            return browser.post(page + "/", headers=headers)

    def test_its_form_is_taken(self) -> Deferred[None]:
        def run() -> None:
            for listener in ("web", "preserving"):
                answer = self.save(listener)
                self.assertEqual((answer.status_code, answer.text), (200, "saved"), listener)

        return deferToThread(run)

    def test_the_server_does_compare(self) -> Deferred[None]:
        def run() -> None:
            self.assertEqual(self.save("keeping").status_code, 403)

        return deferToThread(run)
