"""A running relay takes another configuration, and nobody who is connected notices."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import tempfile
import time
from pathlib import Path
from signal import SIGHUP, SIGTERM
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.cli.authority import Authority
from tests.process.support import Mode, Pair, Relay, Upstream, forward, poll, refuses
from tests.support.ports import free_port
from tests.support.progress import PATIENCE

CHECKOUT = Path(__file__).resolve().parents[2]


class ReloadTests(SynchronousTestCase):
    def start(self, body: str, *, mode: Mode = "foreground", options: tuple[str, ...] = ()) -> Relay:
        relay = Relay(self, f"listeners:\n{body}", mode=mode)
        relay.options = list(options)
        return relay.start()

    def stop(self, relay: Relay) -> None:
        relay.signal(SIGTERM)
        self.assertEqual(relay.wait(), 0)
        self.assertNotIn("Traceback", relay.log())
        self.assertFalse(list((relay.folder / "lanrelay").iterdir()), "the socket is taken away")

    def reload(self, relay: Relay, body: str) -> list[str]:
        """What has changed."""
        changes: list[str] = relay.reload(f"listeners:\n{body}")["changes"]
        return changes

    # --- what becomes of listeners and their connections ---

    def test_swapped_names_keep_sockets_and_connections(self) -> None:
        one, two = Upstream(self), Upstream(self)
        first, second = free_port(), free_port()
        relay = self.start(forward("a", first, one) + forward("b", second, two))
        pairs = [Pair(self, first, one), Pair(self, second, two)]
        changes = self.reload(relay, forward("b", first, one) + forward("a", second, two))
        self.assertEqual(changes, ["b has changed", "a has changed"])
        for pair in pairs:
            pair.check()
        Pair(self, first, one)
        Pair(self, second, two)
        self.assertEqual(
            {one["name"]: one["draining"] for one in relay.ask("status")["listeners"][2:]},
            {"a": True, "b": True},
        )
        for pair in pairs:
            pair.client.close()
            pair.server.close()
        poll(lambda: len(relay.ask("status")["listeners"]) == 2, "the old ones to end")
        self.stop(relay)

    def test_new_connections_get_the_new_settings_and_old_ones_keep_theirs(self) -> None:
        one, two = Upstream(self), Upstream(self)
        port = free_port()
        relay = self.start(forward("a", port, one))
        pair = Pair(self, port, one)
        self.assertEqual(self.reload(relay, forward("a", port, two)), ["a has changed"])
        Pair(self, port, two)
        pair.check()

    def test_what_waits_in_the_queue_gets_through(self) -> None:
        upstream = Upstream(self)
        port = free_port()
        relay = self.start(forward("a", port, upstream, ", max_connections: 1"))
        pair = Pair(self, port, upstream)
        waiting = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.addCleanup(waiting.close)
        waiting.sendall(b"I waited")
        self.reload(relay, forward("renamed", port, upstream, ", max_connections: 1"))
        time.sleep(0.2)
        self.assertEqual(len(relay.ask("status")["sessions"]), 1, "old connections count")
        self.reload(relay, forward("renamed", port, upstream, ", max_connections: 2"))
        self.assertEqual(upstream.accept().recv(10), b"I waited")
        pair.check()

    def test_another_port(self) -> None:
        upstream = Upstream(self)
        before, after = free_port(), free_port()
        relay = self.start(forward("a", before, upstream))
        pair = Pair(self, before, upstream)
        self.reload(relay, forward("a", after, upstream))
        self.assertTrue(refuses(before))
        Pair(self, after, upstream)
        pair.check()

    def test_every_address_in_place_of_one_and_back(self) -> None:
        upstream = Upstream(self)
        port = free_port()
        relay = self.start(forward("a", port, upstream))
        pair = Pair(self, port, upstream)
        every = forward("a", port, upstream, ", clients: loopback").replace("127.0.0.1:", "0.0.0.0:", 1)
        self.reload(relay, every)
        pair.check()
        Pair(self, port, upstream)
        self.reload(relay, forward("a", port, upstream))
        Pair(self, port, upstream)
        pair.check()

    def test_what_was_removed_drains(self) -> None:
        upstream, other = Upstream(self), Upstream(self)
        port, kept = free_port(), free_port()
        relay = self.start(
            forward("a", port, upstream, ", timeouts: {drain: 1s}") + forward("b", kept, other)
        )
        pair, untouched = Pair(self, port, upstream), Pair(self, kept, other)
        changes = self.reload(relay, forward("b", kept, other))
        self.assertEqual(changes, ["a was removed", "a: connections that have 1 s to end: 1"])
        self.assertTrue(refuses(port))
        pair.check()
        began = time.monotonic()
        self.assertTrue(pair.ended())
        self.assertGreater(time.monotonic() - began, 0.5)
        untouched.check()
        relay.logged("a .* end=relay")

    def test_other_clients_drain_it(self) -> None:
        upstream = Upstream(self)
        port = free_port()
        relay = self.start(forward("a", port, upstream, ", timeouts: {drain: 500ms}"))
        pair = Pair(self, port, upstream)
        self.reload(relay, forward("a", port, upstream, ", clients: 127.0.0.2, timeouts: {drain: 500ms}"))
        self.assertTrue(pair.ended())
        self.assertTrue(self.is_turned_away(port))

    def test_other_peers_that_speak_for_clients_drain_it(self) -> None:
        upstream = Upstream(self)
        port = free_port()
        drain = ", timeouts: {drain: 500ms}"
        relay = self.start(forward("a", port, upstream, f", accept_proxy: 127.0.0.2{drain}"))
        pair = Pair(self, port, upstream)
        self.reload(relay, forward("a", port, upstream, f", accept_proxy: 127.0.0.3{drain}"))
        self.assertTrue(pair.ended())

    def test_another_ca_of_clients_drains_it_whether_the_key_or_the_file_has_changed(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="lanrelay-test-ca-")
        self.addCleanup(folder.cleanup)
        old, new = (Authority(Path(folder.name), name) for name in ("Old CA", "New CA"))
        own = old.issue("relay.lan")
        client_ca = Path(folder.name, "clients.pem")
        client_ca.write_bytes(old.root.read_bytes())
        upstream = Upstream(self)
        port = free_port()

        def secured(path: Path) -> str:
            tls = f"tls: {{cert: '{own.cert}', key: '{own.key}', client_ca: '{path}'}}"
            return forward("a", port, upstream, f", {tls}, timeouts: {{drain: 500ms}}")

        def connected(authority: Authority) -> Pair:
            mine = authority.issue("me.lan", client=True)
            context = ssl.create_default_context(cafile=str(old.root))
            context.check_hostname = False
            context.load_cert_chain(mine.cert, mine.key)
            raw = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
            return Pair(self, port, upstream, context.wrap_socket(raw))

        relay = self.start(secured(client_ca))
        pair = connected(old)
        self.assertEqual(self.reload(relay, secured(client_ca)), [])
        pair.check()
        client_ca.write_bytes(new.root.read_bytes())
        self.assertEqual(self.reload(relay, secured(client_ca))[0], "a has changed")
        self.assertTrue(pair.ended())
        pair = connected(new)
        self.reload(relay, secured(old.root))
        self.assertTrue(pair.ended())
        connected(old).check()

    def is_turned_away(self, port: int) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
                return self.is_reset(client)
        except ConnectionResetError:  # on a busy machine before connect() has returned
            return True

    def is_reset(self, client: socket.socket) -> bool:
        try:
            return client.recv(1) == b""
        except ConnectionResetError:
            return True

    def test_another_allow_drains_tunnels(self) -> None:
        upstream = Upstream(self)
        port = free_port()
        proxy = f"  p: {{type: connect-proxy, listen: {port}, timeouts: {{drain: 500ms}}"
        relay = self.start(f"{proxy}, allow: loopback}}\n")

        def tunnel() -> tuple[socket.socket, bytes]:
            client = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
            self.addCleanup(client.close)
            client.sendall(f"CONNECT 127.0.0.1:{upstream.port} HTTP/1.0\r\n\r\n".encode())
            return client, client.recv(1000)

        client, answer = tunnel()
        self.assertIn(b" 200 ", answer)
        server = upstream.accept()
        self.reload(relay, f"{proxy}, allow: loopback, resolve: {{x: 127.0.0.1}}}}\n")
        server.sendall(b"still here")
        self.assertEqual(client.recv(20), b"still here")
        later, answer = tunnel()
        upstream.accept()
        self.reload(relay, f"{proxy}, allow: public}}\n")
        for one in (client, later):  # whichever generation it is of
            self.assertTrue(self.is_reset(one))
        self.assertIn(b" 403 ", tunnel()[1])

    def test_a_changed_password_file_is_changed_auth(self) -> None:
        upstream = Upstream(self)
        port = free_port()
        relay = Relay(
            self,
            f"listeners:\n  p: {{type: connect-proxy, listen: {port}, auth: {{file: users}},"
            " timeouts: {drain: 300ms}}\n",
        )
        users = relay.folder / "users"
        users.write_text("al:{SHA}" + "W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n")  # "password"
        relay.start()

        def tunnel() -> tuple[socket.socket, bytes]:
            client = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
            self.addCleanup(client.close)
            client.sendall(
                f"CONNECT 127.0.0.1:{upstream.port} HTTP/1.0\r\n"
                "Proxy-Authorization: Basic YWw6cGFzc3dvcmQ=\r\n\r\n".encode()
            )
            return client, client.recv(1000)

        client, answer = tunnel()
        self.assertIn(b" 200 ", answer)
        self.assertEqual(relay.reload()["changes"], [])
        users.write_text("bo:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n")
        self.assertEqual(relay.reload()["changes"][0], "p has changed")
        self.assertTrue(self.is_reset(client))
        self.assertIn(b" 407 ", tunnel()[1])

    # --- what is wrong changes nothing ---

    def test_a_wrong_file_changes_nothing_and_is_told(self) -> None:
        upstream = Upstream(self)
        port = free_port()
        relay = self.start(forward("a", port, upstream))
        pair = Pair(self, port, upstream)
        relay.configuration.write_text("listeners: {a: {type: tcp-forward, listen: x}}\n")
        told = relay.cli("reload", "-c", "relay.yaml")
        self.assertEqual(told.returncode, 1)
        self.assertIn("relay.yaml:1:44: listeners.a.listen: ", told.stderr)
        self.assertIn("listeners.a.upstream: ", told.stderr)
        self.assertIn("Nothing was changed.", told.stderr)
        relay.logged("not reloaded: .*listeners.a.listen")
        status = relay.ask("status")
        self.assertFalse(status["last_reload"]["ok"])
        self.assertEqual(len(status["last_reload"]["errors"]), 2)
        relay.configuration.unlink()
        self.assertFalse(relay.ask("reload")["ok"])
        pair.check()
        Pair(self, port, upstream)

    def test_a_port_that_cannot_be_had_or_a_certificate_that_cannot_be_read_changes_nothing(self) -> None:
        upstream = Upstream(self)
        port, new = free_port(), free_port()
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        relay = self.start(forward("a", port, upstream))
        pair = Pair(self, port, upstream)
        wrong = forward("a", port, upstream, ", timeouts: {drain: 9s}") + forward("b", new, upstream)
        wrong += forward("c", taken.getsockname()[1], upstream)
        wrong += forward("d", free_port(), upstream, ", tls: {cert: no.pem, key: no.key}")
        relay.configuration.write_text(f"listeners:\n{wrong}")
        outcome = relay.ask("reload")
        port_in_use, missing = outcome["errors"]
        self.assertTrue(port_in_use.startswith("listeners.c: "), port_in_use)
        self.assertRegex(missing, r"^.*relay\.yaml:\d+:\d+: listeners\.d\.tls\.cert: there is no file ")
        self.assertTrue(refuses(new), "what was opened for it is closed again")
        pair.check()
        Pair(self, port, upstream)
        self.assertEqual([one["name"] for one in relay.ask("status")["listeners"]], ["a"])

    def test_every_address_that_cannot_be_had_leaves_the_one(self) -> None:
        upstream = Upstream(self)
        port = free_port()
        try:
            other = socket.create_server(("127.0.0.2", port))
        except OSError:
            self.skipTest("127.0.0.2 is not there")
        self.addCleanup(other.close)
        relay = self.start(forward("a", port, upstream))
        pair = Pair(self, port, upstream)
        body = forward("a", port, upstream, ", clients: loopback").replace("127.0.0.1:", "0.0.0.0:", 1)
        relay.configuration.write_text(f"listeners:\n{body}")
        self.assertFalse(relay.ask("reload")["ok"])
        pair.check()
        Pair(self, port, upstream)

    # --- the rest of the configuration ---

    def test_the_admin_page_and_the_log_follow(self) -> None:
        upstream = Upstream(self)
        first, second = free_port(), free_port()
        body = f"listeners:\n{forward('a', 0, upstream)}"
        relay = Relay(self, f"admin: {{listen: '127.0.0.1:{first}'}}\n{body}").start()
        relay.reload(f"log: {{format: json}}\nadmin: {{listen: '127.0.0.1:{second}', clients: any}}\n{body}")
        self.assertTrue(refuses(first))
        connection = http.client.HTTPConnection("127.0.0.1", second, timeout=PATIENCE)
        self.addCleanup(connection.close)
        connection.request("GET", "/status.json")
        document = json.loads(connection.getresponse().read())
        self.assertEqual(document["last_reload"]["changes"], ["admin has changed", "log has changed"])
        relay.signal(SIGHUP)
        relay.logged('"message": "SIGHUP: reading ')

    def test_certificates_of_a_listener_are_those_of_the_new_file(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="lanrelay-test-ca-")
        self.addCleanup(folder.cleanup)
        authority = Authority(Path(folder.name), "CA")
        upstream = Upstream(self)
        port = free_port()

        def secured(name: str) -> str:
            issued = authority.issue(name)
            return forward("a", port, upstream, f", tls: {{cert: '{issued.cert}', key: '{issued.key}'}}")

        def shown() -> str:
            context = ssl.create_default_context(cafile=str(authority.root))
            context.check_hostname = False
            raw = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
            with raw, context.wrap_socket(raw) as client:
                certificate: Any = client.getpeercert()
                name: str = certificate["subjectAltName"][0][1]
                return name

        relay = self.start(secured("one.lan"))
        self.assertEqual(shown(), "one.lan")
        self.reload(relay, secured("two.lan"))
        self.assertEqual(shown(), "two.lan")

    def test_forward_proxies_stay_kept_from_what_is_new(self) -> None:
        port, page = free_port(), free_port()
        body = f"listeners:\n  p: {{type: connect-proxy, listen: {port}}}\n"
        relay = Relay(self, body).start()

        def answer() -> bytes:
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
                client.sendall(f"CONNECT 127.0.0.1:{page} HTTP/1.0\r\n\r\n".encode())
                return client.recv(1000)

        self.assertIn(b" 502 ", answer())
        relay.reload(f"admin: {{listen: '127.0.0.1:{page}'}}\n{body}")
        self.assertIn(b" 403 ", answer())
        relay.reload(body)
        self.assertIn(b" 502 ", answer())
