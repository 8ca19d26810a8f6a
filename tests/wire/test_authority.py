"""L{lanrelay.wire.authority} and L{lanrelay.wire.target}"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.errors import RemoteProtocolError
from lanrelay.wire.authority import Authority, format_authority, parse_authority
from lanrelay.wire.target import RequestTarget, parse_target


class AuthorityTests(SynchronousTestCase):
    def test_valid(self) -> None:
        """RFC 3986 section 3.2."""
        for text, host, port in (
            ("lan-host", "lan-host", None),
            ("LAN-Host:443", "lan-host", 443),
            ("a.b.", "a.b.", None),
            ("a_b", "a_b", None),
            ("xn--bcher-kva.example:1", "xn--bcher-kva.example", 1),
            ("127.0.0.1:65535", "127.0.0.1", 65535),
            ("[::1]", "::1", None),
            ("[FD00:0:0::1]:8080", "fd00::1", 8080),
            ("[::ffff:1.2.3.4]:1", "::ffff:1.2.3.4", 1),
            ("host:", "host", None),
            ("host:00080", "host", 80),
            ("%41b", "%41b", None),
        ):
            for form in (text, text.encode()):
                parsed = parse_authority(form)
                if "ffff" not in host:  # its canonical form depends on the version of Python
                    self.assertEqual(parsed, Authority(host, port))
                self.assertEqual(parsed.port, port)

    def test_default_port(self) -> None:
        self.assertEqual(parse_authority("a", 443).port, 443)
        self.assertEqual(parse_authority("a:", 443).port, 443)
        self.assertEqual(parse_authority("a:80", 443).port, 80)

    def test_refused(self) -> None:
        for text in (
            "",
            ":80",
            "user@host",
            "user:pass@host:80",
            "host:0",
            "host:65536",
            "host:-1",
            "host:+1",
            "host: 80",
            "host:80 ",
            "host:8o",
            "host:80:80",
            "::1",
            "[::1",
            "::1]",
            "[]",
            "[::1]x",
            "[::1%25eth0]",
            "[fe80::1%eth0]",
            "[v1.x]",
            "[1.2.3.4]",
            "[host]",
            "[:::1]",
            "a b",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "a\x00",
            "a\n",
            "%4",
            "b\u00fccher",
            "x" * 256,
            "host:000080",
        ):
            self.assertRaises(ValueError, parse_authority, text)
            self.assertRaises(ValueError, parse_authority, text.encode())

    def test_format(self) -> None:
        for host, port, text in (
            ("a", None, "a"),
            ("a", 80, "a:80"),
            ("::1", None, "[::1]"),
            ("::1", 80, "[::1]:80"),
        ):
            self.assertEqual(format_authority(host, port), text)
            self.assertEqual(str(Authority(host, port)), text)
            self.assertEqual(parse_authority(text), Authority(host, port))


class TargetTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """RFC 9112 section 3.2."""
        a81 = Authority("a", 81)
        for method, target, expected in (
            (b"GET", b"/", RequestTarget(form="origin", path=b"/")),
            (b"GET", b"//a/b?c", RequestTarget(form="origin", path=b"//a/b?c")),
            (b"OPTIONS", b"*", RequestTarget(form="asterisk", path=b"*")),
            (b"CONNECT", b"A:81", RequestTarget(form="authority", authority=a81)),
            (
                b"GET",
                b"http://a:81/x?y",
                RequestTarget(form="absolute", scheme="http", authority=a81, path=b"/x?y"),
            ),
            (
                b"GET",
                b"HTTPS://a:81",
                RequestTarget(form="absolute", scheme="https", authority=a81, path=b"/"),
            ),
            (
                b"GET",
                b"http://a:81?q",
                RequestTarget(form="absolute", scheme="http", authority=a81, path=b"/?q"),
            ),
            (
                b"OPTIONS",
                b"http://a:81",
                RequestTarget(form="absolute", scheme="http", authority=a81, path=b"*"),
            ),
            (
                b"OPTIONS",
                b"http://a:81/",
                RequestTarget(form="absolute", scheme="http", authority=a81, path=b"/"),
            ),
        ):
            self.assertEqual(parse_target(method, target), expected)

    def test_ports(self) -> None:
        self.assertEqual(parse_target(b"GET", b"http://a/").port, 80)
        self.assertEqual(parse_target(b"GET", b"https://a/").port, 443)
        self.assertEqual(parse_target(b"GET", b"https://a:1/").port, 1)
        self.assertEqual(parse_target(b"GET", b"/").port, 0)

    def test_refused(self) -> None:
        for method, target in (
            (b"GET", b"*"),
            (b"GET", b""),
            (b"GET", b"a"),
            (b"GET", b"a:81"),
            (b"GET", b"http:/a"),
            (b"GET", b"http://"),
            (b"GET", b"http:///"),
            (b"GET", b"http://u@a/"),
            (b"GET", b"http://a:x/"),
            (b"GET", b"ws://a/"),
            (b"GET", b"://a/"),
            (b"CONNECT", b"a"),
            (b"CONNECT", b"a:"),
            (b"CONNECT", b"/"),
            (b"CONNECT", b"*"),
        ):
            self.assertRaises(RemoteProtocolError, parse_target, method, target)
