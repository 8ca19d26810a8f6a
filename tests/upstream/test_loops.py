"""Tests for L{lanrelay.upstream.loops}."""

from __future__ import annotations

from ipaddress import ip_address

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.upstream.loops import HOPS_MAX, Journey, Loops

NAME = ("127.0.0.1", 2)
HERE = ip_address("127.0.0.1")


class LoopsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.loops = Loops()
        self.loops.ports = {
            1: ((HERE, "one"),),
            2: ((ip_address("0.0.0.0"), "two"), (ip_address("::1"), "six")),
        }

    def test_who_listens_where(self) -> None:
        for address, port, owner in (
            ("127.0.0.1", 1, "one"),
            ("::ffff:127.0.0.1", 1, "one"),
            ("127.0.0.2", 1, None),
            ("127.0.0.1", 3, None),
            ("127.0.0.2", 2, "two"),
            ("::1", 2, "six"),
            ("192.0.2.1", 2, None),  # of another machine, by the port of one that listens on every address
            ("fe80::1", 2, None),
        ):
            self.assertEqual(self.loops.owner(ip_address(address), port), owner, address)

    def test_a_way_is_told_once_to_who_accepts(self) -> None:
        self.loops.left(Journey("one"), HERE, 2, ("127.0.0.1", 50000))
        self.assertEqual(self.loops.arrived(("127.0.0.1", 50001), NAME, None), ())
        self.assertEqual(self.loops.arrived(("127.0.0.1", 50000), NAME, None), (("one", "127.0.0.1:2"),))
        self.assertEqual(self.loops.arrived(("127.0.0.1", 50000), NAME, None), ())
        self.assertEqual(self.loops.arrived("", "/run/x", None), ())

    def test_the_second_time_is_refused(self) -> None:
        hops = (("proxy", "127.0.0.1:1"), ("one", "127.0.0.1:2"))
        self.assertIsNone(self.loops.refusal(Journey("two", hops), HERE, 1))
        self.assertIsNone(self.loops.refusal(Journey("one", hops), HERE, 3), "it is not ours")
        again = self.loops.refusal(Journey("proxy", (*hops, ("two", "127.0.0.1:2"))), HERE, 1)
        self.assertEqual(again, "it leads round in a circle: proxy -> one -> two -> proxy")
        itself = self.loops.refusal(Journey("one"), HERE, 1)
        self.assertEqual(itself, "127.0.0.1:1 is where one itself listens")

    def test_a_socket_of_ipv6_that_serves_ipv4_knows_it_by_another_name(self) -> None:
        mapped = ("::ffff:127.0.0.1", 50000, 0, 0)
        self.loops.left(Journey("one"), HERE, 2, ("127.0.0.1", 50000))
        self.assertEqual(self.loops.arrived(mapped, NAME, None), (("one", "127.0.0.1:2"),))
        self.loops.left(Journey("one"), HERE, 2, mapped)
        self.assertEqual(self.loops.arrived(("127.0.0.1", 50000), NAME, None), (("one", "127.0.0.1:2"),))

    def test_a_way_by_another_address_at_each_turn_comes_to_an_end(self) -> None:
        self.loops.ports = {1: ((ip_address("0.0.0.0"), "one"),), 2: ((ip_address("0.0.0.0"), "two"),)}
        way = Journey("one")
        for turn in range(HOPS_MAX):
            here = ip_address(f"127.0.1.{turn}")
            other, port = ("two", 2) if way.listener == "one" else ("one", 1)
            self.assertIsNone(self.loops.refusal(way, here, port))
            self.loops.left(way, here, port, ("127.0.0.1", 50000))
            way = Journey(other, self.loops.arrived(("127.0.0.1", 50000), NAME, None))
        refusal = self.loops.refusal(way, HERE, 2)
        assert refusal is not None
        self.assertIn("without end: one -> two -> one", refusal)

    def test_those_that_nobody_accepts_are_forgotten_at_last(self) -> None:
        for port in range(3000):
            self.loops.left(Journey("one"), HERE, 2, ("127.0.0.1", port))
        self.assertEqual(self.loops.arrived(("127.0.0.1", 0), NAME, None), ())
        self.assertTrue(self.loops.arrived(("127.0.0.1", 2999), NAME, None))
