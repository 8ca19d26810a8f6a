from __future__ import annotations

from lanrelay.config import model
from lanrelay.config.model import HeaderRules
from lanrelay.config.reverse_proxy import merged
from tests.config.support import ConfigCase, listener_text


class ReverseProxyTests(ConfigCase):
    def proxy(self, body: str, **environment: str) -> model.ReverseProxy:
        return self.one(model.ReverseProxy, body, **environment)

    def refusal(self, body: str) -> str:
        return self.complaint(listener_text(body, kind="reverse-proxy"))

    def test_a_health_check_is_sent_the_host_of_its_route(self) -> None:
        for keys, host in (
            ("health: {path: /h}", ""),
            ("health: {path: /h}\nhost: nas.lan", "nas.lan"),
            ("health: {path: /h}\nhost: preserve", "localhost:8080"),
            ("host: preserve", ""),
        ):
            health = self.proxy(keys).routes[0].upstreams.health
            assert health is not None
            self.assertEqual(health.host, host)

    def test_upstream_or_routes(self) -> None:
        found = self.complaint("listeners:\n  a: {type: reverse-proxy, listen: 1}\n")
        self.assertEqual(
            found, '2:3: listeners.a.upstream: found nothing, expected either "upstream" or "routes"'
        )
        both = "upstream: http://h\nroutes: {path: /, upstream: http://h}"
        self.assertIn(
            'listeners.one.routes: found a map, expected either "upstream" or "routes"', self.refusal(both)
        )

    def test_the_longest_prefix_comes_first(self) -> None:
        proxy = self.proxy(
            "routes: [{path: /, upstream: http://a}, {path: /b/c/, upstream: http://b, strip_prefix: true}, "
            "{path: /b, upstream: [http://c, http://d]}]"
        )
        self.assertEqual([route.path for route in proxy.routes], ["/b/c", "/b", "/"])
        self.assertEqual([route.strip_prefix for route in proxy.routes], [True, False, False])
        self.assertEqual([len(route.upstreams.members) for route in proxy.routes], [1, 2, 1])

    def test_one_route_is_a_list_of_one(self) -> None:
        self.assertEqual(len(self.proxy("routes: {path: /a, upstream: http://h}").routes), 1)

    def test_a_path_twice(self) -> None:
        found = self.refusal(
            "routes:\n  - {path: /a, upstream: http://h}\n  - {path: /a/, upstream: http://h}"
        )
        self.assertEqual(
            found,
            '6:16: listeners.one.routes[1].path: found "/a/", expected a path of its own; line 5 has it too',
        )

    def test_routes_take_over_what_the_listener_says(self) -> None:
        proxy = self.proxy(
            "host: preserve\nbalance: round-robin\nhealth: off\nretry: off\n"
            "headers: {request: {set: {A: 1, B: 1}, remove: C}}\n"
            "routes:\n"
            "  - {path: /x, upstream: http://h}\n"
            "  - {path: /yy, upstream: http://h, host: nas.lan, headers: {request: {set: {b: 2, C: 2}}, "
            "response: {remove: [Server]}}}"
        )
        second, first = proxy.routes
        self.assertEqual((first.host, second.host), ("preserve", "nas.lan"))
        self.assertEqual(first.request_headers, HeaderRules(set=(("A", "1"), ("B", "1")), remove=("C",)))
        self.assertEqual(second.request_headers, HeaderRules(set=(("A", "1"), ("b", "2"), ("C", "2"))))
        self.assertEqual(second.response_headers, HeaderRules(remove=("Server",)))
        for route in proxy.routes:
            self.assertEqual((route.upstreams.balance, route.upstreams.health), ("round-robin", None))

    def test_the_routes_rules_win(self) -> None:
        outer = HeaderRules(set=(("A", "1"),), add=(("B", "1"),), remove=("C", "D"))
        inner = HeaderRules(set=(("b", "2"),), add=(("C", "2"),), remove=("a",))
        expected = HeaderRules(set=(("b", "2"),), add=(("C", "2"),), remove=("D", "a"))
        self.assertEqual(merged(outer, inner), expected)

    def test_the_guard(self) -> None:
        proxy = self.proxy('hosts: [NAS.lan, "[fd00::1]"]\norigins: ["https://App.example:443", null]')
        self.assertEqual(
            proxy.guard,
            model.BrowserGuard(hosts=("nas.lan", "fd00::1"), origins=("https://app.example", "null")),
        )
        self.assertEqual(
            self.proxy("hosts: any\norigins: [any]").guard, model.BrowserGuard(hosts=None, origins=None)
        )
        self.assertEqual(self.proxy("hosts: off\norigins: []").guard, model.BrowserGuard())
        self.assertEqual(self.proxy("origins: null").guard.origins, ("null",))

    def test_everything_else(self) -> None:
        proxy = self.proxy(
            "origin: keep\nforwarded: rfc7239\nrewrite: [cookies, oauth]\nsse_keepalive: 1m\nmax_body: 1MiB\n"
            "pool: {size: 1, idle: 1s}\nhost: nas.lan:8443"
        )
        self.assertEqual((proxy.origin, proxy.forwarded, proxy.sse_keepalive), ("keep", "rfc7239", 60))
        self.assertEqual(proxy.rewrite, frozenset({"cookies", "oauth"}))
        self.assertEqual((proxy.max_body, proxy.pool), (1048576, model.Pool(size=1, idle=1)))
        self.assertEqual(proxy.routes[0].host, "nas.lan:8443")

    def test_everything_off(self) -> None:
        keys = (
            "forwarded",
            "rewrite",
            "sse_keepalive",
            "session_recovery",
            "mcp",
            "max_body",
            "pool",
            "headers",
            "health",
        )
        proxy = self.proxy("\n".join(f"{key}: off" for key in keys))
        self.assertEqual((proxy.forwarded, proxy.rewrite, proxy.sse_keepalive), ("none", frozenset(), None))
        self.assertEqual(
            (proxy.session_recovery, proxy.mcp, proxy.max_body, proxy.pool.size), (False, None, None, 0)
        )
        self.assertEqual(proxy.routes[0].request_headers, HeaderRules())

    def test_header_rules(self) -> None:
        proxy = self.proxy(
            "headers:\n"
            '  request: {set: {Authorization: "Bearer ${TOKEN}", X-Empty: "", X-No: 010}, add: {Via: x}}\n'
            "  response: {remove: [Server, X-Powered-By]}",
            TOKEN="t",
        )
        (route,) = proxy.routes
        self.assertEqual(
            route.request_headers,
            HeaderRules(
                set=(("Authorization", "Bearer t"), ("X-Empty", ""), ("X-No", "010")), add=(("Via", "x"),)
            ),
        )
        self.assertEqual(route.response_headers, HeaderRules(remove=("Server", "X-Powered-By")))
        self.assertNotIn("Bearer", repr(proxy))

    def test_refusals(self) -> None:
        for body, path, words in (
            ("headers: {request: {set: {Connection: x}}}", "headers.request.set.Connection", "hop-by-hop"),
            (
                "headers: {request: {add: {Content-Length: 1}}}",
                "headers.request.add.Content-Length",
                "framing",
            ),
            ("headers: {request: {remove: Host}}", "headers.request.remove", 'the key "host"'),
            (
                'headers: {request: {set: {"a b": 1}}}',
                "headers.request.set.a b",
                "the name of a header field",
            ),
            ('headers: {request: {set: {A: "x\\r\\nB: y"}}}', "headers.request.set.A", "without line breaks"),
            (
                "headers: {request: {set: {A: }}}",
                "headers.request.set.A",
                "found nothing, expected a single value",
            ),
            (
                "headers: {request: {set: {A: [1]}}}",
                "headers.request.set.A",
                "found a list, expected a single value",
            ),
            (
                "headers: {request: {set: {A: 1, a: 2}}}",
                "headers.request.set.a",
                "found the same field again",
            ),
            ("headers: {request: {set: {A: 1}, remove: a}}", "headers.request.remove", "also set"),
            ("headers: {requests: {}}", "headers.requests", 'did you mean "request"'),
            ("headers: [x]", "headers", "found a list, expected a map with the keys request, response"),
            ("host: a b", "host", "expected upstream, preserve"),
            ("hosts: nas.lan:80", "hosts", "without a port"),
            ("hosts: ['*.lan']", "hosts[0]", "whole host name"),
            ("origins: app.example", "origins", "expected an origin"),
            ("origin: off", "origin", "expected auto, strip, keep or upstream"),
            ("forwarded: true", "forwarded", "expected none, x-forwarded or rfc7239"),
            ("rewrite: all", "rewrite", "expected location, cookies, endpoint or oauth"),
            ("sse_keepalive: 0", "sse_keepalive", "above zero"),
            ("max_body: 0", "max_body", "above zero"),
            ("pool: {size: -1}", "pool.size", "expected a whole number"),
            ("pool: {idle: 0}", "pool.idle", "above zero"),
            ("routes: []", "routes", "at least one"),
            ("routes: [{upstream: http://h}]", "routes[0].path", 'expected the key "path"'),
            ("routes: [{path: /}]", "routes[0].upstream", 'expected the key "upstream"'),
            ("routes: [{path: a, upstream: http://h}]", "routes[0].path", "begins with /"),
            ("routes: [/]", "routes[0]", "expected a map with the keys path, upstream"),
        ):
            found = self.refusal(body)
            self.assertIn(f" listeners.one.{path}: ", found)
            self.assertIn(words, found)

    def test_a_value_from_a_variable_is_checked_too(self) -> None:
        found = self.complaint(
            listener_text('headers: {request: {set: {A: "${X}"}}}', kind="reverse-proxy"), X="a\r\nB: hunter2"
        )
        self.assertIn(
            'listeners.one.headers.request.set.A: found "${X}", expected the value of a header', found
        )
        self.assertNotIn("hunter2", found)

    def test_a_token_in_the_path_of_a_wrong_url_is_not_shown(self) -> None:
        token = "Zx9kQ27LmTq8vR4bW1yN"
        for body in (
            f"upstream: http://nas.lan:99999/mcp/{token}/sse",
            f"upstream: {{url: htps://nas.lan/mcp/{token}/sse}}",
            f"upstream: [http://nas.lan, 'http://nas.lan/mcp/{token}/sse#part']",
            f"upstream: nas.lan/mcp/{token}",
            f"upstream: {{url: http://nas.lan, address: http://nas.lan/{token}}}",
            f"upstream: {{url: http://nas.lan, via: http://nas.lan/{token}}}",
            f"routes: [{{path: {token}/mcp, upstream: http://nas.lan}}]",
            f"routes: [{{path: /mcp, upstream: ftp://nas.lan/{token}}}]",
            f"mcp: {token}/mcp",
            f"health: {{path: {token}/up}}",
            f"health: {{path: 'up?{token}'}}",
            f"hosts: http://nas.lan/{token}",
        ):
            found = self.refusal(body)
            self.assertIn(": found ", found)
            self.assertNotIn(token[:8], found, body)
        plain = self.refusal("upstream: http://nas.lan:99999/mcp/sse")
        self.assertIn('found "http://nas.lan:99999/mcp/sse", expected a port', plain)

    def test_a_wrong_credential_is_not_shown(self) -> None:
        for request in ('{set: {X-Api-Key: "hunter2\\n"}}', "{set: X-hunter2}", "Authorization=hunter2"):
            self.assertNotIn("hunter2", self.refusal(f"headers: {{request: {request}}}"))
