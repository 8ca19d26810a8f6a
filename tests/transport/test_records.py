"""Records in and out of OpenSSL's memory: beneath pyOpenSSL, and by what it documents."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.transport import records
from lanrelay.transport.records import LARGEST, RECORD, DirectRecords, PublicRecords, Records, records_of
from tests.support.tls import client_tls, only, server_context

PATTERN = bytes(range(256)) * 1024


def shaken(version: str = "1.3", cipher: bytes = b"") -> tuple[SSL.Connection, SSL.Connection]:
    """Both ends of a connection after its handshake, with nothing on the way."""
    tls = only(client_tls(), version)
    if cipher:
        tls._ready().set_cipher_list(cipher)
    client: Any = tls.connection()
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
        content += bytes(part)
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
        taken, part, error = server.decrypt(data, RECORD - 1)
        content = bytes(part)
        self.assertEqual(taken, len(data))
        if error is None:
            _, part, error = server.decrypt(b"", RECORD)
            content += bytes(part)
        self.assertEqual(content, PATTERN[:RECORD])

    def test_records_may_be_cut_anywhere(self) -> None:
        client, server = self.pair()
        data = bytes(client.encrypt(b"one")) + bytes(client.encrypt(b"two"))
        content = b""
        for byte in data:
            taken, part, error = server.decrypt(bytes([byte]), 65536)
            content += bytes(part)
            self.assertEqual(taken, 1)
            self.assertIsInstance(error, SSL.WantReadError)
        self.assertEqual(content, b"onetwo")

    def test_records_may_be_cut_into_two(self) -> None:
        for version in ("1.2", "1.3"):
            client, server = self.pair(version)
            for size in range(1, 41):
                data = bytes(client.encrypt(PATTERN[:size]))
                for chunk, content in ((data[:size], b""), (data[size:], PATTERN[:size])):
                    taken, part, error = server.decrypt(chunk, 65536)
                    self.assertEqual((taken, bytes(part)), (len(chunk), content))
                    self.assertIsInstance(error, SSL.WantReadError)
                whole = bytes(client.encrypt(b"whole"))
                self.assertEqual(read(server, whole)[0], b"whole")

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

    def test_nor_is_it_when_much_comes_after_it(self) -> None:
        client, server = shaken()
        ours = records_of(client)
        server.bio_write(bytes(ours.encrypt(b"early")))
        self.assertEqual(read(records_of(server), bytes(ours.encrypt(PATTERN)))[0], b"early" + PATTERN)


class QuietTests(SynchronousTestCase):
    """What OpenSSL is not asked, because the sizes tell it."""

    def pair(self, version: str = "1.3", cipher: bytes = b"") -> tuple[Records, Records]:
        self.client, self.server = shaken(version, cipher)
        return records_of(self.client), records_of(self.server)

    def ends(self, one: Records, data: bytes, most: int = 65536) -> list[bool]:
        """Whether each call that it takes ends with C{quiet}."""
        ends = []
        error = None
        while error is None:
            taken, _, error = one.decrypt(data, most)
            data = data[taken:]
            self.assertNotIsInstance(error, SSL.ZeroReturnError)
            ends.append(error is one.quiet)
        return ends

    def test_a_record_that_came_alone_is_quiet_from_the_second_on(self) -> None:
        for version, cipher in (
            ("1.3", b""),
            ("1.2", b"ECDHE+AES256+AESGCM"),
            ("1.2", b"ECDHE+CHACHA20"),
        ):
            client, server = self.pair(version, cipher)
            for one, other in ((client, server), (server, client)):
                sizes = (1, 1, 500, RECORD, 1)
                found = [self.ends(other, bytes(one.encrypt(PATTERN[:size]))) for size in sizes]
                self.assertEqual(found, [[False], *([[True]] * 4)], cipher)

    def test_others_are_not(self) -> None:
        client, server = self.pair("1.2", b"ECDHE+AES+SHA256:!AESGCM:!AESCCM")
        self.assertIn("SHA256", str(self.client.get_cipher_name()))
        for _ in range(3):
            self.assertEqual(self.ends(server, bytes(client.encrypt(b"of blocks"))), [False])

    def test_nor_is_what_has_a_record_beside_it(self) -> None:
        client, server = self.pair()
        one = bytes(client.encrypt(b"one"))
        self.assertEqual(self.ends(server, one), [False])
        for _ in range(2):
            both = bytes(client.encrypt(b"two")) + bytes(client.encrypt(b"three"))
            self.assertEqual(self.ends(server, both), [False])
            self.assertEqual(self.ends(server, bytes(client.encrypt(b"one"))), [True])
        cut = bytes(client.encrypt(b"two")) + bytes(client.encrypt(b"three"))
        self.assertEqual(self.ends(server, cut[:-4]), [False])
        self.assertEqual(self.ends(server, cut[-4:]), [False])
        self.assertEqual(self.ends(server, bytes(client.encrypt(b"one"))), [True])

    def test_nor_is_what_the_call_has_no_room_for(self) -> None:
        client, server = self.pair()
        self.ends(server, bytes(client.encrypt(b"one")))
        data = bytes(client.encrypt(PATTERN[:100]))
        self.assertEqual(self.ends(server, data, most=60), [False, False])
        self.assertEqual(self.ends(server, bytes(client.encrypt(PATTERN[:100])), most=100), [True])


class MemoryTests(SynchronousTestCase):
    """OpenSSL's memory never shrinks, so it must not grow with what comes at once."""

    def test_it_holds_two_pieces_at_most_however_the_records_are_cut(self) -> None:
        client, server = shaken()
        ours, theirs = records_of(client), records_of(server)
        beneath = records._beneath()
        held = 0

        def write(into: Any, source: Any, count: int) -> int:
            nonlocal held
            taken: int = bio_write(into, source, count)
            held = max(held, beneath.bio_get_mem_data(into, beneath.null))
            return taken

        bio_write = beneath.bio_write
        self.patch(beneath, "bio_write", write)
        for part in (LARGEST, RECORD, RECORD - 1, 5000):
            for cut in (LARGEST, 100_000, RECORD, 7000):
                for most in (RECORD - 1, RECORD, 65536, LARGEST):
                    sent = b"".join(
                        bytes(ours.encrypt(PATTERN[start : start + part]))
                        for start in range(0, LARGEST, part)
                    )
                    content = b""
                    for start in range(0, len(sent), cut):
                        content += read(theirs, sent[start : start + cut], most)[0]
                    self.assertEqual(content, PATTERN, (part, cut, most))
        self.assertGreater(held, 7000)
        self.assertLessEqual(held, 2 * records._PIECE)

    def test_what_is_read_where_it_lies_is_not_kept(self) -> None:
        client, server = shaken()
        ours, theirs = records_of(client), records_of(server)
        sent = bytearray(ours.encrypt(PATTERN[:100_000]))
        cut = 3 * RECORD + 100
        for most in (LARGEST, RECORD):
            taken, content, error = theirs.decrypt(memoryview(sent)[:cut], most)
            first = bytes(content)
            rest = bytes(sent[taken:])
            sent[:] = bytes(len(sent))  # the buffer is used for something else
            self.assertEqual(first + read(theirs, rest)[0], PATTERN[:100_000])
            self.assertEqual(error is None, most == RECORD)
            sent = bytearray(ours.encrypt(PATTERN[:100_000]))


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
