"""Tests of the TCP port forward, in memory."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config import model
from lanrelay.errors import CertificateExpired, ConnectionRefused
from lanrelay.listeners.tcp_forward import TcpForwardService
from tests.support.listening import Surroundings, accept, tcp_upstreams
from tests.support.memory import MemoryStream

LISTEN = (model.LocalhostAddress(port=0),)


class TcpForwardTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.around = Surroundings()
        self.service = self.forward()

    def forward(self, **keys: Any) -> TcpForwardService:
        keys.setdefault("upstreams", tcp_upstreams(("nas.lan", 5432)))
        config = model.TcpForward(name="db", listen=LISTEN, **keys)
        return TcpForwardService(self.around.environment, config)

    def connect(self) -> tuple[MemoryStream, MemoryStream]:
        client = accept(self.service)
        return client, self.around.dialer.answer()

    def test_bytes_go_both_ways(self) -> None:
        client, upstream = self.connect()
        client.receive(b"question")
        upstream.receive(b"answer")
        self.assertEqual((upstream.take(), client.take()), (b"question", b"answer"))

    def test_nothing_is_read_before_there_is_somewhere_to_put_it(self) -> None:
        client = accept(self.service)
        client.receive(b"early")
        self.assertFalse(client.reading)
        upstream = self.around.dialer.answer()
        self.assertEqual(upstream.take(), b"early")

    def test_the_session_tells_the_whole_story(self) -> None:
        client = accept(self.service)
        self.around.clock.advance(0.25)
        upstream = self.around.dialer.answer("192.0.2.7:5432")
        client.receive(b"abc")
        upstream.receive(b"defgh")
        client.receive_eof()
        upstream.receive_eof()
        [session] = self.around.closed
        self.assertEqual(
            (session.listener, session.target, session.address, session.received, session.sent),
            ("db", "tcp://nas.lan:5432", "192.0.2.7:5432", 3, 5),
        )
        self.assertEqual((session.dialed, session.phase, session.error), (0.25, "done", ""))
        self.assertEqual(len(self.around.ledger), 0)
        self.assertEqual(self.service.open_connections, 0)

    def test_what_is_on_the_loopback_is_joined_at_once_and_tells_the_same(self) -> None:
        self.around.dialer.on_loopback = True
        client = accept(self.service)
        [upstream] = self.around.dialer.streams
        self.assertEqual(self.around.dialer.pending, [])
        self.assertEqual(self.service.group.members[0].open, 1)
        client.receive(b"abc")
        upstream.receive_eof()
        client.receive_eof()
        [session] = self.around.closed
        self.assertEqual(
            (session.target, session.address, session.received, session.tries, session.dialed),
            ("tcp://nas.lan:5432", "127.0.0.1:5432", 3, 1, 0.0),
        )
        self.assertEqual((session.phase, session.ended_by, session.error), ("done", "upstream", ""))
        self.assertEqual(self.service.group.members[0].open, 0)
        self.assertEqual((len(self.around.ledger), self.service.open_connections), (0, 0))

    def test_a_bug_in_a_dial_at_once_costs_its_client_alone(self) -> None:
        def bug(target: object) -> None:
            raise ZeroDivisionError

        self.patch(self.around.dialer, "dial_at_once", bug)
        client = accept(self.service)
        self.assertTrue(client.aborted)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual((len(self.around.ledger), self.service.open_connections), (0, 0))

    def test_client_half_close_still_lets_the_answer_through(self) -> None:
        client, upstream = self.connect()
        client.receive(b"question")
        client.receive_eof()
        self.assertTrue(upstream.half_closed)
        upstream.receive(b"late answer")
        self.assertEqual(client.take(), b"late answer")
        self.assertEqual(self.around.closed, [])

    def test_a_client_that_is_lost_before_it_is_listened_to_ends_once(self) -> None:
        """As by a reset between its TLS handshake and the dial."""
        for answered in (False, True):
            client = MemoryStream()
            client.lose()
            if answered:
                self.around.dialer.at_once = True
            accept(self.service, client)
            self.assertEqual(len(self.around.ledger), 0)
            self.assertEqual(self.service.open_connections, 0)
        self.assertEqual(self.around.dialer.cancelled, 1)
        self.assertEqual(len(self.around.closed), 2)

    def test_a_refused_connection_is_tried_again_while_retry_lasts(self) -> None:
        accept(self.service)
        self.around.dialer.fail(ConnectionRefused("refused"))
        self.assertEqual(len(self.around.dialer.pending), 0)
        self.around.clock.advance(0.2)
        self.assertEqual(len(self.around.dialer.pending), 1)
        self.assertEqual(self.around.closed, [])

    def test_a_dial_that_fails_resets_the_client_and_says_why(self) -> None:
        self.service = self.forward(
            upstreams=tcp_upstreams(("nas.lan", 5432), retry=model.Retry(duration=0, backoff=0.1))
        )
        client = accept(self.service)
        self.around.dialer.fail(ConnectionRefused("refused", target="nas.lan:5432", address="192.0.2.7:5432"))
        self.assertTrue(client.aborted)
        [session] = self.around.closed
        self.assertEqual((session.error, session.phase), ("connection_refused", "dial"))
        self.assertIn("nas.lan:5432", session.detail)
        self.assertEqual(self.service.open_connections, 0)

    def test_what_another_try_cannot_mend_is_not_tried_again(self) -> None:
        client = accept(self.service)
        self.around.dialer.fail(CertificateExpired("expired"))
        self.assertTrue(client.aborted)
        self.assertEqual(self.around.clock.getDelayedCalls(), [])

    def test_a_client_that_leaves_first_cancels_the_dial(self) -> None:
        client = accept(self.service)
        client.lose()
        self.assertEqual(self.around.dialer.cancelled, 1)
        [session] = self.around.closed
        self.assertEqual((session.ended_by, session.error), ("downstream", ""))
        self.assertEqual(self.around.clock.getDelayedCalls(), [])

    def test_an_upstream_that_resets_resets_the_client(self) -> None:
        client, upstream = self.connect()
        upstream.lose()
        self.assertTrue(client.aborted)
        [session] = self.around.closed
        self.assertEqual(session.ended_by, "upstream")

    def test_a_stranger_is_closed_at_once_and_logged(self) -> None:
        from twisted.internet.address import IPv4Address

        stranger = accept(self.service, MemoryStream(peer=IPv4Address("TCP", "192.0.2.99", 1234)))
        self.assertTrue(stranger.aborted)
        self.assertEqual(self.around.dialer.asked, [])
        [session] = self.around.closed
        self.assertEqual((session.error, session.phase), ("http_request_denied", "accept"))

    def test_drain_gives_what_is_under_way_its_time_then_aborts(self) -> None:
        client, upstream = self.connect()
        stopped = self.service.stopService()
        self.assertNoResult(stopped)
        upstream.receive(b"last words")
        self.assertEqual(client.take(), b"last words")
        self.around.clock.advance(3)
        self.successResultOf(stopped)
        self.assertTrue(client.aborted)
        self.assertTrue(upstream.aborted)
        self.assertEqual(self.around.clock.getDelayedCalls(), [])

    def test_drain_ends_when_the_last_connection_does(self) -> None:
        client, upstream = self.connect()
        stopped = self.service.stopService()
        client.receive_eof()
        upstream.receive_eof()
        self.successResultOf(stopped)
        self.assertEqual(self.around.clock.getDelayedCalls(), [])

    def test_a_stop_ends_dials_at_once(self) -> None:
        client = accept(self.service)
        stopped = self.service.stopService()
        self.successResultOf(stopped)
        self.assertTrue(client.aborted)
        self.assertEqual(self.around.dialer.cancelled, 1)

    def test_least_connections_counts_what_is_open(self) -> None:
        _client, upstream = self.connect()
        [member] = self.service.group.members
        self.assertEqual(member.open, 1)
        upstream.lose()
        self.assertEqual(member.open, 0)
