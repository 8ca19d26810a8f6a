"""An OAuth login through the relay: the official SDK's client, its server and its authorization server."""

from __future__ import annotations

import asyncio
import logging
import re
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp import Client
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider, TokenStorage
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from mcp.types import TextContent
from pydantic import AnyUrl
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from lanrelay.cli.authority import Authority
from tests.support.progress import LIMIT, PATIENCE
from tests.support.relay import Relay
from tests.support.servers import LAN_NAME, LoginServer

CALLBACK = "http://127.0.0.1:33418/callback"


class Storage(TokenStorage):
    """In memory."""

    def __init__(self) -> None:
        self.tokens: OAuthToken | None = None
        self.client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


class Browser:
    """
    A person who logs in: follows redirects, sends the form, and stops at the client's callback.

    @ivar seen: every URL that was visited.
    """

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._callback = ""

    async def open(self, url: str) -> None:
        async with httpx2.AsyncClient(trust_env=False) as client:
            answer = await self._visit(client, "GET", url)
            page = self.seen[-1]
            login = re.search(r'name=login value="(\w+)"', answer.text)
            assert login is not None, answer.text
            await self._visit(
                client, "POST", page, data={"login": login[1]}, headers={"Origin": _origin(page)}
            )

    async def _visit(self, client: httpx2.AsyncClient, method: str, url: str, **keys: Any) -> httpx2.Response:
        while True:
            self.seen.append(url)
            answer = await client.request(method, url, **keys)
            if not answer.is_redirect:
                assert answer.status_code == 200, answer.text
                return answer
            url = answer.headers["location"]
            if url.startswith(CALLBACK):
                self._callback = url
                return answer
            method, keys = "GET", {}

    async def result(self) -> AuthorizationCodeResult:
        query = parse_qs(urlsplit(self._callback).query)
        return AuthorizationCodeResult(
            code=query["code"][0], state=query["state"][0], iss=query.get("iss", [None])[0]
        )


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


class LoginTests(TestCase):
    timeout = LIMIT

    def serve(self, listener: str) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        authority = Authority(Path(folder.name))
        self.server = LoginServer(tls=authority.issue(LAN_NAME)).start()
        self.addCleanup(self.server.stop)
        upstream = (
            f"{{url: {self.server.lan_url}, address: {self.server.address}, tls: {{ca: {authority.root}}}}}"
        )
        self.relay = Relay(
            f"""
            listeners:
              reverse: {{type: reverse-proxy, listen: 127.0.0.1:0, {listener.replace("UPSTREAM", upstream)}}}
            """
        ).start()
        self.addCleanup(self.relay.stop)
        for name in ("mcp", "httpx2", "httpcore2"):
            logging.getLogger(name).setLevel(logging.CRITICAL)

    def in_thread(self, coroutine: Coroutine[Any, Any, None]) -> Deferred[None]:
        return deferToThread(asyncio.run, coroutine)

    async def log_in(self, path: str) -> None:
        base = f"http://localhost:{self.relay.port('reverse')}"
        url, browser, storage = base + path, Browser(), Storage()
        auth = OAuthClientProvider(
            url,
            OAuthClientMetadata(client_name="test", redirect_uris=[AnyUrl(CALLBACK)]),
            storage,
            redirect_handler=browser.open,
            callback_handler=browser.result,
        )
        async with (
            httpx2.AsyncClient(auth=auth, trust_env=False, timeout=PATIENCE) as http,
            Client(streamable_http_client(url, http_client=http), read_timeout_seconds=20) as client,
        ):
            told = await client.call_tool("resource", {})
            assert isinstance(told.content[0], TextContent)
            # The token is bound to the name by which the server knows itself.
            self.assertEqual(told.content[0].text, f"{self.server.lan_url}/mcp")
        self.assertIsNotNone(storage.tokens)
        self.assertGreaterEqual(len(browser.seen), 3)
        for seen in browser.seen:
            self.assertTrue(seen.startswith(base + "/"), seen)
        result = await browser.result()
        self.assertEqual(result.iss, base + path.removesuffix("/mcp"))

    def test_discovery_registration_login_and_token(self) -> Deferred[None]:
        self.serve("upstream: UPSTREAM")
        return self.in_thread(self.log_in("/mcp"))

    def test_under_a_stripped_prefix(self) -> Deferred[None]:
        self.serve("routes: [{path: /lan, strip_prefix: true, upstream: UPSTREAM}]")
        return self.in_thread(self.log_in("/lan/mcp"))

    def test_without_the_rewrite_there_is_no_login(self) -> Deferred[None]:
        """The client finds that it is sent to another server than it asked."""

        self.serve("upstream: UPSTREAM, rewrite: [location, cookies, endpoint]")
        trying = self.in_thread(self.log_in("/mcp"))
        trying.addCallbacks(lambda _: self.fail("there was one"), self._refused)
        return trying

    def _refused(self, failure: Failure) -> Failure | None:
        # The SDK's task groups wrap what went wrong; our own assertions come as they are.
        return failure if failure.check(AssertionError) else None
