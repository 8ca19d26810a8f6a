"""An MCP server that is restarted while the official SDK's client is in a session with it."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from signal import SIGHUP
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import TextContent
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from lanrelay.cli.authority import Authority
from tests.support.progress import LIMIT, PATIENCE
from tests.support.relay import Relay
from tests.support.servers import LAN_NAME, McpServer


class RecoveryTests(TestCase):
    timeout = LIMIT

    def serve(self, *, recovery: bool) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        authority = Authority(Path(folder.name))
        self.server = McpServer(tls=authority.issue(LAN_NAME)).start()
        self.addCleanup(self.server.stop)
        self.relay = Relay(
            f"""
            listeners:
              reverse:
                type: reverse-proxy
                listen: 127.0.0.1:0
                {"" if recovery else "session_recovery: false"}
                upstream:
                  url: {self.server.lan_url}
                  address: {self.server.address}
                  tls: {{ca: {authority.root}}}
            """
        ).start()
        self.addCleanup(self.relay.stop)
        for name in ("mcp", "httpx2", "httpcore2"):
            logging.getLogger(name).setLevel(logging.CRITICAL)

    def in_thread(self, coroutine: Coroutine[Any, Any, None]) -> Deferred[None]:
        return deferToThread(asyncio.run, coroutine)

    def restart(self) -> None:
        self.server.kill()
        self.server.start()

    def reload(self) -> None:
        text = self.relay.config.read_text()
        self.relay.config.write_text(
            text.replace("type: reverse-proxy", "type: reverse-proxy\n    hosts: a.lan")
        )
        self.relay.process.send_signal(SIGHUP)
        self.relay.wait_for("reloaded: reverse has changed")

    async def talk(self, *happenings: Callable[[], None]) -> None:
        """Call a tool, and again each time when something has happened."""
        url = f"http://localhost:{self.relay.port('reverse')}/mcp"
        async with (
            httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as http,
            Client(
                streamable_http_client(url, http_client=http), mode="legacy", read_timeout_seconds=20
            ) as client,
        ):
            for number, happen in enumerate((lambda: None, *happenings)):
                happen()
                # Several at once: they find the session forgotten together.
                answers = await asyncio.gather(
                    *(client.call_tool("echo", {"text": f"{number} {which}"}) for which in range(4))
                )
                for which, answer in enumerate(answers):
                    assert isinstance(answer.content[0], TextContent)
                    self.assertEqual(answer.content[0].text, f"{number} {which}")

    def test_the_client_goes_on(self) -> Deferred[None]:
        return self.goes_on(self.restart, self.restart)

    def test_a_reload_forgets_no_session(self) -> Deferred[None]:
        """Neither how it began, nor that by now it has two names."""
        return self.goes_on(self.restart, self.reload, self.restart)

    def goes_on(self, *happenings: Callable[[], None]) -> Deferred[None]:
        self.serve(recovery=True)
        talking = self.in_thread(self.talk(*happenings))

        def told(_: None) -> None:
            self.assertEqual(self.relay.log.count("was initialised anew"), 2, self.relay.log)

        return talking.addCallback(told)

    def test_without_it_the_session_is_lost(self) -> Deferred[None]:
        self.serve(recovery=False)
        talking = self.in_thread(self.talk(self.restart, self.restart))
        talking.addCallbacks(lambda _: self.fail("it went on"), self._lost)
        return talking

    def _lost(self, failure: Failure) -> Failure | None:
        return failure if failure.check(AssertionError) else None
