"""What servers say about their login, without I/O."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.bridge.login.messages import Challenge, NoLogin
from lanrelay.bridge.login.metadata import (
    authority_places,
    canonical,
    challenge,
    checked,
    covers,
    resource_places,
    same_issuer,
)
from lanrelay.bridge.login.tokens import lifetime


class ChallengeTests(SynchronousTestCase):
    def test_the_bearer_among_others_is_read(self) -> None:
        for value, expected in (
            ("Bearer", Challenge()),
            ('bearer realm="x"', Challenge()),
            ('Bearer resource_metadata="https://a/b"', Challenge("https://a/b")),
            (
                'Basic realm="Bearer, x", Bearer scope="a b", error=invalid_token',
                Challenge(None, "a b", "invalid_token"),
            ),
            ('Bearer realm="say \\"hi\\"",scope=tools, Basic realm="y"', Challenge(None, "tools")),
        ):
            self.assertEqual(challenge((("WWW-Authenticate", value),)), expected, value)
        self.assertIsNone(challenge((("WWW-Authenticate", "Basic realm=x"), ("X", "Bearer"))))


class UrlTests(SynchronousTestCase):
    def test_tokens_go_to_https_or_to_this_machine(self) -> None:
        for url, loopback in (
            ("https://login.example/a?b=c", False),
            ("https://login.example:8443", True),
            ("http://127.0.0.1:8080/a", True),
            ("http://[::1]:8080/a", True),
            ("http://localhost/a", True),
        ):
            self.assertEqual(checked(url, loopback=loopback, what="page"), url)

    def test_nothing_else_is_asked_or_opened(self) -> None:
        for url in (
            None,
            7,
            "",
            "login",
            "http://login.example/",
            "http://nas.lan/",
            "ftp://127.0.0.1/",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "https://user:password@login.example/",
            "https://login.example/#part",
            "https://login.example/ --flag",
            'https://login.example/"',
            "https://login.example/`id`",
            "https://login.example:99999/",
            "https:///path",
            "-https://login.example/",
        ):
            with self.assertRaises(NoLogin, msg=url):
                checked(url, loopback=True, what="page")

    def test_a_server_elsewhere_leads_nobody_to_this_machine(self) -> None:
        for url in ("http://127.0.0.1:631/", "https://localhost/", "https://127.9.9.9/", "https://[::1]/"):
            with self.assertRaises(NoLogin):
                checked(url, loopback=False, what="page")

    def test_a_resource_covers_what_lies_below_it(self) -> None:
        for name, target, expected in (
            ("https://nas.lan/mcp", "https://nas.lan/mcp", True),
            ("https://NAS.lan:443/mcp/", "https://nas.lan/mcp", True),
            ("https://nas.lan", "https://nas.lan/mcp", True),
            ("https://nas.lan/mc", "https://nas.lan/mcp", False),
            ("https://nas.lan/mcp/a", "https://nas.lan/mcp", False),
            ("http://nas.lan/mcp", "https://nas.lan/mcp", False),
            ("https://nas.lan:8443/mcp", "https://nas.lan/mcp", False),
            ("https://[/mcp", "https://nas.lan/mcp", False),
        ):
            self.assertEqual(covers(name, target), expected, name)

    def test_an_issuer_is_compared_letter_by_letter(self) -> None:
        self.assertTrue(same_issuer("https://login.example/", "https://login.example"))
        self.assertFalse(same_issuer("https://login.example/a/", "https://login.example/a"))
        self.assertFalse(same_issuer("https://LOGIN.example", "https://login.example"))
        self.assertFalse(same_issuer(None, "https://login.example"))

    def test_places(self) -> None:
        self.assertEqual(
            resource_places("https://nas.lan/a/mcp", None),
            [
                "https://nas.lan/.well-known/oauth-protected-resource/a/mcp",
                "https://nas.lan/.well-known/oauth-protected-resource",
            ],
        )
        self.assertEqual(
            authority_places("https://login.example/tenant"),
            [
                "https://login.example/.well-known/oauth-authorization-server/tenant",
                "https://login.example/.well-known/openid-configuration/tenant",
                "https://login.example/tenant/.well-known/openid-configuration",
            ],
        )
        self.assertEqual(len(authority_places("https://login.example")), 2)
        self.assertEqual(canonical("https://nas.lan/?key=secret"), "https://nas.lan")


class LifetimeTests(SynchronousTestCase):
    def test_only_what_is_a_time_counts(self) -> None:
        for given, life in ((3600, 3600.0), ("3600", 3600.0), (0.5, 0.5), (10.0**9, 10.0**9)):
            self.assertEqual(lifetime(given), life)
        odd: tuple[object, ...] = (
            "\xb2",
            "9" * 5000,
            10**400,
            float("inf"),
            float("nan"),
            "inf",
            "soon",
            0,
            -1,
            True,
            None,
            [],
        )
        self.assertEqual([lifetime(given) for given in odd], [None] * len(odd))
