"""Changes of a configuration: the bytes that stay, and what is in force."""

from __future__ import annotations

import difflib
from pathlib import Path
from textwrap import dedent

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config import model
from lanrelay.config.load import ConfigErrors, examine
from lanrelay.edit.formats.tree import NotEdited
from lanrelay.setup.in_force import Rewritten, added, removed
from lanrelay.setup.trust_plan import upstreams_of
from lanrelay.setup.upstream_trust import Origin, forget, trust_ca, trust_pin

CHECKOUT = Path(__file__).resolve().parents[2]
PATH = Path("/etc/somewhere/relay.yaml")
NAS = Origin("nas.lan", 443)
FILE = "trust/nas.lan_443.pem"
PIN = "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
OTHER = "sha256//BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA="
BODY = {"type": "reverse-proxy", "listen": "localhost:28101", "upstream": "https://nas.lan"}

FULL = """\
# My relay.

log: {level: warn}   # quiet
listeners:
    db:                # the database
        type: tcp-forward
        listen: 5432
        upstream:   tcp://db.lan:5432

    # The NAS, by its name
    nas:
        type: reverse-proxy
        listen: localhost:28082
        upstream: https://nas.lan    # it has a CA of its own
        # health: off

# Behind all listeners.
admin: {listen: "localhost:28081"}
"""


class ConfigurationTestCase(SynchronousTestCase):
    def lines(self, before: str | bytes, after: bytes) -> list[str]:
        """What was taken out and put in, line by line."""
        raw = before.encode() if isinstance(before, str) else before
        old, new = raw.decode().split("\n"), after.decode().split("\n")
        return [line for line in difflib.ndiff(old, new) if line[0] in "+-"]

    def listener(self, text: str) -> str:
        """A file with one listener whose upstream is given."""
        indented = dedent(text).strip("\n").replace("\n", "\n    ")
        return f"listeners:\n  nas:\n    type: reverse-proxy\n    listen: 1\n    {indented}\n"

    def trust_of(self, rewritten: Rewritten, index: int = 0) -> model.Trust:
        (listener,) = (one for one in rewritten.config.listeners if one.name == "nas")
        assert isinstance(listener, model.ReverseProxy)
        return listener.routes[0].upstreams.members[index].trust


class ListenerTests(ConfigurationTestCase):
    def test_a_listener_comes_behind_the_last_one_in_the_file_s_own_manner(self) -> None:
        body = {**BODY, "listen": "localhost:28123", "hosts": ["a.lan", "b.lan"]}
        done = added(PATH, FULL.encode(), "web", body)
        self.assertEqual(
            self.lines(FULL, done.content),
            [
                "+     web:",
                "+       type: reverse-proxy",
                "+       listen: localhost:28123",
                "+       upstream: https://nas.lan",
                "+       hosts: [a.lan, b.lan]",
                "+ ",
            ],
        )
        self.assertEqual([one.name for one in done.config.listeners], ["db", "nas", "web"])
        self.assertIn(b"# health: off\n\n    web:\n", done.content)

    def test_added_and_removed_is_as_before(self) -> None:
        for text in (
            FULL,
            FULL.replace("\n", "\r\n"),
            "\N{ZERO WIDTH NO-BREAK SPACE}" + FULL,
            FULL.split("# Behind")[0].rstrip("\n"),
            "{listeners: {a: {type: tcp-forward, listen: 1, upstream: 'tcp://a:1'}}}",
            "listeners: {a: {type: tcp-forward, listen: 1, upstream: 'tcp://a:1'}} # x",
        ):
            raw = text.encode()
            done = added(PATH, raw, "web", BODY)
            self.assertNotIn(b"\r\r", done.content)
            self.assertEqual(done.content.count(b"\r\n") > 0, b"\r\n" in raw)
            if b"\r\n" in raw:
                self.assertEqual(done.content.count(b"\n"), done.content.count(b"\r\n"))
            self.assertEqual(done.content.startswith(b"\xef\xbb\xbf"), raw.startswith(b"\xef\xbb\xbf"))
            back = removed(PATH, done.content, "web")
            self.assertEqual(back.content, raw)
            self.assertEqual(back.config, examine(PATH, content=raw).config)

    def test_the_one_in_the_middle_goes_and_the_comments_of_others_stay(self) -> None:
        done = removed(PATH, FULL.encode(), "nas")
        self.assertEqual([one.name for one in done.config.listeners], ["db"])
        self.assertEqual(
            [line[2:].strip() for line in self.lines(FULL, done.content)],
            ["nas:", "type: reverse-proxy", "listen: localhost:28082",
             "upstream: https://nas.lan    # it has a CA of its own"],
        )  # fmt: skip

    def test_a_file_is_begun(self) -> None:
        wanted = b"listeners:\n  web:\n    type: reverse-proxy\n    listen: localhost:28101\n    upstream: https://nas.lan\n"
        self.assertEqual(added(PATH, None, "web", BODY).content, wanted)
        self.assertEqual(added(PATH, b"", "web", BODY).content, wanted)
        self.assertEqual(added(PATH, b"# mine", "web", BODY).content, b"# mine\n\n" + wanted)

    def test_maps_within_a_listener_have_their_lines(self) -> None:
        upstream = {"url": "https://nas.lan", "tls": {"ca": ["system", FILE]}}
        done = added(PATH, None, "web", {**BODY, "upstream": upstream})
        self.assertIn(
            b"    upstream:\n      url: https://nas.lan\n"
            b"      tls:\n        ca: [system, trust/nas.lan_443.pem]\n",
            done.content,
        )

    def test_what_is_not_to_be_done(self) -> None:
        one = self.listener("upstream: https://nas.lan").encode()
        for change in (
            lambda: added(PATH, one, "nas", {**BODY, "listen": "localhost:9"}),
            lambda: removed(PATH, one, "nas"),
        ):
            with self.assertRaises(NotEdited):
                change()
        for wrong in (
            lambda: added(PATH, b"listeners: {}\n", "web", BODY),
            lambda: added(PATH, b"listeners: [\n", "web", BODY),
            lambda: added(PATH, one, "web", {**BODY, "listen": "localhost:1"}),
            lambda: added(PATH, None, "web", {**BODY, "lisen": "1"}),
            lambda: added(PATH, one.replace(b"nas.lan", b"\xff"), "web", BODY),
        ):
            with self.assertRaises((ConfigErrors, NotEdited)):
                wrong()


class ExampleTests(ConfigurationTestCase):
    """The configurations that people begin with."""

    def examples(self) -> list[bytes]:
        found = [path.read_bytes() for path in sorted((CHECKOUT / "conf").glob("*.yaml"))]
        self.assertGreater(len(found), 1)
        return found + [content.replace(b"\n", b"\r\n") for content in found]

    def test_what_is_added_goes_and_leaves_no_trace(self) -> None:
        for content in self.examples():
            done = added(PATH, content, "web", {**BODY, "listen": "localhost:28999"})
            self.assertEqual(removed(PATH, done.content, "web").content, content)

    def test_trust_changes_a_few_lines_of_each_upstream(self) -> None:
        count = 0
        for content in self.examples():
            config = examine(PATH, content=content).config
            for upstream in upstreams_of(config):
                if not upstream.url.tls:
                    continue
                count += 1
                origin = Origin(upstream.url.host, upstream.url.port)
                for done in (
                    trust_ca(PATH, content, origin, FILE, without_pin=True),
                    trust_pin(PATH, content, origin, PIN, with_ca=False),
                ):
                    self.assertLess(len(self.lines(content, done.content)), 6)
        self.assertGreater(count, 1)


class TrustTests(ConfigurationTestCase):
    def test_the_spellings_of_an_upstream(self) -> None:
        ca = f"{{ca: [system, {FILE}]}}"
        table = {
            "upstream: https://nas.lan": f"upstream: {{url: https://nas.lan, tls: {ca}}}",
            "upstream: https://NAS.lan:443/  # x": f"upstream: {{url: https://NAS.lan:443/, tls: {ca}}}  # x",
            "upstream: 'https://nas.lan'": f"upstream: {{url: 'https://nas.lan', tls: {ca}}}",
            "upstream: {url: https://nas.lan}": f"upstream: {{url: https://nas.lan, tls: {ca}}}",
            "upstream: {url: https://nas.lan, tls: {}}": f"upstream: {{url: https://nas.lan, tls: {ca}}}",
            "upstream:\n  url: https://nas.lan  # x": f"upstream:\n  url: https://nas.lan  # x\n  tls: {ca}",
            "upstream: [https://nas.lan, 'http://b.lan']":
                f"upstream: [{{url: https://nas.lan, tls: {ca}}}, 'http://b.lan']",
            "upstream:\n- https://nas.lan\n- http://b.lan":
                f"upstream:\n- {{url: https://nas.lan, tls: {ca}}}\n- http://b.lan",
            "upstream:\n- url: https://nas.lan\n  via: none\n- http://b.lan":
                f"upstream:\n- url: https://nas.lan\n  via: none\n  tls: {ca}\n- http://b.lan",
            "routes:\n- path: /\n  upstream: https://nas.lan":
                f"routes:\n- path: /\n  upstream: {{url: https://nas.lan, tls: {ca}}}",
        }  # fmt: skip
        for before, after in table.items():
            text = self.listener(before)
            done = trust_ca(PATH, text.encode(), NAS, FILE)
            self.assertEqual(done.content.decode(), self.listener(after))
            self.assertEqual(self.trust_of(done).ca, ("system", PATH.parent / FILE))
            again = trust_ca(PATH, done.content, NAS, FILE)
            self.assertEqual((again.content, again.changed), (done.content, False))

    def test_it_comes_beside_what_is_named_and_in_place_of_verify_false(self) -> None:
        table = {
            "ca: a.pem": f"ca: [a.pem, {FILE}]",
            "ca: [a.pem, system]": f"ca: [a.pem, system, {FILE}]",
            "verify: false": f"ca: [system, {FILE}]",
            "min_version: 1.3  # x\nverify: off  # y": f"min_version: 1.3  # x\nca: [system, {FILE}]",
            "ca:\n- a.pem  # x\nverify: true": f"ca:\n- a.pem  # x\n- {FILE}",
        }
        for before, after in table.items():
            lines = "upstream:\n  url: https://nas.lan\n  tls:\n    {}"
            text = self.listener(lines.format(before.replace("\n", "\n    ")))
            done = trust_ca(PATH, text.encode(), NAS, FILE)
            self.assertEqual(
                done.content.decode(), self.listener(lines.format(after.replace("\n", "\n    ")))
            )
            self.assertTrue(self.trust_of(done).verify)

    def test_all_of_that_host_and_port_and_no_other(self) -> None:
        text = """\
            listeners:
              a: {type: reverse-proxy, listen: 1, upstream: "https://nas.lan/a"}
              b: {type: tcp-forward, listen: 2, upstream: ["tls://nas.lan:443", "tls://nas.lan:444"]}
              c: {type: reverse-proxy, listen: 3, upstream: "http://nas.lan:443"}
              d: {type: reverse-proxy, listen: 4, upstream: "https://${HOST}"}
        """
        done = trust_ca(PATH, dedent(text).encode(), NAS, FILE, environment={"HOST": "nas.lan"})
        self.assertEqual(done.content.count(FILE.encode()), 3)
        self.assertIn(b'{url: "https://${HOST}", tls: {ca: ', done.content)

    def test_an_anchor_that_several_share_is_changed_once(self) -> None:
        text = """\
            listeners:
              a: {type: reverse-proxy, listen: 1, upstream: &it {url: "https://nas.lan"}}
              b: {type: reverse-proxy, listen: 2, upstream: *it}
        """
        try:
            done = trust_ca(PATH, dedent(text).encode(), NAS, FILE)
        except NotEdited:
            return  # nothing is written, and the person is told
        self.assertEqual(done.content.count(FILE.encode()), 1)

    def test_a_pin_alone_takes_the_place_of_authorities_and_of_other_pins(self) -> None:
        table = {
            "ca: a.pem": f"pin: {PIN}",
            f"pin: {OTHER}": f"pin: {PIN}",
            f"pin: [{OTHER}, {PIN}]": f"pin: {PIN}",
            "verify: false": f"pin: {PIN}",
        }
        for before, after in table.items():
            text = self.listener(f"upstream: {{url: https://nas.lan, tls: {{{before}}}}}")
            done = trust_pin(PATH, text.encode(), NAS, PIN, with_ca=False)
            self.assertEqual(
                done.content.decode(), self.listener(f"upstream: {{url: https://nas.lan, tls: {{{after}}}}}")
            )
            self.assertEqual(self.trust_of(done).ca, ())

    def test_a_pin_beside_authorities(self) -> None:
        text = self.listener("upstream: {url: https://nas.lan, tls: {ca: a.pem}}")
        done = trust_pin(PATH, text.encode(), NAS, PIN, with_ca=True)
        self.assertEqual(self.trust_of(done).ca, (PATH.parent / "a.pem",))
        self.assertEqual(len(self.trust_of(done).pin), 1)

    def test_what_was_trusted_is_forgotten(self) -> None:
        for before in (
            "upstream: {url: https://nas.lan, tls: {min_version: 1.3}}",
            "upstream: {url: https://nas.lan, tls: {ca: [a.pem, b.pem]}}",
            "upstream:\n  url: https://nas.lan\n  tls:\n    server_name: x.lan",
        ):
            raw = self.listener(before).encode()
            done = trust_ca(PATH, raw, NAS, FILE)
            self.assertEqual(forget(PATH, done.content, NAS, file=FILE).content, raw)
            done = trust_pin(PATH, raw, NAS, PIN, with_ca=True)
            back = forget(PATH, done.content, NAS, key_pin=PIN)
            self.assertEqual(back.config, examine(PATH, content=raw).config)

    def test_what_stands_otherwise_is_left_alone(self) -> None:
        for text in ("upstream: {url: https://nas.lan, tls: }", "upstream: &a https://nas.lan"):
            with self.assertRaises((NotEdited, ConfigErrors)):
                trust_ca(PATH, self.listener(text).encode(), NAS, FILE)
