from __future__ import annotations

from pathlib import Path
from typing import Any

from lanrelay.admin.lookout import Lookout
from lanrelay.config import model
from lanrelay.errors import ConnectionRefused, RequestDenied
from lanrelay.listeners.tcp_forward import TcpForwardService
from tests.admin.support import ANY_PORT, WatchedTestCase, https
from tests.support.listening import tcp_upstreams
from tests.support.tls import authority, server_certificate


class LookoutTests(WatchedTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.wall = 1_800_000_000.0
        self.lookout = Lookout(self.watched, lambda: self.wall)

    def told(self) -> list[tuple[str, str | None, str | None, int]]:
        return [(one.kind, one.listener, one.upstream, one.count) for one in self.watched.timeline]

    def test_an_upstream_that_goes_and_comes_back(self) -> None:
        service = self.forward("nas.lan", health=model.Health(fall=2, rise=1))
        self.lookout.follow()
        (upstream,) = service.group.members
        upstream.judge(None)
        upstream.failed(ConnectionRefused(target="nas.lan:5432", address="192.0.2.1:5432"))
        self.assertEqual(self.told(), [])
        upstream.failed(ConnectionRefused(target="nas.lan:5432", address="192.0.2.1:5432"))
        upstream.succeeded()
        url = "tcp://nas.lan:5432"
        self.assertEqual(self.told(), [("down", "to-nas.lan", url, 1), ("up", "to-nas.lan", url, 1)])
        down, _ = self.watched.timeline
        self.assertIn("nothing listens on its port 5432", down.text)

    def test_a_flood_of_refusals_is_one_line_and_other_failures_are_none(self) -> None:
        for number in range(1000):
            session = self.around.ledger.open("web", "reverse-proxy", f"192.0.2.9:{number}")
            session.failed(RequestDenied(f"the client 192.0.2.9:{number} is not let in"), by="relay")
            self.around.ledger.close(session)
        session = self.around.ledger.open("web", "reverse-proxy", "unix")
        session.failed(ConnectionRefused(), by="upstream")
        self.around.ledger.close(session)
        self.assertEqual(self.told(), [("refused", "web", None, 1000)])

    def test_a_machine_that_slept(self) -> None:
        self.lookout.woken(3600.2)
        (one,) = self.watched.timeline
        self.assertEqual((one.kind, one.text[:7]), ("woke", "3600 s "))

    def test_an_upstream_that_shows_another_certificate(self) -> None:
        service = self.proxy(("/", https()))
        (upstream,) = service.groups[0].members
        certificates = [
            _x509(authority().issue("nas.lan", "192.0.2.9", file_name=name).cert)
            for name in ("first", "second")
        ]
        self.lookout.turn()
        for shown in (certificates[0], _x509_again(certificates[0]), certificates[1], certificates[1]):
            upstream._shown = shown
            self.lookout.turn()
        self.assertEqual(self.told(), [("certificate", "web", "https://nas.lan", 1)])

    def test_a_listener_that_shows_another_certificate(self) -> None:
        first, second = server_certificate(), authority().issue("other.lan", "192.0.2.6")
        file = Path(self.mktemp())
        file.write_bytes(first.cert.read_bytes())
        config = model.TcpForward(
            name="db",
            listen=(ANY_PORT,),
            tls=model.ServerTls(cert=file, key=first.key),
            upstreams=tcp_upstreams(("nas.lan", 1)),
        )
        self._started(TcpForwardService(self.around.environment, config))
        self.lookout.turn()
        file.write_bytes(second.cert.read_bytes())
        self.lookout.turn()
        self.lookout.turn()
        (one,) = self.watched.timeline
        self.assertEqual((one.kind, one.listener, one.upstream), ("certificate", "db", None))
        self.assertIn("other.lan", one.text)


def _x509(path: Path) -> Any:
    from OpenSSL import crypto

    return crypto.load_certificate(crypto.FILETYPE_PEM, path.read_bytes())


def _x509_again(shown: Any) -> Any:
    """As the next connection has it."""
    from OpenSSL import crypto

    return crypto.load_certificate(crypto.FILETYPE_ASN1, crypto.dump_certificate(crypto.FILETYPE_ASN1, shown))
