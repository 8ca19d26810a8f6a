"""NTLM and Negotiate log in a connection: nobody else's requests may travel on it."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from typing import Any, ClassVar
from unittest import skipUnless

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.support.desync import Client
from tests.support.login_origin import LoginOrigin
from tests.support.progress import LIMIT, PATIENCE
from tests.support.relay import Relay


def in_thread(method: Any) -> Any:
    """The test blocks, so it runs beside the reactor."""

    def test(self: Any) -> Deferred[None]:
        return deferToThread(method, self)

    test.__name__ = method.__name__
    test.__doc__ = method.__doc__
    return test


class ConnectionLoginTestCase(TestCase):
    timeout = LIMIT
    keys: ClassVar[str] = ""

    def setUp(self) -> None:
        self.origin = LoginOrigin()
        self.addCleanup(self.origin.close)
        self.relay = Relay(
            f"""
            listeners:
              web:
                type: reverse-proxy
                listen: 127.0.0.1:0
                upstream: http://127.0.0.1:{self.origin.port}
                health: off
                {self.keys}
              proxy:
                type: connect-proxy
                listen: 127.0.0.1:0
            """
        ).start()
        self.addCleanup(self.relay.stop)

    def client(self, listener: str = "web") -> Client:
        client = Client(self.relay.port(listener))
        self.addCleanup(client.close)
        return client

    def ask(
        self, client: Client, path: str = "/", *fields: bytes, method: bytes = b"GET", before: bytes = b""
    ) -> tuple[int, bytes]:
        """One answer, without the number of the origin's connection."""
        client.heard.answers.clear()
        request = b"%b %b%b HTTP/1.1" % (method, before, path.encode())
        client.send(b"\r\n".join([request, b"Host: localhost", *fields, b"", b""]))
        [(status, content)] = client.hear([method]).answers
        self.number = int(content.rpartition(b" ")[2])
        return status, content.partition(b" ")[0]

    def negotiate(self, user: str) -> bytes:
        return b"Authorization: Negotiate " + base64.b64encode(user.encode())

    def curl(self, user: str, *arguments: str) -> bytes:
        command = ["curl", "-q", "--silent", "--show-error", "--max-time", "20", "--ntlm", "-u", f"{user}:pw"]
        environ = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        done = subprocess.run(
            [*command, *arguments], capture_output=True, env=environ, timeout=PATIENCE, check=False
        )
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        return done.stdout

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.relay.port('web')}"


class ReverseProxyTests(ConnectionLoginTestCase):
    def warm(self) -> int:
        """The number of an origin connection that is kept for everybody."""
        client = self.client()
        for _ in range(4):  # so often that their heads are known
            self.assertEqual(self.ask(client, "/open"), (200, b"nobody"))
        return self.number

    @skipUnless(shutil.which("curl"), "curl is not installed")
    @in_thread
    def test_curl_logs_in_and_nobody_else_is_let_in(self) -> None:
        self.warm()
        for user in ("user1", "user2"):
            self.assertRegex(self.curl(user, f"{self.url}/").decode(), rf"\A{user} on \d+\Z")
            client = self.client()
            self.assertEqual(self.ask(client, "/open"), (200, b"nobody"))
            self.assertEqual(self.ask(client), (401, b"nobody"))
        words = self.curl("user3", f"{self.url}/a", f"{self.url}/b").decode()  # and stays logged in
        self.assertRegex(words, r"\Auser3 on (\d+)user3 on \1\Z")

    @in_thread
    def test_one_message_logs_in_and_only_its_own_connection(self) -> None:
        """While the client that has logged in stays, and after it has gone."""
        for leaves in (False, True):
            number = self.warm()
            first = self.client()
            self.assertEqual(self.ask(first, "/", self.negotiate("user1")), (200, b"user1"))
            self.assertEqual(self.number, number)  # it was nobody's
            self.assertEqual(self.ask(first, "/"), (200, b"user1"))
            self.assertEqual(self.ask(first, "/", method=b"POST"), (200, b"user1"))
            self.assertEqual(self.number, number)
            if leaves:
                first.close()
            other = self.client()
            self.assertEqual(self.ask(other, "/open"), (200, b"nobody"))
            self.assertEqual(self.ask(other), (401, b"nobody"))
            self.assertEqual(self.ask(other, "/", self.negotiate("user2")), (200, b"user2"))
            if not leaves:
                self.assertEqual(self.ask(first), (200, b"user1"))

    @in_thread
    def test_who_was_challenged_has_the_connection_for_itself(self) -> None:
        number = self.warm()
        first, other = self.client(), self.client()
        for _ in range(3):
            self.assertEqual(self.ask(first), (401, b"nobody"))
            self.assertEqual(self.number, number)
            self.assertEqual(self.ask(other, "/open"), (200, b"nobody"))
            self.assertNotEqual(self.number, number)


class RecoveringTests(ReverseProxyTests):
    """The same where each exchange may have to look after an MCP session."""

    keys = "session_recovery: true"


class SeveralUpstreamsTests(ConnectionLoginTestCase):
    """A login stays where it began, whosever turn it is."""

    def setUp(self) -> None:
        self.second = LoginOrigin()
        self.addCleanup(self.second.close)
        super().setUp()
        self.relay.stop()
        self.relay = Relay(
            f"""
            listeners:
              web:
                type: reverse-proxy
                listen: 127.0.0.1:0
                upstream: [http://127.0.0.1:{self.origin.port}, http://127.0.0.1:{self.second.port}]
                balance: round-robin
                health: off
            """
        ).start()
        self.addCleanup(self.relay.stop)

    @in_thread
    def test_a_login_stays_where_it_began(self) -> None:
        client = self.client()
        self.assertEqual(self.ask(client, "/", self.negotiate("user1")), (200, b"user1"))
        for _ in range(4):
            self.assertEqual(self.ask(client), (200, b"user1"))
            self.assertEqual(self.ask(self.client()), (401, b"nobody"))

    @skipUnless(shutil.which("curl"), "curl is not installed")
    @in_thread
    def test_curl(self) -> None:
        for _ in range(3):
            self.assertRegex(self.curl("user1", f"{self.url}/").decode(), r"\Auser1 on \d+\Z")


class ForwardProxyTests(ConnectionLoginTestCase):
    @property
    def there(self) -> bytes:
        return b"http://127.0.0.1:%d" % self.origin.port

    @skipUnless(shutil.which("curl"), "curl is not installed")
    @in_thread
    def test_curl_logs_in_through_the_proxy(self) -> None:
        proxy = f"http://127.0.0.1:{self.relay.port('proxy')}"
        url = self.there.decode()
        for user in ("user1", "user2"):
            words = self.curl(user, "-x", proxy, f"{url}/a", f"{url}/b").decode()
            self.assertRegex(words, rf"\A{user} on (\d+){user} on \1\Z")

    @in_thread
    def test_a_challenge_says_that_the_proxy_can_do_it(self) -> None:
        """RFC 4559 section 6."""
        client = self.client("proxy")
        self.assertEqual(self.ask(client, "/", before=self.there), (401, b"nobody"))
        self.assertEqual(client.heard.heads[-1][b"proxy-support"], [b"Session-Based-Authentication"])
        self.assertEqual(self.ask(client, "/open", before=self.there), (200, b"nobody"))
        self.assertNotIn(b"proxy-support", client.heard.heads[-1])

    @in_thread
    def test_a_login_is_for_its_host_and_its_client(self) -> None:
        elsewhere = LoginOrigin()
        self.addCleanup(elsewhere.close)
        client, other = self.client("proxy"), self.client("proxy")
        login = self.negotiate("user1")
        self.assertEqual(self.ask(client, "/", login, before=self.there), (200, b"user1"))
        there = b"http://127.0.0.1:%d" % elsewhere.port
        self.assertEqual(self.ask(client, before=there), (401, b"nobody"))
        self.assertEqual(self.ask(client, before=self.there), (200, b"user1"))
        self.assertEqual(self.ask(client, "/", self.negotiate("user2"), before=there), (200, b"user2"))
        self.assertEqual(self.ask(client, before=self.there), (200, b"user1"))
        self.assertEqual(self.ask(client, before=there), (200, b"user2"))
        self.assertEqual(self.ask(other, before=self.there), (401, b"nobody"))
