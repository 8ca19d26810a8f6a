"""Addresses tried a little apart, and what their failures mean."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.error import ConnectError, UserError, getConnectError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from lanrelay import errors
from lanrelay.errors import ConnectionRefused, DialError, DialTimeout, LocalLimit, PeerClosed, Unroutable
from lanrelay.transport.stream import Parked, Stream
from lanrelay.upstream.race import (
    SocketAddress,
    connect_once,
    from_errno,
    interleaved,
    most_telling,
    race,
    socket_name,
    twisted_connect,
)
from tests.support.dialing import FakeConnect
from tests.support.memory import MemoryStream


def at(text: str, port: int = 443) -> SocketAddress:
    return SocketAddress(ip_address(text), port)


class OrderTests(SynchronousTestCase):
    def order(self, *texts: str) -> list[str]:
        return [str(address.host) for address in interleaved([at(text) for text in texts])]

    def test_families_take_turns_and_the_first_stays_first(self) -> None:
        self.assertEqual(self.order("::1", "::2", "::3", "1.1.1.1"), ["::1", "1.1.1.1", "::2", "::3"])
        self.assertEqual(self.order("1.1.1.1", "::1", "::2", "1.1.1.2"), ["1.1.1.1", "::1", "1.1.1.2", "::2"])
        self.assertEqual(self.order("1.1.1.1", "1.1.1.2"), ["1.1.1.1", "1.1.1.2"])
        self.assertEqual(self.order(), [])

    def test_none_is_tried_twice(self) -> None:
        self.assertEqual(self.order("1.1.1.1", "1.1.1.1", "::1"), ["1.1.1.1", "::1"])

    def test_text(self) -> None:
        self.assertEqual(str(at("::1")), "[::1]:443")
        self.assertEqual(str(at("10.0.0.1")), "10.0.0.1:443")
        self.assertEqual(str(SocketAddress(Path("/run/x.sock"))), "unix:/run/x.sock")


class RaceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.connect = FakeConnect()

    def race(self, *texts: str) -> Deferred[Stream]:
        addresses = [at(text) for text in texts]
        return Deferred.fromCoroutine(race(self.clock, addresses, connect=self.connect))

    def assertNothingLeft(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.connect.pending, {})

    def test_the_first_that_connects_wins(self) -> None:
        result = self.race("10.0.0.1")
        stream = self.connect.answer("10.0.0.1:443")
        self.assertIs(self.successResultOf(result), stream)
        self.assertNothingLeft()

    def test_the_next_begins_a_quarter_of_a_second_later(self) -> None:
        result = self.race("10.0.0.1", "10.0.0.2", "10.0.0.3")
        self.clock.advance(0.249)
        self.assertEqual(self.connect.asked, ["10.0.0.1:443"])
        self.clock.advance(0.002)
        self.assertEqual(self.connect.asked, ["10.0.0.1:443", "10.0.0.2:443"])
        self.clock.advance(0.25)
        self.assertEqual(len(self.connect.asked), 3)
        stream = self.connect.answer("10.0.0.2:443")
        self.assertIs(self.successResultOf(result), stream)
        self.assertEqual(self.connect.cancelled, ["10.0.0.1:443", "10.0.0.3:443"])
        self.assertNothingLeft()

    def test_hundreds_that_fail_at_once(self) -> None:
        asked: list[str] = []

        def refuse(reactor: Any, address: SocketAddress) -> Deferred[Stream]:
            asked.append(str(address))
            return fail(ConnectionRefused("refused"))

        addresses = [at(f"10.0.{number >> 8}.{number & 255}") for number in range(1000)]
        result = Deferred.fromCoroutine(race(self.clock, addresses, connect=refuse))
        self.assertEqual(len(self.failureResultOf(result, ConnectionRefused).value.others), 999)
        self.assertEqual(len(asked), 1000)
        self.assertNothingLeft()

    def test_the_next_begins_at_once_when_one_fails(self) -> None:
        result = self.race("10.0.0.1", "10.0.0.2", "10.0.0.3")
        self.clock.advance(0.1)
        self.connect.fail("10.0.0.1:443")
        self.assertEqual(self.connect.asked, ["10.0.0.1:443", "10.0.0.2:443"])
        self.clock.advance(0.24)
        self.assertEqual(len(self.connect.asked), 2)
        self.clock.advance(0.02)
        self.assertEqual(len(self.connect.asked), 3)
        self.connect.answer("10.0.0.3:443")
        self.successResultOf(result)
        self.assertNothingLeft()

    def test_an_early_failure_does_not_end_a_later_success(self) -> None:
        result = self.race("10.0.0.1", "10.0.0.2")
        self.clock.advance(0.3)
        self.connect.fail("10.0.0.2:443")
        self.assertNoResult(result)
        self.connect.answer("10.0.0.1:443")
        self.successResultOf(result)
        self.assertNothingLeft()

    def test_every_failure_is_kept(self) -> None:
        result = self.race("10.0.0.1", "fd00::1", "10.0.0.2")
        self.clock.advance(0.1)
        self.connect.fail("10.0.0.1:443", errno.EHOSTUNREACH)
        self.clock.advance(0.2)
        self.connect.fail("[fd00::1]:443", errno.ENETUNREACH)
        self.clock.advance(0.2)
        self.connect.fail("10.0.0.2:443", errno.ECONNREFUSED)
        error = self.failureResultOf(result, ConnectionRefused).value
        self.assertEqual(error.address, "10.0.0.2:443")
        found = [(each.address, each.errno, round(each.elapsed, 3)) for each in (error, *error.others)]
        self.assertEqual(
            found,
            [
                ("10.0.0.2:443", errno.ECONNREFUSED, 0.2),
                ("10.0.0.1:443", errno.EHOSTUNREACH, 0.1),
                ("[fd00::1]:443", errno.ENETUNREACH, 0.2),
            ],
        )
        self.assertNothingLeft()

    def test_failures_and_successes_at_once(self) -> None:
        self.connect.at_once = {"10.0.0.1:443": errno.ENETUNREACH, "10.0.0.2:443": None}
        result = self.race("10.0.0.1", "10.0.0.2", "10.0.0.3")
        self.assertIs(self.successResultOf(result), self.connect.streams["10.0.0.2:443"])
        self.assertEqual(len(self.connect.asked), 2)
        self.assertNothingLeft()

    def test_all_fail_at_once(self) -> None:
        self.connect.at_once = {"10.0.0.1:443": errno.ENETUNREACH, "10.0.0.2:443": errno.ENETUNREACH}
        error = self.failureResultOf(self.race("10.0.0.1", "10.0.0.2"), Unroutable).value
        self.assertEqual((error.address, len(error.others)), ("10.0.0.1:443", 1))
        self.assertNothingLeft()

    def test_cancelling_gives_all_of_it_up(self) -> None:
        result = self.race("10.0.0.1", "10.0.0.2", "10.0.0.3")
        self.clock.advance(0.3)
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.assertEqual(self.connect.cancelled, ["10.0.0.1:443", "10.0.0.2:443"])
        self.assertNothingLeft()

    def test_one_that_connects_although_cancelled_is_closed(self) -> None:
        stream = MemoryStream()

        def stubborn(reactor: Any, address: SocketAddress) -> Deferred[Stream]:
            return Deferred(lambda attempt: attempt.callback(stream))

        result = Deferred.fromCoroutine(race(self.clock, [at("10.0.0.1")], connect=stubborn))
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.assertTrue(stream.aborted)

    def test_a_bug_is_not_hidden(self) -> None:
        result = self.race("10.0.0.1", "10.0.0.2")
        self.connect.fail("10.0.0.1:443", ZeroDivisionError())
        self.failureResultOf(result, ZeroDivisionError)
        self.assertNothingLeft()

    def test_no_address_is_a_bug_of_the_caller(self) -> None:
        self.failureResultOf(self.race(), ValueError)


class TellingTests(SynchronousTestCase):
    def test_what_is_nearest_to_the_cause_comes_first(self) -> None:
        order = [
            errors.UnknownIssuer(),
            LocalLimit(),
            PeerClosed(),
            ConnectionRefused(),
            errors.DialForbidden(),
            DialTimeout(),
            Unroutable(),
        ]
        for place, better in enumerate(order):
            for worse in order[place + 1 :]:
                self.assertIs(most_telling([worse, better]), better)
                self.assertEqual(better.others[-1], worse)

    def test_what_was_known_before_is_kept(self) -> None:
        """The failures of its other addresses, when upstreams are compared."""
        best, address, upstream = ConnectionRefused(), Unroutable(), DialTimeout()
        most_telling([best, address])
        for _ in range(2):
            self.assertIs(most_telling([best, upstream]), best)
            self.assertEqual(best.others, (address, upstream))

    def test_of_equals_the_first(self) -> None:
        first, second = DialTimeout(), DialTimeout()
        self.assertIs(most_telling([first, second]), first)


class ErrnoTests(SynchronousTestCase):
    def test_table(self) -> None:
        table: Sequence[tuple[int, type[DialError]]] = [
            (errno.ECONNREFUSED, ConnectionRefused),
            (errno.ETIMEDOUT, DialTimeout),
            (errno.EHOSTUNREACH, Unroutable),
            (errno.ENETUNREACH, Unroutable),
            (errno.ENETDOWN, Unroutable),
            (errno.EAFNOSUPPORT, Unroutable),
            (errno.ECONNRESET, PeerClosed),
            (errno.EMFILE, LocalLimit),
            (errno.ENFILE, LocalLimit),
            (errno.ENOBUFS, LocalLimit),
            (errno.ENOMEM, LocalLimit),
            (errno.EACCES, errors.DialForbidden),
            (errno.EPERM, errors.DialForbidden),
            (errno.EINVAL, DialError),
        ]
        for number, expected in table:
            error = from_errno(number, at("10.0.0.1"))
            self.assertIs(type(error), expected, errno.errorcode[number])
            self.assertEqual((error.errno, error.address), (number, "10.0.0.1:443"))

    def test_no_local_address_or_no_local_port(self) -> None:
        for text in ("10.0.0.1", "fd00::1"):
            for has_way, expected in ((lambda _: True, LocalLimit), (lambda _: False, Unroutable)):
                error = from_errno(errno.EADDRNOTAVAIL, at(text), has_way=has_way)
                self.assertIs(type(error), expected)
        self.assertIs(type(from_errno(errno.EADDRNOTAVAIL, at("127.0.0.1"))), LocalLimit)

    def test_unix(self) -> None:
        address = SocketAddress(Path("/run/x"))
        for number, expected in (
            (errno.ENOENT, ConnectionRefused),
            (errno.ECONNREFUSED, ConnectionRefused),
            (errno.EACCES, errors.DialForbidden),
            (errno.EAGAIN, DialError),
        ):
            self.assertIs(type(from_errno(number, address)), expected)


class SocketNameTests(SynchronousTestCase):
    def test_an_address_of_a_link_names_its_interface_by_number(self) -> None:
        [(index, name), *_] = socket.if_nameindex()
        for scope in (str(index), name):
            found = socket_name(at(f"fe80::1%{scope}"))
            self.assertEqual(found, (socket.AF_INET6, ("fe80::1", 443, 0, index)))

    def test_others_have_none(self) -> None:
        self.assertEqual(socket_name(at("fd00::1")), (socket.AF_INET6, ("fd00::1", 443, 0, 0)))
        self.assertEqual(socket_name(at("10.0.0.1")), (socket.AF_INET, ("10.0.0.1", 443)))

    def test_an_interface_that_is_not_there_is_a_failure_to_connect(self) -> None:
        failed = connect_once(Clock(), at("fe80::1%nowhere0"))
        self.assertEqual(self.failureResultOf(failed, DialError).value.address, "[fe80::1%nowhere0]:443")


class TwistedConnectTests(SynchronousTestCase):
    """Our own connect is in C{tests.transport.test_connect}."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()

    def connect(self, address: SocketAddress) -> Deferred[Stream]:
        return twisted_connect(self.reactor, address)

    def test_tcp(self) -> None:
        result = self.connect(at("fd00::1"))
        host, port, factory, timeout, local = self.reactor.tcpClients[0]
        self.assertEqual((host, port, timeout, local), ("fd00::1", 443, None, None))
        stream = MemoryStream()
        protocol: Any = factory.buildProtocol(None)
        stream.protocol = protocol
        protocol.makeConnection(stream)
        self.assertIs(self.successResultOf(result), stream)
        self.assertFalse(stream.reading)
        self.assertIsInstance(stream.protocol, Parked)
        stream.lose()
        self.assertIsNotNone(protocol.lost)

    def test_unix(self) -> None:
        self.connect(SocketAddress(Path("/run/x.sock")))
        path, _, timeout, _ = self.reactor.unixClients[0]
        self.assertEqual((path, timeout), ("/run/x.sock", None))

    def failed(self, reason: Exception) -> DialError:
        result = self.connect(at("10.0.0.1"))
        factory: Any = self.reactor.tcpClients[-1][2]
        factory.clientConnectionFailed(None, Failure(reason))
        error: DialError = self.failureResultOf(result, DialError).value
        return error

    def test_the_errno_decides(self) -> None:
        """EHOSTUNREACH arrives as a bare ConnectError."""
        self.assertIs(type(self.failed(getConnectError((errno.EHOSTUNREACH, "no route")))), Unroutable)
        self.assertIs(type(self.failed(getConnectError((errno.ECONNREFUSED, "refused")))), ConnectionRefused)
        self.assertIs(type(self.failed(ConnectTimeout())), DialTimeout)
        self.assertIs(type(self.failed(ConnectError())), DialError)

    def test_a_socket_that_cannot_be_made(self) -> None:
        def refuse(*_: Any, **__: Any) -> None:
            raise OSError(errno.EMFILE, "too many")

        self.patch(self.reactor, "connectUNIX", refuse)
        self.failureResultOf(self.connect(SocketAddress(Path("/run/x"))), LocalLimit)

    def test_cancelling_stops_connecting(self) -> None:
        result = self.connect(at("10.0.0.1"))
        connector, factory = self.reactor.connectors[0], self.reactor.tcpClients[0][2]
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.assertTrue(connector.stoppedConnecting)
        factory.clientConnectionFailed(connector, Failure(UserError()))  # as Twisted's does
