"""Large bodies through every kind of listener, byte for byte, with curl as the client."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any
from unittest import skipUnless

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from lanrelay.cli.authority import Authority
from tests.support.origin_program import pieces, sha256
from tests.support.progress import LIMIT
from tests.support.relay import Relay
from tests.support.servers import LAN_NAME, HttpOrigin

SIZE = int(os.environ.get("LANRELAY_TEST_MB", "40")) * 1_000_000  # several times what all buffers hold


def curl(*arguments: str, timeout: float = 90) -> subprocess.CompletedProcess[bytes]:
    """Run curl without the user's settings; blocks."""
    command = ["curl", "-q", "--silent", "--show-error", "--max-time", str(timeout), *arguments]
    environ = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return subprocess.run(command, capture_output=True, env=environ, timeout=timeout + 5, check=False)


def download(*arguments: str) -> tuple[int, str]:
    """Length and SHA-256 of what curl gets; blocks."""
    command = ["curl", "-q", "--silent", "--show-error", "--fail", "--max-time", "90", *arguments]
    digest, length = hashlib.sha256(), 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        while data := process.stdout.read(1 << 16):
            digest.update(data)
            length += len(data)
        errors = process.stderr.read().decode()
    if process.returncode:
        raise AssertionError(f"curl: {process.returncode}: {errors}")
    return length, digest.hexdigest()


@skipUnless(shutil.which("curl"), "curl is not installed")
class CurlTests(TestCase):
    """One origin behind TLS and one in the clear, one relay with each kind of listener."""

    timeout = LIMIT

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        authority = Authority(self.folder)
        self.root = str(authority.root)
        self.plain = HttpOrigin().start()
        self.addCleanup(self.plain.stop)
        self.secure = HttpOrigin(tls=authority.issue(LAN_NAME)).start()
        self.addCleanup(self.secure.stop)
        self.relay = Relay(
            f"""
            listeners:
              forward:
                type: tcp-forward
                listen: 127.0.0.1:0
                upstream: tcp://{self.plain.address}
              secured:
                type: tcp-forward
                listen: 127.0.0.1:0
                upstream:
                  url: tls://{LAN_NAME}:{self.secure.port}
                  address: {self.secure.address}
                  tls: {{ca: {self.root}}}
              reverse:
                type: reverse-proxy
                listen: 127.0.0.1:0
                upstream:
                  url: {self.secure.lan_url}
                  address: {self.secure.address}
                  tls: {{ca: {self.root}}}
              proxy:
                type: connect-proxy
                listen: 127.0.0.1:0
                allow: [loopback]
                resolve: {{{LAN_NAME}: 127.0.0.1}}
            """
        ).start()
        self.addCleanup(self.relay.stop)
        self.proxy = f"http://127.0.0.1:{self.relay.port('proxy')}"

    def listener(self, name: str) -> str:
        return f"http://127.0.0.1:{self.relay.port(name)}"

    async def both_ways(self, base: str, *arguments: str) -> None:
        """Download and upload, by length and chunked."""
        for framing in ("", "?chunked"):
            got = await deferToThread(download, *arguments, f"{base}/bytes/{SIZE}{framing}")
            self.assertEqual(got, (SIZE, sha256(SIZE)), framing)
        file = self.folder / "upload"
        with open(file, "wb") as output:
            output.writelines(pieces(SIZE))
        for fields in ((), ("-H", "Transfer-Encoding: chunked")):
            done = await deferToThread(curl, *arguments, *fields, "-T", str(file), f"{base}/upload")
            self.assertEqual(done.returncode, 0, done.stderr)
            said = json.loads(done.stdout)
            self.assertEqual((said["length"], said["sha256"]), (SIZE, sha256(SIZE)))
            self.assertEqual(said["framing"], "chunked" if fields else "length")

    def test_tcp_forward(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.both_ways(self.listener("forward")))

    def test_tcp_forward_to_tls(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.both_ways(self.listener("secured")))

    def test_reverse_proxy(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.both_ways(self.listener("reverse")))

    def test_connect(self) -> Deferred[None]:
        return Deferred.fromCoroutine(
            self.both_ways(self.secure.lan_url, "-x", self.proxy, "--cacert", self.root)
        )

    def test_absolute_form(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.both_ways(self.plain.lan_url, "-x", self.proxy))


@skipUnless(shutil.which("curl"), "curl is not installed")
class AnswerTests(TestCase):
    """What curl sees of answers that are odd, late or broken."""

    timeout = LIMIT

    def setUp(self) -> None:
        self.origin = HttpOrigin().start()
        self.addCleanup(self.origin.stop)
        self.relay = Relay(
            f"""
            listeners:
              reverse:
                type: reverse-proxy
                listen: 127.0.0.1:0
                timeouts: {{response: 1s}}
                upstream: {self.origin.url}
              proxy:
                type: connect-proxy
                listen: 127.0.0.1:0
                allow: [loopback]
                timeouts: {{response: 1s}}
            """
        ).start()
        self.addCleanup(self.relay.stop)
        reverse = f"http://127.0.0.1:{self.relay.port('reverse')}"
        proxy = f"http://127.0.0.1:{self.relay.port('proxy')}"
        self.ways: dict[str, tuple[str, ...]] = {
            "reverse-proxy": (reverse,),
            "absolute-form": (self.origin.url, "-x", proxy),
        }

    async def each(self, path: str, *arguments: str) -> list[tuple[str, subprocess.CompletedProcess[bytes]]]:
        answers = []
        for name, (base, *proxy) in self.ways.items():
            answers.append((name, await deferToThread(curl, *proxy, *arguments, base + path)))
        return answers

    def check(self, coroutine: Any) -> Deferred[None]:
        return Deferred.fromCoroutine(coroutine)

    def test_every_framing_of_an_answer(self) -> Deferred[None]:
        async def run() -> None:
            for path in ("/bytes/100000", "/bytes/100000?chunked", "/bytes/100000?close"):
                for name, done in await self.each(path):
                    self.assertEqual(hashlib.sha256(done.stdout).hexdigest(), sha256(100000), (name, path))
                    self.assertEqual(done.returncode, 0)
            for name, done in await self.each("/trailers", "--raw"):
                self.assertIn(b"before the trailer", done.stdout, name)
                self.assertIn(b"X-Trailer: end", done.stdout, name)

        return self.check(run())

    def test_head_204_and_304_have_no_body_and_keep_the_connection(self) -> Deferred[None]:
        async def run() -> None:
            for name, (base, *proxy) in self.ways.items():
                urls = [base + "/bytes/1000", base + "/bytes/2000"]
                done = await deferToThread(curl, *proxy, "--head", "-w", "%{num_connects}\n", *urls)
                self.assertIn(b"Content-Length: 1000", done.stdout, name)
                self.assertTrue(done.stdout.endswith(b"\n0\n"), (name, done.stdout))
            for status in ("204", "304"):
                for name, done in await self.each(f"/status/{status}", "-w", "%{http_code} %{size_download}"):
                    self.assertEqual(done.stdout, f"{status} 0".encode(), name)

        return self.check(run())

    def test_an_answer_that_is_cut_or_reset_looks_broken(self) -> Deferred[None]:
        async def run() -> None:
            for path in ("/cut/50000", "/cut/50000?chunked", "/reset/50000", "/reset/50000?chunked"):
                for name, done in await self.each(path):
                    self.assertIn(done.returncode, (18, 56), (name, path, done.stderr))

        return self.check(run())

    def test_an_early_answer_reaches_the_client_that_still_sends(self) -> Deferred[None]:
        async def run() -> None:
            file = Path(self.mktemp())
            with open(file, "wb") as output:
                output.writelines(pieces(20_000_000))
            expect = ("-H", "Expect:")
            for name, done in await self.each("/early", *expect, "-T", str(file), "-w", "%{http_code}"):
                self.assertEqual(done.stdout, b'"too much"413', (name, done.stderr))

        return self.check(run())

    def test_no_answer_is_a_504_that_says_so(self) -> Deferred[None]:
        async def run() -> None:
            for name, done in await self.each("/never", "-i"):
                head = done.stdout.decode()
                self.assertIn("HTTP/1.1 504 No answer from 127.0.0.1 in time\r\n", head, name)
                self.assertIn("error=http_response_timeout", head, name)

        return self.check(run())

    def test_an_origin_that_is_gone_is_a_502_that_says_so(self) -> Deferred[None]:
        async def run() -> None:
            self.origin.stop()
            for name, done in await self.each("/seen", "-i"):
                head = done.stdout.decode()
                self.assertIn(f"HTTP/1.1 502 Nothing listens on {self.origin.address}\r\n", head, name)
                self.assertIn("error=connection_refused", head, name)
            self.origin.start()
            for name, done in await self.each("/seen", "-w", "%{http_code}"):
                self.assertTrue(done.stdout.endswith(b"200"), name)

        return self.check(run())
