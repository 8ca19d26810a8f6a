from __future__ import annotations

from pathlib import Path

from lanrelay.config import model
from tests.config.support import ConfigCase, listener_text

KEY_PIN = "sha256//AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


class UpstreamTests(ConfigCase):
    def members(self, value: str, **environment: str) -> tuple[model.Upstream, ...]:
        return self.one(model.ReverseProxy, f"upstream: {value}", **environment).routes[0].upstreams.members

    def refusal(self, value: str) -> str:
        return self.complaint(listener_text(f"upstream: {value}", kind="reverse-proxy"))

    def test_a_url_a_map_or_a_list_of_either(self) -> None:
        plain = model.Upstream(url=model.UpstreamUrl(scheme="https", host="h", port=443))
        self.assertEqual(self.members("https://h"), (plain,))
        self.assertEqual(self.members("{url: https://h}"), (plain,))
        self.assertEqual(self.members("[https://h, {url: https://h}]"), (plain, plain))

    def test_everything(self) -> None:
        (upstream,) = self.members(
            "{url: https://h:8443/p/, address: 10.0.0.1, tls: {ca: [a.pem, system, /cas], "
            "server_name: N.lan, cert: c.pem, key: k.pem, passphrase: '${PW}', min_version: 1.3}}",
            PW="p:w",
        )
        url = model.UpstreamUrl(scheme="https", host="h", port=8443, path="/p", slash=True)
        self.assertEqual(upstream.url, url)
        self.assertEqual(upstream.address, model.TargetAddress(host="10.0.0.1", port=8443))
        self.assertEqual(
            upstream.trust,
            model.Trust(
                ca=(self.folder / "a.pem", "system", Path("/cas")),
                server_name="n.lan",
                cert=self.folder / "c.pem",
                key=self.folder / "k.pem",
                passphrase=model.Secret("p:w"),
                min_version="1.3",
            ),
        )
        self.assertNotIn("p:w", repr(upstream))

    def test_a_path_may_end_in_a_slash(self) -> None:
        for text, path, slash in (
            ("http://h", "", False),
            ("http://h/", "", False),
            ("http://h/mcp", "/mcp", False),
            ("http://h/mcp/", "/mcp", True),
        ):
            (upstream,) = self.members(text)
            self.assertEqual((upstream.url.path, upstream.url.slash), (path, slash))
            self.assertEqual(str(upstream.url), text if path else "http://h")

    def test_verification_can_be_off(self) -> None:
        (upstream,) = self.members("{url: https://h, tls: {verify: false}}")
        self.assertFalse(upstream.trust.verify)

    def test_a_unix_socket(self) -> None:
        (upstream,) = self.members("http+unix:app.sock")
        self.assertEqual(upstream.url.unix_path, self.folder / "app.sock")

    def test_pins_without_ca_leave_no_roots(self) -> None:
        body = f"upstream: {{url: https://h, tls: {{pin: '{KEY_PIN}'%s}}}}"
        for extra, ca in (("", ()), (", ca: system", ("system",))):
            (upstream,) = self.one(model.ReverseProxy, body % extra).routes[0].upstreams.members
            self.assertEqual(upstream.trust.ca, ca)
            self.assertEqual(upstream.trust.pin, (model.PublicKeyPin(digest=bytes(range(32))),))

    def test_refusals(self) -> None:
        for value, path, words in (
            ("nothing", "upstream", "expected http://HOST"),
            ("tcp://h:1", "upstream", "for this type of listener"),
            ("{}", "upstream.url", 'expected the key "url"'),
            ("[https://h, ftp://h]", "upstream[1]", "expected http://HOST"),
            ("{url: [https://h]}", "upstream.url", "found a list, expected http://HOST"),
            ("{url: https://h, tls: {ca: off}}", "upstream.tls.ca", "cannot be switched off"),
            ("{url: https://h, tls: {cert: a}}", "upstream.tls.cert", 'expected "key"'),
            ("{url: https://h, tls: {key: a, cert: none}}", "upstream.tls.key", 'expected "cert"'),
            (
                "{url: https://h, tls: {passphrase: a}}",
                "upstream.tls.passphrase",
                'found "***", expected a "key"',
            ),
            ("{url: https://h, tls: {server_name: a b}}", "upstream.tls.server_name", "a host name"),
            ("{url: https://h, tls: {server_name: '*.lan'}}", "upstream.tls.server_name", "a host name"),
            ("{url: https://h, tls: {min_version: 1.4}}", "upstream.tls.min_version", "expected 1.2"),
            ("{url: https://h, tls: {verify: no}}", "upstream.tls.verify", "expected true or false"),
            ("{url: https://h, tls: {pin: sha256//x}}", "upstream.tls.pin", "44 characters"),
            (f"{{url: https://h, tls: {{pin: '{KEY_PIN}', verify: off}}}}", "upstream.tls.verify", '"pin"'),
            ("{url: https://h, tls: {alpn: h2}}", "upstream.tls", "a tls:// forward passes others"),
            ("{url: https://h, tls: {alpn: a b}}", "upstream.tls.alpn", "the name of a protocol"),
            ("{url: http://h, tls: {}}", "upstream.tls", "http:// is not encrypted"),
            ("{url: http+unix:/x, tls: {}}", "upstream.tls", "a unix socket is not encrypted"),
            ("{url: http+unix:/x, address: a:1}", "upstream.address", "unix socket"),
            ("{url: https://h, address: a:b}", "upstream.address", "such as 192.168.1.20:443"),
            ("{url: https://h, via: ftp://h}", "upstream.via", "expected http://[USER"),
            ("{url: https://h, send_proxy: v3}", "upstream.send_proxy", "expected v1 or v2"),
            ("{url: https://h, tls: {cas: x}}", "upstream.tls.cas", 'did you mean "ca"'),
        ):
            found = self.refusal(value)
            self.assertIn(f" listeners.one.{path}: ", found)
            self.assertIn(words, found)

    def test_credentials_in_a_url_are_not_repeated(self) -> None:
        for value in ("https://alice:hunter2@h", "{url: https://h, via: http://alice:hunter2@}"):
            found = self.refusal(value)
            self.assertNotIn("hunter2", found)
            self.assertNotIn("alice", found)
            self.assertIn("***", found)


class GroupTests(ConfigCase):
    def group(self, body: str) -> model.Upstreams:
        return self.one(model.ReverseProxy, body).routes[0].upstreams

    def test_defaults(self) -> None:
        group = self.group("")
        self.assertEqual((group.balance, group.health, group.retry), ("first", model.Health(), model.Retry()))

    def test_everything(self) -> None:
        group = self.group(
            "balance: least-connections\n"
            "health: {path: /h?x, status: [200-299, '401,405'], interval: 1m, down_interval: 1, "
            "timeout: 500ms, rise: 2, fall: 3}\n"
            "retry: {for: 10s, backoff: 1s}"
        )
        self.assertEqual(group.balance, "least-connections")
        self.assertEqual(
            group.health,
            model.Health(
                path="/h?x",
                status=((200, 299), (401, 401), (405, 405)),
                interval=60,
                down_interval=1,
                timeout=0.5,
                rise=2,
                fall=3,
            ),
        )
        self.assertEqual(group.retry, model.Retry(duration=10, backoff=1))

    def test_no_retry(self) -> None:
        for body in ("retry: off", "retry: {for: 0}", "retry: {for: never}"):
            self.assertEqual(self.group(body).retry, model.Retry(duration=0))

    def test_refusals(self) -> None:
        for body, path in (
            ("balance: random", "balance"),
            ("health: /health", "health"),
            ("health: {path: health}", "health.path"),
            ("health: {path: '/a b'}", "health.path"),
            ("health: {status: 20}", "health.status"),
            ("health: {interval: 0}", "health.interval"),
            ("health: {timeout: never}", "health.timeout"),
            ("health: {rise: 0}", "health.rise"),
            ("health: {uri: x}", "health.uri"),
            ("retry: 3s", "retry"),
            ("retry: {backoff: 0}", "retry.backoff"),
        ):
            self.assertIn(
                f" listeners.one.{path}: found ", self.complaint(listener_text(body, kind="reverse-proxy"))
            )
