"""SOCKS 5, both sides, without a connection."""

from __future__ import annotations

import random
from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.errors import RemoteProtocolError
from lanrelay.wire.socks5 import Login, Reply, Request, Socks5Client, Socks5Server, SocksError, reply
from tests.wire.feeding import pieces

PLAIN = b"\x05\x01\x00"
LOGIN = b"\x05\x02\x00\x02" + b"\x01\x05alice\x06secret"
NAME = b"\x05\x01\x00\x03\x07nas.lan\x01\xbb"
IPV4 = b"\x05\x01\x00\x01\xc0\xa8\x01\x14\x00\x16"
IPV6 = b"\x05\x01\x00\x04" + bytes.fromhex("fd000000000000000000000000000001") + b"\x00\x50"

Said = tuple[bytes, list[Login | Request], bytes]


def listen(parts: list[bytes], *, login: bool = False) -> Said:
    """What a server answers, is told, and has left; every login is good."""
    server = Socks5Server(login=login)
    sent, said = b"", []
    for part in parts:
        output, heard = server.receive(part)
        sent += output
        while heard is not None:
            said.append(heard)
            if isinstance(heard, Request):
                break
            sent += server.login_answer(good=True)
            output, heard = server.receive(b"")
            sent += output
    return sent, said, server.take_unread()


class ServerTests(SynchronousTestCase):
    def heard(self, data: bytes, *, login: bool = False) -> Said:
        """The same however it is cut."""
        outcomes = {repr(listen(parts, login=login)): listen(parts, login=login) for parts in pieces(data)}
        self.assertEqual(len(outcomes), 1, outcomes.keys())
        return next(iter(outcomes.values()))

    def refused(self, data: bytes, *, login: bool = False) -> tuple[bytes, SocksError]:
        """All that is answered, and why, the same however it is cut."""
        answers: dict[bytes, SocksError] = {}
        for parts in pieces(data):
            sent = b""
            server = Socks5Server(login=login)
            try:
                for part in parts:
                    sent += server.receive(part)[0]
            except SocksError as refusal:
                answers[sent + refusal.answer] = refusal
            else:
                self.fail(f"{data!r} was taken")
        [(answer, error)] = answers.items()
        return answer, error

    def test_each_type_of_address(self) -> None:
        for request, expected in (
            (NAME, Request("nas.lan", 443)),
            (IPV4, Request("192.168.1.20", 22)),
            (IPV6, Request("fd00::1", 80)),
        ):
            self.assertEqual(self.heard(PLAIN + request), (b"\x05\x00", [expected], b""))

    def test_what_comes_behind_the_request_is_kept(self) -> None:
        self.assertEqual(
            self.heard(PLAIN + NAME + b"early"), (b"\x05\x00", [Request("nas.lan", 443)], b"early")
        )

    def test_the_method_is_chosen_among_several(self) -> None:
        self.assertEqual(self.heard(b"\x05\x03\x01\x02\x00" + IPV4)[0], b"\x05\x00")
        self.assertEqual(self.heard(b"\x05\xff" + bytes(range(255)) + IPV4)[0], b"\x05\x00")

    def test_login(self) -> None:
        sent, said, _ = self.heard(LOGIN + NAME, login=True)
        self.assertEqual(sent, b"\x05\x02" + b"\x01\x00")
        self.assertEqual(said, [Login("alice", "secret"), Request("nas.lan", 443)])
        longest = b"\x05\x01\x02\x01\xff" + b"n" * 255 + b"\xff" + b"p" * 255
        self.assertEqual(listen([longest], login=True)[1], [Login("n" * 255, "p" * 255)])
        self.assertEqual(self.heard(b"\x05\x01\x02\x01\x00\x00", login=True)[1], [Login("", "")])

    def test_a_login_shows_no_secret(self) -> None:
        self.assertNotIn("secret", repr(Login("alice", "secret")))

    def test_the_request_waits_for_the_login(self) -> None:
        server = Socks5Server(login=True)
        output, said = server.receive(LOGIN + NAME)
        self.assertEqual((output, said), (b"\x05\x02", Login("alice", "secret")))

    def test_methods_that_are_not_offered(self) -> None:
        answer, error = self.refused(PLAIN, login=True)
        self.assertEqual((answer, error.http_status), (b"\x05\xff", 407))
        self.assertEqual(self.refused(b"\x05\x01\x02")[0], b"\x05\xff")

    def test_what_is_not_supported_has_its_code(self) -> None:
        for command in (2, 3, 9):
            answer, error = self.refused(PLAIN + b"\x05" + bytes([command]) + IPV4[2:])
            self.assertEqual(answer, b"\x05\x00" + reply(Reply.COMMAND_NOT_SUPPORTED))
        self.assertIn("the command 9", str(error))
        for kind in (0, 2, 5, 255):
            answer, _ = self.refused(PLAIN + b"\x05\x01\x00" + bytes([kind]))
            self.assertEqual(answer, b"\x05\x00" + reply(Reply.ADDRESS_TYPE_NOT_SUPPORTED))

    def test_malformed_requests(self) -> None:
        failure = b"\x05\x00" + reply(Reply.GENERAL_FAILURE)
        for request in (
            b"\x04",
            b"\x05\x01\x01",
            IPV4[:-2] + b"\x00\x00",
            b"\x05\x01\x00\x03\x00\x00\x50",
            b"\x05\x01\x00\x03\x02a\x00\x00\x50",
            b"\x05\x01\x00\x03\x03a b\x00\x50",
            b"\x05\x01\x00\x03\x03a\r\n\x00\x50",
            b"\x05\x01\x00\x03\x02\xff\xfe\x00\x50",
        ):
            self.assertEqual(self.refused(PLAIN + request)[0], failure, request)

    def test_what_is_no_socks_5(self) -> None:
        for data, word in (
            (b"\x04\x01\x00\x50", "SOCKS 4"),
            (b"GET / HTTP/1.1\r\n", "HTTP"),
            (b"\x16\x03\x01", "TLS"),
            (b"\x00", "does not speak"),
            (b"\x05\x00", "no method"),
        ):
            answer, error = self.refused(data)
            self.assertEqual(answer, b"")
            self.assertIn(word, str(error))

    def test_a_malformed_login(self) -> None:
        self.assertEqual(self.refused(b"\x05\x01\x02\x05", login=True)[0], b"\x05\x02\x01\x01")

    def test_random_bytes(self) -> None:
        rng = random.Random(5)
        for login in (False, True):
            for _ in range(2000):
                data = (b"", PLAIN, LOGIN, LOGIN[:4])[rng.randrange(4)] + rng.randbytes(rng.randrange(40))
                try:
                    listen([data], login=login)
                except SocksError:
                    pass

    def test_begun(self) -> None:
        server = Socks5Server(login=False)
        self.assertFalse(server.begun)
        server.receive(b"\x05")
        self.assertTrue(server.begun)


def talk(client: Socks5Client, parts: list[bytes]) -> tuple[bytes, bytes]:
    """What the client sends, and what is left for the tunnel."""
    sent = client.begin()
    for part in parts:
        sent += client.receive(part)
    return sent, client.take_unread()


class ClientTests(SynchronousTestCase):
    def clients(self, answer: bytes, **keys: str) -> Iterator[tuple[Socks5Client, bytes, bytes]]:
        for parts in pieces(answer):
            client = Socks5Client("nas.lan", 443, **keys)
            yield (client, *talk(client, parts))

    def test_without_a_login(self) -> None:
        for client, sent, unread in self.clients(b"\x05\x00" + reply(Reply.SUCCEEDED) + b"hello"):
            self.assertEqual((sent, unread), (PLAIN + NAME, b"hello"))
            self.assertEqual((client.done, client.code, client.refusal), (True, 0, ""))

    def test_with_a_login(self) -> None:
        answer = b"\x05\x02\x01\x00" + reply(Reply.SUCCEEDED)
        for client, sent, _ in self.clients(answer, username="alice", password="secret"):
            self.assertEqual(sent, LOGIN + NAME)
            self.assertTrue(client.done)

    def test_a_login_that_is_not_asked_for_is_not_sent(self) -> None:
        client = Socks5Client("nas.lan", 443, username="alice", password="secret")
        self.assertEqual(talk(client, [b"\x05\x00"])[0], LOGIN[:4] + NAME)

    def test_addresses_are_sent_as_such(self) -> None:
        for host, port, request in (("192.168.1.20", 22, IPV4), ("fd00::1", 80, IPV6)):
            self.assertEqual(talk(Socks5Client(host, port), [b"\x05\x00"])[0], PLAIN + request)

    def test_bound_addresses_of_each_type(self) -> None:
        for bound in (b"\x01\x7f\x00\x00\x01", b"\x04" + bytes(16), b"\x03\x04host", b"\x03\x00"):
            for client, _, unread in self.clients(b"\x05\x00\x05\x00\x00" + bound + b"\x04\x38x"):
                self.assertEqual((client.done, client.refusal, unread), (True, "", b"x"))

    def test_refusals(self) -> None:
        for answer, code, word in (
            (b"\x05\xff", None, "asks for a name"),
            (b"\x05\x00" + reply(Reply.REFUSED), 5, "refused"),
            (b"\x05\x00\x05\x02", 2, "not allowed"),
            (b"\x05\x00\x05\x63\x00\x01", 0x63, "code 99"),
        ):
            client = Socks5Client("nas.lan", 443)
            talk(client, [answer])
            self.assertEqual((client.done, client.code), (True, code))
            self.assertIn(word, client.refusal)
        client = Socks5Client("nas.lan", 443, username="a", password="b")
        talk(client, [b"\x05\x02\x01\x01"])
        self.assertIn("does not accept the name", client.refusal)

    def test_what_is_no_such_server(self) -> None:
        for answer in (
            b"HTTP/1.1 400 Bad",
            b"\x05\x02",
            b"\x05\x01",
            b"\x05\x00\x04\x00\x00\x01",
            b"\x05\x00\x05\x00\x01\x01\x00",
        ):
            with self.assertRaises(RemoteProtocolError):
                talk(Socks5Client("nas.lan", 443), [answer])

    def test_names_that_cannot_be_said(self) -> None:
        for host in ("", "a" * 256):
            with self.assertRaises(ValueError):
                Socks5Client(host, 443)
        with self.assertRaises(ValueError):
            Socks5Client("h", 443, username="", password="p")

    def test_the_two_understand_each_other(self) -> None:
        client = Socks5Client("nas.lan", 443, username="alice", password="secret")
        server = Socks5Server(login=True)
        to_server, said = client.begin(), None
        while not isinstance(said, Request):
            output, said = server.receive(to_server)
            if isinstance(said, Login):
                output += server.login_answer(good=True)
            to_server = client.receive(output)
        self.assertEqual(said, Request("nas.lan", 443))
        client.receive(reply(Reply.SUCCEEDED))
        self.assertTrue(client.done)
