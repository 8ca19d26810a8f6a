"""How often a request is sent that kills its origin, and an upstream is tried that is not there."""

from __future__ import annotations

import re
import select
import socket

from twisted.trial.unittest import TestCase

from tests.live.test_reverse_proxy import GET, OK, ReverseProxyTestCase, in_thread, listen
from tests.support.blocking import Peer
from tests.support.progress import LIMIT, PATIENCE
from tests.support.relay import Relay


class DeadlyRequestTests(ReverseProxyTestCase):
    def died(self, kept: bool) -> int:
        """How many connections the request cost."""
        client, origin = self.pair(GET)
        if kept:
            origin.send(OK)
            client.head()
            client.exactly(2)
            client.send(GET)
            origin.head()
        count = 1
        origin.reset()
        while self.listening in select.select([self.listening, client.socket], [], [], 10)[0]:
            origin = self.origin()
            origin.head()
            count += 1
            origin.reset()
        self.assertIn(b"HTTP/1.1 502 Connection to 127.0.0.1 broke\r\n", client.head())
        client.close()
        return count

    @in_thread
    def test_it_is_sent_once_on_a_new_connection_and_twice_from_a_kept_one(self) -> None:
        self.assertEqual([self.died(kept) for kept in (False, True)], [1, 2])


class KnownAsDownTests(TestCase):
    timeout = LIMIT

    @in_thread
    def test_its_clients_wait_no_longer(self) -> None:
        listening = listen()
        port = listening.getsockname()[1]
        listening.close()
        relay = Relay(
            f"""
            listeners:
              web:
                type: reverse-proxy
                listen: 127.0.0.1:0
                upstream: http://127.0.0.1:{port}
                health: {{interval: 100ms, down_interval: 100ms}}
                retry: {{for: 2s}}
            """
        ).start()
        self.addCleanup(relay.stop)
        relay.wait_for(r"is down: ")
        for _ in range(2):  # the first of them waits until it has been down for two seconds
            client = Peer(socket.create_connection(("127.0.0.1", relay.port("web")), timeout=PATIENCE))
            self.addCleanup(client.close)
            self.assertIn(b"HTTP/1.1 502 Nothing listens on 127.0.0.1:%d\r\n" % port, client.send(GET).head())
        relay.wait_for(r"(?s)phase=dial.*phase=dial")
        tries = [re.findall(r" tries=\d+", line) for line in relay.log.splitlines() if "[access]" in line]
        self.assertEqual([bool(each) for each in tries], [True, False])  # one is not worth a word
        listening = listen(port)
        self.addCleanup(listening.close)
        relay.wait_for(r"is up again")
