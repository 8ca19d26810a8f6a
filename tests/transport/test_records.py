"""Records in and out of OpenSSL's memory: beneath pyOpenSSL, and by what it documents."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.transport import records
from lanrelay.transport.records import LARGEST, RECORD, DirectRecords, PublicRecords, Records, records_of
from tests.support.tls import client_tls, only, server_context

PATTERN = bytes(range(256)) * 1024


def shaken(version: str = "1.3") -> tuple[SSL.Connection, SSL.Connection]:
    """Both ends of a connection after its handshake, with nothing on the way."""
    client: Any = only(client_tls(), version).connection()
    server: Any = server_context().connection()
    for _ in range(4):
        for one, other in ((client, server), (server, client)):
            try:
                one.do_handshake()
            except SSL.WantReadError:
                pass
            try:
                other.bio_write(one.bio_read(65536))
            except SSL.WantReadError:
                pass
    try:
        client.recv(1)
    except SSL.WantReadError:
        pass  # the tickets are read
    return client, server


def without_insides(case: SynchronousTestCase) -> None:
    """As with a pyOpenSSL that we do not know."""
    case.patch(records, "_beneath", lambda: None)


def read(one: Records, data: bytes, most: int = 65536) -> tuple[bytes, list[int], Any]:
    """The content of all of C{data}, the sizes in which it came, and how it ended."""
    content, sizes = b"", []
    while True:
        taken, part, error = one.decrypt(data, most)
        data = data[taken:]
        content += part
        sizes.append(len(part))
        if error is not None:
            return content, sizes, error


class DirectTests(SynchronousTestCase):
    kind: type[Any] = DirectRecords

    def pair(self, version: str = "1.3") -> tuple[Records, Records]:
        client, server = shaken(version)
        self.connections: Any = client, server
        ours = records_of(client), records_of(server)
        for one in ours:
            self.assertIsInstance(one, self.kind)
        return ours

    def test_what_is_encrypted_is_decrypted(self) -> None:
        for version in ("1.2", "1.3"):
            client, server = self.pair(version)
            for size in (1, RECORD - 1, RECORD, RECORD + 1, LARGEST):
                for data in (PATTERN[:size], memoryview(PATTERN)[:size]):
                    for one, other in ((client, server), (server, client)):
                        content, _, error = read(other, bytes(one.encrypt(data)))
                        self.assertEqual(content, data)
                        self.assertIsInstance(error, SSL.WantReadError)

    def test_no_more_than_was_asked_for_comes_at_once(self) -> None:
        client, server = self.pair()
        data = bytes(client.encrypt(PATTERN))
        content, sizes, _ = read(server, data, most=3 * RECORD)
        self.assertEqual(content, PATTERN)
        self.assertEqual(sizes[:5], [3 * RECORD] * 5)

    def test_what_was_decrypted_and_not_asked_for_comes_without_new_records(self) -> None:
        client, server = self.pair()
        data = bytes(client.encrypt(PATTERN[:RECORD]))
        taken, first, error = server.decrypt(data, RECORD - 1)
        first = bytes(first)
        self.assertEqual(taken, len(data))
        if error is None:
            _, rest, error = server.decrypt(b"", RECORD)
            first += rest
        self.assertEqual(first, PATTERN[:RECORD])

    def test_records_may_be_cut_anywhere(self) -> None:
        client, server = self.pair()
        data = bytes(client.encrypt(b"one")) + bytes(client.encrypt(b"two"))
        content = b""
        for byte in data:
            taken, part, error = server.decrypt(bytes([byte]), 65536)
            content += part
            self.assertEqual(taken, 1)
            self.assertIsInstance(error, SSL.WantReadError)
        self.assertEqual(content, b"onetwo")

    def test_close_notify_comes_after_the_content(self) -> None:
        client, server = self.pair()
        data = bytes(client.encrypt(b"bye"))
        self.connections[0].shutdown()
        content, _, error = read(server, data + bytes(client.answers()))
        self.assertEqual(content, b"bye")
        self.assertIsInstance(error, SSL.ZeroReturnError)

    def test_a_broken_record_comes_after_the_content(self) -> None:
        client, server = self.pair()
        data = bytes(client.encrypt(b"good"))
        content, _, error = read(server, data + b"\x17\x03\x03\x00\x20" + bytes(32))
        self.assertEqual(content, b"good")
        self.assertIsInstance(error, SSL.Error)
        self.assertNotIsInstance(error, SSL.WantReadError)
        self.assertTrue(server.answers(), "the alert")

    def test_an_answer_of_openssl_s_own_is_passed_on(self) -> None:
        client, server = self.pair()
        self.assertEqual(len(client.answers()), 0)
        self.connections[0].shutdown()
        self.assertGreater(len(client.answers()), 0)
        self.assertEqual(len(client.answers()), 0)
        with self.assertRaises(SSL.Error):
            client.encrypt(b"late")
        del server

    def test_connections_that_share_the_buffers_do_not_mix(self) -> None:
        pairs = [self.pair() for _ in range(3)]
        for round_ in range(3):
            sent = [
                bytes(one.encrypt(PATTERN[number : 40_000 + round_])) for number, (one, _) in enumerate(pairs)
            ]
            for number, (_, other) in enumerate(pairs):
                self.assertEqual(read(other, sent[number])[0], PATTERN[number : 40_000 + round_])

    def test_what_came_with_the_end_of_the_handshake_is_not_lost(self) -> None:
        client, server = shaken()
        server.bio_write(bytes(records_of(client).encrypt(b"early")))
        self.assertEqual(read(records_of(server), b"")[0], b"early")


class PublicTests(DirectTests):
    kind = PublicRecords

    def setUp(self) -> None:
        without_insides(self)


class ChoiceTests(SynchronousTestCase):
    def test_the_insides_of_this_pyopenssl_are_known(self) -> None:
        self.assertIsInstance(records_of(shaken()[0]), DirectRecords)

    def test_another_pyopenssl_is_used_by_what_it_documents(self) -> None:
        records._beneath.cache_clear()
        self.addCleanup(records._beneath.cache_clear)
        client, server = shaken()
        kind: Any = SSL.Connection
        explain = kind._raise_ssl_error
        self.addCleanup(setattr, kind, "_raise_ssl_error", explain)
        del kind._raise_ssl_error
        ours = records_of(client)
        kind._raise_ssl_error = explain
        self.assertIsInstance(ours, PublicRecords)
        self.assertEqual(read(records_of(server), bytes(ours.encrypt(b"as ever")))[0], b"as ever")
