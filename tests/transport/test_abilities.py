"""What a stream, or who hears it, says of itself, and what holds of all others."""

from __future__ import annotations

from twisted.internet.protocol import Protocol
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.http.origin import OriginConnection
from lanrelay.transport.abilities import Abilities, Hearer, abilities_of, hearer_of
from lanrelay.transport.pipes import PipeStream
from lanrelay.transport.pump import _End
from lanrelay.transport.stream import unread_of
from lanrelay.transport.tcp import TcpStream
from lanrelay.transport.tls_stream import TlsStream
from lanrelay.transport.unread import UnreadStream
from tests.support.memory import MemoryStream


class AbilitiesTests(SynchronousTestCase):
    def test_a_foreign_stream_can_nothing_more(self) -> None:
        able = abilities_of(object())
        self.assertFalse(able.takes_views or able.takes_pipes or able.holds_unread())
        self.assertEqual((able.early(), able.version, able.application_protocol), (b"", "", ""))
        self.assertEqual((able.beneath, able.unsent, able.shown), (None, None, None))

    def test_a_foreign_protocol_is_lent_nothing_and_hears_of_nothing_more(self) -> None:
        hearer = hearer_of(Protocol())
        self.assertFalse(hearer.lent_at_most or hearer.takes_pipes or hearer.sending_failed())

    def test_ours_are_asked_themselves(self) -> None:
        stream = MemoryStream()
        self.assertIs(abilities_of(stream), stream)
        stream.receive(b"early")
        self.assertEqual(abilities_of(stream).early(), b"early")

    def test_one_that_has_an_ability_declares_it(self) -> None:
        """One that forgot to inherit would be asked for nothing."""
        for shape, kinds in (
            (Abilities, (TcpStream, TlsStream, PipeStream, UnreadStream)),
            (Hearer, (TlsStream, _End, OriginConnection)),
        ):
            for kind in kinds:
                self.assertTrue(issubclass(kind, shape), kind)

    def test_what_can_be_lent_or_spliced_has_the_method_for_it(self) -> None:
        self.assertIsNot(TcpStream.write_pipe, Abilities.write_pipe)
        for kind in (TlsStream, _End):
            self.assertIsNot(kind.view_received, Hearer.view_received)
        self.assertIsNot(_End.pipe_received, Hearer.pipe_received)

    def test_what_a_stream_itself_holds_is_unread(self) -> None:
        class Holding(MemoryStream):
            holds = True

            def holds_unread(self) -> bool:
                return self.holds

        stream = Holding()
        unread = unread_of(stream)
        self.assertTrue(unread())
        stream.holds = False
        self.assertFalse(unread())
        self.assertFalse(unread_of(MemoryStream())())
