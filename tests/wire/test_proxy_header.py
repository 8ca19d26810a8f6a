"""The PROXY protocol, versions 1 and 2."""

from __future__ import annotations

import random
from ipaddress import ip_address

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.errors import GreetingError
from lanrelay.wire.proxy_header import SIGNATURE, V2_MAX, Endpoints, ProxyHeader, Version, build, parse

FOUR = Endpoints(ip_address("203.0.113.7"), 50123, ip_address("192.168.1.5"), 443)
SIX = Endpoints(ip_address("2001:db8::7"), 50123, ip_address("fd00::5"), 443)
V1_FOUR = b"PROXY TCP4 203.0.113.7 192.168.1.5 50123 443\r\n"
V1_SIX = b"PROXY TCP6 2001:db8::7 fd00::5 50123 443\r\n"


def v2(command: int, family: int, body: bytes) -> bytes:
    return SIGNATURE + bytes((command, family)) + len(body).to_bytes(2, "big") + body


BODY_FOUR = FOUR.source.packed + FOUR.destination.packed + b"\xc3\xcb\x01\xbb"
V2_FOUR = v2(0x21, 0x11, BODY_FOUR)
V2_SIX = v2(0x21, 0x21, SIX.source.packed + SIX.destination.packed + b"\xc3\xcb\x01\xbb")


class ParseTests(SynchronousTestCase):
    def whole(self, data: bytes) -> Endpoints | None:
        """Nothing is said before its last byte, and what comes behind it does not matter."""
        for length in range(len(data)):
            self.assertIsNone(parse(data[:length]), data[:length])
        header = parse(data)
        assert header is not None
        self.assertEqual(header.length, len(data))
        for behind in (b"\x16\x03\x01", b"GET / HTTP/1.1\r\n", b"\r\n"):
            self.assertEqual(parse(data + behind), header)
        return header.endpoints

    def refused(self, *headers: bytes) -> None:
        for data in headers:
            with self.assertRaises(GreetingError, msg=repr(data)):
                if parse(data) is None:
                    self.fail(f"{data!r} is taken for a beginning")

    def test_addresses(self) -> None:
        for data, endpoints in ((V1_FOUR, FOUR), (V1_SIX, SIX), (V2_FOUR, FOUR), (V2_SIX, SIX)):
            self.assertEqual(self.whole(data), endpoints)

    def test_version_1_unknown_keeps_the_peer(self) -> None:
        for data in (b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n"):
            self.assertIsNone(self.whole(data))
        longest = b"PROXY UNKNOWN " + b"f" * 91 + b"\r\n"
        self.assertEqual(len(longest), 107)
        self.assertIsNone(self.whole(longest))

    def test_version_2_local_and_other_families_keep_the_peer(self) -> None:
        for data in (
            v2(0x20, 0x00, b""),
            v2(0x20, 0x11, BODY_FOUR),
            v2(0x20, 0x11, b"??"),
            v2(0x21, 0x00, b""),
            v2(0x21, 0x00, b"anything"),
            v2(0x21, 0x31, bytes(216)),
        ):
            self.assertIsNone(self.whole(data))

    def test_extensions_are_passed_over(self) -> None:
        for extensions in (
            b"\x04\x00\x00",
            b"\x01\x00\x02h2\x02\x00\x04host",
            b"\x20\x0f\x00" + bytes(3840),
        ):
            self.assertEqual(self.whole(v2(0x21, 0x11, BODY_FOUR + extensions)), FOUR)

    def test_malformed_lines(self) -> None:
        self.refused(
            b"GET / HTTP/1.1\r\n",
            b"proxy TCP4 1.2.3.4 1.2.3.4 1 1\r\n",
            b"PROXYTCP4",
            b"PROXY \r\n",
            b"PROXY TCP4\r\n",
            b"PROXY TCP5 1.2.3.4 1.2.3.4 1 1\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1 1\r\n",
            b"PROXY TCP4  1.2.3.4 1.2.3.4 1 1\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1 \r\n",
            b"PROXY\tTCP4 1.2.3.4 1.2.3.4 1 1\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r\r\n",
            b"PROXY TCP4 1.2.3 1.2.3.4 1 1\r\n",
            b"PROXY TCP4 01.2.3.4 1.2.3.4 1 1\r\n",
            b"PROXY TCP4 1.2.3.4 256.2.3.4 1 1\r\n",
            b"PROXY TCP4 fd00::1 fd00::2 1 1\r\n",
            b"PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n",
            b"PROXY TCP6 fe80::1%eth0 fd00::1 1 1\r\n",
            b"PROXY TCP6 [fd00::1] fd00::1 1 1\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 65536 1\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 -1 1\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 1\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n",
            b"PROXY TCP4 1.2.3.4 1.2.3.4 1 99999999999999999999\r\n",
            b"PROXY UNKNOWN\x00\r\n",
            b"PROXY UNKNOWN " + b"f" * 92 + b"\r\n",
            b"PROXY " + b"x" * 200,
        )

    def test_malformed_binaries(self) -> None:
        self.refused(
            b"\r\n\r\n\0\r\nQUIT\r",
            v2(0x11, 0x11, BODY_FOUR),
            v2(0x31, 0x11, BODY_FOUR),
            v2(0x22, 0x11, BODY_FOUR),
            v2(0x21, 0x10, BODY_FOUR),
            v2(0x21, 0x12, BODY_FOUR),
            v2(0x21, 0x41, BODY_FOUR),
            v2(0x21, 0x11, BODY_FOUR[:-1]),
            v2(0x21, 0x21, BODY_FOUR),
            v2(0x21, 0x31, bytes(215)),
            v2(0x21, 0x11, BODY_FOUR + b"\x01"),
            v2(0x21, 0x11, BODY_FOUR + b"\x01\x00"),
            v2(0x21, 0x11, BODY_FOUR + b"\x01\x00\x01"),
            v2(0x21, 0x11, BODY_FOUR + b"\x01\x00\x00\x02\xff\xff"),
            v2(0x21, 0x00, bytes(V2_MAX))[:16],
            SIGNATURE + b"\x20\x00\xff\xff",
        )

    def test_random_bytes(self) -> None:
        rng = random.Random(2)
        for begin in (b"", b"PROXY ", b"PROXY TCP4 1.2.3.4 ", SIGNATURE, SIGNATURE + b"\x21\x11\x00"):
            for _ in range(1000):
                try:
                    found = parse(begin + rng.randbytes(rng.randrange(60)))
                except GreetingError:
                    continue
                self.assertIsInstance(found, (ProxyHeader, type(None)))


class BuildTests(SynchronousTestCase):
    def test_what_is_sent(self) -> None:
        self.assertEqual((build("v1", FOUR), build("v1", SIX)), (V1_FOUR, V1_SIX))
        self.assertEqual((build("v2", FOUR), build("v2", SIX)), (V2_FOUR, V2_SIX))

    def test_for_nobody(self) -> None:
        self.assertEqual(build("v1", None), b"PROXY UNKNOWN\r\n")
        self.assertEqual(build("v2", None), v2(0x20, 0x00, b""))

    def test_what_is_built_is_understood(self) -> None:
        mapped = Endpoints(ip_address("::ffff:10.0.0.1"), 1, ip_address("10.0.0.2"), 2)
        plain = Endpoints(ip_address("10.0.0.1"), 1, ip_address("10.0.0.2"), 2)
        mixed = Endpoints(ip_address("10.0.0.1"), 0, ip_address("fd00::1"), 65535)
        both = Endpoints(ip_address("::ffff:10.0.0.1"), 0, ip_address("fd00::1"), 65535)
        zone = Endpoints(ip_address("fe80::1%eth0"), 1, ip_address("fd00::1"), 2)
        bare = Endpoints(ip_address("fe80::1"), 1, ip_address("fd00::1"), 2)
        versions: tuple[Version, ...] = ("v1", "v2")
        for version in versions:
            for endpoints, expected in ((FOUR, FOUR), (mapped, plain), (mixed, both), (zone, bare)):
                header = parse(build(version, endpoints))
                assert header is not None
                self.assertEqual(header.endpoints, expected)
