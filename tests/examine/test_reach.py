"""Names, routes and connections: each address by itself, each cause made real."""

from __future__ import annotations

import socket
from threading import Event

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.threads import deferToThread

from lanrelay.examine.subject import Unknown, subjects
from tests.examine.support import ExamineTestCase
from tests.support.peers import free_ports
from tests.support.progress import PATIENCE

V4, V6 = "127.0.0.1", "::1"


class ReachTests(ExamineTestCase):
    def listener(self, host: str = V4) -> int:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, 0), family=family)
        self.addCleanup(listening.close)
        port: int = listening.getsockname()[1]
        return port

    async def test_a_port_that_is_there(self) -> None:
        self.names["db.lan"] = [V4]
        port = self.listener()
        examined = await self.examine(f"db.lan:{port}")
        self.assertTrue(examined.ok)
        self.assertEqual(self.states(examined), {"name": "ok", "route": "ok", "connect": "ok"})
        self.assertEqual(self.only(examined, "name").facts["addresses"], [V4])
        self.assertEqual(self.only(examined, "connect").facts["address"], f"{V4}:{port}")

    async def test_a_port_where_nobody_listens_is_refused(self) -> None:
        (port,) = free_ports(1)
        check = self.assert_cause(await self.examine(f"http://{V4}:{port}"), "connect", "refused")
        self.assertEqual(check.facts["errno"], "ECONNREFUSED")

    async def test_each_address_is_looked_at_and_a_dead_one_beside_a_good_one_is_a_warning(self) -> None:
        port = self.listener(V4)
        self.names["nas.lan"] = [V6, V4]
        examined = await self.examine(f"tcp://nas.lan:{port}")
        self.assertTrue(examined.ok)
        first, second = examined.layer("connect")
        self.assertEqual((first.state, first.cause), ("warn", "refused"))
        self.assertEqual(first.facts["address"], f"[{V6}]:{port}")
        self.assertEqual((second.state, second.cause), ("ok", None))

    async def test_all_addresses_dead(self) -> None:
        (port,) = free_ports(1)
        self.names["nas.lan"] = [V6, V4]
        examined = await self.examine(f"https://nas.lan:{port}/mcp")
        self.assertEqual(examined.causes, ("refused", "refused"))
        self.assertEqual(
            self.states(examined),
            {
                "name": "ok",
                "route": "ok",
                "connect": "failed",
                "tls": "skipped",
                "http": "skipped",
                "mcp": "skipped",
            },
        )

    async def test_no_answer_is_a_timeout(self) -> None:
        listening = socket.socket()
        self.addCleanup(listening.close)
        listening.bind((V4, 0))
        listening.listen(0)
        port = listening.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]  # until its queue is full, and the kernel drops SYNs
        for one in fillers:
            self.addCleanup(one.close)
            one.setblocking(False)
            one.connect_ex((V4, port))
        self.assert_cause(
            await self.examine(f"{V4}:{port}", timeout=0.5), "connect", "timeout", "within 0.5 s"
        )

    def greeted(self, listening: socket.socket) -> None:
        """Until somebody speaks; the look at TCP says nothing, nor does whoever mistakes the port."""
        said = b""
        while not said:
            connection, _ = listening.accept()
            self.addCleanup(connection.close)
            connection.settimeout(PATIENCE)
            try:
                said = connection.recv(1)
            except ConnectionResetError:
                pass
            if not said:
                connection.close()

    async def test_who_leaves_leaves_nothing_open(self) -> None:
        listening = socket.create_server((V4, 0))
        self.addCleanup(listening.close)
        port = listening.getsockname()[1]
        looking = Deferred.fromCoroutine(self.examine_all(f"https://{V4}:{port}/mcp"))
        listening.settimeout(PATIENCE)
        await deferToThread(self.greeted, listening)  # the handshake is under way
        looking.cancel()
        self.failureResultOf(looking, CancelledError)

    async def test_many_addresses_are_looked_at_up_to_a_bound(self) -> None:
        port = self.listener()
        self.names["many.lan"] = [f"127.0.{high}.{low}" for high in range(2) for low in range(1, 101)]
        examined = await self.examine(f"many.lan:{port}")
        self.assertEqual(len(examined.layer("connect")), 16)
        self.assertIn("and 184 more", self.only(examined, "name").said)
        self.assertTrue(examined.ok)

    async def test_a_name_that_nobody_knows(self) -> None:
        examined = await self.examine("https://nsa.lan/mcp")
        check = self.assert_cause(examined, "name", "name_unknown", "no host named nsa.lan")
        self.assertIn("address: ", check.remedy or "")
        self.assertEqual(set(self.states(examined)), {"name", "route", "connect", "tls", "http", "mcp"})

    async def test_a_local_name_is_answered_by_the_host_itself(self) -> None:
        self.assert_cause(await self.examine("http://nas.local"), "name", "name_unknown", "mDNS")

    async def test_a_name_server_that_fails(self) -> None:
        self.names["nas.lan"] = socket.EAI_AGAIN
        check = self.assert_cause(await self.examine("nas.lan:80"), "name", "name_no_answer")
        self.assertIn(" An IP address does without the name (`address: 192.168.1.20:80` ", check.remedy or "")

    async def test_a_name_server_that_is_silent(self) -> None:
        over = Event()
        self.addCleanup(over.set)

        def silent(name: str, port: object, **hints: object) -> object:
            over.wait(PATIENCE)
            return []

        self.resolve = silent  # type: ignore[method-assign]
        self.assert_cause(await self.examine("nas.lan:80", timeout=0.2), "name", "name_no_answer", "0.2 s")

    async def test_an_address_does_without_the_name(self) -> None:
        port = self.listener()
        text = f"""
            listeners:
              nas:
                type: tcp-forward
                listen: 127.0.0.1:0
                upstream: {{url: "tcp://nas.lan:1", address: "127.0.0.1:{port}"}}
            """
        examined = await self.examine("nas", text)
        self.assertTrue(examined.ok)
        self.assertEqual((examined.listener, examined.url), ("nas", "tcp://nas.lan:1"))
        self.assertIn("nas.lan is not known", self.only(examined, "name").said)
        self.names["nas.lan"] = ["192.0.2.9"]
        self.assertIn("192.0.2.9", self.only(await self.examine("nas", text), "name").said)

    async def test_a_unix_socket(self) -> None:
        path = self.folder / "s"
        text = f"""
            listeners:
              web: {{type: tcp-forward, listen: 127.0.0.1:0, upstream: "unix:{path}"}}
            """
        self.assert_cause(await self.examine("web", text), "connect", "refused", "There is no socket")
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
            listening.listen()
            self.assertTrue((await self.examine("web", text)).ok)

    async def test_a_forward_proxy_that_would_not_lead_there(self) -> None:
        port = self.listener()
        text = """
            listeners:
              out: {type: connect-proxy, listen: 127.0.0.1:0, allow: [private]}
            """
        examined = await self.examine(f"{V4}:{port}", text)
        self.assertTrue(examined.ok)
        denied = examined.layer("route")[-1]
        self.assertEqual((denied.state, denied.cause), ("warn", "address_denied"))
        self.assertIn(f'allow: ["{V4}:{port}"]', denied.remedy or "")
        allowed = await self.examine(f"{V4}:{port}", text.replace("[private]", "[loopback]"))
        self.assertEqual(len(allowed.layer("route")), 1)


class ParentTests(ExamineTestCase):
    def text(self, via: str, port: int) -> str:
        return f"""
            listeners:
              nas:
                type: tcp-forward
                listen: 127.0.0.1:0
                upstream: {{url: "tcp://127.0.0.1:{port}", via: "{via}"}}
            """

    async def test_a_parent_that_opens_the_way(self) -> None:
        with socket.create_server((V4, 0)) as listening:
            port = listening.getsockname()[1]
            for via in (f"http://{V4}:{self.tinyproxy()}", f"socks5://{V4}:{self.microsocks()}"):
                examined = await self.examine("nas", self.text(via, port))
                self.assertEqual(
                    self.states(examined), {"name": "ok", "route": "ok", "connect": "ok", "proxy": "ok"}
                )

    async def test_a_parent_that_refuses(self) -> None:
        proxy = self.tinyproxy("ConnectPort 443")
        examined = await self.examine("nas", self.text(f"http://{V4}:{proxy}", 80))
        self.assert_cause(examined, "proxy", "proxy_refused", "403")

    async def test_a_parent_that_wants_a_password(self) -> None:
        proxy = self.tinyproxy("BasicAuth user password")
        examined = await self.examine("nas", self.text(f"http://{V4}:{proxy}", 80))
        check = self.assert_cause(examined, "proxy", "proxy_refused", "407")
        self.assertIn("NAME:PASSWORD", check.remedy or "")

    async def test_a_parent_that_is_not_there(self) -> None:
        (port,) = free_ports(1)
        examined = await self.examine("nas", self.text(f"http://{V4}:{port}", 80))
        self.assert_cause(examined, "connect", "refused", "The parent proxy")

    async def test_what_is_no_proxy(self) -> None:
        with socket.create_server((V4, 0)) as listening:
            listening.listen()
            port = listening.getsockname()[1]
            examined = await self.examine("nas", self.text(f"http://{V4}:{port}", 80), timeout=1.0)
        self.assert_cause(examined, "proxy", "proxy_refused")


class SubjectTests(ExamineTestCase):
    TEXT = """
        listeners:
          web:
            type: reverse-proxy
            listen: 127.0.0.1:7777
            mcp: /mcp
            headers: {request: {set: {Authorization: "Bearer abc"}}}
            upstream: {url: "https://nas.lan:8443", tls: {server_name: other.lan}}
          out: {type: connect-proxy, listen: 127.0.0.1:0, allow: [private]}
        """

    def test_a_url_at_a_known_origin_is_asked_as_the_listener_asks(self) -> None:
        (subject,) = subjects("https://nas.lan:8443/other?x=1", self.config(self.TEXT))
        self.assertEqual(subject.listener, "web")
        self.assertEqual(subject.upstream.server_name, "other.lan")
        self.assertEqual(subject.fields, (("Authorization", "Bearer abc"),))
        self.assertEqual((subject.path, subject.mcp), ("/other?x=1", ("/other?x=1",)))

    def test_a_listener_has_its_mcp_path(self) -> None:
        (subject,) = subjects("web", self.config(self.TEXT))
        self.assertEqual((subject.mcp, subject.mcp_is_named, subject.host), (("/mcp",), True, "nas.lan:8443"))

    def test_what_was_trusted_counts_for_other_urls(self) -> None:
        config = self.config(self.TEXT)
        (self.folder / "trust").mkdir()
        stored = self.folder / "trust" / "fd00--1_443.pem"
        stored.write_text("")
        (subject,) = subjects("https://[fd00::1]/", config)
        self.assertEqual(subject.upstream.trust.ca, ("system", stored))
        (self.folder / "trust" / "a.lan_443.pin").write_text(f"sha256:{'ab' * 32}\n")
        (subject,) = subjects("https://a.lan", config)
        self.assertEqual((subject.upstream.trust.ca, len(subject.upstream.trust.pin)), ((), 1))

    def test_what_means_nothing(self) -> None:
        config = self.config(self.TEXT)
        for word in (
            "nosuch",
            "ftp://nas.lan",
            "out",
            "https://",
            "https://u:p@nas.lan/",
            "nas.lan:http",
            ":80",
        ):
            self.assertRaises(Unknown, subjects, word, config)
        error = self.assertRaises(Unknown, subjects, "nsa", config)
        self.assertIn(f"the name of a listener ({config.listeners[0].name}", str(error))
