from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config import model
from lanrelay.reload.parts import Wanted
from lanrelay.reload.plan import Beginning, BoundAt, Ending, Held, Plan, Running, plan


def tcp(text: str) -> model.ListenAddress:
    """C{"127.0.0.1:1"}, C{"[::1]:1"}, C{"localhost:1"} or C{"unix:/a"}."""
    if text.startswith("unix:"):
        from pathlib import Path

        return model.UnixAddress(path=Path(text[5:]))
    if text.startswith("systemd:"):
        return model.SystemdSocket(name=text[8:])
    host, _, port = text.rpartition(":")
    if host == "localhost":
        return model.LocalhostAddress(port=int(port))
    return model.TcpAddress(host=ip_address(host.strip("[]")), port=int(port))


def place(text: str) -> BoundAt:
    address = tcp(text)
    return (address.host, address.port) if isinstance(address, model.TcpAddress) else text


def wanted(
    name: str, *listen: str, kind: str = "forward", record: object = "", policy: object = ""
) -> Wanted:
    addresses = tuple(map(tcp, listen))
    return Wanted(kind=kind, name=name, record=(record, addresses, policy), listen=addresses, policy=policy)


def running(one: Wanted, *sockets: tuple[str, str], stale: bool = False) -> Running:
    """@param sockets: where each listens, and for which entry."""
    return Running(
        kind=one.kind,
        name=one.name,
        record=one.record,
        listen=one.listen,
        policy=one.policy,
        sockets=tuple(Held(place=place(where), address=tcp(address)) for where, address in sockets),
        stale=stale,
    )


def plain(one: Wanted, *, stale: bool = False) -> Running:
    """With a socket for each entry, which names its port."""
    sockets = []
    for address in one.listen:
        if isinstance(address, model.LocalhostAddress):
            sockets += [(f"127.0.0.1:{address.port}", str(address)), (f"[::1]:{address.port}", str(address))]
        else:
            sockets.append((str(address), str(address)))
    return running(one, *sockets, stale=stale)


class PlanTests(SynchronousTestCase):
    def plan(self, before: Sequence[Running], after: Sequence[Wanted]) -> Plan:
        found = plan(before, after)
        taken = [socket for beginning in found.beginnings for socket, _ in beginning.sockets]
        self.assertEqual(len(taken), len(set(taken)), "a socket is given to one alone")
        kept = [beginning.kept for beginning in found.beginnings if beginning.kept is not None]
        self.assertEqual(sorted([*kept, *found.endings]), list(range(len(before))))
        return found

    def moves(self, beginning: Beginning) -> list[tuple[int, int]]:
        self.assertIsNone(beginning.kept)
        return [socket for socket, _ in beginning.sockets]

    def opens(self, beginning: Beginning) -> list[str]:
        return [str(opening.address) for opening in beginning.openings]

    def test_what_is_equal_is_not_touched(self) -> None:
        one, two = wanted("one", "127.0.0.1:1"), wanted("two", "localhost:2")
        found = self.plan([plain(one), plain(two)], [two, one])
        self.assertEqual([beginning.kept for beginning in found.beginnings], [1, 0])
        self.assertEqual(found.endings, {})

    def test_what_has_read_files_that_changed_is_replaced_and_drains(self) -> None:
        one = wanted("one", "127.0.0.1:1")
        found = self.plan([plain(one, stale=True)], [one])
        self.assertEqual(self.moves(found.beginnings[0]), [(0, 0)])
        self.assertEqual(found.endings, {0: Ending(successors=[0], heirs=[])})

    def test_what_has_changed_goes_on_with_its_sockets(self) -> None:
        before = wanted("one", "127.0.0.1:1", "localhost:2", "unix:/a", "systemd:web", record=1)
        after = wanted("one", "127.0.0.1:1", "localhost:2", "unix:/a", "systemd:web", record=2)
        old = running(
            before,
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("127.0.0.1:2", "localhost:2"),
            ("[::1]:2", "localhost:2"),
            ("unix:/a", "unix:/a"),
            ("systemd:web", "systemd:web"),
            ("systemd:web", "systemd:web"),  # one name may stand for several
        )
        (beginning,) = self.plan([old], [after]).beginnings
        self.assertEqual(self.moves(beginning), [(0, number) for number in range(6)])
        self.assertEqual(beginning.openings, [])
        self.assertEqual(beginning.predecessors, [0])

    def test_another_name_at_the_same_place(self) -> None:
        found = self.plan([plain(wanted("old", "127.0.0.1:1"))], [wanted("new", "127.0.0.1:1")])
        self.assertEqual(self.moves(found.beginnings[0]), [(0, 0)])
        self.assertEqual(found.beginnings[0].predecessors, [0])
        self.assertEqual(found.endings, {0: Ending(successors=[0], heirs=[0])})

    def test_swapped_names(self) -> None:
        before = [plain(wanted("a", "127.0.0.1:1")), plain(wanted("b", "127.0.0.1:2"))]
        found = self.plan(before, [wanted("b", "127.0.0.1:1"), wanted("a", "127.0.0.1:2")])
        self.assertEqual([self.moves(one) for one in found.beginnings], [[(0, 0)], [(1, 0)]])
        self.assertEqual([one.predecessors for one in found.beginnings], [[0, 1], [1, 0]])
        self.assertEqual({ending.drains for ending in found.endings.values()}, {False})

    def test_swapped_policies_drain_nobody_whose_place_or_name_still_lets_in(self) -> None:
        before = [
            plain(wanted("a", "127.0.0.1:1", policy="x")),
            plain(wanted("b", "127.0.0.1:2", policy="y")),
        ]
        after = [wanted("a", "127.0.0.1:2", policy="x"), wanted("b", "127.0.0.1:1", policy="y")]
        self.assertEqual({one.drains for one in self.plan(before, after).endings.values()}, {False})

    def test_another_policy_drains(self) -> None:
        before = plain(wanted("a", "127.0.0.1:1", policy="x"))
        for after in (
            wanted("a", "127.0.0.1:1", policy="y"),
            wanted("a", "127.0.0.1:2", policy="y"),
            wanted("b", "127.0.0.1:1", policy="y"),
        ):
            found = self.plan([before], [after])
            self.assertEqual(found.endings, {0: Ending(successors=[0], heirs=[])})

    def test_another_port_is_opened_and_the_old_one_ends_with_its_connections_kept(self) -> None:
        found = self.plan([plain(wanted("a", "127.0.0.1:1"))], [wanted("a", "127.0.0.1:2")])
        self.assertEqual(self.opens(found.beginnings[0]), ["127.0.0.1:2"])
        self.assertEqual(self.moves(found.beginnings[0]), [])
        self.assertEqual(found.endings, {0: Ending(successors=[0], heirs=[0])})

    def test_what_is_gone_drains_and_what_is_new_is_opened(self) -> None:
        found = self.plan([plain(wanted("a", "127.0.0.1:1"))], [wanted("b", "127.0.0.1:2")])
        self.assertEqual(self.opens(found.beginnings[0]), ["127.0.0.1:2"])
        self.assertEqual(found.beginnings[0].predecessors, [])
        self.assertEqual(found.endings, {0: Ending()})

    def test_another_kind_is_another_listener_at_the_same_place(self) -> None:
        before = plain(wanted("a", "127.0.0.1:1", kind="forward"))
        found = self.plan([before], [wanted("a", "127.0.0.1:1", kind="proxy")])
        self.assertEqual(self.moves(found.beginnings[0]), [(0, 0)])
        self.assertEqual(found.beginnings[0].predecessors, [])
        self.assertEqual(found.endings, {0: Ending()})

    def test_one_of_two_entries_goes_to_another_listener(self) -> None:
        before = plain(wanted("a", "127.0.0.1:1", "127.0.0.1:2"))
        found = self.plan([before], [wanted("a", "127.0.0.1:1"), wanted("b", "127.0.0.1:2")])
        self.assertEqual([self.moves(one) for one in found.beginnings], [[(0, 0)], [(0, 1)]])
        self.assertEqual([one.predecessors for one in found.beginnings], [[0], [0]])

    def test_one_loopback_becomes_both_and_both_become_one(self) -> None:
        (beginning,) = self.plan([plain(wanted("a", "127.0.0.1:1"))], [wanted("a", "localhost:1")]).beginnings
        self.assertEqual(beginning.sockets, [((0, 0), tcp("localhost:1"))])
        self.assertEqual(self.opens(beginning), ["[::1]:1"])
        self.assertEqual(beginning.openings[0].listed, tcp("localhost:1"))
        (beginning,) = self.plan([plain(wanted("a", "localhost:1"))], [wanted("a", "[::1]:1")]).beginnings
        self.assertEqual(self.moves(beginning), [(0, 1)])
        self.assertEqual(beginning.openings, [])

    def test_every_address_displaces_one_address_of_the_same_family_and_the_other_way(self) -> None:
        for before, after, clash in (
            ("127.0.0.1:1", "0.0.0.0:1", True),
            ("0.0.0.0:1", "127.0.0.1:1", True),
            ("[::1]:1", "[::]:1", True),
            ("127.0.0.1:1", "[::]:1", False),
            ("127.0.0.1:1", "0.0.0.0:2", False),
            ("127.0.0.1:1", "127.0.0.2:1", False),
            ("0.0.0.0:1", "localhost:1", True),
        ):
            (beginning,) = self.plan([plain(wanted("a", before))], [wanted("a", after)]).beginnings
            displaced = [socket for opening in beginning.openings for socket in opening.displaced]
            self.assertEqual(displaced, [(0, 0)] if clash else [], (before, after))

    def test_a_socket_that_goes_on_is_not_displaced(self) -> None:
        before = [plain(wanted("a", "127.0.0.1:1", record=1)), plain(wanted("b", "127.0.0.2:1"))]
        found = self.plan(before, [wanted("a", "127.0.0.1:1", record=2), wanted("b", "0.0.0.0:1")])
        self.assertEqual(found.beginnings[1].openings[0].displaced, [(1, 0)])

    def test_port_zero_keeps_its_port(self) -> None:
        before = running(
            wanted("a", "127.0.0.1:0", "localhost:0", record=1),
            ("127.0.0.1:50001", "127.0.0.1:0"),
            ("127.0.0.1:50002", "localhost:0"),
            ("[::1]:50002", "localhost:0"),
        )
        (beginning,) = self.plan([before], [wanted("a", "localhost:0", "127.0.0.1:0", record=2)]).beginnings
        self.assertEqual(self.moves(beginning), [(0, 1), (0, 2), (0, 0)])
        self.assertEqual(beginning.openings, [])

    def test_port_zero_takes_its_own_rather_than_another_ones(self) -> None:
        def with_any(name: str, port: int) -> Running:
            return running(wanted(name, "127.0.0.1:0", record=1), (f"127.0.0.1:{port}", "127.0.0.1:0"))

        before = [with_any("a", 50001), with_any("b", 50002)]
        found = self.plan(before, [wanted("b", "127.0.0.1:0"), wanted("c", "127.0.0.1:0")])
        self.assertEqual([self.moves(one) for one in found.beginnings], [[(1, 0)], [(0, 0)]])
        found = self.plan(before[:1], [wanted("a", "127.0.0.1:0", "127.0.0.1:0", record=2)])
        self.assertEqual(self.moves(found.beginnings[0]), [(0, 0)])
        self.assertEqual(self.opens(found.beginnings[0]), ["127.0.0.1:0"])

    def test_the_port_that_was_taken_can_be_written_down(self) -> None:
        before = running(wanted("a", "127.0.0.1:0"), ("127.0.0.1:50001", "127.0.0.1:0"))
        (beginning,) = self.plan([before], [wanted("a", "127.0.0.1:50001")]).beginnings
        self.assertEqual(self.moves(beginning), [(0, 0)])
        (beginning,) = self.plan([plain(wanted("a", "127.0.0.1:1"))], [wanted("a", "127.0.0.1:0")]).beginnings
        self.assertEqual(self.opens(beginning), ["127.0.0.1:0"])
