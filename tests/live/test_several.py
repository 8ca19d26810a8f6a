"""Several upstreams, of which some come and go, through the real relay."""

from __future__ import annotations

import http.client
import random
import signal
import time
from collections import Counter
from threading import Event, Thread

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from lanrelay.upstream.health import FIRST
from tests.support.progress import LIMIT, PATIENCE
from tests.support.relay import Relay
from tests.support.servers import HttpOrigin

REQUESTS = 1000
CLIENTS = 10
RETRY = 2.9
"""Seconds: a request that has to wait for an upstream is tried again for 3, by default."""

INDENT = "\n" + 16 * " "


class Client(Thread):
    """
    Makes requests one after another on a connection that is kept alive.

    @ivar outcomes: how often each status came, or what else.
    @ivar bodies: of the answers that were not 200.
    @ivar cut: answers that had begun and were cut, which nobody can mend.
    """

    def __init__(self, port: int, requests: int) -> None:
        super().__init__(daemon=True)
        self._port, self._requests = port, requests
        self.outcomes: Counter[object] = Counter()
        self.bodies: list[bytes] = []
        self.cut = 0

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        for _ in range(self._requests):
            # Half of them wait for their answer for a while, and are likely to see a kill.
            path = random.choice(("/late/80", "/bytes/20000"))
            try:
                connection.request("GET", path)
                response = connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                self.outcomes[type(error).__name__] += 1
                connection.close()
                continue
            try:
                body = response.read()
            except (OSError, http.client.HTTPException):
                self.cut += 1
                connection.close()
                continue
            self.outcomes[response.status] += 1
            if response.status != 200:
                self.bodies.append(body)
            time.sleep(0.01)
        connection.close()


class SeveralTestCase(TestCase):
    timeout = LIMIT

    def setUp(self) -> None:
        self.first = HttpOrigin().start()
        self.addCleanup(self.first.stop)
        self.second = HttpOrigin().start()
        self.addCleanup(self.second.stop)

    def start(self, *settings: str, kind: str = "reverse-proxy", scheme: str = "http") -> int:
        self.relay = Relay(
            f"""
            listeners:
              several:
                type: {kind}
                listen: 127.0.0.1:0
                upstream: ["{scheme}://{self.first.address}", "{scheme}://{self.second.address}"]
                {INDENT.join(settings)}
            """
        ).start()
        self.addCleanup(self.relay.stop)
        return self.relay.port("several")


class Answer:
    """To one request on a connection of its own; blocks."""

    def __init__(self, port: int, method: str = "GET", path: str = "/seen") -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        begun = time.monotonic()
        connection.request(method, path, b"{}" if method == "POST" else None)
        response = connection.getresponse()
        self.status = response.status
        self.headers = response.headers
        self.body = response.read().decode()
        self.seconds = time.monotonic() - begun
        connection.close()


class KilledTests(SeveralTestCase):
    """1,000 requests while one of two upstreams is killed and restarted every second."""

    def storm(self, port: int) -> tuple[list[Client], int]:
        clients = [Client(port, REQUESTS // CLIENTS) for _ in range(CLIENTS)]
        over = Event()
        kills = 0

        def kill_and_restart() -> None:
            nonlocal kills
            while not over.wait(0.4):
                self.first.kill()
                kills += 1
                over.wait(0.2)
                self.first.start()

        killer = Thread(target=kill_and_restart, daemon=True)
        killer.start()
        for client in clients:
            client.start()
        for client in clients:
            client.join(PATIENCE)
        over.set()
        killer.join(PATIENCE)
        return clients, kills

    async def check(self, *settings: str) -> None:
        clients, kills = await deferToThread(self.storm, self.start(*settings))
        outcomes: Counter[object] = sum((client.outcomes for client in clients), Counter())
        cut = sum(client.cut for client in clients)
        self.assertGreaterEqual(kills, 4)
        self.assertEqual(set(outcomes), {200}, (outcomes, [client.bodies[:1] for client in clients]))
        self.assertEqual(outcomes[200] + cut, REQUESTS)
        self.assertLess(cut, REQUESTS // 100)

    def test_first(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.check("balance: first"))

    def test_round_robin(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.check("balance: round-robin"))

    def test_least_connections(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.check("balance: least-connections", "health: off"))


class OrderTests(SeveralTestCase):
    def served_by(self, port: int, count: int) -> list[int]:
        """How many requests each origin has seen of C{count}; blocks."""
        for _ in range(count):
            self.assertEqual(Answer(port).status, 200)
        return [
            int(Answer(origin.port, path="/counters").body.split('"requests": ')[1].split(",")[0]) - 1
            for origin in (self.first, self.second)
        ]

    async def test_first_is_the_first(self) -> None:
        port = self.start("balance: first")
        self.assertEqual(await deferToThread(self.served_by, port, 6), [6, 0])

    async def test_round_robin_is_even(self) -> None:
        port = self.start("balance: round-robin")
        self.assertEqual(await deferToThread(self.served_by, port, 6), [3, 3])


class GoneTests(SeveralTestCase):
    def wait(self, pattern: str) -> Deferred[object]:
        return deferToThread(self.relay.wait_for, pattern)

    async def test_a_failed_connect_moves_on_within_the_same_request(self) -> None:
        port = self.start("health: off")
        self.first.kill()
        for method in ("GET", "POST"):
            answer = await deferToThread(Answer, port, method)
            self.assertEqual(answer.status, 200)
            self.assertLess(answer.seconds, RETRY)
        self.assertIn(f"http://{self.second.address}", self.relay.log)

    async def test_a_forward_moves_on_too(self) -> None:
        port = self.start("health: off", kind="tcp-forward", scheme="tcp")
        self.first.kill()
        answer = await deferToThread(Answer, port)
        self.assertEqual(answer.status, 200)

    async def test_all_down_is_said_at_once_and_over_within_one_down_interval(self) -> None:
        port = self.start("health: {down_interval: 500ms}")
        self.assertEqual((await deferToThread(Answer, port)).status, 200)
        self.first.kill()
        self.second.kill()
        failed = await deferToThread(Answer, port)  # nobody knows yet: it is tried for retry.for at most
        self.assertIn(failed.status, (502, 503))
        await self.wait(rf"{self.first.address} is down")
        await self.wait(rf"{self.second.address} is down")
        answer = await deferToThread(Answer, port)
        self.assertEqual((answer.status, answer.headers["Retry-After"]), (503, "2"))
        self.assertIn("error=destination_unavailable", answer.headers["Proxy-Status"])
        self.assertIn("all 2 upstreams are down", answer.body.lower())
        self.assertLess(answer.seconds, RETRY)
        await deferToThread(self.second.start)
        back = time.monotonic()
        await self.wait(rf"{self.second.address} is up again")
        self.assertLess(time.monotonic() - back, 10)  # one that is up is asked every 15 s
        self.assertEqual((await deferToThread(Answer, port)).status, 200)

    async def test_one_that_hangs_is_left_out_after_its_checks_have_failed(self) -> None:
        port = self.start("health: {path: /seen, interval: 300ms, down_interval: 200ms, timeout: 400ms}")
        self.first.freeze()
        self.addCleanup(self.first.thaw)
        await self.wait(rf"{self.first.address} is down: .*no answer to GET /seen")
        answer = await deferToThread(Answer, port)
        self.assertEqual(answer.status, 200)
        self.assertLess(answer.seconds, 10)  # it does not answer at all
        self.first.thaw()
        await self.wait(rf"{self.first.address} is up again")


class SingleTests(TestCase):
    timeout = LIMIT

    def setUp(self) -> None:
        self.origin = HttpOrigin().start()
        self.addCleanup(self.origin.stop)

    def start(self, *settings: str) -> int:
        self.relay = Relay(
            f"""
            listeners:
              single:
                type: reverse-proxy
                listen: 127.0.0.1:0
                upstream: {self.origin.url}
                {INDENT.join(settings)}
            """
        ).start()
        self.addCleanup(self.relay.stop)
        return self.relay.port("single")

    async def test_a_single_one_is_always_tried_though_it_is_known_to_be_down(self) -> None:
        port = self.start("health: {interval: 1h, down_interval: 1h, fall: 1}", "retry: off")
        self.origin.kill()
        answer = await deferToThread(Answer, port)
        self.assertEqual(answer.status, 502)
        self.assertIn("connection_refused", answer.headers["Proxy-Status"])
        await deferToThread(self.relay.wait_for, "is down")
        await deferToThread(self.origin.start)
        self.assertEqual((await deferToThread(Answer, port)).status, 200)

    async def test_a_request_is_held_while_it_restarts(self) -> None:
        port = self.start("retry: {for: 15s}")
        for method in ("GET", "POST"):
            self.origin.kill()
            asking = deferToThread(Answer, port, method)
            await deferToThread(time.sleep, 0.5)
            await deferToThread(self.origin.start)
            answer = await asking
            self.assertEqual(answer.status, 200)
            self.assertGreater(answer.seconds, 0.4)

    async def test_after_retry_for_it_is_said_what_is_wrong(self) -> None:
        port = self.start("retry: {for: 200ms}")
        self.origin.kill()
        answer = await deferToThread(Answer, port)
        self.assertEqual(answer.status, 502)
        self.assertGreater(answer.seconds, 0.2)
        self.assertLess(answer.seconds, RETRY)


class StoppedTests(TestCase):
    timeout = LIMIT

    async def test_a_relay_that_was_stopped_drops_its_idle_connections_and_checks_at_once(self) -> None:
        origin = HttpOrigin().start()
        self.addCleanup(origin.stop)
        relay = Relay(
            f"""
            listeners:
              web:
                type: reverse-proxy
                listen: 127.0.0.1:0
                upstream: {origin.url}
                pool: {{idle: 10m}}
                health: {{interval: 1h, path: /counters}}
            """
        ).start()
        self.addCleanup(relay.stop)
        port = relay.port("web")

        def connection() -> str:
            return Answer(port).body.split('"connection": ')[1].split(",")[0]

        before = await deferToThread(connection)
        self.assertEqual(await deferToThread(connection), before)
        await deferToThread(time.sleep, FIRST + 0.2)  # the first check is none of those that are counted
        requests = (await deferToThread(Answer, origin.port, "GET", "/counters")).body
        relay.process.send_signal(signal.SIGSTOP)
        try:
            await deferToThread(time.sleep, 5.5)
        finally:
            relay.process.send_signal(signal.SIGCONT)
        await deferToThread(relay.wait_for, r"\d+ s have passed unseen")
        self.assertNotEqual(await deferToThread(connection), before)
        await deferToThread(time.sleep, 0.3)
        after = (await deferToThread(Answer, origin.port, "GET", "/counters")).body
        seen = [int(body.split('"requests": ')[1].split(",")[0]) for body in (requests, after)]
        self.assertEqual(seen[1] - seen[0], 3)  # the check, the request, and this question
        self.assertEqual(relay.log.count("have passed unseen"), 1)
