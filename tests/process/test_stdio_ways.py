"""The ways of C{lanrelay stdio} to a target: TLS, parent proxies, names of listeners, byte pipes."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import tempfile
import threading
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.cli.authority import Issued
from lanrelay.config.stored_trust import authorities_file, pin_file
from lanrelay.wire import der
from tests.process.support import poll
from tests.support.progress import PATIENCE
from tests.support.relay import Relay
from tests.support.servers import TcpServer
from tests.support.stdio import COMMAND, CountingServer, Stdio, environment
from tests.support.tls import authority, client_certificate, server_certificate


def key_pin(issued: Issued) -> str:
    certificate = ssl.PEM_cert_to_DER_cert(
        issued.cert.read_text().partition("-----END")[0] + "-----END CERTIFICATE-----\n"
    )
    return "sha256//" + b64encode(sha256(der.public_key(certificate)).digest()).decode()


class WayCase(SynchronousTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def serve(
        self, issued: Issued | None = None, *, wanted: bool = False, latest: ssl.TLSVersion | None = None
    ) -> CountingServer:
        context = None
        if issued is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(issued.cert, issued.key)
            if latest is not None:
                context.maximum_version = latest
            if wanted:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(authority().root)
        server = CountingServer(context=context)
        self.addCleanup(server.stop)
        return server

    def start(self, *words: str, hold: str = "60s") -> Stdio:
        made = Stdio(*words, "--hold", hold, "--no-cache", folder=self.folder)
        self.addCleanup(made.kill)
        return made

    def works(self, *words: str) -> None:
        client = self.start(*words)
        answer = client.begin()
        self.assertIn("result", answer, answer)
        self.assertEqual(client.call(1, "count", key=str(client.process.pid))["content"][0]["text"], "1")
        self.assertEqual(client.end(), 0)

    def fails(self, *words: str, call: bool = False) -> str:
        """
        What is said of a target that is not reached.

        @param call: a call hears the same; it waits for 5 seconds.
        """
        client = self.start(*words, hold="300ms")
        error = self.refusal(client)
        if call:
            failed = client.call(1, "count", key="a")
            self.assertTrue(failed["isError"])
            self.assertIn(error["message"], failed["content"][0]["text"])
        self.assertEqual(client.end(), 0)
        self.cause = error["data"]["cause"]
        message: str = error["message"]
        return message

    def refusal(self, client: Stdio) -> Any:
        """The error of C{initialize}, once it is known what is wrong: on a slow machine not at the first."""

        def known() -> Any:
            error = client.begin()["error"]
            return error if error["data"]["cause"] != "http_timeout" else None

        return poll(known, "what is wrong with the target")


class TlsTests(WayCase):
    def setUp(self) -> None:
        super().setUp()
        self.issued = authority().issue("127.0.0.1")
        self.server = self.serve(self.issued)
        self.url = self.server.url

    def test_a_private_authority_is_unknown_until_it_is_named(self) -> None:
        said = self.fails(self.url, call=True)
        self.assertEqual(self.cause, "unknown_ca")
        self.assertIn("Home CA", said)
        self.assertIn(f"lanrelay trust {self.url}", said)
        self.works(self.url, "--ca", str(authority().root))

    def test_a_pin_is_trusted_alone(self) -> None:
        self.works(self.url, "--pin", key_pin(self.issued))
        other = key_pin(server_certificate())
        said = self.fails(self.url, "--pin", other)
        self.assertEqual(self.cause, "pin_differs")
        self.assertIn(key_pin(self.issued), said)
        self.assertEqual(self.server.seen.count(("POST", "tools/call")), 1)

    def test_beside_an_authority_a_pin_must_lie_in_the_chain(self) -> None:
        root = str(authority().root)
        self.works(self.url, "--ca", root, "--pin", key_pin(self.issued))
        self.fails(self.url, "--ca", root, "--pin", key_pin(server_certificate()))
        self.assertEqual(self.cause, "pin_differs")

    def test_what_lanrelay_trust_has_stored_is_trusted(self) -> None:
        config = self.folder / "lanrelay" / "relay.yaml"
        file = authorities_file(config, "127.0.0.1", self.server.port)
        file.parent.mkdir(parents=True)
        file.write_bytes(authority().root.read_bytes())
        self.works(self.url)
        file.unlink()
        self.fails(self.url)
        pin_file(config, "127.0.0.1", self.server.port).write_text(key_pin(self.issued) + "\n")
        self.works(self.url)

    def test_trust_that_comes_meanwhile_is_heeded(self) -> None:
        client = self.start(self.url, hold="300ms")
        self.refusal(client)
        file = authorities_file(self.folder / "lanrelay" / "relay.yaml", "127.0.0.1", self.server.port)
        file.parent.mkdir(parents=True)
        file.write_bytes(authority().root.read_bytes())
        poll(lambda: "result" in client.begin(), "it tries with what is trusted now")

    def test_the_certificate_of_another_name(self) -> None:
        server = self.serve(server_certificate())
        said = self.fails(server.url, "--ca", str(authority().root))
        self.assertEqual(self.cause, "wrong_name")
        self.assertIn("nas.lan", said)

    def test_a_look_as_the_doctor_does_with_what_the_options_say(self) -> None:
        words = [*COMMAND, self.url, "--check", "--header", "X-Key: k"]
        first = subprocess.run(words, capture_output=True, env=environment(self.folder), timeout=PATIENCE)
        self.assertEqual(first.returncode, 1, first.stderr)
        self.assertIn(b"Home CA", first.stdout)
        words += ["--ca", str(authority().root)]
        second = subprocess.run(words, capture_output=True, env=environment(self.folder), timeout=PATIENCE)
        self.assertEqual(second.returncode, 0, second.stdout + second.stderr)
        self.assertIn(b"4 tools", second.stdout)
        self.assertEqual({fields.get("x-key") for fields in self.server.fields}, {"k"})

    def test_a_client_certificate(self) -> None:
        server = self.serve(self.issued, wanted=True)
        root = str(authority().root)
        self.fails(server.url, "--ca", root)
        self.assertEqual(self.cause, "client_certificate_wanted")
        mine = client_certificate()
        self.works(server.url, "--ca", root, "--cert", str(mine.cert), "--key", str(mine.key))

    def test_in_tls_1_2_the_same_alert_has_two_meanings(self) -> None:
        """Of a server that misses our certificate, and of one that has no version or cipher in common."""
        server = self.serve(self.issued, wanted=True, latest=ssl.TLSVersion.TLSv1_2)
        self.fails(server.url, "--ca", str(authority().root))
        self.assertEqual(self.cause, "client_certificate_wanted")
        with socket.create_server(("127.0.0.1", 0)) as listening:

            def refuse_each() -> None:
                while True:
                    try:
                        one, _ = listening.accept()
                    except OSError:
                        return
                    one.recv(65536)
                    one.sendall(b"\x15\x03\x03\x00\x02\x02\x28")  # fatal, handshake_failure
                    one.close()

            thread = threading.Thread(target=refuse_each, daemon=True)
            thread.start()
            self.fails(f"https://127.0.0.1:{listening.getsockname()[1]}/mcp")
            self.assertEqual(self.cause, "old_tls")
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()

    def test_plain_http_where_tls_is_wanted_and_the_other_way_round(self) -> None:
        plain = self.serve()
        self.fails(f"https://127.0.0.1:{plain.port}/mcp")
        self.assertEqual(self.cause, "not_tls")
        # OpenSSL ends such a connection without an alert.
        said = self.fails(self.url.replace("https:", "http:"))
        self.assertEqual(self.cause, "tls_on_plain")
        self.assertIn("https://", said)
        self.assertEqual(self.server.seen, [])

    def test_a_server_that_ends_each_connection_without_a_word(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"

            def end_each() -> None:
                while True:
                    try:
                        one, _ = listening.accept()
                    except OSError:
                        return
                    one.recv(65536)
                    one.close()

            thread = threading.Thread(target=end_each, daemon=True)
            thread.start()
            self.fails(url)
            self.assertEqual(self.cause, "reset")
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


class ViaTests(WayCase):
    def setUp(self) -> None:
        super().setUp()
        self.relay = Relay(
            """
            listeners:
              connect: {type: connect-proxy, listen: "127.0.0.1:0", allow: [loopback]}
              socks: {type: socks-proxy, listen: "127.0.0.1:0", allow: [loopback]}
              locked:
                type: socks-proxy
                listen: 127.0.0.1:0
                allow: [loopback]
                auth: {users: {me: pa ss}}
            """
        ).start()
        self.addCleanup(self.relay.stop)

    def test_parents_of_both_kinds(self) -> None:
        server = self.serve()
        secure = self.serve(authority().issue("127.0.0.1"))
        for via in (
            f"http://127.0.0.1:{self.relay.port('connect')}",
            f"socks5://127.0.0.1:{self.relay.port('socks')}",
            f"socks5://me:pa%20ss@127.0.0.1:{self.relay.port('locked')}",
        ):
            self.works(server.url, "--via", via)
            self.works(secure.url, "--via", via, "--ca", str(authority().root))

    def test_a_parent_that_refuses_or_is_none(self) -> None:
        server = self.serve()
        for via in (
            f"socks5://me:wrong@127.0.0.1:{self.relay.port('locked')}",
            f"socks5://127.0.0.1:{self.relay.port('locked')}",
            f"http://127.0.0.1:{server.port}",
        ):
            said = self.fails(server.url, "--via", via)
            self.assertEqual(self.cause, "proxy_refused", said)
            self.assertNotIn("wrong", said)

    def test_a_target_behind_it_that_is_down(self) -> None:
        server = self.serve()
        server.stop()
        self.fails(server.url, "--via", f"http://127.0.0.1:{self.relay.port('connect')}", call=True)
        self.assertEqual(self.cause, "proxy_refused")


class NameTests(WayCase):
    def test_a_listener_is_asked_from_the_relay_and_found_again_after_it_was_begun_anew(self) -> None:
        server = self.serve()
        relay = Relay(
            f"""
            listeners:
              nas:
                type: reverse-proxy
                listen: 127.0.0.1:0
                upstream: http://127.0.0.1:{server.port}
                mcp: /mcp
            """
        )
        self.addCleanup(relay.stop)
        words = ("-c", str(relay.config))
        os.environ["XDG_RUNTIME_DIR"] = str(relay.folder)
        self.addCleanup(os.environ.pop, "XDG_RUNTIME_DIR")
        said = self.fails("nas", *words, call=True)
        self.assertEqual(self.cause, "not_running")
        self.assertIn(f"lanrelay run -c {relay.config}", said)
        relay.start()
        self.works("nas", *words)
        client = self.start("nas/mcp", *words)
        client.begin()
        relay.stop()
        relay.start()
        self.assertFalse(client.call(7, "count", key="again")["isError"])
        said = self.fails("other", *words)
        self.assertIn("no listener named other; it has nas", said)


class PipeTests(WayCase):
    def pipe(self, *words: str) -> subprocess.Popen[bytes]:
        made = subprocess.Popen(
            [*COMMAND, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(self.folder),
        )

        def end() -> None:
            made.kill()
            made.communicate()

        self.addCleanup(end)
        return made

    def test_both_directions_and_half_close(self) -> None:
        """The server answers with a digest of all that came, once its input has ended."""
        data = os.urandom(3_000_000)
        for issued in (None, authority().issue("127.0.0.1")):
            port = self.digest(issued)
            scheme = "tcp" if issued is None else "tls"
            words = () if issued is None else ("--ca", str(authority().root))
            piped = self.pipe(f"{scheme}://127.0.0.1:{port}", *words)
            out, errors = piped.communicate(data, timeout=PATIENCE)
            self.assertEqual((out.decode(), errors), (sha256(data).hexdigest(), b""))
            self.assertEqual(piped.returncode, 0)

    def digest(self, issued: Issued | None) -> int:
        """A server for one connection, which half-closes in TLS, too; its port."""
        listening = socket.create_server(("127.0.0.1", 0))

        def serve() -> None:
            taken, _ = listening.accept()
            listening.close()
            if issued is not None:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(issued.cert, issued.key)
                taken = context.wrap_socket(taken, server_side=True)
            with taken:
                seen = sha256()
                while piece := taken.recv(65536):
                    seen.update(piece)
                taken.sendall(seen.hexdigest().encode())
                if isinstance(taken, ssl.SSLSocket):
                    taken.unwrap()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        self.addCleanup(thread.join, 20)
        port: int = listening.getsockname()[1]
        return port

    def test_a_socket_that_speaks_first_and_ends_first(self) -> None:
        path = str(self.folder / "s")
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path)
            listening.listen()
            piped = self.pipe(f"unix:{path}")
            taken, _ = listening.accept()
        with taken:
            taken.sendall(b"hello")
            taken.shutdown(socket.SHUT_WR)
            assert piped.stdout is not None
            assert piped.stdin is not None
            self.assertEqual(piped.stdout.read(), b"hello")  # to the end, which has been passed on
            piped.stdin.write(b"bye")
            piped.stdin.close()
            piped.stdin = None
            got = b""
            while piece := taken.recv(100):
                got += piece
            self.assertEqual(got, b"bye")
        self.assertEqual(piped.wait(PATIENCE), 0)

    def test_a_target_that_is_down_is_waited_for(self) -> None:
        server = TcpServer("echo").start()
        self.addCleanup(server.stop)
        server.stop()
        piped = self.pipe(f"tcp://127.0.0.1:{server.port}")
        assert piped.stderr is not None
        self.assertIn(b"Nothing on this machine listens", piped.stderr.readline())
        server.start()
        out, _ = piped.communicate(b"hello", timeout=PATIENCE)
        self.assertEqual((out, piped.returncode), (b"hello", 0))

    def test_a_listener_is_a_pipe_though_its_relay_does_not_run_yet(self) -> None:
        relay = Relay(
            """
            listeners:
              first: {type: exec, listen: "127.0.0.1:0", command: [cat]}
              second: {type: tcp-forward, listen: "127.0.0.1:0", upstream: "tcp://127.0.0.1:9"}
            """
        )
        self.addCleanup(relay.stop)
        os.environ["XDG_RUNTIME_DIR"] = str(relay.folder)
        self.addCleanup(os.environ.pop, "XDG_RUNTIME_DIR")
        first, second = (self.pipe(name, "-c", str(relay.config)) for name in ("first", "second"))
        assert first.stderr is not None
        self.assertIn(b"No relay is running", first.stderr.readline())
        relay.start()
        out, _ = first.communicate(b"hello\n", timeout=PATIENCE)
        self.assertEqual((out, first.returncode), (b"hello\n", 0))
        out, _ = second.communicate(b"hello\n", timeout=PATIENCE)
        self.assertEqual(out, b"")
