"""
A Mac's keychains, as the C{security} program prints them.

The output is made after Apple's documentation; it was not recorded on a Mac.
"""

from __future__ import annotations

import os
import plistlib
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config.model import Trust
from lanrelay.errors import CertificateError, UnknownIssuer
from lanrelay.transport.tls import ClientTls
from lanrelay.trust import keychain, system_roots
from lanrelay.trust.certificate import Certificate
from lanrelay.trust.keychain import APPLE, FRESH, PROGRAM, SYSTEM, Keychains, read_roots
from tests.support.dialing import ThreadClock
from tests.support.logs import Logged
from tests.support.odd_certificates import odd_authority
from tests.support.tls import Shake, authority, server_certificate, server_context
from tests.trust.test_pins import Holder

SSL_POLICY = bytes.fromhex("2a864886f763640103")


def pem(*holders: Holder) -> bytes:
    """As C{security find-certificate -a -p} prints them."""
    return b"".join(one.certificate.public_bytes(Encoding.PEM) for one in holders)


def rule(result: int | None = None, policy: str = "sslServer", **more: Any) -> dict[str, Any]:
    """One of the trust settings of a certificate."""
    made: dict[str, Any] = {"kSecTrustSettingsPolicy": SSL_POLICY, "kSecTrustSettingsPolicyName": policy}
    if result is not None:
        made["kSecTrustSettingsResult"] = result
    return {**made, **{f"kSecTrustSettings{name}": value for name, value in more.items()}}


class Mac:
    """
    What the program C{security} finds.

    @ivar keychains: by path; one that is not in it makes the program fail, as an empty one does.
    @ivar settings: the trust settings of the user (C{""}) and of the administrator (C{"-d"}).
    @ivar commands: what was run.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.login = home / "Library/Keychains/login.keychain-db"
        self.login.parent.mkdir(parents=True)
        self.login.write_bytes(b"")
        self.keychains: dict[str, bytes] = {}
        self.settings: dict[str, list[tuple[Holder, list[dict[str, Any]]]]] = {}
        self.commands: list[list[str]] = []
        self.error: Exception | None = None

    def __call__(self, command: Sequence[str], timeout: float) -> bytes:
        program, verb, *rest = command
        assert program == PROGRAM
        assert 0 < timeout <= 5
        self.commands.append([verb, *rest])
        if self.error is not None:
            raise self.error
        if verb == "find-certificate":
            assert rest[:2] == ["-a", "-p"]
            if rest[2] in self.keychains:
                return self.keychains[rest[2]]
        elif verb == "trust-settings-export":
            *domain, file = rest
            entries = self.settings.get("".join(domain))
            if entries is not None:
                listed = {
                    keychain._fingerprint(Certificate.of(holder.certificate)): {
                        "issuerName": b"\x30\x00",
                        "serialNumber": b"\x01",
                        **({"trustSettings": rules} if rules else {}),
                    }
                    for holder, rules in entries
                }
                Path(file).write_bytes(plistlib.dumps({"trustList": listed, "trustVersion": 1}))
                return b""
        raise subprocess.CalledProcessError(1, list(command))


class KeychainTestCase(SynchronousTestCase):
    apple = Holder("Apple's Root", ca=True)
    home_ca = Holder("Home CA", ca=True)
    other = Holder("Somebody's CA", ca=True)
    leaf = Holder("mail.example", home_ca)

    def setUp(self) -> None:
        self.mac = Mac(Path(self.mktemp()))
        self.mac.keychains[APPLE] = b"some text\n" + pem(self.apple)

    def roots(self) -> list[str]:
        found = read_roots(self.mac, self.mac.home)
        return [one.subject.removeprefix("CN=") for one in found.trusted]


class TrustSettingsTests(KeychainTestCase):
    def test_apple_s_roots_need_no_settings(self) -> None:
        self.assertEqual(self.roots(), ["Apple's Root"])

    def test_what_merely_lies_in_a_keychain_is_not_trusted(self) -> None:
        self.mac.keychains[SYSTEM] = pem(self.home_ca)
        self.mac.keychains[str(self.mac.login)] = pem(self.other, self.leaf)
        self.assertEqual(self.roots(), ["Apple's Root"])

    def test_a_root_that_the_administrator_or_the_user_trusts(self) -> None:
        self.mac.keychains[SYSTEM] = pem(self.home_ca)
        self.mac.keychains[str(self.mac.login)] = pem(self.other)
        self.mac.settings = {"-d": [(self.home_ca, [])], "": [(self.other, [rule(1)])]}
        self.assertEqual(self.roots(), ["Apple's Root", "Home CA", "Somebody's CA"])

    def test_what_the_rules_say(self) -> None:
        self.mac.keychains[str(self.mac.login)] = pem(self.home_ca)
        for rules, trusted in (
            ([], True),
            ([rule()], True),
            ([rule(1)], True),
            ([rule(2)], True),
            ([rule(1, "SMIME"), rule(1, "basicX509")], True),
            ([rule(1, "SMIME")], False),
            ([rule(3)], False),
            ([rule(4)], False),
            ([rule(1, "basicX509"), rule(3)], False),
            ([rule(1, PolicyString="nas.lan")], False),
            ([rule(1, AllowedError=-2147408896)], False),
            ([{"kSecTrustSettingsResult": 1}], True),
        ):
            self.mac.settings = {"": [(self.home_ca, rules)]}
            self.assertEqual("Home CA" in self.roots(), trusted, rules)

    def test_a_root_of_apple_s_can_be_denied(self) -> None:
        for domain in ("", "-d"):
            self.mac.settings = {domain: [(self.apple, [rule(3)])]}
            self.assertEqual(self.roots(), [])

    def test_what_is_denied_is_told_whatever_it_is(self) -> None:
        self.mac.settings = {"-d": [(self.leaf, [rule(3)]), (self.other, [rule(3)])], "": [(self.other, [])]}
        found = read_roots(self.mac, self.mac.home)
        self.assertEqual(found.denied, {keychain._fingerprint(Certificate.of(self.leaf.certificate))})

    def test_the_user_s_word_goes_before_the_administrator_s(self) -> None:
        self.mac.keychains[SYSTEM] = pem(self.home_ca)
        self.mac.settings = {"-d": [(self.home_ca, [])], "": [(self.home_ca, [rule(3)])]}
        self.assertEqual(self.roots(), ["Apple's Root"])

    def test_a_trusted_certificate_that_is_no_root_is_no_anchor(self) -> None:
        self.mac.keychains[str(self.mac.login)] = pem(self.leaf)
        self.mac.settings = {"": [(self.leaf, [])]}
        self.assertEqual(self.roots(), ["Apple's Root"])

    def test_one_that_does_not_parse_is_passed_over(self) -> None:
        odd = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
        self.mac.keychains[APPLE] = odd + pem(self.apple)
        self.assertEqual(self.roots(), ["Apple's Root"])

    def test_a_trusted_root_that_only_openssl_takes(self) -> None:
        odd = odd_authority()
        self.mac.keychains[str(self.mac.login)] = odd.pem
        holder = Holder("x")
        holder.certificate = Certificate.of(odd.der)  # type: ignore[assignment]
        self.mac.settings = {"": [(holder, [])]}
        self.assertEqual(self.roots(), ["Apple's Root", "Odd CA"])

    def test_an_older_mac_has_its_login_keychain_elsewhere(self) -> None:
        self.mac.login.unlink()
        older = self.mac.login.with_name("login.keychain")
        older.write_bytes(b"")
        self.mac.keychains[str(older)] = pem(self.home_ca)
        self.mac.settings = {"": [(self.home_ca, [])]}
        self.assertEqual(self.roots(), ["Apple's Root", "Home CA"])
        older.unlink()
        self.assertEqual(self.roots(), ["Apple's Root"])


class ReadingTests(KeychainTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.reactor = ThreadClock()
        self.threads: list[Callable[[], None]] = []
        self.logged = Logged(self)
        self.keychains = Keychains(
            run=self.mac, start=self.threads.append, seconds=self.reactor.seconds, home=self.mac.home
        )

    def read(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.keychains.read(self.reactor))

    def run_threads(self) -> None:
        threads, self.threads[:] = list(self.threads), []
        for run in threads:
            run()

    def test_nothing_is_run_before_somebody_asks_and_all_wait_for_one_answer(self) -> None:
        self.assertEqual((self.mac.commands, self.threads), ([], []))
        waiting = [self.read(), self.read()]
        self.assertEqual(len(self.threads), 1)
        for each in waiting:
            self.assertNoResult(each)
        self.run_threads()
        for each in waiting:
            self.successResultOf(each)
        self.assertEqual(self.keychains.certificates, (Certificate.of(self.apple.certificate),))

    def test_later_nobody_waits(self) -> None:
        self.read()
        self.run_threads()
        self.reactor.advance(FRESH - 1)
        self.successResultOf(self.read())
        self.assertEqual(self.threads, [])
        self.reactor.advance(1)
        self.successResultOf(self.read())
        self.successResultOf(self.read())
        self.assertEqual(len(self.threads), 1)
        generation = self.keychains.generation
        self.run_threads()
        self.assertEqual(self.keychains.generation, generation)
        self.mac.keychains[APPLE] = pem(self.apple, self.other)
        self.reactor.advance(FRESH)
        self.read()
        self.run_threads()
        self.assertEqual(self.keychains.generation, generation + 1)

    def test_who_stops_waiting_leaves_the_others(self) -> None:
        first, second = self.read(), self.read()
        first.cancel()
        self.failureResultOf(first)
        self.run_threads()
        self.successResultOf(second)

    def test_a_program_that_fails_or_hangs_is_told_once_and_nobody_fails(self) -> None:
        self.mac.error = subprocess.TimeoutExpired("security", 5)
        for _ in range(2):
            self.reactor.advance(FRESH)
            asked = self.read()
            self.run_threads()
            self.successResultOf(asked)
        self.assertEqual(
            self.logged.warnings,
            ["the keychains could not be read (`security` did not answer within 5 s)"],
        )
        self.mac.error = None
        self.reactor.advance(FRESH)
        self.read()
        self.run_threads()
        self.assertEqual(len(self.keychains.certificates), 1)
        for error, words in (
            (FileNotFoundError(2, "No such file"), "No such file"),
            (subprocess.CalledProcessError(44, [PROGRAM, "find-certificate"]), "find-certificate"),
        ):
            self.keychains._complained = False
            self.mac.error = error
            self.reactor.advance(FRESH)
            self.read()
            self.run_threads()
            self.assertIn(words, self.logged.warnings[-1])
        self.assertEqual(len(self.keychains.certificates), 1)  # what was known stays

    def test_without_a_thread(self) -> None:
        def start(run: Callable[[], None]) -> None:
            raise RuntimeError("can't start new thread")

        self.keychains._start = start
        self.successResultOf(self.read())
        self.assertIn("can't start new thread", self.logged.warnings[0])

    def test_the_time_for_all_commands_together_is_bounded(self) -> None:
        clock, timeouts = Clock(), []

        def run(command: Sequence[str], timeout: float) -> bytes:
            timeouts.append(timeout)
            clock.advance(2)
            return self.mac(command, timeout)

        read_roots(run, self.mac.home, seconds=clock.seconds)
        self.assertEqual(timeouts[:3], [5, 3, 1])
        self.assertEqual(set(timeouts[3:]), {0.1})


class HandshakeTests(KeychainTestCase):
    def shake(self, tls: ClientTls, *, run: Callable[[], None] = lambda: None) -> Shake:
        shake = Shake(tls, server_context(), run=False)
        run()
        shake.wire.run()
        return shake

    def keychains(self, threads: list[Callable[[], None]]) -> Keychains:
        return Keychains(run=self.mac, start=threads.append, home=self.mac.home)

    def test_on_a_mac_a_handshake_waits_for_the_keychains_and_trusts_what_is_in_them(self) -> None:
        server_certificate()
        holder = Holder("x")
        holder.certificate = authority().certificate
        self.mac.keychains[str(self.mac.login)] = pem(holder)
        self.mac.settings = {"": [(holder, [])]}
        threads: list[Callable[[], None]] = []
        tls = ClientTls(Trust(), "nas.lan", platform="darwin", keychains=self.keychains(threads))
        tls.load()
        self.assertEqual(threads, [])
        shake = Shake(tls, server_context(), run=False)
        shake.clock.callFromThread = lambda call, *arguments: call(*arguments)  # type: ignore[attr-defined]
        shake.wire.run()
        self.assertEqual((shake.client, shake.wire.a.closed), (None, False))
        (run,) = threads
        run()
        shake.wire.run()
        shake.streams()

    def denied(self, trust: Trust) -> Shake:
        """The certificate's root is in the system's bundle, and the keychains say never."""
        server_certificate()
        holder = Holder("x")
        holder.certificate = authority().certificate
        self.mac.settings = {"": [(holder, [rule(3)])]}
        elsewhere = {name: value for name, value in os.environ.items() if not name.startswith("SSL_CERT_")}
        self.patch(os, "environ", elsewhere)
        self.patch(system_roots, "BUNDLES", (str(authority().root.resolve()),))
        threads: list[Callable[[], None]] = []
        tls = ClientTls(trust, "nas.lan", platform="darwin", keychains=self.keychains(threads))
        shake = Shake(tls, server_context(), run=False)
        shake.clock.callFromThread = lambda call, *arguments: call(*arguments)  # type: ignore[attr-defined]
        (run,) = threads
        run()
        shake.wire.run()
        return shake

    def test_a_root_that_the_keychains_deny_is_not_trusted_by_another_way(self) -> None:
        shake = self.denied(Trust())
        assert isinstance(shake.client, Failure)
        self.assertIs(shake.client.type, CertificateError)
        self.assertIn("never to be trusted", str(shake.client.value))

    def test_but_if_the_configuration_names_it(self) -> None:
        self.denied(Trust(ca=("system", authority().root))).streams()

    def test_elsewhere_there_are_none(self) -> None:
        threads: list[Callable[[], None]] = []
        shake = Shake(
            ClientTls(Trust(), "nas.lan", platform="linux", keychains=self.keychains(threads)),
            server_context(),
        )
        assert isinstance(shake.client, Failure)
        self.assertIs(shake.client.type, UnknownIssuer)
        self.assertEqual(threads, [])

    def test_who_names_a_ca_or_a_pin_alone_needs_none(self) -> None:
        for trust in (Trust(ca=(authority().root,)), Trust(verify=False), Trust(ca=())):
            self.assertIsNone(ClientTls(trust, "nas.lan", platform="darwin")._keychains)

    def test_a_client_that_leaves_meanwhile(self) -> None:
        threads: list[Callable[[], None]] = []
        tls = ClientTls(Trust(), "nas.lan", platform="darwin", keychains=self.keychains(threads))
        shake = Shake(tls, server_context(), run=False)
        shake.client_done.cancel()
        self.assertTrue(shake.wire.a.closed)
        self.assertIsInstance(shake.client, Failure)


class RealProgramTests(SynchronousTestCase):
    def test_a_program_s_output_its_failure_and_its_time_limit(self) -> None:
        self.assertEqual(keychain._run(["echo", "x"], 5), b"x\n")
        self.assertRaises(subprocess.CalledProcessError, keychain._run, ["false"], 5)
        self.assertRaises(subprocess.TimeoutExpired, keychain._run, ["sleep", "5"], 0.05)
