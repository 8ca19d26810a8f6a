"""The sentences for each failure."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from datetime import datetime, timezone

from twisted.trial.unittest import SynchronousTestCase

from lanrelay import errors
from lanrelay.errors import DialError, RelayError
from lanrelay.upstream.explain import TABLE, Explanation, explain


def tree(root: type[RelayError] = RelayError) -> Iterator[type[RelayError]]:
    yield root
    for below in root.__subclasses__():
        yield from tree(below)


def ours() -> list[type[RelayError]]:
    return [kind for kind in dict.fromkeys(tree()) if kind.__module__ == errors.__name__]


def dial(
    error: DialError, address: str = "192.168.1.20:443", elapsed: float = 0.0, number: int = 0
) -> DialError:
    error.target, error.address, error.elapsed, error.errno = "nas.lan:443", address, elapsed, number or None
    return error


class ExplainTests(SynchronousTestCase):
    def test_every_class_has_its_own_sentences(self) -> None:
        self.assertEqual([kind.__name__ for kind in ours() if kind not in TABLE], [])

    def test_two_whole_sentences_whatever_is_known(self) -> None:
        for kind in ours():
            bare = kind("something happened")
            full = kind("something happened")
            if isinstance(full, DialError):
                dial(full)
            for error in (bare, full):
                for platform in ("linux", "darwin"):
                    explanation = explain(error, platform=platform)
                    for sentence in (explanation.what, explanation.remedy):
                        self.assertRegex(sentence, r"^\S.*[^.]\.$", kind.__name__)
                        self.assertNotIn("  ", sentence)
                        self.assertNotIn("None", sentence)
                        self.assertNotIn("()", sentence)

    def test_a_class_of_somebody_else_gets_the_sentences_above_it(self) -> None:
        class Special(errors.ConnectionRefused):
            pass

        self.assertIn("nothing listens", explain(dial(Special())).what)

    def test_ports_that_are_used_up_are_no_open_files(self) -> None:
        error = dial(errors.LocalLimit("Cannot assign requested address"), number=errno.EADDRNOTAVAIL)
        explanation = explain(error, platform="linux")
        self.assertIn("local ports are in use for connections to nas.lan:443", explanation.what)
        self.assertIn("net.ipv4.ip_local_port_range", explanation.remedy)
        self.assertIn("net.inet.ip.portrange.first", explain(error, platform="darwin").remedy)
        self.assertIn("ulimit", explain(dial(errors.LocalLimit("x"), number=errno.EMFILE)).remedy)

    def test_nothing_unprintable_gets_through(self) -> None:
        error = errors.UnknownIssuer("x", issuer="CN=a\r\nInjected: \x1b[31m")
        self.assertTrue(str(explain(error)).isprintable())

    def assertSays(self, explanation: Explanation, *parts: str) -> None:
        for part in parts:
            self.assertIn(part, str(explanation))

    def test_names(self) -> None:
        self.assertSays(explain(dial(errors.NoSuchName("no such name"), "")), "no host named nas.lan", "VPN")
        self.assertSays(
            explain(errors.NoSuchName("'a b' is not a valid host name")), "'a b' is not a valid host name"
        )
        self.assertSays(
            explain(dial(errors.NoSuchName("x"), ""), platform="darwin"), "this machine has a network"
        )
        self.assertSays(explain(dial(errors.NameTimeout(), "", 5.0)), "nas.lan within 5.0 s")

    def test_refused(self) -> None:
        self.assertSays(
            explain(dial(errors.ConnectionRefused())), "192.168.1.20 is there", "its port 443 (nas.lan:443)"
        )
        self.assertSays(
            explain(dial(errors.ConnectionRefused(), "127.0.0.1:443")), "on this machine", "port 443"
        )
        self.assertSays(explain(dial(errors.ConnectionRefused(), "[::1]:443")), "on this machine", "::1")

    def test_a_name_that_the_device_itself_tells_is_no_matter_of_name_servers(self) -> None:
        for kind, elapsed in ((errors.NameTimeout, 5.0), (errors.NoSuchName, 5.0), (errors.NoSuchName, 0.0)):
            for platform in ("darwin", "linux"):
                error = dial(kind(), "", elapsed)
                error.target = "Printer.Local.:443"
                said = explain(error, platform=platform)
                self.assertSays(said, "No device", "the name Printer.Local.", "wake", "no VPN", "`address`")
                self.assertNotIn("name server", str(said))
                self.assertEqual("within 5.0 s" in str(said), elapsed > 0)

    def test_unix_sockets(self) -> None:
        gone = errors.ConnectionRefused(target="unix:/run/x", address="unix:/run/x")
        self.assertSays(explain(gone), "Nothing listens on the socket /run/x.")
        gone.errno = errno.ENOENT
        self.assertSays(explain(gone), "There is no socket /run/x.")
        self.assertSays(
            explain(errors.DialForbidden(target="unix:/run/x")), "may not open the socket /run/x", "mode"
        )

    def test_timeout(self) -> None:
        self.assertSays(
            explain(dial(errors.DialTimeout(), elapsed=5.0)),
            "nas.lan:443 (192.168.1.20:443) did not answer within 5.0 s",
            "awake",
        )
        self.assertNotIn("awake", str(explain(dial(errors.DialTimeout(), "8.8.8.8:443", 5.0))))

    def test_the_macos_local_network_block(self) -> None:
        for address in (
            "192.168.1.20:443",
            "10.0.0.1:443",
            "[fd00::1]:443",
        ):
            error = dial(errors.Unroutable("No route to host"), address, 0.001, errno.EHOSTUNREACH)
            self.assertSays(
                explain(error, platform="darwin"),
                "macOS does not let",
                "System Settings > Privacy & Security > Local Network",
                "Terminal",
                "launchd daemon",
            )
            self.assertNotIn("macOS", str(explain(error, platform="linux")))

    def test_no_local_network_block(self) -> None:
        for address, elapsed, number in (
            ("192.168.1.20:443", 3.0, errno.EHOSTUNREACH),
            ("192.168.1.20:443", 0.0, errno.ENETUNREACH),
            ("192.168.1.20:443", 0.0, errno.EHOSTDOWN),
            ("8.8.8.8:443", 0.0, errno.EHOSTUNREACH),
            ("100.100.1.1:443", 0.0, errno.EHOSTUNREACH),
            ("169.254.1.1:443", 0.0, errno.EHOSTUNREACH),
            ("[fe80::1%en0]:443", 0.0, errno.EHOSTUNREACH),
            ("[2606:4700::1]:443", 0.0, errno.EHOSTUNREACH),
        ):
            error = dial(errors.Unroutable("No route to host"), address, elapsed, number)
            self.assertNotIn("macOS", str(explain(error, platform="darwin")), address)

    def test_no_route(self) -> None:
        at_once = explain(dial(errors.Unroutable(), elapsed=0.0, number=errno.ENETUNREACH), platform="linux")
        self.assertSays(at_once, "This machine has no route to nas.lan:443 (192.168.1.20:443)", "VPN")
        later = explain(dial(errors.Unroutable(), elapsed=3.1, number=errno.EHOSTUNREACH), platform="linux")
        self.assertSays(later, "192.168.1.20 does not answer on its own network", "after 3.1 s", "wake")
        down = explain(dial(errors.Unroutable(), elapsed=0.0, number=errno.EHOSTDOWN), platform="darwin")
        self.assertSays(down, "192.168.1.20 does not answer on its own network", "host is down", "wake")
        v6 = explain(dial(errors.Unroutable(), "[2606:4700::1]:443", number=errno.ENETUNREACH))
        self.assertSays(v6, "IPv6")

    def test_denied(self) -> None:
        allow = dial(
            errors.AddressDenied("10.0.0.1 is private, and no rule in `allow` permits it on port 443")
        )
        self.assertSays(explain(allow), "nas.lan:443", "no rule in `allow`", "add a rule for it")
        deny = dial(errors.NameDenied("nas.lan is denied by `*.lan` in `deny`"))
        self.assertSays(explain(deny), "`*.lan`", "out of the listener's `deny`")
        self.assertSays(
            explain(dial(errors.AddressDenied("this is the admin page"))), "No rule can permit it"
        )

    def test_tls(self) -> None:
        self.assertSays(
            explain(dial(errors.UnknownIssuer(issuer="CN=Home CA,O=Home"))),
            '"CN=Home CA,O=Home"',
            "PEM",
            "`tls.ca`",
        )
        self.assertSays(
            explain(dial(errors.SelfSigned(issuer="CN=nas"))), "self-signed", "CN=nas", "`tls.ca`"
        )
        moment = datetime(2024, 5, 6, 7, 8, tzinfo=timezone.utc)
        self.assertSays(
            explain(dial(errors.CertificateExpired(moment=moment))), "expired on 2024-05-06 07:08 UTC"
        )
        self.assertSays(
            explain(dial(errors.CertificateNotYetValid(moment=moment))),
            "not valid before 2024-05-06",
            "clock",
        )
        self.assertSays(explain(dial(errors.NotTls())), "plain HTTP", "`http://`")
        failure = explain(dial(errors.TlsAlert(alert="handshake_failure")))
        self.assertSays(failure, "(handshake failure)")
        self.assertNotIn("certificate", failure.remedy)
        self.assertSays(explain(dial(errors.TlsAlert(alert="internal_error"))), "or none yet")
        self.assertSays(explain(dial(errors.ClientCertificateWanted())), "`tls.cert`", "`tls.key`")
        self.assertSays(explain(dial(errors.NoCommonVersion())), "`tls.min_version`")

    def test_wrong_name(self) -> None:
        error = dial(errors.WrongName(wanted="nas.lan", found=("*.home", "box.home")))
        self.assertSays(
            explain(error), "is for *.home, box.home, and not for nas.lan", "`tls.server_name` to box.home"
        )
        many = dial(errors.WrongName(wanted="nas.lan", found=tuple(f"h{number}" for number in range(9))))
        self.assertSays(explain(many), "h4 and 4 more")
        self.assertSays(explain(dial(errors.WrongName(wanted="nas.lan"))), "bears no name")

    def test_all_down_tells_of_the_first(self) -> None:
        error = errors.AllDown("all 2 upstreams are down")
        error.others = (dial(errors.ConnectionRefused()), dial(errors.DialTimeout()))
        self.assertSays(
            explain(error), "All 2 upstreams are down", "192.168.1.20 is there", "Start the program"
        )

    def test_remedies_that_the_error_brings(self) -> None:
        start = errors.StartError("port 80 is taken", listener="lan", remedy="choose another port")
        self.assertEqual(
            str(explain(start)),
            "The relay cannot start: listeners.lan: port 80 is taken. Choose another port.",
        )
        denied = errors.RequestDenied("Host evil.example is not known", remedy="add it to `hosts`.")
        self.assertSays(explain(denied), "Host evil.example", "Add it to `hosts`.")
