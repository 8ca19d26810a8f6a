from __future__ import annotations

import errno
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from lanrelay.admin.problems import problem_of
from lanrelay.config import model
from lanrelay.config.load import examine
from lanrelay.errors import (
    ConnectionRefused,
    DialError,
    HostRefused,
    NoSuchName,
    SelfSigned,
    TlsOnPlain,
    UnknownIssuer,
    Unroutable,
)
from lanrelay.listeners.tcp_forward import TcpForwardService
from tests.admin.support import ANY_PORT, WatchedTestCase
from tests.support.listening import tcp_upstreams
from tests.support.tls import authority

TARGET = "nas.lan:5432"


def unroutable(elapsed: float) -> Unroutable:
    """No route to a host on the network of this machine, said after so many seconds."""
    error = Unroutable(target=TARGET, address="192.168.1.9:5432", elapsed=elapsed)
    error.errno = errno.EHOSTUNREACH
    return error


class ProblemTests(WatchedTestCase):
    """The configuration is C{/etc/relay.yaml}, which no command finds by itself."""

    def problem(self, error: DialError, **keys: Any) -> dict[str, Any]:
        del self.listeners[:]
        service = self.forward("nas.lan", **keys)
        (upstream,) = service.group.members
        upstream.failed(error)
        found = problem_of(service, self.watched)
        assert found is not None
        return found

    def test_each_has_a_cause_a_sentence_a_remedy_and_a_command(self) -> None:
        doctor = "lanrelay doctor to-nas.lan -c /etc/relay.yaml"
        trust = "lanrelay trust to-nas.lan -c /etc/relay.yaml"
        slow = unroutable(3.0)
        for error, cause, command in (
            (ConnectionRefused(target=TARGET), "refused", doctor),
            (NoSuchName(target=TARGET), "name_unknown", doctor),
            (UnknownIssuer("not known", issuer="CN=x"), "unknown_ca", trust),
            (SelfSigned("not known", issuer="CN=x"), "self_signed", trust),
            (HostRefused("421", host="x", preserved=False), "host_refused", doctor),
            (TlsOnPlain("it says so"), "tls_on_plain", doctor),
            (slow, "host_down", doctor),
        ):
            found = self.problem(error, health=model.Health(fall=1))
            self.assertEqual((found["cause"], found["command"]), (cause, command))
            self.assertTrue(found["sentence"].endswith("."))
            self.assertTrue(found["remedy"])

    def test_what_macos_keeps_from_the_network_is_mended_by_a_daemon(self) -> None:
        error = unroutable(0.001)
        self.patch(sys, "platform", "linux")
        self.assertEqual(self.problem(error)["cause"], "no_route")
        self.patch(sys, "platform", "darwin")
        found = self.problem(error)
        self.assertEqual(found["cause"], "local_network_privacy")
        self.assertEqual(found["command"], "sudo lanrelay service install --mode daemon")

    def test_it_lasts_since_the_first_failure(self) -> None:
        service = self.forward("nas.lan")
        (upstream,) = service.group.members
        for seconds, error in ((10, True), (5, False), (20, True), (40, True)):
            self.around.clock.advance(seconds)
            if error:
                upstream.failed(ConnectionRefused(target=TARGET))
            else:
                upstream.succeeded()
        found = problem_of(service, self.watched)
        assert found is not None
        self.assertLess(abs(found["since"] - self.watched.wall.at(35.0)), 0.1)
        upstream.succeeded()
        self.assertIsNone(problem_of(service, self.watched))

    def test_one_upstream_of_several_is_enough(self) -> None:
        service = self.forward("nas.lan", "nas.vpn", health=model.Health(fall=1))
        first, second = service.group.members
        first.judge(ConnectionRefused(target=TARGET))
        self.assertIsNone(problem_of(service, self.watched))
        second.judge(ConnectionRefused(target=TARGET))
        self.assertIsNotNone(problem_of(service, self.watched))

    def test_a_listener_that_does_not_listen(self) -> None:
        service = self.forward("nas.lan")
        service.stopService()
        found = problem_of(service, self.watched)
        assert found is not None
        self.assertEqual((found["cause"], found["line"]), ("not_running", None))

    def test_a_certificate_of_its_own_that_has_expired(self) -> None:
        until = datetime.now(timezone.utc) - timedelta(hours=1)
        issued = authority().issue(
            "nas.lan", not_before=until - timedelta(days=1), not_after=until, file_name="expired-own"
        )
        config = model.TcpForward(
            name="db",
            listen=(ANY_PORT,),
            tls=model.ServerTls(cert=issued.cert, key=issued.key),
            upstreams=tcp_upstreams(("nas.lan", 1)),
        )
        service = TcpForwardService(self.around.environment, config)
        self._started(service)
        found = problem_of(service, self.watched)
        assert found is not None
        self.assertEqual(found["cause"], "expired")
        self.assertLess(abs(found["since"] - until.timestamp()), 1.0)

    def test_the_line_is_that_of_the_upstream(self) -> None:
        file = self.mktemp()
        with open(file, "w") as written:
            written.write(
                "listeners:\n"
                "  web:\n"
                "    type: reverse-proxy\n"
                "    listen: 127.0.0.1:8080\n"
                "    routes:\n"
                "      - path: /\n"
                "        upstream: http://a.lan\n"
                "      - path: /b\n"
                "        upstream:\n"
                "          - url: http://b.lan\n"
                "          - http://c.lan\n"
            )

        lines = examine(Path(file)).lines
        self.assertEqual(
            lines,
            {
                ("web", ""): 2,
                ("web", "http://a.lan"): 7,
                ("web", "http://b.lan"): 10,
                ("web", "http://c.lan"): 11,
            },
        )
        self.watched.lines = {("to-nas.lan", ""): 3, ("to-nas.lan", "tcp://nas.lan:5432"): 12}
        self.assertEqual(self.problem(ConnectionRefused(target=TARGET))["line"], "relay.yaml:12")
        self.watched.lines = {("to-nas.lan", ""): 3}
        self.assertEqual(self.problem(ConnectionRefused(target=TARGET))["line"], "relay.yaml:3")
