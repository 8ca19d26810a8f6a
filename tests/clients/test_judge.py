"""Where URLs lead."""

from __future__ import annotations

import time
from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.clients.judge import Url, by_form, judge, parse, resolve

FORMS = {
    "lan": (
        "10.1.2.3 172.16.0.1 172.31.255.255 192.168.1.1 169.254.1.1 100.64.0.1 100.127.255.255 fd00::1 "
        "fe80::1 ::ffff:10.0.0.1 nas tower.local x.lan a.b.home y.internal z.home.arpa fe80::1%en0"
    ),
    "loopback": "127.0.0.1 127.9.9.9 ::1 localhost a.localhost 0.0.0.0 :: 0x7f.1 2130706433 ::ffff:127.0.0.1",
    "public": "1.1.1.1 172.32.0.1 100.128.0.1 2606:4700::1111 11.0.0.1",
    "container": "host.docker.internal gateway.docker.internal host.containers.internal",
    "name": "example.org mcp.linear.app local.example.org lan.example",
}


class FormTests(SynchronousTestCase):
    def test_what_the_text_of_a_host_tells(self) -> None:
        for form, hosts in FORMS.items():
            self.assertEqual(
                {host: by_form(host) for host in hosts.split()}, dict.fromkeys(hosts.split(), form)
            )


class JudgeTests(SynchronousTestCase):
    def test_names_are_looked_up_together_and_only_they(self) -> None:
        asked: list[list[str]] = []

        def resolve(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
            asked.append(list(names))
            return {"a.example": ("10.0.0.1", "fd00::1"), "b.example": ("10.0.0.1", "1.1.1.1")}

        judged = judge(["a.example", "nas.lan", "b.example", "a.example", "c.example"], resolve)
        self.assertEqual(asked, [["a.example", "b.example", "c.example"]])
        expected = {"a.example": "lan", "nas.lan": "lan", "b.example": "public", "c.example": "public"}
        self.assertEqual(judged, expected)

    def test_a_resolver_that_does_not_answer_is_not_waited_for(self) -> None:
        began = time.monotonic()
        self.assertEqual(resolve(["slow.invalid"], within=0.0), {})
        self.assertLess(time.monotonic() - began, 5)


class ParseTests(SynchronousTestCase):
    def test_parts(self) -> None:
        url = parse("HTTPS://me:pw@Nas.LAN.:8443/a/b?c#d")
        assert isinstance(url, Url)
        self.assertEqual((url.scheme, url.host, url.port, url.rest), ("https", "nas.lan", 8443, "/a/b?c#d"))
        self.assertEqual((url.origin, url.path), ("https://nas.lan:8443", "/a/b"))
        self.assertEqual(url.text[url.host_start : url.host_end], "Nas.LAN.:8443")

    def test_origins(self) -> None:
        for text, origin in (
            ("http://10.0.0.1", "http://10.0.0.1"),
            ("http://10.0.0.1:80/x", "http://10.0.0.1"),
            ("https://10.0.0.1:443", "https://10.0.0.1"),
            ("http://[fd00::1]:81/", "http://[fd00::1]:81"),
        ):
            url = parse(text)
            assert isinstance(url, Url)
            self.assertEqual(url.origin, origin)

    def test_what_is_no_url(self) -> None:
        for text, why in (
            ("${HA_URL}/mcp", "variable"),
            ("${HA_URL:-http://ha.local}/mcp", "variable"),
            ("http://${HOST}:80/", "variable"),
            ("http://$HOST/", "variable"),
            ("http://%HOST%/", "variable"),
            ("http://{env:HOST}/", "variable"),
            ("http://<HA-IP>:8123/mcp", "placeholder"),
            ("http://your-server:80/", "placeholder"),
            ("http://192.168.x.x:80/", "placeholder"),
            ("http://192.168.1.xxx/", "placeholder"),
            ("http://YOUR_HA_IP/", "placeholder"),
            ("http://[IP]/", "placeholder"),
            ("http:/nas/mcp", "not_a_url"),
            ("ws://nas/mcp", "not_a_url"),
            ("http://nas:99999/", "not_a_url"),
            ("http://", "not_a_url"),
            ("", "not_a_url"),
        ):
            self.assertEqual(parse(text), why, text)

    def test_a_variable_behind_the_origin_is_the_servers(self) -> None:
        self.assertIsInstance(parse("http://nas.lan/mcp?key=${KEY}"), Url)
