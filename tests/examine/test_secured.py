"""TLS: the certificate matrix, what else can be wrong, and that nothing is sent to whom is not verified."""

from __future__ import annotations

import socket
import ssl
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.cli.authority import Authority, Issued
from lanrelay.examine.authorities import CADDY, MKCERT, PROXMOX, STEP, SYNOLOGY, recognise
from lanrelay.examine.checks import Check, Examined
from tests.examine.scripted import one_answer
from tests.examine.support import ExamineTestCase
from tests.support.peers import free_ports
from tests.support.tls import certificate_pin, public_key_pin
from tests.support.tls_origin import TlsOrigin
from tests.transport.test_tls import self_signed

NAME = "nas.lan"
NOW = datetime.now(timezone.utc)


class SecuredTests(ExamineTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.authority = Authority(self.folder, "Home CA")
        self.names[NAME] = ["127.0.0.1"]

    def origin(self, issued: Issued | None, **how: Any) -> TlsOrigin:
        origin = TlsOrigin(issued, **how)
        self.addCleanup(origin.stop)
        return origin

    def other(self, name: str) -> Authority:
        folder = self.folder / "others" / name.replace(" ", "-")
        folder.mkdir(parents=True)
        return Authority(folder, name)

    async def look(self, origin: TlsOrigin, tls: str = "ca: ROOT", host: str = NAME) -> Examined:
        """As a listener with that trust. An origin that is not verified must have heard nothing."""
        tls = tls.replace("ROOT", str(self.authority.root))
        text = f"""
            listeners:
              nas:
                type: reverse-proxy
                listen: 127.0.0.1:0
                headers: {{request: {{set: {{Authorization: "Bearer s3cret"}}}}}}
                upstream: {{url: "https://{host}:{origin.port}", tls: {{{tls}}}}}
            """
        examined = await self.examine("nas", text)
        if self.only(examined, "tls").state != "ok":
            self.assertEqual((origin.heard, origin.raw.count(b"s3cret")), (b"", 0))
            self.assertEqual(self.only(examined, "http").state, "skipped")
        return examined

    async def refused(self, cause: str, origin: TlsOrigin, *said: str, **how: Any) -> Check:
        return self.assert_cause(await self.look(origin, **how), "tls", cause, *said)

    async def test_a_good_one_is_shown_whole(self) -> None:
        issued = self.authority.issue(NAME)
        examined = await self.look(self.origin(issued, chain=(self.authority.certificate,)))
        check = self.only(examined, "tls")
        self.assertEqual(check.state, "ok")
        self.assertEqual(check.facts["tls"]["version"], "TLSv1.3")
        leaf, root = check.facts["chain"]
        self.assertEqual(leaf["names"], [NAME])
        self.assertEqual(root["subject"], "CN=Home CA")
        self.assertEqual(f"sha256:{leaf['sha256']}", certificate_pin(issued.certificate))
        self.assertEqual(leaf["spki"], public_key_pin(issued.certificate))
        self.assertEqual(datetime.fromisoformat(leaf["not_after"]), issued.certificate.not_valid_after_utc)

    async def test_an_unknown_ca(self) -> None:
        stranger = self.other("Somebody's CA")
        origin = self.origin(stranger.issue(NAME), chain=(stranger.certificate,))
        check = await self.refused("unknown_ca", origin, "Somebody's CA")
        self.assertEqual(check.remedy, "lanrelay trust nas")
        self.assertEqual([one["subject"] for one in check.facts["chain"]], [f"CN={NAME}", "CN=Somebody's CA"])

    async def test_a_url_that_nothing_leads_to_is_trusted_by_its_url(self) -> None:
        origin = self.origin(self.other("Somebody's CA").issue(NAME))
        url = f"https://{NAME}:{origin.port}"
        check = self.assert_cause(await self.examine(f"{url}/mcp"), "tls", "unknown_ca")
        self.assertEqual(check.remedy, f"lanrelay trust {url}")

    async def test_the_root_of_a_known_authority_is_said_to_lie_somewhere(self) -> None:
        for name, root, fetch in (
            (
                "Caddy Local Authority - 2026 ECC Root",
                "pki/authorities/local/root.crt",
                "ssh nas.lan sudo cat",
            ),
            ("mkcert you@home", "mkcert -CAROOT", "ssh nas.lan"),
            ("Proxmox Virtual Environment", "/etc/pve/pve-root-ca.pem", "scp root@nas.lan:/etc/pve/"),
        ):
            origin = self.origin(self.other(name).issue(NAME))
            check = await self.refused("unknown_ca", origin, name, root)
            self.assertIn(fetch, check.remedy or "")
            self.assertIn(" && lanrelay trust nas --ca ", check.remedy or "")

    async def test_caddy_s_own_authority(self) -> None:
        port, plain = free_ports(2)
        config = f"""
            {{
                admin off
                storage file_system {self.folder}/caddy
                skip_install_trust
                auto_https disable_redirects
                http_port {plain}
                https_port {port}
            }}
            https://{NAME}:{port} {{
                bind 127.0.0.1
                tls internal
                respond "hello"
            }}
        """
        caddy = ["caddy", "run", "--adapter", "caddyfile", "--config", "{config}"]
        self.program(caddy, [port], config=config, secure={port: NAME})
        url = f"https://{NAME}:{port}"
        check = self.assert_cause(
            await self.examine(url), "tls", "unknown_ca", "That is Caddy's local authority"
        )
        self.assertIn("/pki/authorities/local/root.crt", check.said)
        fetch, _, trust = (check.remedy or "").partition(" && ")
        self.assertEqual(trust, f"lanrelay trust {url} --ca caddy-root.crt")
        # What that command would fetch makes it good.
        self.assertIn("caddy/pki/authorities/local/root.crt > caddy-root.crt", fetch)
        root = self.folder / "caddy" / "pki" / "authorities" / "local" / "root.crt"
        (self.folder / "trust").mkdir()
        (self.folder / "trust" / f"{NAME}_{port}.pem").write_bytes(root.read_bytes())
        self.assertTrue((await self.examine(url)).ok)

    async def test_a_url_is_mended_by_a_listener_that_is_added(self) -> None:
        origin = self.origin(self.authority.issue("other.lan"))
        (self.folder / "trust").mkdir()
        (self.folder / "trust" / f"{NAME}_{origin.port}.pem").write_bytes(self.authority.root.read_bytes())
        url = f"https://{NAME}:{origin.port}"
        check = self.assert_cause(await self.examine(url), "tls", "wrong_name")
        self.assertEqual(check.remedy, f"lanrelay add {url} --set tls.server_name=other.lan")

    async def test_what_a_server_calls_itself_is_no_command(self) -> None:
        for name in ("x$(touch${IFS}pwned)", "a;reboot", "`id`.lan", "-rf.lan x"):
            origin = self.origin(self.authority.issue(name, file_name="odd"))
            check = await self.refused("wrong_name", origin)
            self.assertNotIn(name, check.remedy or "")
            self.assertIn(name, check.said)

    async def test_the_matrix(self) -> None:
        issue = self.authority.issue
        past = NOW - timedelta(days=9)
        old = issue(NAME, not_before=past - timedelta(days=9), not_after=past, file_name="old")
        await self.refused("expired", self.origin(old), f"expired on {past:%Y-%m-%d %H:%M}")
        young = issue(NAME, not_before=NOW + timedelta(days=2), file_name="young")
        await self.refused("not_yet_valid", self.origin(young))
        wrong = await self.refused("wrong_name", self.origin(issue("other.lan")), "is for other.lan")
        self.assertIn("tls: {server_name: other.lan}", wrong.remedy or "")
        good = issue(NAME, file_name="good")
        await self.refused("wrong_name", self.origin(good), "not for 127.0.0.1", host="127.0.0.1")
        (self.folder / "self").mkdir()
        own = self_signed(self.folder / "self", NAME)
        await self.refused("self_signed", self.origin(own))
        believed = await self.look(self.origin(own), tls=f"ca: {own.cert}")
        self.assertEqual(self.only(believed, "tls").state, "ok")
        pin = f'pin: "{public_key_pin(self.authority.certificate)}"'
        differs = await self.refused(
            "pin_differs", self.origin(good), public_key_pin(good.certificate), tls=pin
        )
        self.assertIn("lanrelay trust nas", differs.remedy or "")
        await self.refused("tls_other", self.origin(issue(NAME, client=True, file_name="purpose")), "purpose")

    async def test_old_versions_are_told_by_trying(self) -> None:
        good = self.authority.issue(NAME)
        for version, spoken in ((ssl.TLSVersion.TLSv1, "1.0"), (ssl.TLSVersion.TLSv1_1, "1.1")):
            check = await self.refused("old_tls", self.origin(good, at_most=version), f"TLS {spoken} at most")
            self.assertIn(f'tls: {{min_version: "{spoken}"}}', check.remedy or "")

    async def test_a_client_certificate_is_wanted(self) -> None:
        good = self.authority.issue(NAME)
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            origin = self.origin(good, client_ca=self.authority.root, at_most=version)
            text = f"""
                listeners:
                  nas:
                    type: tcp-forward
                    listen: 127.0.0.1:0
                    upstream: {{url: "tls://{NAME}:{origin.port}", tls: {{ca: "{self.authority.root}"}}}}
                """
            examined = await self.examine("nas", text)
            check = self.assert_cause(examined, "tls", "client_certificate_wanted")
            self.assertIn("tls: {cert: ", check.remedy or "")

    async def test_plain_http_where_tls_should_be(self) -> None:
        origin = self.origin(None)
        check = await self.refused("not_tls", origin)
        self.assertIn(f"url: http://{NAME}:{origin.port}", check.remedy or "")

    async def test_a_server_that_closes_or_says_nothing(self) -> None:
        self.assert_cause(await self.examine(f"https://{NAME}:{one_answer(self, b'')}"), "tls", "reset")
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
            examined = await self.examine(f"tls://{NAME}:{port}", timeout=1.0)
            self.assert_cause(examined, "tls", "timeout")

    async def test_what_is_not_verified_by_wish_is_warned_of_and_gets_no_request(self) -> None:
        origin = self.origin(self.other("Somebody's CA").issue(NAME))
        examined = await self.look(origin, tls="verify: false")
        check = self.only(examined, "tls")
        self.assertEqual((examined.ok, check.state, check.remedy), (True, "warn", "lanrelay trust nas"))
        self.assertIn("NOT verified", check.said)

    async def test_a_file_that_cannot_be_read(self) -> None:
        missing: Path = self.folder / "missing.pem"
        examined = await self.look(self.origin(self.authority.issue(NAME)), tls=f"ca: {missing}")
        check = self.only(examined, "tls")
        self.assertEqual((check.state, check.cause), ("failed", None))
        self.assertIn(str(missing), check.said)


class AuthorityTests(SynchronousTestCase):
    def test_authorities_are_known_by_how_they_call_themselves(self) -> None:
        for name, known in (
            ("CN=Caddy Local Authority - ECC Intermediate", CADDY),
            ("CN=mkcert you@home (You),OU=you@home (You),O=mkcert development CA", MKCERT),
            ("CN=Home Intermediate CA,O=Home", STEP),
            ("O=Home Lab,CN=Home Lab Root CA", STEP),
            ("CN=Smallstep Intermediate CA", STEP),
            ("CN=Synology Inc. CA,OU=Certificate Authority,O=Synology Inc.,L=Taipel,C=TW", SYNOLOGY),
            ("CN=Proxmox Virtual Environment,OU=0123,O=PVE Cluster Manager CA", PROXMOX),
            ("CN=ISRG Root X1,O=Internet Security Research Group,C=US", None),
            ("CN=Home CA", None),
        ):
            self.assertIs(recognise([name]), known, name)
