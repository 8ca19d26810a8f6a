"""What an address is, and what a text means."""

from __future__ import annotations

import random
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from twisted.trial.unittest import SynchronousTestCase

from lanrelay import addresses
from lanrelay.addresses import embedded_ipv4, host_name, kind, names_kind, parse_ip

KINDS = {
    "loopback": "127.0.0.0 127.0.0.1 127.255.255.255 ::1 ::ffff:127.0.0.1",
    "private": "10.0.0.0 10.255.255.255 172.16.0.0 172.31.255.255 192.168.0.0 192.168.255.255 100.64.0.0"
    " 100.127.255.255 fc00:: fdff:ffff::1 ::ffff:10.1.1.1",
    "link-local": "169.254.0.0 169.254.169.254 169.254.255.255 fe80:: febf:ffff::1 ::ffff:169.254.169.254",
    "multicast": "224.0.0.0 239.255.255.255 ff00:: ff02::1 ffff::1",
    "unspecified": "0.0.0.0 :: ::ffff:0.0.0.0",
    "reserved": "0.0.0.1 0.255.255.255 240.0.0.0 255.255.255.255 192.0.0.1 192.0.0.255 192.0.2.1"
    " 198.51.100.1 203.0.113.1 198.18.0.0 198.19.255.255 192.88.99.1 ::2 ::7f00:1 64:ff9b:1::1 100::1"
    " 2001::1 2001:2::1 2001:10::1 2001:db8::1 3fff::1 3fff:fff::1 5f00::1 fec0::1 4000::1 fe00::1",
    "public": "1.1.1.1 9.255.255.255 11.0.0.0 126.255.255.255 128.0.0.0 172.15.255.255 172.32.0.0"
    " 192.167.255.255 192.169.0.0 100.63.255.255 100.128.0.0 169.253.255.255 169.255.0.0 223.255.255.255"
    " 192.0.0.9 192.0.0.10 192.31.196.1 192.52.193.1 192.175.48.1 198.17.255.255 198.20.0.0"
    " 2606:4700::1111 2001:200::1 2001:4:112::1 2001:1::1 2001:20::1 2620:4f:8000::1 64:ff9b::101:101"
    " 2002:101:101::1 3fff:1000::1 2000:: 3ffe::1 ::ffff:8.8.8.8",
}


class KindTests(SynchronousTestCase):
    def test_table(self) -> None:
        for expected, texts in KINDS.items():
            for text in texts.split():
                self.assertEqual(kind(ip_address(text)), expected, text)

    def test_the_questions_agree_with_the_kind(self) -> None:
        for expected, texts in KINDS.items():
            for text in texts.split():
                for word in ("loopback", "private", "link-local", "unspecified"):
                    question = getattr(addresses, f"is_{word.replace('-', '_')}")
                    self.assertEqual(question(ip_address(text)), word == expected, (word, text))

    def test_every_address_has_a_kind(self) -> None:
        chance = random.Random(1)
        for bits, version in ((32, IPv4Address), (128, IPv6Address)):
            for _ in range(2000):
                self.assertIn(kind(version(chance.getrandbits(bits))), KINDS)

    def test_a_network_names_the_kind_that_it_lies_within(self) -> None:
        for network, address, expected in (
            ("169.254.0.0/16", "169.254.169.254", True),
            ("169.254.169.254/32", "169.254.169.254", True),
            ("169.254.1.0/24", "169.254.169.254", False),
            ("168.0.0.0/6", "169.254.169.254", False),
            ("0.0.0.0/0", "169.254.169.254", False),
            ("::/0", "169.254.169.254", False),
            ("::/0", "fe80::1", False),
            ("fe80::/64", "fe80::1", True),
            ("::/0", "100::1", False),
            ("100::/64", "100::1", True),
        ):
            found = names_kind(ip_network(network), ip_address(address))
            self.assertEqual(found, expected, (network, address))


class EmbeddedTests(SynchronousTestCase):
    def test_table(self) -> None:
        table = {
            "::ffff:192.168.1.1": "192.168.1.1",
            "::192.168.1.1": "192.168.1.1",
            "::2": "0.0.0.2",
            "64:ff9b::c0a8:101": "192.168.1.1",
            "64:ff9b::": "0.0.0.0",
            "2002:c0a8:101::": "192.168.1.1",
            "2002:c0a8:101:ffff:ffff:ffff:ffff:ffff": "192.168.1.1",
            "64:ff9b:1::c0a8:101": "192.168.1.1",
            "64:ff9b:1:ffff:ffff:ffff:c0a8:101": "192.168.1.1",
            "64:ff9b:1::": "0.0.0.0",
            "::": "",
            "::1": "",
            "fe80::192.168.1.1": "",
            "2001:db8::c0a8:101": "",
            "64:ff9b:2::c0a8:101": "",
            "192.168.1.1": "",
        }
        for text, expected in table.items():
            found = embedded_ipv4(ip_address(text))
            self.assertEqual(" ".join(map(str, found)), expected, text)

    def test_local_nat64_with_every_prefix_length(self) -> None:
        """The examples of RFC 6052 section 2.4, under the local prefix."""
        for text in (
            "64:ff9b:1:c000:2:2100::",  # /48
            "64:ff9b:1:0c0:0:221::",  # /56
            "64:ff9b:1:0:c0:2:2100::",  # /64
            "64:ff9b:1::192.0.2.33",  # /96
        ):
            self.assertIn(IPv4Address("192.0.2.33"), embedded_ipv4(ip_address(text)), text)


class ParseTests(SynchronousTestCase):
    def test_table(self) -> None:
        table = {
            "127.0.0.1": "127.0.0.1",
            "127.0.0.1.": "127.0.0.1",
            "2130706433": "127.0.0.1",
            "0x7f000001": "127.0.0.1",
            "0X7F.1": "127.0.0.1",
            "017700000001": "127.0.0.1",
            "0177.0.0.1": "127.0.0.1",
            "127.1": "127.0.0.1",
            "127.0.1": "127.0.0.1",
            "127.0x1": "127.0.0.1",
            "10.65535": "10.0.255.255",
            "10.16777215": "10.255.255.255",
            "1.2.65535": "1.2.255.255",
            "4294967295": "255.255.255.255",
            "0": "0.0.0.0",
            "0x": "0.0.0.0",
            "00000000000000000001": "0.0.0.1",
            "::1": "::1",
            "::ffff:127.0.0.1": "::ffff:127.0.0.1",
            "2001:DB8::1": "2001:db8::1",
        }
        for text, expected in table.items():
            self.assertEqual(parse_ip(text), ip_address(expected), text)

    def test_no_address(self) -> None:
        for text in (
            "", ".", "..", "1..2", ".1", "256.0.0.1", "1.2.3.256", "1.2.65536", "10.16777216",
            "4294967296", "1.2.3.4.5", "08", "0x1g", "1e3", "+1", "-1", "1_0", " 127.0.0.1", "127.0.0.1 ",
            "127.0.0.1\n", "localhost", "nas.lan", "１２７.0.0.1", "٣", "[::1]", "fe80::1%eth0", "::1%1",
            ":", ":::", "1:2", "::ffff:0177.0.0.1", "9" * 5000,
        ):  # fmt: skip
            self.assertIsNone(parse_ip(text), text)

    def test_what_the_system_takes_for_an_address_we_do_too(self) -> None:
        """Every spelling that inet_aton reads must mean the same here, else a rule could be got around."""
        chance = random.Random(2)
        alphabet = "0123456789abcdefxX.." + "0127.." * 3
        seen = 0
        for _ in range(20000):
            text = "".join(chance.choice(alphabet) for _ in range(chance.randrange(1, 14)))
            try:
                expected = IPv4Address(socket.inet_aton(text))
            except OSError:
                continue
            seen += 1
            self.assertEqual(parse_ip(text), expected, text)
        self.assertGreater(seen, 100)


class HostNameTests(SynchronousTestCase):
    def test_names(self) -> None:
        table = {
            "NAS.Lan": "nas.lan",
            "nas.lan.": "nas.lan",
            "my_host.lan": "my_host.lan",
            "bücher.example": "xn--bcher-kva.example",
            # IDNA 2008 (RFC 5894 section 7.2), where IDNA 2003 made ss, σ and nothing of them.
            "straße.lan": "xn--strae-oqa.lan",
            "STRASSE.lan": "strasse.lan",
            "faß.de": "xn--fa-hia.de",
            "βόλος.com": "xn--nxasmm1c.com",
            "نامه\u200cای.com": "xn--mgba3gch31f060k.com",
            # UTS 46: cases, widths and full stops.
            "BÜCHER.Example": "xn--bcher-kva.example",
            "ｎａｓ。lan": "nas.lan",
            "bu\u0308cher.example": "xn--bcher-kva.example",
            "_http._tcp.straße.lan.": "_http._tcp.xn--strae-oqa.lan",
            "nas。lan": "nas.lan",
            "a": "a",
            "3com.example": "3com.example",
            "1.2.3.4.example": "1.2.3.4.example",
            "0xcafe.beef": "0xcafe.beef",
        }
        for text, expected in table.items():
            self.assertEqual(host_name(text), expected, text)

    def test_no_names(self) -> None:
        for text in (
            "", ".", "..", "a..b", ".a", "a..", "a b", "a/b", "a:1", "a@b", "a%00", "a\x00b", "a\r\nb",
            "x" * 64, ".".join(["x" * 50] * 6), "127.0.0.1", "1.2.3.256", "foo.1", "foo.0x1",
            "１２７.0.0.1", "[::1]",
            "\ud800.lan", "ü" * 70, "ü\u200d.lan", "\u2603-ü.lan", "１２７.０.０.１", "ü..lan", "-ü.lan",
        ):  # fmt: skip
            self.assertIsNone(host_name(text), repr(text))
