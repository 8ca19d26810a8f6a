"""Three relays behind a real HAProxy, as packaging/haproxy has it; one is killed under load."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from http.client import HTTPConnection, HTTPException, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import urlopen

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.process.support import poll
from tests.support.peers import free_ports
from tests.support.progress import PATIENCE

CHECKOUT = Path(__file__).parents[2]
EXAMPLE = CHECKOUT / "packaging" / "haproxy"

CLIENTS = 6
EACH = 25
"""Requests of every client before the relay is killed, and again after."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *words: object) -> None:
        """A relay that is killed resets its connections."""


class Origin:
    """Counts what it was asked for; a stream of events goes on until C{ended} is set."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.ended = threading.Event()
        origin = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                if self.path == "/events":
                    self.stream()
                    return
                origin.asked[self.path] += 1
                time.sleep(0.003)  # so that some are under way at any moment
                content = self.path.encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.do_GET()

            def stream(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                self.close_connection = True
                try:
                    while not origin.ended.wait(0.02):
                        self.wfile.write(b"data: tick\n\n")
                    self.wfile.write(b"data: end\n\n")
                except OSError:
                    pass  # the relay is gone

            def log_message(self, *words: object) -> None:
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self.ended.set()
        self.server.shutdown()
        self.server.server_close()


class Client(threading.Thread):
    """
    Asks on and on over one connection, every third time by POST.

    @ivar lost: what got no answer of the origin's, and when that was begun.
    """

    def __init__(self, number: int, port: int) -> None:
        super().__init__(daemon=True)
        self.number = number
        self.port = port
        self.count = 0
        self.answered: list[str] = []
        self.lost: list[tuple[str, float]] = []
        self.stopping = False

    def run(self) -> None:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        while not self.stopping:
            method = "POST" if self.count % 3 == 2 else "GET"
            path = f"/{method}/{self.number}/{self.count}"
            begun = time.monotonic()
            try:
                connection.request(method, path, body=b"x" if method == "POST" else None)
                answer = connection.getresponse()
                content = answer.read()
            except (OSError, HTTPException):
                connection.close()
                self.lost.append((path, begun))
            else:
                if (answer.status, content) == (200, path.encode()):
                    self.answered.append(path)
                else:
                    self.lost.append((path, begun))
            self.count += 1
        connection.close()


def whole(stream: HTTPResponse) -> bool:
    """Whether a stream comes to its end."""
    try:
        return stream.read().endswith(b"data: end\n\n")
    except (OSError, HTTPException):
        return False


class ThreeRelaysTests(SynchronousTestCase):
    def setUp(self) -> None:
        haproxy = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
        if haproxy is None:
            raise SkipTest("haproxy is not here")
        self.folder = Path(tempfile.mkdtemp(prefix="lanrelay-test-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.origin = Origin()
        self.addCleanup(self.origin.stop)
        self.front, *ports = free_ports(7)
        self.relays, pages = ports[:3], ports[3:]
        ports_of_relays = {str(28091 + index): str(port) for index, port in enumerate(self.relays)}
        ports_of_pages = {str(28191 + index): str(port) for index, port in enumerate(pages)}
        self.copy("haproxy.cfg", {"28090": str(self.front), **ports_of_relays, **ports_of_pages})
        self.copy(
            "relay.yaml",
            {
                '"127.0.0.1:2819${RELAY}"': '"127.0.0.1:${PAGE}"',
                '"127.0.0.1:2809${RELAY}"': '"127.0.0.1:${PORT}"',
                "127.0.0.1:8000": f"127.0.0.1:{self.origin.port}",
            },
        )
        self.pages = pages
        self.running = [self.relay(index) for index in range(3)]
        for index in range(3):
            poll(lambda index=index: "ready in" in self.log(index), "the relay")  # type: ignore[misc]
        self.started([haproxy, "-db", "-f", "haproxy.cfg"], {})
        poll(lambda: self.get("/ready") == b"/ready", "HAProxy")

    def copy(self, name: str, instead: dict[str, str]) -> None:
        """The example as it is, but for its ports."""
        text = (EXAMPLE / name).read_text()
        for before, after in instead.items():
            self.assertIn(before, text)
            text = text.replace(before, after)
        (self.folder / name).write_text(text)

    def relay(self, index: int) -> subprocess.Popen[bytes]:
        named = {
            "RELAY": str(index + 1),
            "PORT": str(self.relays[index]),
            "PAGE": str(self.pages[index]),
            "PYTHONPATH": str(CHECKOUT),
        }
        command = [sys.executable, "-m", "lanrelay.cli.main", "run", "-c", "relay.yaml"]
        return self.started(command, named, f"log-{index}")

    def started(
        self, command: list[str], variables: dict[str, str], log: str = "log"
    ) -> subprocess.Popen[bytes]:
        with (self.folder / log).open("ab") as opened:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**os.environ, **variables},
                stdin=subprocess.DEVNULL,
                stdout=opened,
                stderr=subprocess.STDOUT,
            )

        def end() -> None:
            process.kill()
            process.wait()

        self.addCleanup(end)
        return process

    def log(self, index: int) -> str:
        return (self.folder / f"log-{index}").read_text()

    def get(self, path: str) -> bytes:
        connection = HTTPConnection("127.0.0.1", self.front, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            return connection.getresponse().read()
        except (OSError, HTTPException):
            return b""
        finally:
            connection.close()

    def streams(self) -> list[HTTPResponse]:
        """Of events, spread over the relays."""
        found = []
        for _ in range(3):
            connection = HTTPConnection("127.0.0.1", self.front, timeout=PATIENCE)
            self.addCleanup(connection.close)
            connection.request("GET", "/events")
            found.append(connection.getresponse())
            self.assertEqual(found[-1].readline(), b"data: tick\n")
        return found

    def test_one_is_killed_under_load(self) -> None:
        streams = self.streams()
        with urlopen(f"http://127.0.0.1:{self.pages[1]}/status.json", timeout=PATIENCE) as page:
            sessions = json.load(page)["sessions"]
        theirs = sum(session["path"] == "/events" for session in sessions)
        self.assertLess(theirs, len(streams))
        clients = [Client(number, self.front) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        self.reach(clients, EACH)
        victim = self.running[1]
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        killed = time.monotonic()
        self.reach(clients, max(client.count for client in clients) + EACH)
        for client in clients:
            client.stopping = True
        for client in clients:
            client.join(PATIENCE)
            self.assertFalse(client.is_alive())
        lost = [one for client in clients for one in client.lost]
        answered = [one for client in clients for one in client.answered]
        self.assertGreater(len(answered), CLIENTS * 2 * EACH - CLIENTS)
        # What was not begun when it died is not lost: it went to another one.
        self.assertEqual([path for path, begun in lost if begun > killed], [])
        self.assertEqual([path for path, _ in lost if path.startswith("/GET/")], [])
        self.assertLessEqual(len(lost), CLIENTS, "each client had one under way")
        # And a POST was made once.
        made = {path: times for path, times in self.origin.asked.items() if path.startswith("/POST/")}
        self.assertEqual([path for path, times in made.items() if times > 1], [])
        self.assertLessEqual({path for path in answered if path.startswith("/POST/")}, set(made))
        # The streams of the others go on to their end.
        self.origin.ended.set()
        ends = [whole(stream) for stream in streams]
        self.assertEqual(ends.count(False), theirs)

    def test_one_that_comes_back_is_used_again(self) -> None:
        self.running[1].kill()
        self.running[1].wait()
        before = self.log(1).count("[access]")
        for number in range(6):
            self.assertEqual(self.get(f"/{number}"), b"/%d" % number)
        self.relay(1)
        poll(lambda: self.get("/again") == b"/again" and self.log(1).count("[access]") > before, "the relay")
        # The relay judged, and logged, the client that HAProxy announced.
        self.assertRegex(self.log(1), r'\[access\] lan-host 127\.0\.0\.1:\d+ "GET /again" 200')

    def reach(self, clients: list[Client], count: int) -> None:
        poll(lambda: all(client.count >= count for client in clients), f"{count} requests of each")
