from __future__ import annotations

from tests.config.support import ConfigCase, listener_text


class HabitTests(ConfigCase):
    def hint(self, body: str, kind: str = "tcp-forward") -> str:
        return "\n".join(self.complaints(listener_text(body, kind=kind)))

    def test_trust(self) -> None:
        for word in ("cacert", "cafile", "root_ca", "ca_file", "CAfile", "ca-bundle"):
            found = self.hint(f"upstream: {{url: 'tls://h:1', tls: {{{word}: x}}}}")
            self.assertIn(
                f'listeners.one.upstream.tls.{word}: found an unknown key, did you mean "ca"?', found
            )
        for word in ("insecure", "skip_verify", "insecure_skip_verify", "rejectUnauthorized"):
            found = self.hint(f"upstream: {{url: 'tls://h:1', tls: {{{word}: x}}}}")
            self.assertIn('did you mean "verify"? (verify: false believes whoever answers', found)
        self.assertIn('"server_name"?', self.hint("upstream: {url: 'tls://h:1', tls: {sni: x}}"))

    def test_the_way_to_a_key_that_stands_elsewhere(self) -> None:
        self.assertIn('did you mean "tls.ca"?', self.hint("upstream: {url: 'tls://h:1', cacert: x}"))
        self.assertIn('did you mean "upstream.tls.verify"?', self.hint("insecure: true"))
        self.assertIn('did you mean "upstream.tls.ca"?', self.hint("ca: x.pem", "reverse-proxy"))
        self.assertIn('did you mean "upstream"?', self.hint("backend: tcp://h:1"))
        self.assertIn(
            'did you mean "client_ca"?', self.hint("tls: {cert: a, key: b, ca: c}").replace(", of", "?")
        )

    def test_places(self) -> None:
        for word in ("host", "ip"):
            found = self.hint(f"upstream: {{url: 'tcp://h:1', {word}: 192.0.2.1}}")
            self.assertIn('did you mean "address"?', found)
            self.assertIn('did you mean "upstream.address"?', self.hint(f"{word}: 192.0.2.1"))
        found = self.hint("port: 8080")
        self.assertIn('did you mean "listen"? (the port is part of it, as in listen: localhost:8080)', found)
        found = self.hint("upstream: {url: 'tcp://h:1', port: 1}")
        self.assertIn('did you mean "url"? (the port is part of it', found)
        self.assertIn('did you mean "via"?', self.hint("upstream: {url: 'tcp://h:1', proxy: 'http://p:1'}"))
        self.assertIn('did you mean "upstream.via"?', self.hint("proxy: http://p:1"))
        self.assertIn('did you mean "parent"?', self.hint("proxy: http://p:1", "connect-proxy"))

    def test_types(self) -> None:
        for word, expected in (
            ("http", "reverse-proxy"),
            ("https", "reverse-proxy"),
            ("reverse_proxy", "reverse-proxy"),
            ("tcp", "tcp-forward"),
            ("socks5", "socks-proxy"),
            ("proxy", "connect-proxy"),
            ("stdio", "exec"),
        ):
            found = self.hint("", word)
            self.assertIn(f'found "{word}", expected tcp-forward, reverse-proxy, ', found)
            self.assertIn(f'did you mean "{expected}"?', found)
        self.assertNotIn("did you mean", self.hint("", "nonsense"))

    def test_what_is_near_is_still_suggested(self) -> None:
        self.assertIn('did you mean "timeouts"?', self.hint("timeout: {}"))

    def test_keys_beside_the_one_that_they_belong_to(self) -> None:
        found = self.hint("upstream:\nurl: tcp://h:1\ntimeouts:\nconnect: 5s\nspeed: 1")
        for key in ("url", "connect", "speed"):
            above = "upstream" if key == "url" else "timeouts"
            self.assertIn(
                f'one.{key}: found an unknown key beside "{above}", under which there is nothing', found
            )
        self.assertNotIn("indentation", self.hint("speed: 1\nupstream: tcp://h:1"))

    def test_keys_beside_their_listener(self) -> None:
        text = "listeners:\n  web:\n  type: tcp-forward\n  listen: 1\n  upstream: tcp://h:1\n"
        found = self.complaints(text)
        self.assertIn(
            '3:3: listeners.type: found a key beside the listener "web", which has none: this is', found[1]
        )
        self.assertIn("indentation", found[1])
