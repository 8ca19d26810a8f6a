"""TLS streams over what is not a plain socket, and with a pyOpenSSL that we do not know."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.transport.tls import TlsStream, secure_client, secure_server
from tests.support.tls import client_tls, listen_to, server_context
from tests.transport import test_tls_backpressure as pausing
from tests.transport import test_tls_stream as plain
from tests.transport.test_records import without_insides


class TlsWithinTlsTests(plain.TlsStreamTestCase):
    """To an origin of HTTPS through a parent of HTTPS; both layers use the same buffers."""

    def test_what_is_large_arrives_whole_both_ways(self) -> None:
        inner: list[Any] = []
        for done in (
            Deferred.fromCoroutine(secure_client(self.clock, self.client, client_tls(), timeout=9)),
            Deferred.fromCoroutine(secure_server(self.clock, self.server, server_context(), timeout=9)),
        ):
            done.addBoth(inner.append)
        self.wire.run()
        streams = [one for one in inner if isinstance(one, TlsStream)]
        self.assertEqual(len(streams), 2, inner)
        first, second = streams
        heard, also = listen_to(first), listen_to(second)
        data = bytes(range(256)) * 4096
        first.write(data)
        second.write(data[1:])
        self.wire.run()
        second.write(b"more")
        self.wire.run()
        self.assertTrue(also.data == data)
        self.assertTrue(heard.data == data[1:] + b"more")
        first.loseWriteConnection()
        self.wire.run()
        self.assertEqual((also.told[-1], heard.told[-1]), ("end", "flushed"))


class WithoutInsides(SynchronousTestCase):
    """The same again, with a pyOpenSSL whose insides are not those we know."""

    def setUp(self) -> None:
        without_insides(self)
        super().setUp()


class PublicByteTests(WithoutInsides, plain.ByteTests): ...


class PublicEndTests(WithoutInsides, plain.EndTests): ...


class PublicOlderVersionTests(WithoutInsides, plain.OlderVersionTests): ...


class PublicBackpressureTests(WithoutInsides, pausing.BackpressureTests): ...


class PublicTlsWithinTlsTests(WithoutInsides, TlsWithinTlsTests): ...


class PublicPumpOverTlsTests(WithoutInsides, plain.PumpOverTlsTests): ...
