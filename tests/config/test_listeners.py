from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

from lanrelay.config import model
from lanrelay.config.load import examine
from tests.config.support import ConfigCase, listener_text

RULE = model.ClientRule


class EveryListenerTests(ConfigCase):
    def test_addresses(self) -> None:
        listener = self.one(model.TcpForward, 'listen: [8080, "[::1]:8081", unix:a.sock]\nlisten_mode: 0660')
        self.assertEqual(
            listener.listen,
            (
                model.LocalhostAddress(port=8080),
                model.TcpAddress(host=ip_address("::1"), port=8081),
                model.UnixAddress(path=self.folder / "a.sock"),
            ),
        )
        self.assertEqual(listener.listen_mode, 0o660)

    def test_what_can_be_off_is_off_in_every_spelling(self) -> None:
        for word in ("off", "none", "never", "false", "[]", "'off'", '"[]"', "Off", "FALSE"):
            listener = self.one(
                model.TcpForward,
                f"tls: {word}\naccept_proxy: {word}\naccess_log: {word}\nhealth: {word}\nretry: {word}\n"
                f"timeouts: {{head: {word}, body: {word}, keepalive: {word}}}",
            )
            self.assertEqual((listener.tls, listener.accept_proxy, listener.access_log), (None, (), False))
            self.assertEqual(listener.timeouts, model.Timeouts(head=None, body=None, keepalive=None))
            self.assertEqual((listener.upstreams.health, listener.upstreams.retry.duration), (None, 0))

    def test_what_cannot_be_off_says_so(self) -> None:
        for body in (
            "listen: off",
            "listen: []",
            "clients: none",
            "clients: []",
            "max_connections: off",
            "timeouts: {connect: never}",
            "timeouts: {close: off}",
            "timeouts: off",
            "upstream: []",
            "upstream: off",
            "balance: off",
        ):
            self.assertIn("expected", self.complaint(listener_text(body)), body)

    def test_timeouts(self) -> None:
        listener = self.one(
            model.TcpForward,
            "timeouts: {connect: 1, handshake: 2, head: 3, body: 4, response: 5, stream: 6, tunnel: 7, "
            "keepalive: 8, close: 9, drain: 0}",
        )
        expected = model.Timeouts(
            connect=1,
            handshake=2,
            head=3,
            body=4,
            response=5,
            stream=6,
            tunnel=7,
            half_closed=7,
            keepalive=8,
            close=9,
            drain=0,
        )
        self.assertEqual(listener.timeouts, expected)

    def test_an_hour_of_silence_after_a_half_close_unless_tunnel_says_otherwise(self) -> None:
        for body in ("", "timeouts: {}", "timeouts: {tunnel: never}"):
            timeouts = self.one(model.TcpForward, body).timeouts
            self.assertEqual((timeouts.tunnel, timeouts.half_closed), (None, 3600))

    def test_zero_is_no_timeout(self) -> None:
        for key in (
            "connect",
            "handshake",
            "head",
            "body",
            "response",
            "stream",
            "tunnel",
            "keepalive",
            "close",
        ):
            self.assertIn("above zero", self.complaint(listener_text(f"timeouts: {{{key}: 0}}")))

    def test_tls(self) -> None:
        listener = self.one(model.TcpForward, "tls: {cert: a.pem, key: /k, client_ca: [ca.pem, cas]}")
        self.assertEqual(
            listener.tls,
            model.ServerTls(
                cert=self.folder / "a.pem",
                key=self.folder.__class__("/k"),
                client_ca=(self.folder / "ca.pem", self.folder / "cas"),
            ),
        )
        more = self.one(model.TcpForward, "tls: {cert: a, key: b, passphrase: c, alpn: [h2, http/1.1]}").tls
        assert more is not None
        self.assertEqual((more.passphrase, more.alpn), (model.Secret("c"), ("h2", "http/1.1")))
        for kind, keys in (
            ("reverse-proxy", "upstream: http://h"),
            ("connect-proxy", ""),
            ("exec", "protocol: mcp-http"),
        ):
            body = f"tls: {{cert: a, key: b, alpn: [h2]}}\n{keys}"
            self.assertIn("is what a " + kind, self.complaint(listener_text(body, kind=kind)))
        for body, path in (("tls: {cert: a}", "tls.key"), ("tls: {key: a}", "tls.cert")):
            self.assertIn(
                f"4:5: listeners.one.{path}: found nothing, expected", self.complaint(listener_text(body))
            )
        self.assertIn(
            "expected 1.2, 1.3", self.complaint(listener_text("tls: {cert: a, key: b, min_version: 2}"))
        )

    def test_an_exposed_address_needs_clients(self) -> None:
        for address in ("0.0.0.0:80", '"[::]:80"', "192.168.1.2:80", "[localhost:80, 0.0.0.0:81]"):
            found = self.complaint(listener_text(f"listen: {address}"))
            self.assertIn('expected "clients" to be set as well', found)
            self.assertIn("4:13: listeners.one.listen: ", found)
            listener = self.one(model.TcpForward, f"listen: {address}\nclients: [private, 198.51.100.0/24]")
            self.assertEqual(
                listener.clients, (RULE(word="private"), RULE(network=ip_network("198.51.100.0/24")))
            )

    def test_a_loopback_address_needs_none(self) -> None:
        for address in ("127.9.9.9:80", '"[::1]:80"', '"[::ffff:127.0.0.1]:80"', "unix:/run/x", "80"):
            listener = self.one(model.TcpForward, f"listen: {address}")
            self.assertEqual(listener.clients, model.LOOPBACK_CLIENTS)

    def test_the_access_log_is_on_as_log_says(self) -> None:
        text = listener_text("") + "log: {access: false}\n"
        self.assertFalse(self.load(text).listeners[0].access_log)
        text = listener_text("access_log: true") + "log: {access: false}\n"
        self.assertTrue(self.load(text).listeners[0].access_log)

    def test_an_unknown_key(self) -> None:
        for body, expected in {
            "upstrem: x": '4:5: listeners.one.upstrem: found an unknown key, did you mean "upstream"?',
            "zzz: x": "4:5: listeners.one.zzz: found an unknown key, expected the keys type, enabled, listen",
            "origins: x": "4:5: listeners.one.origins: found a key of reverse-proxy and exec, which a",
            "allow: x": "one.allow: found a key of connect-proxy and socks-proxy, which a tcp-forward",
            "<<: x": "4:5: listeners.one.<<: found the merge key",
            "timeouts: {conect: 1}": "4:16: listeners.one.timeouts.conect: found an unknown key, did you",
        }.items():
            self.assertIn(expected, self.complaint(listener_text(body)))

    def test_an_unknown_type_hides_no_other_complaint(self) -> None:
        found = self.complaints("listeners:\n  a: {type: tcp, listen: x, allow: [], clients: y, zz: 1}\n")
        self.assertEqual(
            [line.split(": ")[1] for line in found],
            [f"listeners.a.{key}" for key in ("type", "listen", "clients", "zz")],
        )

    def test_a_name_is_a_plain_word(self) -> None:
        text = 'listeners: {"a b": {type: tcp-forward, listen: 1, upstream: "tcp://h:1"}}\n'
        self.assertIn(
            "1:13: listeners.a b: found a listener of this name, expected a name of letters",
            self.complaint(text),
        )


class TcpForwardTests(ConfigCase):
    def test_an_upstream_is_needed(self) -> None:
        found = self.complaint("listeners:\n  a:\n    type: tcp-forward\n    listen: 1\n")
        self.assertEqual(found, '2:3: listeners.a.upstream: found nothing, expected the key "upstream"')

    def test_health_is_off_for_one_upstream_and_on_for_several(self) -> None:
        self.assertEqual(self.one(model.TcpForward, "").upstreams.health, None)
        several = "upstream: [tcp://a:1, tcp://b:1]"
        self.assertEqual(self.one(model.TcpForward, several).upstreams.health, model.Health())
        self.assertEqual(self.one(model.TcpForward, several + "\nhealth: off").upstreams.health, None)
        for on in ("true", "on", "{}"):
            self.assertEqual(self.one(model.TcpForward, f"health: {on}").upstreams.health, model.Health())

    def test_http_is_for_a_reverse_proxy(self) -> None:
        found = self.complaint(listener_text("upstream: http://nas.lan"))
        self.assertIn(
            "expected tcp://HOST:PORT, tls://HOST:PORT or unix:PATH for this type of listener", found
        )


class ForwardProxyTests(ConfigCase):
    def allowed(self, body: str) -> list[str | None]:
        return [rule.word for rule in self.one(model.ConnectProxy, body).allow]

    def implied(self, body: str) -> list[str | None]:
        return [rule.word for rule in self.one(model.ConnectProxy, body).allow if rule.implied]

    def test_loopback_may_be_reached_where_only_loopback_may_connect(self) -> None:
        auth = "\nauth: {users: {a: b}}"
        for body in (
            "",
            "listen: unix:/run/x",
            "clients: any",
            "listen: 0.0.0.0:80\nclients: loopback" + auth,
            "listen: 0.0.0.0:80\nclients: [127.0.0.0/8, '::1']" + auth,
        ):
            self.assertEqual(self.allowed(body), ["private", "public", "loopback"], body)
            self.assertEqual(self.implied(body), ["loopback"], body)
        written = 'allow: [loopback, "localhost:80"]'
        self.assertEqual(self.implied(written), [], "whoever writes it means it")
        for body in (
            "listen: 0.0.0.0:80\nclients: private" + auth,
            "listen: [localhost:80, 192.168.1.2:80]\nclients: [loopback, 192.168.1.0/24]" + auth,
            "listen: 0.0.0.0:80\nclients: 0.0.0.0/0" + auth,
        ):
            self.assertEqual(self.allowed(body), ["private", "public"], body)

    def test_rules(self) -> None:
        proxy = self.one(
            model.ConnectProxy,
            'allow: "*.lan:443"\ndeny: [10.0.0.1, "any:25"]\n'
            'resolve: {NAS.lan: [10.1.1.1, "::1"], b: 10.1.1.2}',
        )
        self.assertEqual(proxy.allow, (model.DestinationRule(name="lan", below=True, ports=(443, 443)),))
        self.assertEqual(
            proxy.deny,
            (
                model.DestinationRule(network=ip_network("10.0.0.1")),
                model.DestinationRule(word="any", ports=(25, 25)),
            ),
        )
        self.assertEqual(
            proxy.resolve,
            {"nas.lan": (ip_address("10.1.1.1"), ip_address("::1")), "b": (ip_address("10.1.1.2"),)},
        )

    def test_wrong_rules_are_told_one_by_one(self) -> None:
        found = self.complaints(
            listener_text("allow: [nas.lan, '*', 'a:0', {a: b}]\nallow_: x", kind="connect-proxy")
        )
        places = [line.split(": ")[1] for line in found]
        self.assertEqual(places, [f"listeners.one.allow[{n}]" for n in (1, 2, 3)] + ["listeners.one.allow_"])

    def test_allow_cannot_be_empty(self) -> None:
        for value in ("off", "[]", "none"):
            self.assertIn(
                "cannot be switched off",
                self.complaint(listener_text(f"allow: {value}", kind="connect-proxy")),
            )

    def test_resolve_has_names_and_addresses(self) -> None:
        for body in (
            "resolve: {nas.lan: other.lan}",
            "resolve: {10.0.0.1: 10.0.0.2}",
            "resolve: {a: 10.0.0.1, A.: 10.0.0.2}",
        ):
            self.assertIn("listeners.one.resolve.", self.complaint(listener_text(body, kind="connect-proxy")))

    def test_users(self) -> None:
        proxy = self.one(model.ConnectProxy, 'auth: {users: {alice: 0123, "bob b": "${PW}"}}', PW="p w")
        assert proxy.auth is not None
        self.assertEqual(
            proxy.auth, model.Auth(users={"alice": model.Secret("0123"), "bob b": model.Secret("p w")})
        )
        self.assertNotIn("0123", repr(proxy))
        proxy = self.one(model.ConnectProxy, "auth: {file: htpasswd}")
        self.assertEqual(proxy.auth, model.Auth(file=self.folder / "htpasswd"))

    def test_users_or_a_file(self) -> None:
        for body in ("auth: {}", "auth: {users: {a: b}, file: x}"):
            self.assertIn(
                'expected either "users" or "file"', self.complaint(listener_text(body, kind="connect-proxy"))
            )
        self.assertIn(
            "at least one", self.complaint(listener_text("auth: {users: {}}", kind="connect-proxy"))
        )

    def test_a_wrong_password_is_not_shown(self) -> None:
        for secret in ('"hunter2\\n"', "[hunter2]", "{x: hunter2}"):
            found = self.complaint(listener_text(f"auth: {{users: {{a: {secret}}}}}", kind="connect-proxy"))
            self.assertNotIn("hunter2", found)
            self.assertIn("listeners.one.auth.users.a", found)
        for body in ("auth: a:hunter2", "auth: {users: a:hunter2}", "auth: {users: {a: *hunter2}}"):
            self.assertNotIn("hunter2", self.complaint(listener_text(body, kind="connect-proxy")))

    def test_the_file_of_users_is_shown(self) -> None:
        self.assertIn(
            'found "~bob/x"', self.complaint(listener_text("auth: {file: ~bob/x}", kind="connect-proxy"))
        )

    def test_an_exposed_proxy_needs_auth(self) -> None:
        for kind in ("connect-proxy", "socks-proxy"):
            found = self.complaint(listener_text("listen: 0.0.0.0:1\nclients: private", kind=kind))
            self.assertIn(
                '4:13: listeners.one.listen: found "0.0.0.0:1", expected "auth" to be set as well', found
            )
        self.assertEqual(len(self.complaints(listener_text("listen: 0.0.0.0:1", kind="connect-proxy"))), 2)
        body = "listen: 0.0.0.0:1\nclients: private\nauth: off"
        self.assertIn('expected "auth"', self.complaint(listener_text(body, kind="connect-proxy")))

    def test_a_socks_proxy_has_the_same_keys(self) -> None:
        body = "auth: {users: {a: b}}\nallow: any\nparent: socks5://u:p@h:1080\nparent_bypass: private"
        proxy = self.one(model.SocksProxy, body)
        self.assertEqual(
            proxy.parent,
            model.ParentProxy(scheme="socks5", host="h", port=1080, username="u", password=model.Secret("p")),
        )
        self.assertEqual(proxy.parent_bypass, (model.DestinationRule(word="private"),))


class ExecTests(ConfigCase):
    def test_a_program(self) -> None:
        listener = self.one(
            model.Exec,
            "command: [npx, -y, '']\ncwd: ~/x\nenv: {A: '', TOKEN: 0123}\n"
            "protocol: mcp-http\nmax_processes: 1\nstop_timeout: 0",
            HOME="/home/alice",
        )
        self.assertEqual(listener.command, ("npx", "-y", ""))
        self.assertEqual(str(listener.cwd), "/home/alice/x")
        self.assertEqual(listener.env, {"A": "", "TOKEN": "0123"})
        self.assertEqual(
            (listener.protocol, listener.max_processes, listener.stop_timeout), ("mcp-http", 1, 0)
        )

    def test_defaults(self) -> None:
        listener = self.one(model.Exec, "command: cat")
        self.assertEqual((listener.command, listener.cwd, listener.env), (("cat",), self.folder, {}))

    def test_sessions_of_mcp_are_idle_for_half_an_hour_at_most(self) -> None:
        for timeouts, seconds in (
            ("{}", 1800),
            ("{head: 1s}", 1800),
            ("{tunnel: 1m}", 60),
            ("{tunnel: never}", None),
        ):
            body = f"protocol: mcp-http\ntimeouts: {timeouts}"
            self.assertEqual(self.one(model.Exec, body).timeouts.tunnel, seconds)
        self.assertEqual(self.one(model.Exec, "protocol: mcp-http").timeouts.tunnel, 1800)
        self.assertIsNone(self.one(model.Exec, "").timeouts.tunnel)

    def test_what_is_shown_of_that_is_what_is_in_force(self) -> None:
        for timeouts, tunnel, head in (
            ("{}", "30m", "10s"),
            ("{head: 1s}", "30m", "1s"),
            ("{tunnel: 1m}", "1m", "10s"),
        ):
            self.file.write_text(listener_text(f"protocol: mcp-http\ntimeouts: {timeouts}", kind="exec"))
            effective: Any = examine(self.file).effective
            shown = effective["listeners"]["one"]["timeouts"]
            self.assertEqual((shown["tunnel"], shown["head"], shown["close"]), (tunnel, head, "5s"))

    def test_guards_are_for_mcp(self) -> None:
        listener = self.one(model.Exec, "protocol: mcp-http\nhosts: [a.lan]\norigins: any")
        self.assertEqual(listener.guard, model.BrowserGuard(hosts=("a.lan",), origins=None))
        for word in ("hosts: a", "origins: any"):
            self.assertIn('"protocol: mcp-http" beside it', self.complaint(listener_text(word, kind="exec")))

    def test_there_is_no_shell(self) -> None:
        for body, words in (
            ("command: npx server", "no shell"),
            ("command: npx --token hunter2", 'found "npx ***"'),
            ("command: ['']", "a program"),
            ("command: []", "at least one"),
            ('command: ["a\\0"]', "NUL"),
            ("shared: true", '"protocol: mcp-http" beside it'),
            ("env: {1A: x}", "the name of an environment variable"),
        ):
            self.assertIn(words, self.complaint(listener_text(body, kind="exec")))
