"""Tests for L{lanrelay.config.loops}."""

from __future__ import annotations

from unittest import mock

from lanrelay.config import loops
from tests.config.support import ConfigCase


def forward(name: str, listen: str, upstream: str, more: str = "") -> str:
    where = f'type: tcp-forward, listen: "{listen}", clients: loopback'
    return f"  {name}: {{{where}, upstream: {upstream}{more}}}\n"


class LoopTests(ConfigCase):
    def wrong(self, *listeners: str) -> list[str]:
        return self.complaints("listeners:\n" + "".join(listeners))

    def assertLoop(self, listen: str, upstream: str) -> None:
        [said] = self.wrong(forward("one", listen, upstream))
        self.assertRegex(said, r"^2:\d+: listeners\.one\.upstream: found ")
        self.assertTrue(said.endswith("expected another way; this one leads back: one -> one"), said)

    def test_one_that_leads_to_itself(self) -> None:
        for listen in ("localhost:5432", "5432", "127.0.0.1:5432", "0.0.0.0:5432"):
            for upstream in (
                "tcp://127.0.0.1:5432",
                "tcp://localhost:5432",
                "tcp://db.localhost:5432",
                '"tcp://[::ffff:127.0.0.1]:5432"',
                "[tcp://nas.lan:5432, tcp://127.0.0.1:5432]",
                "{url: tcp://nas.lan:22, address: 127.0.0.1:5432}",
                "{url: tcp://nas.lan:22, via: http://127.0.0.1:5432}",
                "{url: tls://nas.lan:22, via: socks5://localhost:5432}",
            ):
                self.assertLoop(listen, upstream)
        for listen in ("localhost:5432", "[::1]:5432", "[::]:5432"):
            self.assertLoop(listen, '"tcp://[::1]:5432"')
        self.assertLoop("192.168.1.5:5432", "tcp://192.168.1.5:5432")
        self.assertLoop("unix:a.sock", "unix:./a.sock")

    def test_what_is_none(self) -> None:
        for listen, upstream in (
            ("127.0.0.1:5432", "tcp://127.0.0.1:5433"),
            ("127.0.0.1:5432", "tcp://127.0.0.2:5432"),
            ("[::1]:5432", "tcp://127.0.0.1:5432"),
            ("0.0.0.0:5432", "tcp://192.168.1.20:5432"),
            ("127.0.0.1:0", "tcp://127.0.0.1:5432"),
            ("127.0.0.1:5432", "tcp://nas.lan:5432"),
            ("127.0.0.1:5432", "{url: tcp://127.0.0.1:5432, address: 192.168.1.20:5432}"),
            ("127.0.0.1:5432", "{url: tcp://127.0.0.1:5432, via: http://proxy.lan:3128}"),
            ("unix:a.sock", "unix:b.sock"),
        ):
            self.assertEqual(self.wrong(forward("one", listen, upstream)), [], (listen, upstream))

    def test_one_that_is_not_enabled(self) -> None:
        one = forward("one", "127.0.0.1:5432", "tcp://127.0.0.1:5432", ", enabled: false")
        self.assertEqual(self.wrong(one), [])

    def test_a_ring_of_several_kinds(self) -> None:
        said = self.wrong(
            forward("one", "127.0.0.1:1001", "unix:two.sock"),
            "  two: {type: reverse-proxy, listen: unix:two.sock, routes: [{path: /a, upstream: http://nas.lan},"
            " {path: /b, upstream: http://localhost:1003}]}\n",
            "  three: {type: connect-proxy, listen: 127.0.0.1:1003, parent: http://127.0.0.1:1004}\n",
            "  four: {type: socks-proxy, listen: 1004, parent: socks5://127.0.0.1:1001}\n",
            forward("aside", "127.0.0.1:1005", "tcp://127.0.0.1:1001"),
        )
        self.assertEqual(
            [line.rpartition(": ")[2] for line in said],
            [
                "one -> two -> three -> four -> one",
                "two -> three -> four -> one -> two",
                "three -> four -> one -> two -> three",
                "four -> one -> two -> three -> four",
            ],
        )
        self.assertEqual(
            [line.split(": ")[1].rpartition(".")[2] for line in said],
            ["upstream", "routes", "parent", "parent"],
        )

    def test_what_is_no_host_s_address(self) -> None:
        for upstream in (
            "tcp://0.0.0.0:22",
            '"tcp://[::]:22"',
            '"tls://[::ffff:0.0.0.0]:22"',
            "{url: tcp://nas.lan:22, address: 0.0.0.0:22}",
            "{url: tcp://nas.lan:22, via: http://0.0.0.0:22}",
        ):
            [said] = self.wrong(forward("one", "127.0.0.1:5432", upstream))
            self.assertIn("is no host's address", said)

    def test_of_many_each_is_compared_with_those_at_its_port_only(self) -> None:
        count = 400
        chain = [
            forward(f"n{i}", f"127.0.0.1:{2000 + i}", f"tcp://127.0.0.1:{2001 + i}") for i in range(count)
        ]
        with (
            mock.patch.object(loops, "_is_at", wraps=loops._is_at) as compared,
            mock.patch.object(loops, "_turn", wraps=loops._turn) as followed,
        ):
            self.assertEqual(self.wrong(*chain), [])
        self.assertEqual((compared.call_count, followed.call_count), (count - 1, 0))

    def test_who_leads_into_a_ring_is_not_in_it(self) -> None:
        said = self.wrong(
            forward("into", "127.0.0.1:1001", "tcp://127.0.0.1:1002"),
            forward("one", "127.0.0.1:1002", "[tcp://127.0.0.1:1003, tcp://127.0.0.1:1004]"),
            forward("two", "127.0.0.1:1003", "tcp://127.0.0.1:1004"),
            forward("three", "127.0.0.1:1004", "tcp://127.0.0.1:1002"),
        )
        self.assertEqual(
            [one.rpartition("leads back: ")[2] for one in said],
            ["one -> three -> one", "two -> three -> one -> two", "three -> one -> three"],
        )
