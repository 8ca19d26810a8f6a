from __future__ import annotations

import contextlib
import io
import json
import os
from pathlib import Path
from unittest import mock

from lanrelay.cli import check, main
from lanrelay.cli.authority import Authority
from lanrelay.config.load import examine
from tests.config.support import ConfigCase, listener_text
from tests.config.test_load import EXAMPLE
from tests.config.test_reference import EVERYTHING


class Run:
    """One run of the command: its exit status and what it said."""

    def __init__(self, *arguments: str) -> None:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                self.status = main.main(arguments)
            except SystemExit as ended:
                self.status = ended.code if isinstance(ended.code, int) else 1
        self.out = out.getvalue()
        self.err = err.getvalue()


class CheckTests(ConfigCase):
    def check(self, text: str, *options: str) -> Run:
        self.file.write_text(text)
        return Run("check", "-c", str(self.file), *options)

    def shown(self, text: str) -> str:
        """What C{check} prints, without a look at the files that the text names."""
        self.file.write_text(text)
        return check.render(examine(self.file).effective)

    def test_what_is_in_force_is_printed_with_show_only(self) -> None:
        authority = Authority(self.folder)
        issued = authority.issue("localhost")
        text = listener_text(
            f"upstream: {{url: 'https://h', tls: {{ca: {authority.root.name}}}}}\n"
            f"tls: {{cert: {issued.cert.name}, key: {issued.key.name}}}",
            kind="reverse-proxy",
        )
        run = self.check(text)
        verdict = f"{self.file}: 1 listener, no mistakes\n"
        self.assertEqual((run.status, run.err, run.out), (0, "", verdict))
        run = self.check(text, "--show")
        self.assertEqual((run.status, run.err, run.out), (0, "", f"{self.shown(text)}# {verdict}"))
        self.load(run.out)

    def test_the_verdict_counts(self) -> None:
        insecure = (
            "  b: {type: tcp-forward, listen: '2', upstream: {url: 'tls://h:1', tls: {verify: false}}}\n"
        )
        run = self.check(listener_text("") + insecure)
        self.assertEqual((run.status, run.out), (0, f"{self.file}: 2 listeners, no mistakes, 1 warning\n"))
        self.assertTrue(
            run.err.startswith("warning: b: the certificate of tls://h:1 is NOT verified"), run.err
        )
        run = self.check(listener_text("speed: 1\ntls: {cert: a, key: b}"))
        self.assertEqual((run.status, run.out), (1, f"{self.file}: 1 mistake\n"))
        run = self.check(listener_text("tls: {cert: a, key: b, min_version: 1.0}"))
        self.assertEqual((run.status, run.out), (1, f"{self.file}: 1 listener, 1 mistake, 1 warning\n"))

    def test_the_verdict_for_programs(self) -> None:
        run = self.check(listener_text("speed: 1"), "--json")
        self.assertEqual((run.status, run.err), (1, ""))
        document = json.loads(run.out)
        self.assertEqual((document["ok"], document["config"]), (False, str(self.file)))
        self.assertIn("listeners.one.speed: ", document["mistakes"][0])
        run = self.check(listener_text(""), "--json")
        self.assertEqual(run.status, 0)
        expected = {"ok": True, "config": str(self.file), "listeners": 1, "mistakes": [], "warnings": []}
        self.assertEqual(json.loads(run.out), expected)

    def test_files_that_it_names_are_read_too(self) -> None:
        Authority(self.folder).issue("localhost", file_name="a")
        Authority(self.folder).issue("localhost", file_name="b")
        reverse = "upstream: {url: 'https://h', tls: {ca: nope.crt}}\ntls: {cert: a.pem, key: b.key}"
        run = self.check(listener_text(reverse, kind="reverse-proxy"))
        self.assertEqual(run.status, 1)
        mismatch, missing = run.err.splitlines()
        self.assertTrue(mismatch.startswith(f"{self.file}:5:29: listeners.one.tls.key: the key "), mismatch)
        where = f"{self.file}:4:44: listeners.one.upstream.tls.ca: "
        self.assertTrue(missing.startswith(f"{where}there is no file {self.folder}/nope.crt"), missing)
        run = self.check(listener_text("auth: {file: nope}", kind="connect-proxy"))
        self.assertEqual(run.status, 1)
        self.assertTrue(run.err.startswith(f"{self.file}:4:18: listeners.one.auth.file: "), run.err)
        run = self.check(listener_text(reverse + "\nenabled: false", kind="reverse-proxy"))
        self.assertEqual((run.status, run.err), (0, ""))

    def test_a_folder_in_which_a_program_should_run_is_looked_for(self) -> None:
        run = self.check(listener_text("cwd: nowhere\nenabled: true", kind="exec"))
        self.assertEqual(run.status, 1)
        self.assertIn(f"{self.folder / 'nowhere'} is no folder; correct `cwd`, or make it", run.err)

    def test_defaults_are_filled_in(self) -> None:
        shown = self.shown(EXAMPLE)
        for line in (
            "log:\n  level: info\n  format: text\n  access: true\n",
            "admin:\n  listen: localhost:28081\n  clients: loopback\n",
            "    listen_mode: 0600\n",
            "    health: off\n",
            "      path: /health\n      status: 200-399,401,405,406\n",
            "        min_version: 1.2\n        alpn: none\n        verify: true\n",
            f"        ca: {self.folder}/lan-root.crt\n",
        ):
            self.assertIn(line, shown)
        outside = self.shown(
            listener_text("listen: 0.0.0.0:80\nclients: private\nauth: {file: x}", kind="connect-proxy")
        )
        self.assertIn("    allow:\n    - private\n    - public\n", outside)

    def test_a_default_that_is_narrower_than_what_could_be_written_is_not_shown(self) -> None:
        """Written, C{loopback} would be for names that turn there, too."""
        self.assertNotIn("allow", self.shown(listener_text("", kind="connect-proxy")))

    def test_what_it_prints_loads_to_the_same(self) -> None:
        for text in (EXAMPLE, EVERYTHING):
            first = self.examine(text)
            printed = check.render(first.effective)
            again = self.load(printed)
            if "***" not in printed:
                self.assertEqual(again, first.config)
        self.assertIn("'***'", printed)

    def test_what_it_prints_means_the_same_in_another_folder(self) -> None:
        text = listener_text(
            "listen: unix:a\nupstream: {url: unix:b}\ntls: {cert: c, key: ./d, client_ca: [e]}"
        )
        first = self.examine(text).config
        printed = self.shown(text)
        self.file = self.folder / "sub" / "relay.yaml"
        self.file.parent.mkdir()
        again = self.load(printed)._replace(path=first.path, control=first.control)
        self.assertEqual(again, first)

    def test_everything_that_is_wrong_goes_to_stderr(self) -> None:
        run = self.check("log: {level: x}\nlisteners: {}\n")
        self.assertEqual((run.status, run.out), (1, f"{self.file}: 2 mistakes\n"))
        self.assertEqual(
            run.err,
            f'{self.file}:1:14: log.level: found "x", expected debug, info, warn or error\n'
            f"{self.file}:2:12: listeners: found an empty map, expected at least one listener, "
            "as NAME: and its keys\n",
        )

    def test_a_missing_file_is_one_line(self) -> None:
        run = Run("check", "-c", str(self.folder / "nope.yaml"))
        self.assertEqual(run.status, 1)
        self.assertIn("No such file", run.err)
        self.assertEqual(run.err.count("\n"), 1)

    def test_secrets_are_masked(self) -> None:
        proxy = (
            "auth: {users: {alice: hunter2, bob: '${PW}', eve: '${PW:-hunter2}'}}\n"
            "parent: http://carol:hunter2@proxy:3128\nenabled: false\n"
        )
        reverse = (
            "upstream: {url: 'https://h', tls: {key: k, cert: c, passphrase: hunter2}}\n"
            "headers: {request: {set: {Authorization: Bearer hunter2, X-Api-Key: hunter2,\n"
            "  Accept: text/html, X-Token: 'Bearer ${PW}', X-Other: '${PW}'}, add: {Cookie: hunter2}}}\n"
        )
        program = "env: {API_KEY: hunter2, COLOUR: red}\n"
        with mock.patch.dict(os.environ, PW="swordfish"):
            for kind, body, lines in (
                (
                    "connect-proxy",
                    proxy,
                    ("alice: '***'", "bob: ${PW}", "eve: ${PW:-***}", "parent: http://***:***@proxy:3128"),
                ),
                (
                    "reverse-proxy",
                    reverse,
                    (
                        "passphrase: '***'",
                        "Authorization: '***'",
                        "X-Api-Key: '***'",
                        "Accept: text/html",
                        "X-Token: Bearer ${PW}",
                        "X-Other: ${PW}",
                        "Cookie: '***'",
                    ),
                ),
                ("exec", program, ("API_KEY: '***'", "COLOUR: red")),
            ):
                shown = self.shown(listener_text(body, kind=kind))
                self.assertNotIn("hunter2", shown)
                self.assertNotIn("swordfish", shown)
                self.assertNotIn("carol", shown)
                for line in lines:
                    self.assertIn(f"{line}\n", shown)

    def test_text_with_references_is_shown_as_written(self) -> None:
        with mock.patch.dict(os.environ, PORT="4711", DIR="/secret"):
            text = listener_text(
                "listen: ${PORT}\nupstream: unix:${DIR}/x\ntls: {cert: '${DIR}/c', key: $${k}"
            )
            shown = self.shown(text.replace("$${k}", "'$${k}'}"))
        self.assertIn("listen: ${PORT}\n", shown)
        self.assertIn("url: unix:${DIR}/x\n", shown)
        self.assertIn("cert: ${DIR}/c\n", shown)
        self.assertIn("key: $${k}\n", shown)

    def test_a_folder_with_a_strange_name_does_not_become_a_reference(self) -> None:
        self.folder = self.folder / "${HOME}"
        self.folder.mkdir()
        self.file = self.folder / "relay.yaml"
        text = listener_text("tls: {cert: c, key: k}")
        first = self.examine(text)
        self.assertEqual(self.load(check.render(first.effective)), first.config)

    def test_what_is_off_is_shown_as_off(self) -> None:
        shown = self.shown(
            listener_text("headers: {request: off, response: {set: none}}", kind="reverse-proxy")
        )
        self.assertIn("      request: off\n      response:\n        set: none\n", shown)
        self.assertIn("passphrase: none\n", shown)
        self.assertIn("auth: none\n", self.shown(listener_text("auth: none", kind="connect-proxy")))

    def test_warnings_go_to_stderr(self) -> None:
        (self.folder / "level").write_text("info")
        (self.folder / "level").chmod(0o644)
        run = self.check("log: {level: '${file:level}'}\n" + listener_text(""))
        self.assertEqual(run.status, 0)
        self.assertEqual(run.err.count("warning: "), 1)
        self.assertEqual(run.out, f"{self.file}: 1 listener, no mistakes, 1 warning\n")

    def test_letters_beyond_ascii(self) -> None:
        tree = {"cert": "/home/bücher/c.pem"}
        self.assertEqual(check.render(tree), "cert: /home/bücher/c.pem\n")
        self.assertEqual(check.render(tree, unicode=False), 'cert: "/home/b\\xFCcher/c.pem"\n')


class CommandLineTests(ConfigCase):
    def test_the_file_need_not_be_named(self) -> None:
        with mock.patch.dict(os.environ, {"XDG_CONFIG_HOME": str(self.folder)}):
            run = Run("check")
            self.assertEqual((run.status, run.out), (1, ""))
            self.assertIn(f"{self.folder}/lanrelay/relay.yaml and /etc/lanrelay/relay.yaml are not", run.err)
            run = Run("check", "--json")
            self.assertEqual((run.status, run.err, json.loads(run.out)["ok"]), (1, "", False))
            (self.folder / "lanrelay").mkdir()
            (self.folder / "lanrelay" / "relay.yaml").write_text(listener_text(""))
            run = Run("check")
            expected = f"{self.folder}/lanrelay/relay.yaml: 1 listener, no mistakes\n"
            self.assertEqual((run.status, run.out), (0, expected))

    def test_help(self) -> None:
        run = Run("--help")
        self.assertEqual(run.status, 0)
        for word in ("lanrelay COMMAND", "check", "demo", "--version", "twistd -n lanrelay -c FILE"):
            self.assertIn(word, run.out)
        run = Run("check", "--help")
        self.assertEqual(run.status, 0)
        self.assertIn("-c", run.out)

    def test_nothing_is_answered_with_the_help(self) -> None:
        run = Run()
        self.assertEqual((run.status, run.out), (2, ""))
        self.assertIn("Commands:", run.err)

    def test_version(self) -> None:
        run = Run("--version")
        self.assertEqual(run.status, 0)
        self.assertTrue(run.out.startswith("lanrelay "))

    def test_an_unknown_command(self) -> None:
        run = Run("chekc")
        self.assertEqual(run.status, 2)
        expected = ", ".join(main.COMMANDS)
        self.assertEqual(run.err, f'lanrelay: found the command "chekc", expected one of: {expected}.\n')

    def test_every_command_has_its_module(self) -> None:
        folder = Path(main.__file__).parent
        for name in main.COMMANDS:
            self.assertTrue((folder / f"{name}.py").exists(), name)
