from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from lanrelay.cli.check import render
from lanrelay.config import load as load_module
from lanrelay.config import model
from lanrelay.config.control import default_paths
from lanrelay.config.load import Complaint, ConfigErrors, load
from lanrelay.config.place import Fields, Shown
from lanrelay.errors import RelayError
from tests.config.support import ConfigCase, listener_text
from tests.config.tables import BY_KIND, TABLES
from tests.support.properties import given, settings

# "A whole example" of the configuration's contract.
EXAMPLE = """\
log:
  level: info                 # debug | info | warn | error
  format: text                # text | json
  access: true                # one line for each connection or request

admin:                        # status page, /healthz, /readyz, /status.json, /metrics; leave out for none
  listen: localhost:28081

listeners:
  nas-db:                     # a TCP port forward
    type: tcp-forward
    listen: localhost:5432
    upstream: tcp://nas.lan:5432

  lan-mcp:                    # a reverse proxy that re-originates TLS
    type: reverse-proxy
    listen: localhost:8080
    upstream:
      url: https://lan-host
      tls:
        ca: lan-root.crt      # paths are relative to this file
    health: {path: /health}

  lan-proxy:                  # the forward proxy for HTTP_PROXY / HTTPS_PROXY
    type: connect-proxy
    listen: localhost:28080
"""


class ExampleTests(ConfigCase):
    def test_the_contracts_example_is_right(self) -> None:
        config = self.load(EXAMPLE)
        self.assertEqual(config.path, self.file)
        self.assertEqual(config.log, model.Log())
        self.assertEqual(config.admin, model.Admin(listen=(model.LocalhostAddress(port=28081),)))
        self.assertEqual(config.control, model.Control(paths=default_paths(self.file, environment={})))
        self.assertEqual(config.warnings, ())
        forward, reverse, proxy = config.listeners
        self.assertEqual(
            forward,
            model.TcpForward(
                name="nas-db",
                listen=(model.LocalhostAddress(port=5432),),
                upstreams=model.Upstreams(
                    members=(model.Upstream(url=model.UpstreamUrl(scheme="tcp", host="nas.lan", port=5432)),)
                ),
            ),
        )
        upstream = model.Upstream(
            url=model.UpstreamUrl(scheme="https", host="lan-host", port=443),
            trust=model.Trust(ca=(self.folder / "lan-root.crt",)),
        )
        route = model.Route(
            upstreams=model.Upstreams(members=(upstream,), health=model.Health(path="/health"))
        )
        address = (model.LocalhostAddress(port=8080),)
        self.assertEqual(reverse, model.ReverseProxy(name="lan-mcp", listen=address, routes=(route,)))
        allow = (
            model.DestinationRule(word="private"),
            model.DestinationRule(word="public"),
            model.DestinationRule(word="loopback", implied=True),
        )
        address = (model.LocalhostAddress(port=28080),)
        self.assertEqual(proxy, model.ConnectProxy(name="lan-proxy", listen=address, allow=allow))


class ErrorsTests(ConfigCase):
    def test_all_complaints_come_at_once_in_the_files_order(self) -> None:
        text = (
            "lgo: {}\n"
            "log:\n"
            "  level: INFO\n"
            "  acess: true\n"
            "listeners:\n"
            "  a:\n"
            "    type: tcp-forward\n"
            "    listen: 127.0.0.1:80801\n"
            "    upstream: {url: tls://nas.lan:1, tls: {ca: [a, [b]], cert: x}}\n"
            "    timeouts: {connect: 0, drain: 1d}\n"
            "  b:\n"
            "    listen: 8080\n"
            "  c: 5\n"
            "listeners: x\n"
        )
        self.assertEqual(
            self.complaints(text),
            [
                '1:1: lgo: found an unknown key, did you mean "log"?',
                '3:10: log.level: found "INFO", expected debug, info, warn or error',
                '4:3: log.acess: found an unknown key, did you mean "access"?',
                '8:13: listeners.a.listen: found "127.0.0.1:80801", expected a port from 0 to 65535',
                "9:52: listeners.a.upstream.tls.ca[1]: found a list, expected a path",
                '9:64: listeners.a.upstream.tls.cert: found "x", expected "key" to be set as well',
                '10:25: listeners.a.timeouts.connect: found "0", expected a duration above zero',
                '10:35: listeners.a.timeouts.drain: found "1d", '
                "expected a duration such as 250ms, 10s, 5m or 1h",
                '11:3: listeners.b.type: found nothing, expected the key "type"',
                '13:6: listeners.c: found "5", '
                'expected a map with the keys "type", "listen" and those of the type',
                "14:1: listeners: found the key a second time, expected it once (first in line 5)",
            ],
        )

    def test_errors_are_relay_errors_with_their_complaints(self) -> None:
        self.file.write_text("listeners: {a: {type: exec, enabled: false, listen: 1}}\nx: y\n")
        errors = self.assertRaises(ConfigErrors, load, self.file, environment={})
        self.assertIsInstance(errors, RelayError)
        first, second = errors.complaints
        self.assertIsInstance(first, Complaint)
        self.assertEqual((first.file, first.line, first.column), (str(self.file), 1, 13))
        self.assertEqual(first.key_path, "listeners.a.command")
        self.assertEqual(first.message, 'found nothing, expected the key "command"')
        self.assertEqual(str(errors), f"{first}\n{second}")
        self.assertEqual(
            str(first), f'{self.file}:1:13: listeners.a.command: found nothing, expected the key "command"'
        )

    def test_the_file_is_named_as_the_user_named_it(self) -> None:
        self.file.write_text("x: y\n")
        here = os.getcwd()
        self.addCleanup(os.chdir, here)
        os.chdir(self.folder)
        errors = self.assertRaises(ConfigErrors, load, Path("relay.yaml"), environment={})
        self.assertTrue(str(errors).startswith("relay.yaml:1:1: "))
        self.file.write_text(EXAMPLE)
        self.assertEqual(load(Path("relay.yaml"), environment={}).path, Path(os.getcwd(), "relay.yaml"))

    def test_what_a_terminal_would_obey_is_not_printed(self) -> None:
        self.assertIn(
            r'log.level: found "\x1b[2J", expected',
            self.complaint('log: {level: "\\e[2J"}\n' + listener_text("")),
        )
        self.assertNotIn("\x1b", "".join(self.complaints('"\\e": 1\n')))

    def test_a_long_value_is_cut(self) -> None:
        self.assertLess(len(self.complaints(f"log: {{level: {'x' * 9999}}}\n")[0]), 200)

    def test_many_unknown_keys_are_answered_in_time(self) -> None:
        text = "".join(f"key{n}: x\n" for n in range(5000))
        self.assertEqual(len(self.complaints(text)), 5001)


class FileTests(ConfigCase):
    def test_what_cannot_be_read_is_one_complaint(self) -> None:
        missing = self.folder / "missing.yaml"
        for path, words in (
            (self.folder, "found a directory"),
            (missing, "No such file"),
            (Path("a\0b"), "found no file that can be read"),
            (self.file / "x", "found no file that can be read"),
        ):
            self.file.write_text("x")
            errors = self.assertRaises(ConfigErrors, load, path, environment={})
            (complaint,) = errors.complaints
            self.assertIn(words, complaint.message)

    def test_a_file_without_permission(self) -> None:
        self.file.write_text(EXAMPLE)
        self.file.chmod(0)
        if os.access(self.file, os.R_OK):
            return  # root reads everything
        self.assertIn(
            "Permission denied", str(self.assertRaises(ConfigErrors, load, self.file, environment={}))
        )

    def test_contents_that_are_no_configuration(self) -> None:
        for content, expected in {
            b"": "1:1: found an empty file",
            b"\n# nothing\n": "1:1: found an empty file",
            b"---\n": "2:1: found nothing, expected a map with the keys",
            b"just text\n": '1:1: found "just text", expected a map with the keys log, admin',
            b"- a\n": "1:1: found a list, expected a map",
            b"a: b\xff\n": "1:5: found the byte 0xFF, expected text in UTF-8",
            "x: ü\ny: ".encode() + b"\xfc\n": "2:4: found the byte 0xFC, expected text in UTF-8",
            b"\x7fELF\x02\x01\x01\x00": "1:1: found the character U+007F, expected text",
            "a: b\n".encode("utf-16"): "1:1: found the byte 0xFF, expected text in UTF-8",
            b"a: \x00\n": "1:4: found the character U+0000, expected text",
            b"a:\n\tb: c\n": "2:1: found a YAML syntax error",
            b"a: b\n---\na: b\n": "2:1: found a second document",
        }.items():
            self.assertIn(expected, self.complaint(content))

    def test_a_huge_file_is_not_read_to_its_end(self) -> None:
        self.assertIn("found more than 1024 KiB", self.complaint(b"#" * (load_module.LIMIT + 1)))
        self.assertIn(
            "found more than 1024 KiB", str(self.assertRaises(ConfigErrors, load, Path("/dev/zero")))
        )

    def test_a_byte_order_mark_and_carriage_returns_are_nothing(self) -> None:
        self.assertEqual(
            len(self.load(b"\xef\xbb\xbf" + EXAMPLE.replace("\n", "\r\n").encode()).listeners), 3
        )

    def test_one_document_may_be_marked(self) -> None:
        self.assertEqual(len(self.load(f"%YAML 1.1\n---\n{EXAMPLE}...\n").listeners), 3)


class ReferenceTests(ConfigCase):
    """C{${VAR}}, C{${file:PATH}} and the rest, where they meet a file."""

    def test_variables_are_expanded_before_typing(self) -> None:
        text = "log: {level: '${LEVEL}'}\n" + listener_text(
            "listen: ${PORT}\nclients: ${WHO:-private}\nenabled: ${ON}"
        )
        config = self.load(text, LEVEL="warn", PORT="127.0.0.1:80", ON="off")
        self.assertEqual(config.log.level, "warn")
        (listener,) = config.listeners
        self.assertEqual(str(listener.listen[0]), "127.0.0.1:80")
        self.assertEqual(listener.clients, (model.ClientRule(word="private"),))
        self.assertFalse(listener.enabled)

    def test_an_unset_variable_is_an_error_that_names_it(self) -> None:
        self.assertEqual(
            self.complaint("log: {level: '${LEVEL}'}\n" + listener_text("")),
            '1:14: log.level: found "${LEVEL}", expected the environment variable LEVEL to be set '
            "(or a fallback: ${LEVEL:-...})",
        )

    def test_keys_are_not_expanded(self) -> None:
        self.assertIn("1:1: ${A}: found an unknown key", self.complaints("${A}: x\n", A="log")[0])

    def test_errors_show_the_text_as_written(self) -> None:
        (self.folder / "level").write_text("hunter2\n")
        (self.folder / "level").chmod(0o600)
        for value in ("${LEVEL}", "x${LEVEL}", "${file:level}"):
            found = self.complaint(f"log: {{level: '{value}'}}\n{listener_text('')}", LEVEL="hunter2")
            self.assertIn(f'found "{value}", expected debug', found)
            self.assertNotIn("hunter2", found)

    def test_a_files_content_loses_its_last_newline(self) -> None:
        secret = self.folder / "secret"
        body = 'headers: {request: {set: {X: "${file:secret}"}}}'
        for content, expected in ((b"a b\n", "a b"), (b"a\r\n", "a"), (b"a", "a"), (b"", "")):
            secret.write_bytes(content)
            secret.chmod(0o600)
            listener = self.one(model.ReverseProxy, body)
            (_, value) = listener.routes[0].request_headers.set[0]
            self.assertEqual(value, expected)
            self.assertEqual(repr(value), "Secret('***')")

    def test_files_are_found_from_the_home_folder_too(self) -> None:
        (self.folder / "level").write_text("debug")
        text = "log: {level: '${file:~/level}'}\n" + listener_text("")
        self.assertEqual(self.load(text, HOME=str(self.folder)).log.level, "debug")

    def test_a_file_that_is_no_secret_of_a_sensible_kind_is_refused(self) -> None:
        os.mkfifo(self.folder / "pipe")
        (self.folder / "binary").write_bytes(b"\xff")
        (self.folder / "long").write_bytes(b"x" * 65537)
        for name, words in {
            "missing": "No such file",
            "pipe": "a regular file",
            ".": "expected",
            "binary": "UTF-8",
            "long": "at most 64 KiB",
            "": "expected",
        }.items():
            found = self.complaint(f"log: {{level: '${{file:{name}}}'}}\n{listener_text('')}")
            self.assertIn(f'1:14: log.level: found "${{file:{name}}}", expected', found)
            self.assertIn(words, found)

    def test_a_secret_that_others_can_read_is_warned_of_once(self) -> None:
        token = self.folder / "token"
        token.write_text("t")
        token.chmod(0o644)
        body = 'headers: {request: {set: {X: "${file:token}", Y: "${file:token}"}}}'
        config = self.load(listener_text(body, kind="reverse-proxy"))
        (warning,) = config.warnings
        self.assertIn(str(token), warning)
        self.assertIn("others can read it", warning)
        token.chmod(0o600)
        self.assertEqual(self.load(listener_text(body, kind="reverse-proxy")).warnings, ())

    def test_a_variable_that_is_no_utf8_is_refused(self) -> None:
        found = self.complaint(listener_text("listen: ${X}"), X="unix:/\udcff")
        self.assertIn("expected text in UTF-8", found)


_WORDS = sorted({word for table in TABLES for word in table.keys} | {"a", "nas.lan", "X-Token"})
_VALUES = """
    off none [] true 0 1 8080 5s 1MiB 0600 any private loopback 127.0.0.1:80 0.0.0.0:81 localhost:82 unix:x
    tcp://nas.lan:22 tls://nas.lan:22 https://lan-host http://h:1/p http+unix:y *.lan:443 10.0.0.0/8 ~/x ${A}
    [::1]:83 ${NOPE} ${file:x} ${A:-b} $${A} null preserve first 1.2 200-399 /p system v1 a:1 x@y
""".split()  # noqa: SIM905
_TREES = st.recursive(
    st.sampled_from(_VALUES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_WORDS), inner, max_size=6),
    max_leaves=12,
)


@st.composite
def _files(draw: st.DrawFn) -> dict[str, object]:
    """A file with listeners of the right shape and a good deal of nonsense in them."""
    found: dict[str, object] = {}
    for name in draw(st.lists(st.sampled_from(["a", "b", "c"]), unique=True, min_size=1)):
        kind = draw(st.sampled_from(list(BY_KIND)))
        keys = list(BY_KIND[kind].keys)
        body = draw(st.dictionaries(st.sampled_from(keys), _TREES, max_size=3))
        for word in draw(st.lists(st.sampled_from(keys), max_size=3)):
            default = BY_KIND[kind].keys[word].default
            if isinstance(default, (str, list)):
                body[word] = default
        enabled = draw(st.sampled_from(["true", "false"]))
        upstream = {"tcp-forward": "tcp://h:1", "reverse-proxy": "http://h", "exec": "x"}
        if kind in upstream and not body.keys() & {"upstream", "routes", "command"}:
            body["command" if kind == "exec" else "upstream"] = upstream[kind]
        found[name] = {"listen": f"unix:{name}", **body, "type": kind, "enabled": enabled}
    rest = draw(st.dictionaries(st.sampled_from(["log", "admin", "control"]), _TREES, max_size=1))
    return {**rest, "listeners": found}


class FuzzTests(ConfigCase):
    @settings(max_examples=300)
    @given(_files())
    def test_right_keys_with_random_values(self, tree: dict[str, object]) -> None:
        """Refused with complaints; or what C{check} prints of it means the same."""
        try:
            loaded = self.examine(render(tree), A="a")
        except ConfigErrors as errors:
            self.assertNotEqual(errors.complaints, ())
            return
        printed = render(loaded.effective)
        if "***" not in printed:
            self.assertEqual(self.load(printed, A="a"), loaded.config)

    @settings(max_examples=200)
    @given(st.binary())
    def test_random_bytes(self, content: bytes) -> None:
        self.complaints(content)

    @settings(max_examples=300)
    @given(
        st.lists(
            st.tuples(
                st.integers(0, len(EXAMPLE)),
                st.integers(0, 12),
                st.text(alphabet="ab01:.-[]{}$*&!'\"#, \n\t")
                | st.sampled_from(["off", "[]", "{}", "~", "${A}", "*.x"]),
            ),
            min_size=1,
            max_size=4,
        )
    )
    def test_an_example_with_random_damage(self, edits: list[tuple[int, int, str]]) -> None:
        text = EXAMPLE
        for start, length, inserted in edits:
            text = text[:start] + inserted + text[start + length :]
        for complaint in self.complaints(text):
            self.assertRegex(complaint, r"\A[0-9]+:[0-9]+: ")


class ShownTests(ConfigCase):
    def test_what_check_shows_is_made_when_it_asks_and_not_at_a_start(self) -> None:
        asked: list[str] = []
        shown = Fields._shown

        def asks(fields: Fields) -> Shown:
            asked.append(fields.table.name)
            return shown(fields)

        self.patch(Fields, "_shown", asks)
        loaded = self.examine(EXAMPLE)
        self.assertEqual(asked, [])
        self.assertIsInstance(loaded.effective, dict)
        self.assertIn("tcp-forward", asked)

    def test_a_credential_among_the_arguments_of_a_program_is_not_shown(self) -> None:
        loaded = self.examine(
            "listeners:\n  tool:\n    type: exec\n    listen: 8080\n    command: [npx, --token, hunter2, "
            "--api-key=hunter2, --header, 'Authorization: Bearer hunter2', 'http://u:hunter2@nas.lan/', "
            "--password, '${PW}', --port, '80', a=b]\n",
            PW="hunter2",
        )
        effective: Any = loaded.effective
        self.assertEqual(
            effective["listeners"]["tool"]["command"],
            [
                *("npx", "--token", "***", "--api-key=***", "--header", "Authorization: ***"),
                *("http://***:***@nas.lan/", "--password", "${PW}", "--port", "80", "a=b"),
            ],
        )
        self.assertIn("hunter2", loaded.config.listeners[0].command)  # type: ignore[attr-defined]

    def test_a_program_without_arguments_is_shown_as_it_is_written(self) -> None:
        loaded = self.examine("listeners: {tool: {type: exec, listen: 8080, command: 'cat'}}")
        effective: Any = loaded.effective
        self.assertEqual(effective["listeners"]["tool"]["command"], "cat")
