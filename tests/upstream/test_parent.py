"""Through a parent proxy: what it is asked, what it may answer, and who is to blame."""

from __future__ import annotations

import errno
from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Protocol

from lanrelay.config import model
from lanrelay.errors import (
    AddressDenied,
    ConnectionRefused,
    DialTimeout,
    NoSuchName,
    ParentMalformed,
    ParentRefused,
    ParentTimeout,
    PeerClosed,
)
from lanrelay.transport.stream import Parked, hand_over
from lanrelay.upstream.dial import Dialed, Target
from lanrelay.upstream.explain import explain
from lanrelay.upstream.parent import Parent
from lanrelay.upstream.upstream import Upstream
from tests.support.memory import MemoryStream
from tests.upstream.test_dial import DialCase

CONNECT = b"CONNECT nas.lan:443 HTTP/1.1\r\nHost: nas.lan:443\r\n\r\n"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
ASK_NAME = b"\x05\x01\x00\x03\x07nas.lan\x01\xbb"
SUCCEEDED = b"\x05\x00\x00\x01" + bytes(6)
PARENT = "10.9.9.9:3128"


def parent(scheme: Any = "http", host: str = "10.9.9.9", **keys: Any) -> Parent:
    return Parent(model.ParentProxy(scheme=scheme, host=host, port=3128, **keys))


class Reader(Protocol):
    def __init__(self) -> None:
        self.received = b""

    def dataReceived(self, data: bytes) -> None:
        self.received += data


class ParentCase(DialCase):
    def through(
        self, proxy: Parent | None = None, host: str = "nas.lan", **more: Any
    ) -> tuple[Deferred[Dialed], MemoryStream]:
        """A dial that has come as far as the connection to the parent."""
        result = self.dial(host, parent=proxy or parent(), **more)
        return result, self.connect.answer(PARENT)

    def opened(self, result: Deferred[Dialed]) -> Reader:
        """The dial has succeeded; its stream is handed over and read."""
        dialed = self.successResultOf(result)
        self.assertEqual(dialed.address, PARENT)
        self.assertIsInstance(dialed.stream.protocol, Parked)
        self.assertNothingLeft()
        reader = Reader()
        hand_over(dialed.stream, reader)
        dialed.stream.resumeProducing()
        return reader


class HttpTests(ParentCase):
    def test_the_name_goes_to_the_parent(self) -> None:
        result, stream = self.through()
        self.assertEqual(stream.take(), CONNECT)
        self.assertEqual(self.resolver.asked, [])
        self.assertNoResult(result)
        stream.receive(ESTABLISHED)
        reader = self.opened(result)
        stream.receive(b"hello")
        self.assertEqual(reader.received, b"hello")

    def test_credentials(self) -> None:
        _, stream = self.through(parent(username="alice", password=model.Secret("s:e")))
        self.assertIn(b"\r\nProxy-Authorization: Basic YWxpY2U6czpl\r\n", stream.take())

    def test_bytes_after_the_answer_are_kept(self) -> None:
        for cut in range(1, len(ESTABLISHED)):
            result, stream = self.through()
            stream.receive(ESTABLISHED[:cut])
            self.assertNoResult(result)
            stream.receive(ESTABLISHED[cut:] + b"SSH-2.0\r\n")
            self.assertEqual(self.opened(result).received, b"SSH-2.0\r\n")

    def test_what_answers_may_look_like(self) -> None:
        for answer in (
            b"HTTP/1.0 200 OK\r\nProxy-Agent: tinyproxy\r\n\r\n",
            b"HTTP/1.1 200\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\n" + ESTABLISHED,
        ):
            result, stream = self.through()
            stream.receive(answer)
            self.opened(result)

    def test_addresses_are_sent_as_what_they_mean(self) -> None:
        for host, said in (("fd00::1", b"[fd00::1]:443"), ("127.1", b"127.0.0.1:443")):
            _, stream = self.through(host=host)
            self.assertTrue(stream.take().startswith(b"CONNECT " + said + b" HTTP/1.1\r\nHost: " + said))

    def test_a_refusal_is_told_with_its_status(self) -> None:
        for status, permanent in ((403, True), (407, True), (502, False), (503, False)):
            result, stream = self.through()
            stream.receive(b"HTTP/1.1 %d No Way\r\nContent-Length: 5\r\n\r\nnever" % status)
            error = self.failed(result, ParentRefused)
            assert isinstance(error, ParentRefused)
            self.assertEqual((error.status, error.permanent), (status, permanent))
            self.assertEqual((error.target, error.parent), ("nas.lan:443", f"http://{PARENT}"))
            self.assertTrue(stream.aborted)
            self.assertIn(f"it answered {status} No Way", str(explain(error)))

    def test_what_is_no_http_proxy(self) -> None:
        for answer in (b"\x05\xff", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70000):
            result, stream = self.through()
            stream.receive(answer)
            self.failed(result, ParentMalformed)
            self.assertTrue(stream.aborted)

    def test_a_name_that_http_cannot_say(self) -> None:
        opening = parent().open(stream := MemoryStream(), "a/b c", 443)
        self.assertTrue(self.failureResultOf(opening, ParentRefused).value.permanent)
        self.assertEqual((stream.take(), stream.aborted), (b"", True))


class SocksTests(ParentCase):
    def test_the_name_goes_to_the_parent(self) -> None:
        result, stream = self.through(parent("socks5"))
        self.assertEqual(stream.take(), b"\x05\x01\x00")
        stream.receive(b"\x05\x00")
        self.assertEqual(stream.take(), ASK_NAME)
        stream.receive(SUCCEEDED + b"hello")
        self.assertEqual(self.opened(result).received, b"hello")

    def test_credentials(self) -> None:
        _, stream = self.through(parent("socks5", username="alice", password=model.Secret("secret")))
        stream.receive(b"\x05\x02")
        self.assertEqual(stream.take(), b"\x05\x02\x00\x02\x01\x05alice\x06secret")
        stream.receive(b"\x01\x00")
        self.assertEqual(stream.take(), ASK_NAME)

    def test_refusals(self) -> None:
        for answer, reply, permanent in (
            (b"\x05\x00\x05\x05\x00\x01", 5, False),
            (b"\x05\x00\x05\x02\x00\x01", 2, True),
            (b"\x05\xff", 0, True),
        ):
            result, stream = self.through(parent("socks5"))
            stream.receive(answer)
            error = self.failed(result, ParentRefused)
            assert isinstance(error, ParentRefused)
            self.assertEqual((error.reply, error.permanent), (reply, permanent))
            self.assertTrue(stream.aborted)
        self.assertIn("NAME:PASSWORD", explain(error).remedy)

    def test_what_is_no_socks_proxy(self) -> None:
        result, stream = self.through(parent("socks5"))
        stream.receive(b"HTTP/1.1 400 Bad Request\r\n")
        self.assertIn("socks5://", explain(self.failed(result, ParentMalformed)).remedy)


class EndTests(ParentCase):
    def test_a_parent_that_is_not_there_is_named(self) -> None:
        result = self.dial(parent=parent())
        self.connect.fail(PARENT, errno.ECONNREFUSED)
        error = self.failed(result, ConnectionRefused)
        self.assertEqual((error.parent, error.target, error.address), (f"http://{PARENT}", PARENT, PARENT))
        said = str(explain(error))
        self.assertIn(f"The parent proxy http://{PARENT} cannot be used", said)
        self.assertIn("nothing listens on its port 3128", said)

    def test_a_parent_without_a_name_server(self) -> None:
        result = self.dial(parent=parent(host="proxy.lan"))
        self.resolver.fail("proxy.lan", NoSuchName("no such name"))
        error = self.failed(result, NoSuchName)
        self.assertIn("no host named proxy.lan", str(explain(error)))

    def test_a_parent_that_does_not_take_the_connection(self) -> None:
        result = self.dial(parent=parent())
        self.clock.advance(5)
        self.assertEqual(self.failed(result, DialTimeout).parent, f"http://{PARENT}")

    def test_a_parent_that_does_not_answer(self) -> None:
        result = self.dial(parent=parent())
        self.clock.advance(3)
        stream = self.connect.answer(PARENT)
        self.clock.advance(1.9)
        self.assertNoResult(result)
        self.clock.advance(0.2)
        error = self.failed(result, ParentTimeout)
        self.assertTrue(stream.aborted)
        self.assertIn("opened no way to nas.lan:443 within 5.1 s", str(explain(error)))

    def test_a_parent_that_ends_the_connection(self) -> None:
        for scheme in ("http", "socks5"):
            result, stream = self.through(parent(scheme))
            stream.receive_eof()
            error = self.failed(result, PeerClosed)
            self.assertEqual(error.target, PARENT)

    def test_cancelled_nothing_is_left(self) -> None:
        result, stream = self.through()
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.assertTrue(stream.aborted)
        self.assertNothingLeft()

    def test_no_name_shows_credentials(self) -> None:
        name = parent(username="alice", password=model.Secret("secret"), host="fd00::1").name
        self.assertEqual(name, "http://[fd00::1]:3128")


class PermitTests(ParentCase):
    def test_literal_addresses_are_judged_before_anything_is_sent(self) -> None:
        result = self.dial("169.254.169.254", parent=parent(), permit=lambda address: f"{address} is denied")
        error = self.failed(result, AddressDenied)
        self.assertEqual((error.parent, error.target), ("", "169.254.169.254:443"))
        self.assertEqual(self.connect.asked, [])

    def test_of_fixed_addresses_the_permitted_one_is_sent(self) -> None:
        fixed = {"nas.lan": (ip_address("10.0.0.1"), ip_address("10.0.0.2"))}
        _, stream = self.through(
            fixed=fixed, permit=lambda address: "no" if address == ip_address("10.0.0.1") else None
        )
        self.assertTrue(stream.take().startswith(b"CONNECT 10.0.0.2:443 "))

    def test_the_parent_itself_and_names_are_not_judged(self) -> None:
        _, stream = self.through(permit=lambda address: "never")
        self.assertEqual(stream.take(), CONNECT)

    def test_what_is_no_name_here_might_be_an_address_there(self) -> None:
        for host in (
            "\uff11\uff16\uff19.254.169.254",
            "fe80::1%eth0",
            "%31%32%37.0.0.1",
            "[::1]",
            "1.2.3.4.5",
            "",
        ):
            for tunnel in (True, False):
                self.failed(self.dial(host, parent=parent(), tunnel=tunnel), NoSuchName)
        self.assertEqual(self.connect.asked, [])

    def test_names_are_sent_as_they_are_judged(self) -> None:
        _, stream = self.through(host="B\xfccher.LAN.")
        self.assertTrue(stream.take().startswith(b"CONNECT xn--bcher-kva.lan:443 "))

    def test_without_a_tunnel_only_the_connection_is_made(self) -> None:
        result, stream = self.through(tunnel=False)
        self.assertEqual((self.successResultOf(result).stream, stream.take()), (stream, b""))


class UpstreamTests(ParentCase):
    def upstream(self, **keys: Any) -> Upstream:
        url = model.UpstreamUrl(scheme="tcp", host="nas.lan", port=443)
        return Upstream(self.clock, self.dialer, model.Upstream(url=url, **keys), model.Timeouts())

    def test_via(self) -> None:
        via = model.ParentProxy(scheme="http", host="10.9.9.9", port=3128)
        result = Deferred.fromCoroutine(self.upstream(via=via).dial())
        stream = self.connect.answer(PARENT)
        self.assertEqual(stream.take(), CONNECT)
        stream.receive(ESTABLISHED)
        self.opened(result)

    def test_a_parent_that_is_not_there_is_not_called_by_the_url(self) -> None:
        via = model.ParentProxy(scheme="http", host="10.9.9.9", port=3128)
        result = Deferred.fromCoroutine(self.upstream(via=via).dial())
        self.connect.fail(PARENT)
        self.assertEqual(self.failed(result, ConnectionRefused).target, PARENT)

    def test_a_proxy_header_runs_inside_of_the_tunnel(self) -> None:
        via = model.ParentProxy(scheme="http", host="10.9.9.9", port=3128)
        result = Deferred.fromCoroutine(self.upstream(via=via, send_proxy="v1").dial())
        stream = self.connect.answer(PARENT)
        self.assertEqual(stream.take(), CONNECT)
        stream.receive(ESTABLISHED)
        self.opened(result)
        self.assertEqual(stream.take(), b"PROXY UNKNOWN\r\n")

    def test_target_is_that_of_the_url_when_the_parent_refuses(self) -> None:
        via = model.ParentProxy(scheme="http", host="10.9.9.9", port=3128)
        address = model.TargetAddress(host="10.0.0.7", port=8443)
        result = Deferred.fromCoroutine(self.upstream(via=via, address=address).dial())
        stream = self.connect.answer(PARENT)
        self.assertTrue(stream.take().startswith(b"CONNECT 10.0.0.7:8443 "))
        stream.receive(b"HTTP/1.1 403 Filtered\r\n\r\n")
        self.assertEqual(self.failed(result, ParentRefused).target, str(Target("nas.lan", 443)))
