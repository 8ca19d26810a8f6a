"""What systemd hears: the messages of sd_notify(3), on real sockets."""

from __future__ import annotations

import os
import re
import socket
import tempfile
import threading
import time

from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from lanrelay.notify import Notifier, watchdog_interval


class NotifierTests(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="lanrelay-")
        self.addCleanup(folder.cleanup)
        self.path = f"{folder.name}/notify"
        self.clock = Clock()
        self.status = ""

    def supervisor(self, address: str | bytes) -> socket.socket:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(listening.close)
        listening.bind(address)
        listening.setblocking(False)
        return listening

    def notifier(self, **environment: str) -> Notifier:
        notifier = Notifier(self.clock, environment, describe=lambda: self.status)
        self.addCleanup(notifier.close)
        return notifier

    def heard(self, listening: socket.socket) -> list[list[str]]:
        messages = []
        while True:
            try:
                messages.append(listening.recv(4096).decode().split("\n"))
            except BlockingIOError:
                return messages

    def test_the_life_of_a_process(self) -> None:
        listening = self.supervisor(self.path)
        notifier = self.notifier(NOTIFY_SOCKET=self.path)
        notifier.ready("2 listeners")
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        notifier.reloading("reloading")
        notifier.ready("3 listeners")
        notifier.stopping("3 connections have time to end", 4.5)
        ready, reloading, again, stopping = self.heard(listening)
        self.assertEqual(ready, ["READY=1", "STATUS=2 listeners"])
        self.assertEqual((reloading[0], reloading[2]), ("RELOADING=1", "STATUS=reloading"))
        moment = re.fullmatch(r"MONOTONIC_USEC=(\d+)", reloading[1])
        assert moment is not None
        self.assertTrue(before <= int(moment.group(1)) <= before + 60_000_000)
        self.assertEqual(again, ["READY=1", "STATUS=3 listeners"])
        self.assertEqual(
            stopping,
            ["STOPPING=1", "EXTEND_TIMEOUT_USEC=4500000", "STATUS=3 connections have time to end"],
        )

    def test_an_abstract_socket(self) -> None:
        name = f"lanrelay-test-{os.getpid()}"
        try:
            listening = self.supervisor(f"\0{name}")
        except OSError:
            raise SkipTest("abstract sockets are not here") from None
        self.notifier(NOTIFY_SOCKET=f"@{name}").ready("yes")
        self.assertEqual(self.heard(listening), [["READY=1", "STATUS=yes"]])

    def test_a_status_is_one_line_and_is_said_once(self) -> None:
        listening = self.supervisor(self.path)
        notifier = self.notifier(NOTIFY_SOCKET=self.path)
        for text in ("one\nREADY=1", "one\nREADY=1", "", "two"):
            notifier.status(text)
        self.assertEqual(self.heard(listening), [["STATUS=one READY=1"], ["STATUS=two"]])

    def test_the_watchdog_is_fed_from_ready_to_the_end(self) -> None:
        listening = self.supervisor(self.path)
        notifier = self.notifier(
            NOTIFY_SOCKET=self.path, WATCHDOG_USEC="10000000", WATCHDOG_PID=str(os.getpid())
        )
        self.clock.advance(20)
        self.assertEqual(self.heard(listening), [])
        self.status = notifier_status = "5 connections are open"
        notifier.ready("2 listeners")
        notifier.ready("a reload")
        self.assertEqual(
            self.heard(listening),
            [
                ["READY=1", "STATUS=2 listeners"],
                ["WATCHDOG=1", f"STATUS={notifier_status}"],
                ["READY=1", "STATUS=a reload"],
            ],
        )
        self.clock.pump([5.0] * 3)
        self.assertEqual(
            self.heard(listening),
            [["WATCHDOG=1", f"STATUS={notifier_status}"], ["WATCHDOG=1"], ["WATCHDOG=1"]],
        )
        notifier.stopping("stopping", 3)
        self.clock.advance(5)
        self.assertEqual([message[0] for message in self.heard(listening)], ["STOPPING=1", "WATCHDOG=1"])
        notifier.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_watchdog_is_fed_when_there_is_no_descriptor_left(self) -> None:
        listening = self.supervisor(self.path)
        self.notifier(NOTIFY_SOCKET=self.path, WATCHDOG_USEC="2000000").ready("")

        def refuses(*arguments: object) -> socket.socket:
            raise OSError("too many open files")

        self.heard(listening)
        self.patch(socket, "socket", refuses)
        self.clock.advance(1)
        self.assertEqual(self.heard(listening), [["WATCHDOG=1"]])

    def test_nobody_asked(self) -> None:
        for environment in ({}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}):
            notifier = self.notifier(**environment, WATCHDOG_USEC="1000000")
            self.assertFalse(notifier.listening)
            notifier.ready("yes")
            notifier.reloading("yes")
            notifier.stopping("yes", 1)
            notifier.status("yes")
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_cannot_be_sent_is_said_once_and_borne(self) -> None:
        events: list[LogEvent] = []
        globalLogPublisher.addObserver(events.append)  # type: ignore[arg-type]
        self.addCleanup(globalLogPublisher.removeObserver, events.append)  # type: ignore[arg-type]
        notifier = self.notifier(NOTIFY_SOCKET=self.path)  # nobody is there
        notifier.ready("yes")
        notifier.status("still")
        said = [event for event in events if event.get("log_namespace") == "lanrelay.notify.Notifier"]
        self.assertEqual(len(said), 1)

    def test_who_does_not_read_holds_nobody_up(self) -> None:
        self.supervisor(self.path)
        notifier = self.notifier(NOTIFY_SOCKET=self.path)
        for number in range(2000):
            notifier.status(str(number))

    def test_what_must_arrive_waits_a_moment(self) -> None:
        listening = self.supervisor(self.path)
        notifier = self.notifier(NOTIFY_SOCKET=self.path)
        for number in range(2000):
            notifier.status(str(number))
        seen: list[list[str]] = []
        reading = threading.Timer(0.05, lambda: seen.extend(self.heard(listening)))
        reading.start()
        self.addCleanup(reading.join)
        notifier.ready("yes")
        reading.join()
        seen += self.heard(listening)
        self.assertEqual(seen[-1], ["READY=1", "STATUS=yes"])


class WatchdogIntervalTests(SynchronousTestCase):
    def test_half_of_what_systemd_waits(self) -> None:
        self.assertEqual(watchdog_interval({"WATCHDOG_USEC": "30000000"}, 7), 15)
        self.assertEqual(watchdog_interval({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 7), 15)

    def test_none(self) -> None:
        for usec, pid in (("30000000", "8"), ("0", "7"), ("-1", "7"), ("x", "7"), ("30000000", "x")):
            self.assertEqual(watchdog_interval({"WATCHDOG_USEC": usec, "WATCHDOG_PID": pid}, 7), 0)
        self.assertEqual(watchdog_interval({}, 7), 0)
