"""From a target to a stream, with its deadlines, its permissions and its ends."""

from __future__ import annotations

import errno
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.addresses import IPAddress
from lanrelay.errors import (
    AddressDenied,
    ConnectionRefused,
    DialError,
    DialTimeout,
    NameTimeout,
    NoSuchName,
    TlsTimeout,
    Unroutable,
)
from lanrelay.transport import tls as transport_tls
from lanrelay.upstream.dial import Dialed, Dialer, Target
from tests.support.dialing import FakeConnect, FakeResolver
from tests.support.memory import MemoryStream

A, B = ip_address("10.0.0.1"), ip_address("fd00::1")


class DialCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.connect = FakeConnect()
        self.resolver = FakeResolver()
        self.dialer = Dialer(self.clock, self.resolver, connect=self.connect)  # type: ignore[arg-type]

    def dial(self, host: str = "nas.lan", port: int = 443, **more: Any) -> Deferred[Dialed]:
        target = more.pop("target", None) or Target(host, port)
        return Deferred.fromCoroutine(
            self.dialer.dial(target, connect_timeout=5, handshake_timeout=10, **more)
        )

    def assertNothingLeft(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual((self.connect.pending, self.resolver.pending), ({}, {}))

    def failed(self, result: Deferred[Dialed], kind: type[DialError]) -> DialError:
        error: DialError = self.failureResultOf(result, kind).value
        self.assertIs(type(error), kind)
        self.assertNothingLeft()
        return error


class DialerTests(DialCase):
    def test_name_then_connection(self) -> None:
        result = self.dial()
        self.resolver.answer("nas.lan", A, B)
        stream = self.connect.answer("10.0.0.1:443")
        dialed = self.successResultOf(result)
        self.assertIs(dialed.stream, stream)
        self.assertEqual(dialed.address, "10.0.0.1:443")
        self.assertFalse(stream.reading)
        self.assertNothingLeft()

    def test_an_address_in_any_spelling_is_dialed_as_what_it_means(self) -> None:
        for text, expected in (
            ("10.0.0.1", "10.0.0.1:443"),
            ("127.1", "127.0.0.1:443"),
            ("0x7f000001", "127.0.0.1:443"),
            ("fd00::1", "[fd00::1]:443"),
        ):
            result = self.dial(text)
            self.connect.answer(expected)
            self.assertEqual(self.successResultOf(result).address, expected)
        self.assertEqual(self.resolver.asked, [])

    def test_a_unix_socket(self) -> None:
        result = self.dial(target=Target("", 0, Path("/run/x.sock")), permit=lambda _: "not asked")
        self.connect.answer("unix:/run/x.sock")
        self.assertEqual(self.successResultOf(result).address, "unix:/run/x.sock")

    def test_a_unix_socket_that_is_not_there(self) -> None:
        result = self.dial(target=Target("", 0, Path("/run/x.sock")))
        self.connect.fail("unix:/run/x.sock", errno.ECONNREFUSED)
        error = self.failed(result, ConnectionRefused)
        self.assertEqual((error.target, error.address), ("unix:/run/x.sock", "unix:/run/x.sock"))

    def test_targets_as_text(self) -> None:
        self.assertEqual(str(Target("nas.lan", 443)), "nas.lan:443")
        self.assertEqual(str(Target("::1", 443)), "[::1]:443")

    # failures

    def test_a_name_that_does_not_exist(self) -> None:
        result = self.dial()
        self.clock.advance(1)
        self.resolver.fail("nas.lan", NoSuchName("no such name"))
        error = self.failed(result, NoSuchName)
        self.assertEqual((error.target, error.address, error.elapsed), ("nas.lan:443", "", 1))

    def test_a_name_that_takes_too_long(self) -> None:
        result = self.dial()
        self.clock.advance(4.9)
        self.assertNoResult(result)
        self.clock.advance(0.2)
        error = self.failed(result, NameTimeout)
        self.assertEqual(error.target, "nas.lan:443")
        self.assertAlmostEqual(error.elapsed, 5.1)
        self.assertEqual(self.resolver.cancelled, ["nas.lan"])

    def test_one_deadline_for_name_and_connection(self) -> None:
        result = self.dial()
        self.clock.advance(3)
        self.resolver.answer("nas.lan", A)
        self.clock.advance(1.9)
        self.assertNoResult(result)
        self.clock.advance(0.2)
        error = self.failed(result, DialTimeout)
        self.assertEqual((error.target, error.address), ("nas.lan:443", "10.0.0.1:443"))
        self.assertEqual(self.connect.cancelled, ["10.0.0.1:443"])

    def test_refused(self) -> None:
        result = self.dial()
        self.clock.advance(1)
        self.resolver.answer("nas.lan", A)
        self.clock.advance(0.5)
        self.connect.fail("10.0.0.1:443", errno.ECONNREFUSED)
        error = self.failed(result, ConnectionRefused)
        self.assertEqual(
            (error.target, error.address, error.elapsed, error.errno),
            ("nas.lan:443", "10.0.0.1:443", 0.5, errno.ECONNREFUSED),
        )

    def test_an_immediate_failure_after_a_slow_name_is_still_immediate(self) -> None:
        result = self.dial()
        self.clock.advance(3)
        self.resolver.answer("nas.lan", A)
        self.connect.fail("10.0.0.1:443", errno.EHOSTUNREACH)
        self.assertEqual(self.failed(result, Unroutable).elapsed, 0.0)

    def test_at_the_deadline_a_refusal_tells_more_than_silence(self) -> None:
        result = self.dial()
        self.resolver.answer("nas.lan", A, B)
        self.clock.advance(0.3)
        self.connect.fail("[fd00::1]:443", errno.ECONNREFUSED)
        self.clock.advance(5)
        error = self.failed(result, ConnectionRefused)
        self.assertEqual([type(other) for other in error.others], [DialTimeout])
        self.assertEqual(error.others[0].address, "10.0.0.1:443")

    def test_at_the_deadline_silence_tells_more_than_no_route(self) -> None:
        result = self.dial()
        self.resolver.answer("nas.lan", B, A)
        self.connect.fail("[fd00::1]:443", errno.ENETUNREACH)
        self.clock.advance(5)
        self.assertEqual(self.failed(result, DialTimeout).address, "10.0.0.1:443")

    # permission

    def test_only_permitted_addresses_are_dialed(self) -> None:
        asked: list[IPAddress] = []

        def permit(address: IPAddress) -> str | None:
            asked.append(address)
            return None if address == B else "no"

        result = self.dial(permit=permit)
        self.resolver.answer("nas.lan", A, B)
        self.assertEqual(asked, [A, B])
        self.assertEqual(self.connect.asked, ["[fd00::1]:443"])
        self.connect.fail("[fd00::1]:443")
        self.failed(result, ConnectionRefused)

    def test_none_permitted(self) -> None:
        result = self.dial(permit=lambda address: f"{address} is denied")
        self.resolver.answer("nas.lan", A, B)
        error = self.failed(result, AddressDenied)
        self.assertEqual(
            (str(error), error.target, error.address),
            ("10.0.0.1 is denied", "nas.lan:443", "10.0.0.1:443"),
        )
        self.assertEqual(self.connect.asked, [])

    def test_literal_addresses_need_permission_too(self) -> None:
        error = self.failed(self.dial("0x7f.1", permit=lambda address: f"{address} is denied"), AddressDenied)
        self.assertEqual(str(error), "127.0.0.1 is denied")

    def test_fixed_names_are_not_resolved_and_need_permission(self) -> None:
        fixed = {"nas.lan": (A,)}
        result = self.dial("NAS.lan.", fixed=fixed)
        self.connect.answer("10.0.0.1:443")
        self.successResultOf(result)
        self.failed(self.dial("nas.lan", fixed=fixed, permit=lambda _: "no"), AddressDenied)
        self.dial("other.lan", fixed=fixed)
        self.assertEqual(self.resolver.asked, ["other.lan"])

    # cancelling

    def test_cancelled_in_the_look_up(self) -> None:
        result = self.dial()
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.assertEqual(self.resolver.cancelled, ["nas.lan"])
        self.assertNothingLeft()

    def test_cancelled_in_the_race(self) -> None:
        result = self.dial()
        self.resolver.answer("nas.lan", A, B)
        self.clock.advance(0.3)
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.assertEqual(self.connect.cancelled, ["10.0.0.1:443", "[fd00::1]:443"])
        self.assertNothingLeft()


class TlsTests(DialCase):
    """With TLS above, whose handshake is a fake."""

    def setUp(self) -> None:
        super().setUp()
        self.secured: list[tuple[MemoryStream, Any, float]] = []
        self.handshake: Deferred[Any] = Deferred()
        self.patch(transport_tls, "secure_client", self.secure_client)

    async def secure_client(
        self, reactor: Any, stream: Any, tls: Any, *, timeout: float, alpn: tuple[str, ...]
    ) -> Any:
        self.secured.append((stream, tls, timeout))
        return await self.handshake

    def secure(self) -> Deferred[Dialed]:
        result = self.dial(tls="trust")
        self.resolver.answer("nas.lan", A)
        self.connect.answer("10.0.0.1:443")
        return result

    def test_the_connection_is_secured(self) -> None:
        result = self.secure()
        self.assertNoResult(result)
        self.assertEqual(self.secured, [(self.connect.streams["10.0.0.1:443"], "trust", 10)])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        above = MemoryStream()
        self.handshake.callback(above)
        self.assertEqual(self.successResultOf(result), Dialed(above, "10.0.0.1:443"))

    def test_a_failure_of_tls_names_target_and_address(self) -> None:
        result = self.secure()
        self.clock.advance(10)
        self.handshake.errback(TlsTimeout("no end"))
        error = self.failed(result, TlsTimeout)
        self.assertEqual((error.target, error.address, error.elapsed), ("nas.lan:443", "10.0.0.1:443", 10))

    def test_cancelled_in_the_handshake(self) -> None:
        result = self.secure()
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.assertTrue(self.handshake.called)
        self.assertNothingLeft()
