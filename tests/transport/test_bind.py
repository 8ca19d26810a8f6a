"""Sockets that listen: addresses, families, unix sockets, and what is said when they cannot."""

from __future__ import annotations

import errno
import os
import socket
import stat
import tempfile
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config.model import (
    ListenAddress,
    LocalhostAddress,
    TcpAddress,
    UnixAddress,
)
from lanrelay.errors import StartError
from lanrelay.transport import bind as bind_module
from lanrelay.transport.port import BoundSocket, FamilyMissing, bind, bind_all

V4 = TcpAddress(host=ip_address("127.0.0.1"), port=0)
V6 = TcpAddress(host=ip_address("::1"), port=0)


class BindTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        # mktemp() of trial is too long a path for a unix socket
        folder = tempfile.TemporaryDirectory(prefix="lanrelay-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.unix = UnixAddress(path=self.folder / "s")
        self.notes: list[str] = []

    def bind(self, *addresses: ListenAddress, mode: int = 0o600) -> list[BoundSocket]:
        bound = bind_all(addresses, mode=mode, notes=self.notes)
        for one in bound:
            self.addCleanup(one.close)
        return bound

    def fails(self, address: ListenAddress, *words: str) -> StartError:
        error = self.assertRaises(StartError, bind, address)
        for word in words:
            self.assertIn(word, str(error))
        assert isinstance(error, StartError)
        return error

    def patch_sockets(self, fault: Callable[[int, str], OSError | None]) -> None:
        """Let C{fault(family, step)} say what goes wrong."""

        class Faulty(socket.socket):
            def __init__(self, family: int = socket.AF_INET, *more: Any, **named: Any) -> None:
                error = fault(family, "socket")
                if error is not None:
                    raise error
                super().__init__(family, *more, **named)

            def bind(self, address: Any) -> None:
                error = fault(self.family, "bind")
                if error is not None:
                    raise error
                super().bind(address)

        self.patch(socket, "socket", Faulty)


class TcpTests(BindTestCase):
    def test_a_bound_socket_listens_and_knows_its_port(self) -> None:
        for address in (V4, V6):
            [bound] = self.bind(address)
            host, port = bound.socket.getsockname()[:2]
            self.assertEqual(bound.name, str(TcpAddress(host=ip_address(host), port=port)))
            self.assertIs(bound.address, address)
            self.assertFalse(bound.socket.getblocking())
            self.assertFalse(os.get_inheritable(bound.socket.fileno()))
            socket.create_connection((host, port), 5).close()

    def test_ipv6_does_not_take_the_port_of_ipv4(self) -> None:
        for left in reversed(range(10)):
            [any6] = self.bind(TcpAddress(host=ip_address("::"), port=0))
            port = any6.socket.getsockname()[1]
            self.assertEqual(any6.name, f"[::]:{port}")
            try:
                self.bind(TcpAddress(host=ip_address("0.0.0.0"), port=port))
                return
            except StartError:  # another program of this machine may have the number of one, never of ten
                if not left:
                    raise

    def test_a_port_in_use_says_how_to_find_who_has_it(self) -> None:
        for address in (V4, V6):
            [bound] = self.bind(address)
            port = bound.socket.getsockname()[1]
            self.fails(TcpAddress(host=address.host, port=port), "in use", bound.name, f"lsof -i :{port}")

    def test_a_port_is_free_again_at_once(self) -> None:
        [bound] = self.bind(V4)
        address = bound.socket.getsockname()
        client = socket.create_connection(address, 5)
        served, _ = bound.socket.accept()
        served.close()  # leaves TIME_WAIT behind
        client.close()
        bound.close()
        self.bind(TcpAddress(host=V4.host, port=address[1]))

    def test_a_privileged_port(self) -> None:
        self.patch_sockets(lambda family, step: OSError(errno.EACCES, "no") if step == "bind" else None)
        self.fails(TcpAddress(host=V4.host, port=80), "127.0.0.1:80", "1024")

    def test_an_address_of_another_machine(self) -> None:
        self.fails(TcpAddress(host=ip_address("192.0.2.1"), port=0), "no address of this machine")


class ShadowTests(BindTestCase):
    """As on BSD, where SO_REUSEADDR takes one address of a port from who has it on all. Not seen on a Mac."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(bind_module, "_SHADOWS", True)
        self.options: list[int] = []
        options = self.options

        class Watched(socket.socket):
            def bind(self, address: Any) -> None:
                options.append(self.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR))
                super().bind(address)

        self.watched = Watched

    def test_a_program_that_has_the_port_on_all_addresses_is_not_shadowed(self) -> None:
        for backlog, waiting in ((5, 0), (0, 3)):
            with socket.socket() as other:
                other.bind(("0.0.0.0", 0))
                other.listen(backlog)
                port = other.getsockname()[1]
                clients = [socket.socket() for _ in range(waiting)]
                for client in clients:  # a queue that is full does not answer
                    self.addCleanup(client.close)
                    client.setblocking(False)
                    client.connect_ex(("127.0.0.1", port))
                with mock.patch.object(socket, "socket", self.watched):
                    self.fails(TcpAddress(host=ip_address("127.0.0.1"), port=port), "in use", "lsof")
            self.assertEqual(self.options, [0])
            self.options.clear()

    def test_what_has_ended_keeps_nobody_from_the_port(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            with socket.create_connection(("127.0.0.1", port)) as client:
                other.accept()[0].close()  # who ends first waits (TIME_WAIT)
                self.assertEqual(client.recv(1), b"")
        with mock.patch.object(socket, "socket", self.watched):
            [bound] = self.bind(TcpAddress(host=ip_address("127.0.0.1"), port=port))
        self.assertEqual(bound.name, f"127.0.0.1:{port}")
        self.assertEqual([bool(one) for one in self.options], [False, True])


class LocalhostTests(BindTestCase):
    def test_both_loopbacks_on_the_same_free_port(self) -> None:
        four, six = self.bind(LocalhostAddress(port=0))
        port = four.socket.getsockname()[1]
        self.assertEqual((four.name, six.name), (f"127.0.0.1:{port}", f"[::1]:{port}"))
        self.assertEqual(self.notes, [])

    def test_a_free_port_that_the_other_family_has_taken_is_given_up(self) -> None:
        taken: list[int] = []

        def fault(family: int, step: str) -> OSError | None:
            if family == socket.AF_INET6 and step == "bind" and len(taken) < 3:
                taken.append(1)
                return OSError(errno.EADDRINUSE, "in use")
            return None

        self.patch_sockets(fault)
        four, six = self.bind(LocalhostAddress(port=0))
        self.assertEqual(len(taken), 3)
        self.assertEqual(four.socket.getsockname()[1], six.socket.getsockname()[1])

    def test_a_port_that_is_taken_on_one_is_an_error_and_leaves_nothing(self) -> None:
        [six] = self.bind(V6)
        port = six.socket.getsockname()[1]
        self.fails(LocalhostAddress(port=port), "in use", f"[::1]:{port}")
        self.bind(TcpAddress(host=V4.host, port=port))

    def test_a_family_that_is_missing_is_skipped_and_said(self) -> None:
        for step, number in (("socket", errno.EAFNOSUPPORT), ("bind", errno.EADDRNOTAVAIL)):
            self.notes = []

            def fault(family: int, at: str, step: str = step, number: int = number) -> OSError | None:
                return OSError(number, "no") if (family, at) == (socket.AF_INET6, step) else None

            self.patch_sockets(fault)
            [four] = self.bind(LocalhostAddress(port=0))
            self.assertTrue(four.name.startswith("127.0.0.1:"))
            self.assertIn("no IPv6", self.notes[0])
            [four] = self.bind(V4, V6)
            self.assertIn("[::1]:0 is skipped", self.notes[1])
            self.assertRaises(FamilyMissing, bind, V6)

    def test_no_family_at_all(self) -> None:
        self.patch_sockets(lambda family, step: OSError(errno.EAFNOSUPPORT, "no"))
        self.fails(LocalhostAddress(port=0), "neither")
        self.assertRaises(FamilyMissing, bind_all, [V4, V6])

    def test_all_or_none(self) -> None:
        [taken] = self.bind(V4)
        used = TcpAddress(host=V4.host, port=taken.socket.getsockname()[1])
        self.assertRaises(StartError, bind_all, [self.unix, used])
        self.assertFalse(self.unix.path.exists())


class UnixTests(BindTestCase):
    def test_the_mode_is_set_whatever_the_umask(self) -> None:
        for umask in (0o000, 0o022, 0o077, 0o777):
            for mode in (0o600, 0o660, 0o666):
                before = os.umask(umask)
                try:
                    [bound] = self.bind(self.unix, mode=mode)
                    after = os.umask(umask)
                finally:
                    os.umask(before)
                self.assertEqual(after, umask)
                self.assertEqual(stat.S_IMODE(self.unix.path.stat().st_mode), mode)
                bound.close()

    def test_a_socket_that_goes_on_for_another_gets_the_mode_of_that_one(self) -> None:
        [bound] = self.bind(self.unix, mode=0o600)
        bound.serve(self.unix, mode=0o660)
        self.assertEqual(stat.S_IMODE(self.unix.path.stat().st_mode), 0o660)
        self.unix.path.unlink()
        bound.serve(self.unix, mode=0o600)  # somebody took it away: it goes on without
        [tcp] = self.bind(V4)
        tcp.serve(LocalhostAddress(port=1), mode=0o600)
        self.assertEqual(tcp.address, LocalhostAddress(port=1))

    def test_nobody_gets_in_before_the_mode_is_set(self) -> None:
        born: list[int] = []
        chmod = os.chmod

        def watch(path: Any, mode: int) -> None:
            born.append(stat.S_IMODE(os.stat(path).st_mode))
            chmod(path, mode)

        self.patch(os, "chmod", watch)
        before = os.umask(0)
        try:
            self.bind(self.unix)
        finally:
            os.umask(before)
        self.assertEqual([mode & 0o177 for mode in born], [0])

    def test_its_name_and_its_end(self) -> None:
        [bound] = self.bind(self.unix)
        self.assertEqual(bound.name, f"unix:{self.unix.path}")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self.unix.path))
        bound.close()
        self.assertFalse(self.unix.path.exists())
        bound.close()

    def test_a_stale_one_is_replaced(self) -> None:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(self.unix.path))
        self.bind(self.unix)

    def test_a_live_one_is_an_error(self) -> None:
        self.bind(self.unix)
        self.fails(self.unix, "in use", f"lsof {self.unix.path}")
        self.assertTrue(self.unix.path.exists())

    def test_a_live_one_whose_queue_is_full_is_an_error_too(self) -> None:
        with socket.socket(socket.AF_UNIX) as busy:
            busy.bind(str(self.unix.path))
            busy.listen(0)
            clients = []
            for _ in range(3):
                client = socket.socket(socket.AF_UNIX)
                self.addCleanup(client.close)
                client.setblocking(False)
                clients.append(client.connect_ex(str(self.unix.path)))
            self.assertIn(clients[-1], (errno.EAGAIN, errno.ECONNREFUSED))  # Linux, macOS
            self.fails(self.unix, "in use")
            self.assertTrue(self.unix.path.exists())

    def test_a_refusal_is_no_proof_that_nobody_is_there(self) -> None:
        """macOS refuses where a queue is full, and so does one that is bound and does not listen yet."""
        with socket.socket(socket.AF_UNIX) as busy:
            busy.bind(str(self.unix.path))
            with socket.socket(socket.AF_UNIX) as client:
                self.assertEqual(client.connect_ex(str(self.unix.path)), errno.ECONNREFUSED)
            self.fails(self.unix, "in use")
            self.assertTrue(self.unix.path.exists())

    def test_what_is_no_socket_stays(self) -> None:
        self.unix.path.write_text("precious")
        self.fails(self.unix, "is no socket", "move it away")
        self.assertEqual(self.unix.path.read_text(), "precious")
        self.unix.path.unlink()
        self.unix.path.mkdir()
        self.fails(self.unix, "is no socket")

    def test_a_missing_folder(self) -> None:
        self.fails(UnixAddress(path=self.folder / "run" / "s"), "no folder", f"mkdir -p {self.folder}/run")
        (self.folder / "run").write_text("")
        self.fails(UnixAddress(path=self.folder / "run" / "s"), "is no folder")

    def test_a_path_that_is_too_long(self) -> None:
        self.fails(UnixAddress(path=self.folder / ("x" * 120)), "too long")

    def test_only_our_own_is_removed(self) -> None:
        [bound] = self.bind(self.unix)
        self.unix.path.unlink()
        [other] = self.bind(self.unix)
        bound.close()
        self.assertTrue(self.unix.path.exists())
        other.close()
        self.assertFalse(self.unix.path.exists())
