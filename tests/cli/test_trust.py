"""C{lanrelay trust} as a process, with real TLS servers on the loopback."""

from __future__ import annotations

import http.client
import os
import shutil
import stat
from datetime import datetime, timedelta, timezone
from pathlib import Path
from unittest import skipUnless

from lanrelay.cli.authority import Authority, Issued
from lanrelay.config import model
from lanrelay.config.load import load
from lanrelay.trust.certificate import Certificate
from tests.cli.terminal import CommandTestCase, Done
from tests.support.peers import Program, free_ports
from tests.support.progress import PATIENCE
from tests.support.relay import Relay
from tests.support.tls import public_key_pin
from tests.support.tls_origin import TlsOrigin
from tests.transport.test_tls import self_signed

NAME = "localhost"


class TrustTestCase(CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.certificates = self.home / "certificates"
        self.certificates.mkdir()
        self.authority = Authority(self.certificates, "Home CA")
        self.root = Certificate.of(self.authority.certificate)
        self.long = datetime.now(timezone.utc) + timedelta(days=400)

    def origin(self, issued: Issued | None = None, *, sends_root: bool = False) -> TlsOrigin:
        issued = issued or self.authority.issue(NAME)
        origin = TlsOrigin(issued, chain=(self.authority.certificate,) if sends_root else ())
        self.addCleanup(origin.stop)
        self.url = f"https://{NAME}:{origin.port}"
        self.port = origin.port
        return origin

    def owned(self, name: str = NAME) -> Issued:
        folder = self.certificates / "own"
        folder.mkdir(exist_ok=True)
        return self_signed(folder, name)

    def configured(self, upstream: str) -> str:
        keys = f"type: reverse-proxy\n    listen: 28999\n    upstream: {upstream}"
        text = f"# mine\nlisteners:\n  nas:\n    {keys}\n"
        self.write(text)
        return text

    def stored(self, end: str = "pem") -> Path:
        return self.file.parent / "trust" / f"localhost_{self.port}.{end}"

    def trust_of(self) -> model.Trust:
        (listener,) = load(self.file).listeners
        assert isinstance(listener, model.ReverseProxy)
        return listener.routes[0].upstreams.members[0].trust

    def refused(self, done: Done, *words: str) -> None:
        self.assertEqual(done.status, 1, done)
        for word in words:
            self.assertIn(word, done.err)
        self.assertFalse(self.stored().exists() or self.stored("pin").exists())

    @property
    def hexadecimal(self) -> str:
        return self.root.digest.hex()


class QuestionTests(TrustTestCase):
    def test_yes_typed_at_a_terminal_trusts_the_root_that_was_sent(self) -> None:
        origin = self.origin(sends_root=True)
        text = self.configured(self.url)
        done = self.at_terminal("trust", "nas", typed=["yes"])
        self.assertEqual(done.status, 0, done)
        digits = self.hexadecimal.upper()
        shown = ":".join(digits[at : at + 2] for at in range(0, 64, 2))
        self.assertIn(shown, "".join(done.err.split()))
        compared = done.err.split("shows:")[1].split("Trust it?")[0]
        self.assertLessEqual(max(map(len, compared.splitlines())), 80)
        self.assertIn("CN=Home CA", done.err)
        self.assertIn("+    upstream: {url: ", done.err)
        self.assertIn("openssl x509 -noout -fingerprint -sha256", done.err)
        self.assertIn("is trusted from now on, by the authority CN=Home CA", done.out)
        self.assertEqual(self.trust_of().ca, ("system", self.stored()))
        self.assertEqual(
            self.file.read_text().replace(
                f"{{url: {self.url}, tls: {{ca: [system, trust/localhost_{self.port}.pem]}}}}", self.url
            ),
            text,
        )
        self.assertEqual(stat.S_IMODE(self.stored().stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(self.stored().parent.stat().st_mode), 0o700)
        self.assertEqual(self.backups(), [text.encode()])
        self.assertEqual(origin.heard, b"")  # nothing was sent inside of TLS
        again = self.command("trust", "nas")
        self.assertEqual(again.status, 0, again)
        self.assertIn("trusted already", again.out)

    def test_a_subject_cannot_pass_for_a_line_of_ours(self) -> None:
        """With a line break in it, it could show the fingerprint that the person is looking for."""
        forged = "\n      SHA-256 AA:BB"
        self.authority = Authority(self.certificates, f"Home CA{forged}\x1b[2J\u202e")
        self.origin(sends_root=True)
        done = self.command("trust", self.url, "--dry-run")
        self.assertNotIn(forged, done.err + done.out)
        self.assertIn("Home CA", done.err)
        root = Certificate.of(self.authority.certificate)
        self.assertTrue(root.subject.isprintable() and root.issuer.isprintable(), root.subject)
        trusted = self.command("trust", self.url, "--fingerprint", root.digest.hex())
        self.assertEqual(trusted.status, 0, trusted)
        self.assertNotIn(forged.encode(), self.stored().read_bytes())

    def test_no_and_the_end_of_input_write_nothing(self) -> None:
        self.origin(sends_root=True)
        self.refused(self.at_terminal("trust", self.url, typed=["no"]), "Nothing was written")
        self.refused(self.at_terminal("trust", self.url, typed=["\x04"]), "nothing was written")

    def test_ctrl_c_leaves_all_as_it_was(self) -> None:
        self.origin(sends_root=True)
        text = self.configured(self.url)
        done = self.at_terminal("trust", "nas", typed=["\x03"])
        self.assertEqual(done.status, 130, done)
        self.assertIn("Nothing was written.", done.err)
        self.assertEqual(self.file.read_text(), text)
        self.assertFalse(self.stored().parent.exists())

    def test_a_file_that_changes_during_the_question_is_not_written_nor_is_any_other(self) -> None:
        self.origin(sends_root=True)
        text = self.configured(self.url)

        def somebody() -> str:
            self.file.write_text(text + "# by somebody else\n")
            return "yes"

        self.refused(self.at_terminal("trust", "nas", typed=[somebody]), "was changed by another program")
        self.assertEqual(self.file.read_text(), text + "# by somebody else\n")

    def test_the_fingerprint_can_be_typed(self) -> None:
        self.origin(sends_root=True)
        self.refused(self.at_terminal("trust", self.url, typed=["what?", "ab" * 32]), "differ", "AB:AB")
        done = self.at_terminal("trust", self.url, typed=[self.hexadecimal])
        self.assertEqual(done.status, 0, done)
        self.assertIn(b"BEGIN CERTIFICATE", self.stored().read_bytes())
        self.assertFalse(self.file.exists())

    def test_without_a_terminal_the_option_is_named(self) -> None:
        self.origin(sends_root=True)
        self.refused(self.command("trust", self.url), "--fingerprint HEX", "Nobody can be asked")
        self.refused(self.command("trust", self.url, "--yes"), "--ca FILE", "--fingerprint HEX")

    def test_a_file_that_is_not_there_is_looked_for_where_the_person_is(self) -> None:
        self.origin(sends_root=True)
        done = self.command("trust", self.url, "--ca", "nix.pem")
        self.assertEqual(done.status, 1)
        self.assertIn("there is no file nix.pem", done.err)
        self.assertNotIn("relative", done.err)

    def test_dry_run_shows_and_writes_nothing(self) -> None:
        self.origin(sends_root=True)
        text = self.configured(self.url)
        done = self.command("trust", "nas", "--dry-run")
        self.assertEqual(done.status, 0, done)
        self.assertIn("+(a certificate, SHA-256 ", done.out)
        self.assertEqual(self.file.read_text(), text)
        self.assertFalse(self.stored().exists())


class FingerprintTests(TrustTestCase):
    def test_of_the_authority_or_of_what_it_has_issued_in_any_spelling(self) -> None:
        issued = self.authority.issue(NAME)
        self.origin(issued, sends_root=True)
        leaf = Certificate.of(issued.certificate).digest.hex()
        for spelling in (
            self.hexadecimal,
            f"sha256:{self.hexadecimal.upper()}",
            f"SHA256 Fingerprint={':'.join(self.hexadecimal[at : at + 2] for at in range(0, 64, 2))}",
            leaf,
        ):
            done = self.command("trust", self.url, "--fingerprint", spelling)
            self.assertEqual(done.status, 0, done)
            self.stored().unlink()

    def test_another_one_is_refused_and_both_are_shown(self) -> None:
        self.origin(sends_root=True)
        done = self.command("trust", self.url, "--fingerprint", "00" * 32, "--yes")
        self.refused(
            done, "00:00:00", ":".join([self.hexadecimal[:2].upper(), self.hexadecimal[2:4].upper()])
        )

    def test_what_is_none_is_wrong_usage(self) -> None:
        for wrong in ("abc", "ab" * 20, "zz" * 32):
            self.assertEqual(self.command("trust", "https://nas.lan", "--fingerprint", wrong).status, 2)


class AuthorityFileTests(TrustTestCase):
    def test_what_it_proves_needs_no_question(self) -> None:
        self.origin()
        self.configured(f"{{url: {self.url}, tls: {{verify: false}}}}")
        done = self.command("trust", "nas", "--ca", self.authority.root, "--yes")
        self.assertEqual(done.status, 0, done)
        trust = self.trust_of()
        self.assertTrue(trust.verify)
        self.assertEqual(trust.ca, ("system", self.stored()))

    def test_what_is_good_and_was_only_not_verified(self) -> None:
        self.origin()
        for more, left in (
            ("", f"{{url: {self.url}}}"),
            (", min_version: 1.3", f"{{url: {self.url}, tls: {{min_version: 1.3}}}}"),
        ):
            text = self.configured(f"{{url: {self.url}, tls: {{verify: false{more}}}}}")
            self.environ["SSL_CERT_FILE"] = str(self.authority.root)
            self.assertEqual(self.command("trust", "nas").status, 1)  # nobody can be asked
            self.assertEqual(self.file.read_text(), text)
            done = self.command("trust", "nas", "--yes")
            self.assertEqual(done.status, 0, done)
            self.assertIn(f"upstream: {left}\n", self.file.read_text())

    def test_what_it_does_not_prove_is_refused_even_with_the_fingerprint(self) -> None:
        (self.certificates / "other").mkdir()
        other = Authority(self.certificates / "other", "Another CA")
        self.origin()
        for more in (("--yes",), ("--fingerprint", Certificate.of(other.certificate).digest.hex())):
            self.refused(self.command("trust", self.url, "--ca", other.root, *more), "does not prove")

    def test_another_name_or_an_end_in_the_past_is_not_mended_by_trust(self) -> None:
        now = datetime.now(timezone.utc)
        for issued, words in (
            (self.authority.issue("nas.lan"), "nas.lan"),
            (
                self.authority.issue(
                    NAME, not_before=now - timedelta(days=9), not_after=now - timedelta(days=2)
                ),
                "expired",
            ),
        ):
            self.origin(issued)
            self.refused(self.command("trust", self.url, "--ca", self.authority.root, "--yes"), words)

    def test_another_one_than_the_configuration_names_is_said_loudly(self) -> None:
        (self.certificates / "other").mkdir()
        other = Authority(self.certificates / "other", "Another CA")
        self.origin()
        self.configured(f"{{url: {self.url}, tls: {{ca: {other.root}}}}}")
        done = self.command("trust", "nas", "--ca", self.authority.root, "--yes")
        self.refused(done, "NOT WHAT WAS TRUSTED BEFORE", "CN=Another CA", str(other.root))
        done = self.command("trust", "nas", "--ca", self.authority.root, "--fingerprint", self.hexadecimal)
        self.assertEqual(done.status, 0, done)
        self.assertEqual(self.trust_of().ca, (other.root, self.stored()))

    def test_a_second_authority_comes_beside_the_first(self) -> None:
        self.origin()
        self.assertEqual(self.command("trust", self.url, "--ca", self.authority.root, "--yes").status, 0)
        before = self.stored().read_bytes()
        (self.certificates / "new").mkdir()
        new = Authority(self.certificates / "new", "New CA")
        other = TlsOrigin(new.issue(NAME))
        self.addCleanup(other.stop)
        os.rename(self.stored(), self.stored().with_name(f"localhost_{other.port}.pem"))
        self.port, url = other.port, f"https://{NAME}:{other.port}"
        done = self.command("trust", url, "--ca", new.root, "--yes")
        self.assertEqual(done.status, 1, done)  # it is another one than before
        self.assertIn("NOT WHAT WAS TRUSTED BEFORE", done.err)
        self.assertIn("CN=Home CA", done.err)
        self.assertIn("--yes never takes that", done.err)
        digits = Certificate.of(new.certificate).digest.hex()
        done = self.command("trust", url, "--ca", new.root, "--fingerprint", digits)
        self.assertEqual(done.status, 0, done)
        self.assertTrue(self.stored().read_bytes().startswith(before))
        self.assertEqual(self.stored().read_bytes().count(b"BEGIN CERTIFICATE"), 2)


class PinTests(TrustTestCase):
    def test_a_certificate_that_nobody_has_issued_is_pinned(self) -> None:
        issued = self_signed_for_long(self.certificates)
        self.origin(issued)
        self.configured(self.url)
        digits = Certificate.of(issued.certificate).digest.hex()
        done = self.command("trust", "nas", "--fingerprint", digits)
        self.assertEqual(done.status, 0, done)
        pin = public_key_pin(issued.certificate)
        self.assertEqual(self.stored("pin").read_text().strip(), pin)
        self.assertEqual((self.trust_of().ca, len(self.trust_of().pin)), ((), 1))
        self.assertIn("trusted already", self.command("trust", "nas").out)
        # A new key is said loudly, with the old one and its day, and --yes does not take it.
        renewed = self_signed_for_long(self.certificates, "renewed")
        other = TlsOrigin(renewed)
        self.addCleanup(other.stop)
        os.rename(self.stored("pin"), self.stored("pin").with_name(f"localhost_{other.port}.pin"))
        self.file.write_text(self.file.read_text().replace(str(self.port), str(other.port)))
        self.port = other.port
        done = self.command("trust", "nas", "--yes")
        self.assertEqual(done.status, 1)
        self.assertIn("NOT WHAT WAS TRUSTED BEFORE", done.err)
        self.assertIn(pin, done.err)
        self.assertIn(f"{datetime.now():%Y-%m-}", done.err)
        digits = Certificate.of(renewed.certificate).digest.hex()
        done = self.command("trust", "nas", "--fingerprint", digits)
        self.assertEqual(done.status, 0, done)
        self.assertEqual(self.stored("pin").read_text().strip(), public_key_pin(renewed.certificate))
        self.assertNotIn(pin, self.file.read_text())

    def test_one_that_lives_short_is_not_pinned_by_itself(self) -> None:
        issued = self.authority.issue(NAME)
        self.origin(issued)
        digits = Certificate.of(issued.certificate).digest.hex()
        self.refused(
            self.command("trust", self.url, "--fingerprint", digits),
            "lives 7 days only",
            "CN=Home CA",
            "--ca",
        )
        done = self.command("trust", self.url, "--pin", "--fingerprint", digits)
        self.assertEqual(done.status, 0, done)
        self.assertEqual(self.stored("pin").read_text().strip(), public_key_pin(issued.certificate))

    def test_what_a_pin_passes_over_is_said(self) -> None:
        issued = self.owned("other.lan")
        self.origin(issued)
        done = self.command("trust", self.url, "--pin", "--dry-run")
        self.assertIn("passes over this", done.err)
        self.assertIn("other.lan", done.err)


class RunningTests(TrustTestCase):
    def test_a_running_relay_serves_what_was_refused_a_moment_before(self) -> None:
        self.origin(sends_root=True)
        relay = Relay(
            f"""
            listeners:
              nas: {{type: reverse-proxy, listen: "127.0.0.1:0", retry: off, upstream: "{self.url}"}}
            """
        ).start()
        self.addCleanup(relay.stop)
        self.environ["XDG_RUNTIME_DIR"] = str(relay.folder)

        def status() -> int:
            connection = http.client.HTTPConnection("127.0.0.1", relay.port("nas"), timeout=PATIENCE)
            connection.request("GET", "/")
            answer = connection.getresponse().status
            connection.close()
            return answer

        self.assertEqual(status(), 502)
        done = self.command("trust", "nas", "-c", relay.config, "--fingerprint", self.hexadecimal)
        self.assertEqual(done.status, 0, done)
        self.assertIn("The running relay was reloaded.", done.err)
        self.assertEqual(status(), 200)
        done = self.command("trust", "--remove", NAME, "-c", relay.config, "--yes")
        self.assertEqual(done.status, 0, done)
        self.assertEqual(status(), 502)


CADDYFILE = """
{{
    admin off
    skip_install_trust
    auto_https disable_redirects
    http_port {plain}
    https_port {port}
}}
https://localhost:{port} {{
    bind 127.0.0.1
    tls internal
    respond "hello"
}}
"""


@skipUnless(shutil.which("caddy"), "caddy is not here")
class CaddyTests(TrustTestCase):
    def test_its_root_is_not_sent_and_the_line_to_fetch_it_is_said(self) -> None:
        self.port, plain = free_ports(2)
        self.url = f"https://{NAME}:{self.port}"
        home = [f"{name}={{folder}}" for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")]
        command = ["env", *home, "caddy", "run", "--config", "{config}", "--adapter", "caddyfile"]
        config = CADDYFILE.format(port=self.port, plain=plain)
        caddy = Program(command, [self.port], config=config, secure={self.port: NAME})
        self.addCleanup(caddy.stop)
        caddy.start()
        self.refused(
            self.command("trust", self.url, "--yes"),
            "lives 12 hours only",
            "Caddy Local Authority",
            f"> caddy-root.crt && lanrelay trust {self.url} --ca caddy-root.crt",
        )
        root = caddy.folder / "caddy/pki/authorities/local/root.crt"
        done = self.command("trust", self.url, "--ca", root, "--yes")
        self.assertEqual(done.status, 0, done)
        self.assertIn("openssl x509 -noout -fingerprint -sha256 -in /var/lib/caddy", done.err)
        self.assertEqual(self.stored().read_bytes().count(b"BEGIN CERTIFICATE"), 1)
        self.assertIn("trusted already", self.command("trust", self.url).out)
        done = self.command("add", self.url, "--yes")
        self.assertEqual(done.status, 0, done)
        self.assertIn("tls         ok", done.err)


class OtherTests(TrustTestCase):
    def test_print_gives_yaml_and_writes_nothing(self) -> None:
        self.origin(sends_root=True)
        done = self.command("trust", self.url, "--print")
        self.assertEqual(done.status, 0, done)
        text = done.out.replace("\n", "\n    ")
        self.configured(text.split("upstream:", 1)[1].rstrip())
        self.assertEqual(len(self.trust_of().pin), 1)
        self.assertFalse(self.stored().exists())
        self.assertIn("trusted already", self.command("trust", "nas").out)

    def test_list_and_remove(self) -> None:
        self.origin(sends_root=True)
        text = self.configured(self.url)
        self.assertIn("Nothing was trusted", self.command("trust", "--list").out)
        self.assertEqual(self.command("trust", "nas", "--fingerprint", self.hexadecimal).status, 0)
        listed = self.command("trust", "--list").out
        self.assertIn(f"localhost:{self.port}", listed)
        self.assertIn("CN=Home CA", listed)
        self.assertEqual(self.command("trust", "--remove", "elsewhere.lan", "--yes").status, 1)
        self.assertEqual(self.command("trust", "--remove", "localhost").status, 1)  # nobody can be asked
        done = self.command("trust", "--remove", f"localhost:{self.port}", "--yes")
        self.assertEqual(done.status, 0, done)
        self.assertFalse(self.stored().exists())
        self.assertEqual(self.trust_of(), model.Trust())
        self.assertEqual(
            text.splitlines()[:-1], self.file.read_text().splitlines()[: len(text.splitlines()) - 1]
        )
        self.assertEqual(self.command("trust", "nas", "--yes").status, 1)

    def test_what_cannot_be_trusted_at_all(self) -> None:
        self.origin()
        self.configured("http://nas.lan")
        self.assertIn("nothing to trust", self.command("trust", "nas").err)
        self.assertEqual(self.command("trust", "nobody").status, 1)
        self.assertEqual(self.command("trust").status, 2)
        self.environ["LANRELAY_CONFIG"] = str(self.home / "nowhere.yaml")
        for command in (("trust", "--list"), ("add", "https://nas.lan", "--yes"), ("remove", "nas", "--yes")):
            done = self.command(*command)
            self.assertEqual(done.status, 1)
            self.assertIn("nowhere.yaml", done.err)
        del self.environ["LANRELAY_CONFIG"]
        self.assertEqual(self.command("trust", "nas", "--list").status, 2)
        self.write("listeners: [\n")
        self.refused(self.command("trust", self.url, "--ca", self.authority.root, "--yes"), "not right")

    def test_a_server_that_is_not_there(self) -> None:
        [self.port] = free_ports(1)
        self.refused(self.command("trust", f"localhost:{self.port}"), f"listens on port {self.port}")

    def test_a_plain_one(self) -> None:
        origin = TlsOrigin(None)
        self.addCleanup(origin.stop)
        self.port = origin.port
        self.refused(self.command("trust", f"localhost:{origin.port}"), "TLS")


def self_signed_for_long(folder: Path, stem: str = "long") -> Issued:
    """A certificate that is its own issuer and lives for years."""
    from tests.support.odd_certificates import DNS_NAME, names, odd_certificate

    odd = odd_certificate(names((DNS_NAME, NAME.encode())), common_name=stem.encode())
    issued = odd.write(folder, stem)
    return Issued(cert=issued.cert, key=issued.key, certificate=Certificate.of(odd.der))  # type: ignore[arg-type]
