"""
Whatever the target does: each request has one answer, no call is made twice, and the end comes in time.

The seeds are fixed, so that a failure can be looked at; more of them were run when this was written.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.bridge.messages import Ask
from tests.bridge.scene import (
    CONFIRMATION,
    CUT,
    HELLO,
    JSON,
    STREAM,
    Json,
    LegacyServer,
    Memory,
    Scene,
    body_of,
    error,
    field,
    request,
)
from tests.bridge.servers import ModernServer, SseServer, modern

Server = LegacyServer | ModernServer | SseServer

METHODS = ("ping", "tools/list", "tools/call", "resources/read", "prompts/get", "logging/setLevel")
HTML = b"<html><title>Nginx</title>"


class Chaos:
    """A server that fails in every way while C{is_wild}; calls that it runs are counted all the same."""

    def __init__(self, inner: Server, chance: random.Random) -> None:
        self.inner = inner
        self.chance = chance
        self.is_wild = True
        self.later: list[Ask] = []

    def __call__(self, scene: Scene, ask: Ask) -> None:
        chance = self.chance
        kind = chance.randrange(16) if self.is_wild else 15
        if ask.method == "DELETE" or (isinstance(self.inner, SseServer) and kind in (7, 10)):
            kind = 15  # an acknowledged post without an answer may as well be work that takes its time
        if field(ask, "Last-Event-ID") == "e1":
            scene.answer(ask, None, 405)
            return
        if kind == 0:
            scene.fail(ask)
        elif kind == 1:
            scene.fail(ask, CUT)
        elif kind == 2:
            self._run_and_cut(scene, ask)
        elif kind == 3:
            scene.answer(ask, HTML, 200, (("Content-Type", "text/html"),))
        elif kind == 4:
            scene.answer(
                ask, HTML, chance.choice([400, 404, 500, 502, 503]), (("Content-Type", "text/html"),)
            )
        elif kind == 5 and isinstance(self.inner, LegacyServer):
            self.inner.restart()
            self.inner(scene, ask)
        elif kind == 6:
            status: Any = (*JSON, ("Proxy-Status", "lanrelay; error=connection_refused"))
            scene.answer(ask, error(None, 1, "refused"), 502, status)
        elif kind == 7:
            scene.head(ask, 200, STREAM)
            if ask.number in scene.asks:
                scene.event(ask, b"", id="e1", retry=chance.choice([None, 10, 1000]))
            if ask.number in scene.asks:
                scene.event(ask, {"jsonrpc": "2.0", "method": "notifications/message", "params": {}})
            if ask.number in scene.asks:
                chance.choice([scene.finish, lambda ask: scene.fail(ask, CUT)])(ask)
        elif kind == 8:
            self.later.append(ask)
        elif kind == 9:
            scene.answer(ask, b"{", 200)
        elif kind == 10:
            scene.answer(ask, None, chance.choice([200, 202, 204]))
        else:
            self.inner(scene, ask)

    def _run_and_cut(self, scene: Scene, ask: Ask) -> None:
        """The worst: it runs, and nobody hears of it."""
        message = body_of(ask)
        if message.get("method") == "tools/call":
            self.inner.executions.append(message["params"])
        scene.fail(ask, CUT)

    def catch_up(self, scene: Scene) -> None:
        later, self.later = self.later, []
        for ask in later:
            if ask.number in scene.asks:
                self.inner(scene, ask)


class ChaosTests(SynchronousTestCase):
    def _play(self, seed: int, server: Server, *, speaks_modern: bool) -> None:
        chance = random.Random(seed)
        chaos = Chaos(server, chance)
        scene = Scene(chaos, remembered=Memory() if chance.random() < 0.5 else None, hold=30)
        chaos.is_wild = chance.random() < 0.5
        scene.say(HELLO)
        scene.pass_time(chance.choice([0, 1, 40]))
        if chance.random() < 0.9:
            scene.say(CONFIRMATION)
        chaos.is_wild = True
        wanted: Counter[Any] = Counter({0: 1})
        cancelled = set()
        for number in range(1, 60):
            method = chance.choice(METHODS)
            params: Json = {"name": "add", "arguments": {"n": number}, "uri": "a:b", "level": "info"}
            new = speaks_modern and chance.random() < 0.5
            scene.say(modern(number, method, params) if new else request(number, method, params))
            wanted[number] = 1
            if chance.random() < 0.2:
                cancelled.add(number)
                about = {
                    "jsonrpc": "2.0",
                    "method": "notifications/cancelled",
                    "params": {"requestId": number},
                }
                scene.say(about)
            if chance.random() < 0.3:
                scene.pass_time(chance.choice([0.01, 0.3, 2, 20]))
            if chance.random() < 0.3:
                chaos.catch_up(scene)
        chaos.is_wild = False
        chaos.catch_up(scene)
        scene.pass_time(100)
        answers = Counter(each["id"] for each in scene.heard() if "id" in each and "method" not in each)
        for number, count in answers.items():
            self.assertEqual(count, 1, f"{number} was answered {count} times")
        missing = [each for each in wanted if each not in answers and each not in cancelled]
        self.assertEqual(missing, [], "without an answer")
        runs = Counter(json.dumps(each["arguments"]) for each in server.executions)
        self.assertEqual([each for each, count in runs.items() if count > 1], [], "made twice")
        self.assertEqual(scene.dialogue._talk.requests, {})
        self.assertEqual(scene.dialogue._talk.waiting_bytes, 0)
        self.assertLess(len(scene.asks), 5)
        scene.say(request("last", "ping"))
        scene.pass_time(10)
        self.assertEqual([each.get("id") for each in scene.heard() if "id" in each], ["last"])
        scene.end()
        scene.pass_time(2)
        self.assertTrue(scene.done)

    def test_servers_with_sessions(self) -> None:
        for seed in range(40):
            self._play(
                seed, LegacyServer(streams=seed % 2 == 0, listens=seed % 3 > 0), speaks_modern=seed % 4 == 0
            )

    def test_servers_without(self) -> None:
        for seed in range(40):
            self._play(seed, ModernServer(streams=seed % 2 == 0), speaks_modern=seed % 4 > 0)

    def test_servers_of_the_oldest_kind(self) -> None:
        for seed in range(40):
            self._play(seed, SseServer(), speaks_modern=seed % 4 == 0)
