from __future__ import annotations

import errno
import os
import resource
import signal
import socket
import sys
import time
from ipaddress import ip_address
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lanrelay import process
from lanrelay.process import (
    OwnPorts,
    Signals,
    connections_within,
    descriptors_for,
    follow_monotonic_clock,
    most_descriptors,
    raise_descriptor_limit,
)


class ClockTests(SynchronousTestCase):
    def test_timers_of_a_real_reactor_follow_the_monotonic_clock(self) -> None:
        """Wherever the reactor looks at the time: when a call is made, how long to wait, what is due."""
        now = 1000.0
        self.patch(time, "monotonic", lambda: now)
        try:
            from twisted.internet.epollreactor import EPollReactor as Reactor
        except ImportError:
            from twisted.internet.selectreactor import SelectReactor as Reactor
        reactor: Any = Reactor()
        self.addCleanup(_dispose, reactor)
        follow_monotonic_clock(reactor)
        fired: list[float] = []
        call = reactor.callLater(5, lambda: fired.append(reactor.seconds()))
        self.assertEqual(call.getTime(), 1005.0)
        reactor.runUntilCurrent()
        self.assertEqual((fired, reactor.timeout()), ([], 5.0))
        self.patch(time, "time", lambda: time_far_ahead)
        now = 1004.5
        reactor.runUntilCurrent()
        self.assertEqual((fired, reactor.timeout()), ([], 0.5))
        call.reset(2)
        self.assertEqual(call.getTime(), 1006.5)
        now = 1006.5
        reactor.runUntilCurrent()
        self.assertEqual(fired, [1006.5])


time_far_ahead = 4_000_000_000.0


def _dispose(reactor: Any) -> None:
    for reader in list(reactor._internalReaders):
        reactor._removeInternalReader(reader)
        reader.connectionLost(None)
    if hasattr(reactor, "_poller"):
        reactor._poller.close()


class DescriptorTests(SynchronousTestCase):
    def limits(self, soft: int, hard: int, *, refuses_over: int | None = None) -> list[tuple[int, int]]:
        """Play a system with these limits; what is set is in the list."""
        made: list[tuple[int, int]] = []

        def setrlimit(which: int, limits: tuple[int, int]) -> None:
            if refuses_over is not None and limits[0] > refuses_over:
                raise ValueError("current limit exceeds maximum limit")
            made.append(limits)

        self.patch(resource, "getrlimit", lambda which: (soft, hard))
        self.patch(resource, "setrlimit", setrlimit)
        return made

    def test_the_soft_limit_is_raised_to_what_is_needed(self) -> None:
        made = self.limits(256, 65536)
        self.assertEqual(raise_descriptor_limit(8192), 8192)
        self.assertEqual(made, [(8192, 65536)])

    def test_no_further_than_the_hard_limit(self) -> None:
        made = self.limits(256, 4096)
        self.assertEqual(raise_descriptor_limit(8192), 4096)
        self.assertEqual(made, [(4096, 4096)])

    def test_it_is_never_lowered(self) -> None:
        made = self.limits(100_000, 100_000)
        self.assertEqual(raise_descriptor_limit(8192), 100_000)
        self.assertEqual(made, [])

    def test_no_limit_at_all(self) -> None:
        made = self.limits(resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        self.assertEqual(raise_descriptor_limit(8192), 8192)
        self.assertEqual(made, [])

    def test_macos_refuses_more_than_its_maximum_below_an_unlimited_hard_limit(self) -> None:
        made = self.limits(256, resource.RLIM_INFINITY, refuses_over=10240)
        self.assertEqual(raise_descriptor_limit(20_000), 10240)
        self.assertEqual(made, [(10240, resource.RLIM_INFINITY)])

    def test_what_macos_grants_a_process_goes_before_its_limits(self) -> None:
        unlimited = resource.RLIM_INFINITY
        for soft, hard, most, made, granted in (
            (256, unlimited, 61440, [(20_000, unlimited)], 20_000),
            (256, unlimited, 12288, [(12288, unlimited)], 12288),
            (unlimited, unlimited, 12288, [], 12288),
            (100_000, 100_000, 12288, [], 12288),
            (100_000, 100_000, None, [], 100_000),
        ):
            played = self.limits(soft, hard, refuses_over=most)
            self.assertEqual(raise_descriptor_limit(20_000, most=most), granted)
            self.assertEqual(played, made)

    def test_the_kernel_is_asked_on_macos_only(self) -> None:
        asked: list[str] = []

        def sysctl(name: str) -> int:
            asked.append(name)
            return 61440

        self.patch(process, "_sysctl", sysctl)
        for platform, most in (("linux", None), ("darwin", 61440)):
            self.patch(sys, "platform", platform)
            self.assertEqual(most_descriptors(), most)
        self.assertEqual(asked, ["kern.maxfilesperproc"])
        self.assertIsNone(most_descriptors(lambda name: None))

    if not sys.platform.startswith("linux"):
        test_the_kernel_is_asked_on_macos_only.skip = "plays both"  # type: ignore[attr-defined]

    def test_a_library_without_that_call(self) -> None:
        self.assertIsNone(process._sysctl("kern.no-such-number"))

    def test_what_the_system_refuses_altogether_is_borne(self) -> None:
        self.limits(256, 65536, refuses_over=0)
        self.assertEqual(raise_descriptor_limit(8192), 256)


class RoomTests(SynchronousTestCase):
    def test_what_is_needed_is_enough(self) -> None:
        for connections in (256, 1000, 100_000):
            self.assertEqual(connections_within(descriptors_for(connections)), connections)

    def test_few_descriptors_leave_some_for_the_rest(self) -> None:
        for descriptors, connections in ((1024, 384), (256, 64), (64, 16), (3, 1), (0, 1)):
            self.assertEqual(connections_within(descriptors), connections)


class FakeReactor:
    """Runs what comes from a signal handler when the test says so."""

    def __init__(self) -> None:
        self.called: list[tuple[Any, ...]] = []

    def callFromThread(self, function: Any, *arguments: Any) -> None:
        self.called.append((function, *arguments))

    def turn(self) -> None:
        called, self.called = self.called, []
        for function, *arguments in called:
            function(*arguments)


class SignalTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = FakeReactor()
        self.heard: list[tuple[str, str]] = []
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup has it ignored

    def install(self, *, terminal: bool = False) -> None:
        self.patch(process, "_on_terminal", lambda: terminal)
        Signals(
            self.reactor,
            stop=lambda name: self.heard.append(("stop", name)),
            end_now=lambda name: self.heard.append(("end now", name)),
            reload=lambda name: self.heard.append(("reload", name)),
        ).install()

    def send(self, *numbers: int) -> None:
        for number in numbers:
            os.kill(os.getpid(), number)
        self.reactor.turn()

    def test_nothing_is_done_inside_the_signal_handler(self) -> None:
        self.install()
        os.kill(os.getpid(), signal.SIGTERM)
        self.assertEqual(self.heard, [])
        self.reactor.turn()
        self.assertEqual(self.heard, [("stop", "SIGTERM")])

    def test_the_first_stops_and_the_others_end_it(self) -> None:
        self.install()
        self.send(signal.SIGINT)
        self.send(signal.SIGTERM)
        self.send(signal.SIGINT)
        self.assertEqual(self.heard, [("stop", "SIGINT"), ("end now", "SIGTERM"), ("end now", "SIGINT")])

    def test_hang_up_without_a_terminal_reloads(self) -> None:
        self.install()
        self.send(signal.SIGHUP)
        self.send(signal.SIGTERM, signal.SIGHUP)
        self.assertEqual(self.heard, [("reload", "SIGHUP"), ("stop", "SIGTERM"), ("reload", "SIGHUP")])

    def test_hang_up_on_a_terminal_stops(self) -> None:
        self.install(terminal=True)
        self.send(signal.SIGHUP)
        self.assertEqual(self.heard, [("stop", "SIGHUP")])

    def test_under_nohup_a_closed_window_ends_nothing(self) -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.install(terminal=True)
        self.send(signal.SIGHUP)
        self.assertEqual(self.heard, [("reload", "SIGHUP")])


class OwnPortTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.own = OwnPorts()
        self.own.ports[28081] = "the relay's own admin page"
        self.patch(process, "_bindable", lambda address: str(address) in ("192.168.1.5", "fd00::5"))

    def reason(self, address: str, port: int = 28081) -> str | None:
        return self.own.forbidden(ip_address(address), port)

    def test_under_every_address_of_this_machine(self) -> None:
        for address in (
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "0.0.0.0",
            "::",
            "192.168.1.5",
            "fd00::5",
            "fe80::1",
            "169.254.1.1",
            "::ffff:127.0.0.1",
            "::ffff:192.168.1.5",
            "::127.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b::192.168.1.5",
            "2002:7f00:1::",
            "2002:c0a8:105::",
        ):
            self.assertEqual(
                self.reason(address), "port 28081 of this machine is the relay's own admin page", address
            )

    def test_elsewhere_and_other_ports_are_none_of_its_business(self) -> None:
        for address in ("192.168.1.6", "fd00::6", "::ffff:192.168.1.6", "93.184.216.34"):
            self.assertIsNone(self.reason(address), address)
        self.assertIsNone(self.reason("127.0.0.1", 8080))


class BindableTests(SynchronousTestCase):
    """The kernel is asked."""

    def test_our_own_addresses_and_no_others(self) -> None:
        self.assertTrue(process._bindable(ip_address("127.0.0.1")))
        self.assertFalse(process._bindable(ip_address("192.0.2.1")))  # TEST-NET-1: nobody's

    def test_in_doubt_it_is_ours(self) -> None:
        def refuses(*arguments: object) -> socket.socket:
            raise OSError(errno.EMFILE, "too many open files")

        self.patch(socket, "socket", refuses)
        self.assertTrue(process._bindable(ip_address("192.0.2.1")))

    def test_a_family_that_is_not_there_leads_nowhere(self) -> None:
        def refuses(*arguments: object) -> socket.socket:
            raise OSError(errno.EAFNOSUPPORT, "address family not supported")

        self.patch(socket, "socket", refuses)
        self.assertFalse(process._bindable(ip_address("2001:db8::1")))
