"""The status page and its neighbours on a live relay, asked as programs ask."""

from __future__ import annotations

import json
import selectors
import signal
import socket
import time
from http.client import HTTPConnection
from threading import Event, Thread
from typing import Any, BinaryIO

from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from tests.support.blocking import Peer
from tests.support.browser import until
from tests.support.progress import PATIENCE
from tests.support.relay import Relay
from tests.support.servers import HttpOrigin, TcpServer
from tests.support.tls import authority


class AdminTestCase(SynchronousTestCase):
    def start(self, text: str) -> Relay:
        relay = Relay(text).start()
        self.addCleanup(relay.stop)
        return relay

    def ask(self, port: int, path: str, **fields: str) -> tuple[int, dict[str, str], bytes]:
        """Status, fields with lower-case names, and content."""
        connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        self.addCleanup(connection.close)
        connection.request("GET", path, headers=fields)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    def watch(self, port: int, path: str = "/events") -> socket.socket:
        """A reader of the events, who has not read any."""
        stream = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.addCleanup(stream.close)
        stream.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return stream


class FigureTests(AdminTestCase):
    def setUp(self) -> None:
        self.origin = HttpOrigin(tls=authority().issue("lan-host.test")).start()
        self.addCleanup(self.origin.stop)
        self.echo = TcpServer("echo").start()
        self.addCleanup(self.echo.stop)
        self.relay = self.start(
            f"""
            admin: {{listen: "127.0.0.1:0"}}
            listeners:
              web:
                type: reverse-proxy
                listen: 127.0.0.1:0
                upstream:
                  url: "{self.origin.lan_url}"
                  address: "{self.origin.address}"
                  tls: {{ca: "{authority().root}"}}
              db: {{type: tcp-forward, listen: "127.0.0.1:0", upstream: "tcp://{self.echo.address}"}}
            """
        )
        self.admin = self.relay.port("admin")

    def value(self, name: str, **labels: str) -> float:
        """The sum of all samples with at least these labels."""
        status, fields, body = self.ask(self.admin, "/metrics")
        self.assertEqual((status, fields["content-type"]), (200, "text/plain; version=0.0.4; charset=utf-8"))
        return sum(
            sample.value
            for metric in text_string_to_metric_families(body.decode())
            for sample in metric.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def test_requests_and_streams_are_counted(self) -> None:
        web = self.relay.port("web")
        for path, expected in (("/bytes/1000", 200), ("/status/404", 404), ("/bytes/1000", 200)):
            self.assertEqual(self.ask(web, path)[0], expected)
        with socket.create_connection(("127.0.0.1", self.relay.port("db")), timeout=PATIENCE) as client:
            client.sendall(b"x" * 5000)
            got = b""
            while len(got) < 5000:
                got += client.recv(5000)
            until(lambda: self.value("lanrelay_sent_bytes_total", listener="db") == 5000)
            self.assertEqual(self.value("lanrelay_received_bytes_total", listener="db"), 5000)
            self.assertEqual(self.value("lanrelay_connections_open", listener="db"), 1)
            self.assertEqual(self.value("lanrelay_upstream_connections_in_use", listener="db"), 1)
        until(lambda: self.value("lanrelay_sessions_total", listener="db") == 1)
        self.assertEqual(self.value("lanrelay_sent_bytes_total", listener="db"), 5000)
        self.assertEqual(self.value("lanrelay_requests_total", listener="web", code="200"), 2)
        self.assertEqual(self.value("lanrelay_requests_total", listener="web", code="404"), 1)
        self.assertEqual(self.value("lanrelay_request_duration_seconds_count", listener="web"), 3)
        until(lambda: self.value("lanrelay_upstream_up", listener="web") == 1)
        self.assertGreater(
            self.value("lanrelay_certificate_expiry_timestamp_seconds", listener="web"), time.time()
        )
        self.assertGreater(self.value("process_resident_memory_bytes"), 1e7)

    def test_a_dial_that_fails_has_its_word(self) -> None:
        self.origin.stop()
        self.assertEqual(self.ask(self.relay.port("web"), "/")[0], 502)
        count = self.value("lanrelay_dial_failures_total", listener="web", error="connection_refused")
        self.assertEqual(count, 1)
        until(lambda: self.value("lanrelay_upstream_up", listener="web") == 0, within=PATIENCE)
        status, _, body = self.ask(self.admin, "/readyz")
        self.assertEqual(status, 503)
        self.assertIn("connection_refused", json.loads(body)["reasons"][0])
        (failure,) = json.loads(self.ask(self.admin, "/status.json")[2])["failures"]
        self.assertEqual(
            (failure["listener"], failure["error"], failure["status"]), ("web", "connection_refused", 502)
        )
        self.assertIn("Start the program", failure["detail"])

    def test_what_is_open_while_a_reload_replaces_it(self) -> None:
        stream = self.watch(self.admin)
        file = stream.makefile("rb")
        self.addCleanup(file.close)
        while not file.readline().startswith(b"data: "):
            pass
        with socket.create_connection(("127.0.0.1", self.relay.port("db")), timeout=PATIENCE):
            until(lambda: self.value("lanrelay_connections_open", listener="db") == 1)
            text = self.relay.config.read_text()
            self.relay.config.write_text(text.replace("tcp-forward,", "tcp-forward, max_connections: 100,"))
            self.relay.process.send_signal(signal.SIGHUP)
            until(lambda: self.value("lanrelay_connections_max", listener="db") == 100)
            self.assertEqual(self.value("lanrelay_connections_open", listener="db"), 1)
            self.assertEqual(self.value("lanrelay_listener_up", listener="db"), 1)
            self.relay.config.write_text("listeners: nonsense")
            self.relay.process.send_signal(signal.SIGHUP)
            until(lambda: self.value("lanrelay_config_last_reload_successful") == 0)
            seen = b""
            while b"refused" not in seen:
                seen = file.readline()
            self.assertIn(b'"reloads"', seen)
            document = json.loads(self.ask(self.admin, "/status.json")[2])
            self.assertEqual([one["ok"] for one in document["reloads"]], [False, True])
            self.assertIn("db", [one["name"] for one in document["listeners"] if one["draining"]])


class EventTests(AdminTestCase):
    def setUp(self) -> None:
        self.echo = TcpServer("echo").start()
        self.addCleanup(self.echo.stop)
        self.relay = self.start(
            f"""
            admin: {{listen: "127.0.0.1:0"}}
            listeners:
              db: {{type: tcp-forward, listen: "127.0.0.1:0", upstream: "tcp://{self.echo.address}"}}
            """
        )
        self.admin = self.relay.port("admin")

    def test_a_stop_does_not_wait_for_those_who_look(self) -> None:
        readers = [self.watch(self.admin) for _ in range(3)]
        for reader in readers:
            self.assertTrue(reader.recv(1000))
        self.relay.stop()

    def test_it_tells_what_the_documents_tell(self) -> None:
        stream = self.watch(self.admin, "/events?requests=db").makefile("rb")
        self.addCleanup(stream.close)

        def next_of(kind: str) -> Any:
            while stream.readline().strip() != f"event: {kind}".encode():
                pass
            return json.loads(stream.readline().partition(b"data: ")[2])

        while not stream.readline().startswith(b"data: "):
            pass  # all that there is at first
        with socket.create_connection(("127.0.0.1", self.relay.port("db")), timeout=PATIENCE) as client:
            client.sendall(b"x")
            self.assertEqual(client.recv(1), b"x")
        told = next_of("request")
        (kept,) = json.loads(self.ask(self.admin, "/requests.json?listener=db")[2])["requests"]
        self.assertEqual((told, told["bytes"], told["listener"]), (kept, 1, "db"))
        for text, kind in ((self.relay.config.read_text(), "reloaded"), ("listeners: nonsense", "refused")):
            self.relay.config.write_text(text)
            self.relay.process.send_signal(signal.SIGHUP)
            happened = next_of("happened")
            self.assertEqual(happened["kind"], kind)
            events = json.loads(self.ask(self.admin, "/status.json")[2])["events"]
            self.assertEqual((events[0]["kind"], events[-1]), ("started", happened))

    def test_there_is_room_for_others_when_many_look(self) -> None:
        for _ in range(16):
            self.watch(self.admin).recv(1000)
        status, fields, _ = self.ask(self.admin, "/events")
        self.assertEqual((status, fields["retry-after"]), (503, "10"))
        self.assertEqual(self.ask(self.admin, "/metrics")[0], 200)


class ElsewhereTests(AdminTestCase):
    def relay(self, **admin: Any) -> int:
        settings = json.dumps({"listen": "127.0.0.1:0", **admin})
        relay = self.start(f"{{admin: {settings}, listeners: {{p: {{type: connect-proxy, listen: 0}}}}}}")
        return relay.port("admin")

    def test_a_name_that_is_listed_is_let_in_and_no_other(self) -> None:
        port = self.relay(hosts="relay.lan")
        for host, expected in (
            ("relay.lan:28081", 200),
            ("localhost", 200),
            ("127.0.0.1", 200),
            ("evil.example", 421),
        ):
            for path in ("/", "/metrics", "/healthz", "/status.json"):
                self.assertEqual(self.ask(port, path, Host=host)[0], expected, host)

    def test_clients_that_are_not_listed_are_closed(self) -> None:
        port = self.relay(clients="192.0.2.1")
        with self.assertRaises(OSError):
            self.ask(port, "/healthz")

    def test_another_page_is_refused(self) -> None:
        port = self.relay()
        for path in ("/", "/metrics", "/events", "/status.json"):
            self.assertEqual(self.ask(port, path, Origin="https://evil.example")[0], 403)
            self.assertEqual(self.ask(port, path, Origin="null")[0], 403)


REFUSED = b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"
SAYING = (
    REFUSED,
    b"GET",
    b"",
    b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /wp-login.php HTTP/1.1\r\nHost: localhost\r\n\r\n",
)


class Holder(Thread):
    """So many clients say something, hold their connections, and come again when they are closed."""

    def __init__(self, port: int, saying: bytes, count: int) -> None:
        super().__init__(daemon=True)
        self._port, self._saying, self._count = port, saying, count
        self._selector = selectors.DefaultSelector()
        self.over = Event()
        self.there = Event()

    def run(self) -> None:
        for _ in range(self._count):
            self._come()
        self.there.set()
        while not self.over.is_set():
            for key, _ in self._selector.select(0.05):
                sock: Any = key.fileobj
                try:
                    if sock.recv(65536):
                        continue
                except OSError:
                    pass
                self._selector.unregister(sock)
                sock.close()
                self._come()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()

    def _come(self) -> None:
        sock = socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE)
        self._selector.register(sock, selectors.EVENT_READ)
        try:
            sock.sendall(self._saying)
        except OSError:
            pass  # it was closed meanwhile, which is told by the next look


class CrowdTests(AdminTestCase):
    """200 clients who want all its places."""

    transport = "own"

    def start(self, text: str) -> Relay:
        relay = Relay(text, environ={"LANRELAY_TRANSPORT": self.transport}).start()
        self.addCleanup(relay.stop)
        return relay

    def check(self, saying: bytes) -> None:
        relay = self.start(
            '{admin: {listen: "127.0.0.1:0"}, listeners: {p: {type: connect-proxy, listen: 0}}}'
        )
        port = relay.port("admin")
        crowd = Holder(port, saying, 200)
        crowd.start()
        self.addCleanup(crowd.join, 20)
        self.addCleanup(crowd.over.set)
        self.assertTrue(crowd.there.wait(PATIENCE))
        for _ in range(6):
            self.assertEqual(self.ask(port, "/healthz")[0], 200, saying)
        crowd.over.set()

    def test_a_monitor_gets_its_answer_whatever_they_say(self) -> None:
        for saying in SAYING:
            self.check(saying)

    def test_a_refusal_ends_the_connection(self) -> None:
        relay = self.start(
            '{admin: {listen: "127.0.0.1:0"}, listeners: {p: {type: connect-proxy, listen: 0}}}'
        )
        client = Peer.to(relay.port("admin")).send(REFUSED * 2)
        self.addCleanup(client.close)
        answers = client.rest()
        self.assertTrue(answers.startswith(b"HTTP/1.1 421 "), answers)
        self.assertEqual(answers.count(b"HTTP/1.1 421 "), 1)
        self.assertIn(b"\r\nConnection: close\r\n", answers)

    def test_those_who_watch_keep_their_places(self) -> None:
        relay = self.start(
            '{admin: {listen: "127.0.0.1:0"}, listeners: {p: {type: connect-proxy, listen: "127.0.0.1:0"}}}'
        )
        port = relay.port("admin")
        told = self.watch(port).makefile("rb")
        self.addCleanup(told.close)
        self.news(told)
        crowd = Holder(port, b"", 200)
        crowd.start()
        self.addCleanup(crowd.join, 20)
        self.addCleanup(crowd.over.set)
        self.assertTrue(crowd.there.wait(PATIENCE))
        self.assertEqual(self.ask(port, "/healthz")[0], 200)
        self.addCleanup(socket.create_connection(("127.0.0.1", relay.port("p")), timeout=PATIENCE).close)
        self.news(told)

    def news(self, told: BinaryIO) -> None:
        """The next piece of it."""
        while not (line := told.readline()).startswith(b"data: "):
            self.assertTrue(line, "it was closed")


class TwistedCrowdTests(CrowdTests):
    """The same with Twisted's transports, which read later what came with the connection."""

    transport = "twisted"
