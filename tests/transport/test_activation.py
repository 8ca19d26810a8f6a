"""Sockets that systemd or launchd opened: found by name or index, checked, and never ended by us."""

from __future__ import annotations

import errno
import os
import socket
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config.model import LaunchdSocket, SystemdSocket
from lanrelay.errors import StartError
from lanrelay.transport import activation
from lanrelay.transport import bind as bind_module
from lanrelay.transport.activation import (
    ActivatedSocket,
    LaunchdSockets,
    SystemdSockets,
    launch_activate_socket,
)
from lanrelay.transport.bind import BoundSocket, bind, unused_sockets


class HandedCase(SynchronousTestCase):
    def listening(self, host: str = "127.0.0.1") -> socket.socket:
        sock = socket.create_server((host, 0))
        self.addCleanup(sock.close)
        return sock

    def connects(self, sock: socket.socket) -> bool:
        client = socket.socket(sock.family)
        self.addCleanup(client.close)
        client.settimeout(5)
        return client.connect_ex(sock.getsockname()) == 0


class DuplicateTests(HandedCase):
    def refused(self, sock: socket.socket | int, *words: str) -> None:
        number = sock if isinstance(sock, int) else sock.fileno()
        error = self.assertRaises(StartError, ActivatedSocket(number, "systemd:web", "do this").duplicate)
        for word in ("systemd:web", "do this", *words):
            self.assertIn(word, str(error))

    def test_it_is_of_the_same_queue_and_ours_to_close(self) -> None:
        sock = self.listening()
        handed = ActivatedSocket(sock.fileno(), "systemd:web", "")
        copy = handed.duplicate()
        self.assertEqual(copy.getsockname(), sock.getsockname())
        self.assertFalse(copy.getblocking())
        self.assertFalse(copy.get_inheritable())
        copy.close()
        self.assertTrue(self.connects(sock))
        self.assertNotEqual(os.fstat(sock.fileno()), None)

    def test_once_at_a_time(self) -> None:
        handed = ActivatedSocket(self.listening().fileno(), "systemd:web", "")
        handed.duplicate().close()
        error = self.assertRaises(StartError, handed.duplicate)
        self.assertIn("has a listener already", str(error))
        handed.release()
        handed.duplicate().close()

    def test_what_is_no_socket_for_streams_that_listens(self) -> None:
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        self.addCleanup(os.close, writing)
        self.refused(reading, "is no socket")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            self.refused(datagrams, "is not for streams")
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as idle:
            self.refused(idle, "does not listen")
        server = self.listening()
        with socket.create_connection(server.getsockname()) as connected:
            self.refused(connected, "does not listen")
        self.refused(987654, "descriptor 987654")


def _free_row(length: int) -> int:
    """The first of so many descriptors that are not open, one after the other, as systemd gives them."""
    first = 100
    while True:
        for number in range(first, first + length):
            try:
                os.fstat(number)
            except OSError:
                continue
            first = number + 1
            break
        else:
            return first


class SystemdTests(HandedCase):
    """The descriptors begin at 3 in a process of systemd's; here they begin where the sockets are."""

    def sockets(self, count: int = 1, *, pid: int = 7, **more: str) -> SystemdSockets:
        self.held = [self.listening() for _ in range(count)]
        self.base = _free_row(count + 1)
        for index, one in enumerate(self.held):
            os.dup2(one.fileno(), self.base + index)  # inheritable
            self.addCleanup(os.close, self.base + index)
        self.patch(activation, "_FIRST", self.base)
        self.environment = {"LISTEN_FDS": str(count), "LISTEN_PID": "7", "PATH": "x", **more}
        return SystemdSockets(self.environment, pid)

    def found(self, sockets: SystemdSockets, name: str) -> list[int]:
        return [one.descriptor - self.base for one in sockets.find(name)]

    def refused(self, sockets: SystemdSockets, name: str, *words: str) -> None:
        error = self.assertRaises(StartError, sockets.find, name)
        assert isinstance(error, StartError)
        self.assertTrue(error.remedy)
        for word in words:
            self.assertIn(word, str(error))

    def test_by_name_and_by_index(self) -> None:
        sockets = self.sockets(3, LISTEN_FDNAMES="web:db:7")
        self.assertEqual(self.found(sockets, "web"), [0])
        self.assertEqual(self.found(sockets, "db"), [1])
        self.assertEqual(self.found(sockets, "0"), [0])
        self.assertEqual(self.found(sockets, "2"), [2])
        self.assertEqual(self.found(sockets, "7"), [2])  # a name before an index

    def test_a_name_with_several_sockets_is_all_of_them(self) -> None:
        sockets = self.sockets(3, LISTEN_FDNAMES="web:db:web")
        self.assertEqual(self.found(sockets, "web"), [0, 2])

    def test_without_names_there_are_indexes(self) -> None:
        self.assertEqual(self.found(self.sockets(2), "1"), [1])

    def test_a_name_that_is_not_there(self) -> None:
        sockets = self.sockets(2, LISTEN_FDNAMES="web:db")
        self.refused(sockets, "wbe", "there are 2, named web, db", "FileDescriptorName=wbe")
        self.refused(sockets, "2", "there are 2")

    def test_children_do_not_get_them(self) -> None:
        self.sockets(1, LISTEN_FDNAMES="web")
        self.assertFalse(os.get_inheritable(self.base))
        self.assertEqual(self.environment, {"PATH": "x"})

    def test_meant_for_another_process(self) -> None:
        """A shell stands between systemd and us, and did not exec."""
        sockets = self.sockets(1, pid=8)
        self.refused(sockets, "0", "for process 7", "this is 8", "exec twistd")
        self.assertIn("LISTEN_FDS", self.environment)
        self.assertEqual(list(sockets.unused()), [])

    def test_started_without_a_socket_unit(self) -> None:
        self.refused(SystemdSockets({}, 7), "web", "LISTEN_FDS is not set", "systemctl start lanrelay.socket")

    def test_fewer_than_promised(self) -> None:
        sockets = self.sockets(1)
        self.environment.update(LISTEN_FDS="2", LISTEN_PID="7")
        sockets = SystemdSockets(self.environment, 7)
        error = self.assertRaises(StartError, sockets.find("1")[0].duplicate)
        self.assertIn(f"descriptor {self.base + 1}, which cannot be used", str(error))

    def test_a_nonsensical_number(self) -> None:
        self.refused(SystemdSockets({"LISTEN_FDS": "many", "LISTEN_PID": "7"}, 7), "0", "not there")

    def test_what_nobody_listens_on_is_told(self) -> None:
        sockets = self.sockets(2, LISTEN_FDNAMES="web:db")
        (web,) = sockets.find("web")
        web.duplicate().close()
        (sentence,) = sockets.unused()
        self.assertIn("systemd:db", sentence)


class LaunchdTests(HandedCase):
    def test_all_of_a_name_asked_for_once(self) -> None:
        asked: list[str] = []
        held = [self.listening(), self.listening()]

        def activate(name: str) -> list[int]:
            asked.append(name)
            return [one.fileno() for one in held]

        sockets = LaunchdSockets(activate)
        for _ in range(2):
            self.assertEqual([one.descriptor for one in sockets.find("web")], [one.fileno() for one in held])
        self.assertEqual(asked, ["web"])

    def refused(self, code: int, *words: str) -> None:
        def activate(name: str) -> list[int]:
            raise OSError(code, os.strerror(code))

        error = self.assertRaises(StartError, LaunchdSockets(activate).find, "web")
        for word in ("web", *words):
            self.assertIn(word, str(error))

    def test_what_launchd_refuses_has_a_remedy(self) -> None:
        self.refused(errno.ENOENT, "Sockets in its property list")
        self.refused(errno.ESRCH, "no job of launchd", "osascript", "login item")
        self.refused(errno.EALREADY, "kickstart")
        self.refused(errno.ENOSYS, "has no launchd", "systemd:NAME")
        self.refused(errno.ENOMEM, os.strerror(errno.ENOMEM))

    def test_an_entry_without_sockets(self) -> None:
        error = self.assertRaises(StartError, LaunchdSockets(lambda name: []).find, "web")
        self.assertIn("no socket for web", str(error))

    def test_elsewhere_there_is_no_such_function(self) -> None:
        error = self.assertRaises(OSError, launch_activate_socket, "web")
        assert isinstance(error, OSError)
        self.assertIn(error.errno, (errno.ENOSYS, errno.ESRCH))


class BindTests(HandedCase):
    """What C{bind} makes of them."""

    def setUp(self) -> None:
        self.patch(bind_module, "_systemd", None)
        self.patch(bind_module, "_launchd", None)

    def hand(self, *held: socket.socket) -> None:
        sockets = LaunchdSockets(lambda name: [one.fileno() for one in held])
        self.patch(bind_module, "_launchd", sockets)

    def bind(self) -> list[BoundSocket]:
        bound = bind(LaunchdSocket(name="web"))
        for one in bound:
            self.addCleanup(one.close)
        return bound

    def test_each_has_the_name_of_its_address(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="lanrelay-")
        self.addCleanup(folder.cleanup)
        path = Path(folder.name) / "s"
        unix = socket.socket(socket.AF_UNIX)
        self.addCleanup(unix.close)
        unix.bind(str(path))
        unix.listen()
        tcp = self.listening()
        self.hand(tcp, unix)
        bound = self.bind()
        self.assertEqual([one.name for one in bound], [f"127.0.0.1:{tcp.getsockname()[1]}", f"unix:{path}"])
        for one in bound:
            one.close()
            one.close()
        self.assertTrue(path.exists(), "a socket that is not ours was unlinked")
        self.assertTrue(self.connects(unix))
        self.assertEqual(len(self.bind()), 2)

    def test_all_or_none(self) -> None:
        good = self.listening()
        with socket.socket() as wrong:
            self.hand(good, wrong)
            self.assertRaises(StartError, self.bind)
            self.assertRaises(StartError, self.bind)

    def test_no_manager_is_here(self) -> None:
        self.patch(os, "environ", {})
        for address in (SystemdSocket(name="web"), LaunchdSocket(name="web")):
            error = self.assertRaises(StartError, bind, address)
            self.assertIn(str(address), str(error))
        self.assertEqual(list(unused_sockets()), [])
