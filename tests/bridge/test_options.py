"""The command line of C{lanrelay stdio}, its targets and its headers."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.bridge import options, target
from lanrelay.bridge.messages import Ask
from lanrelay.bridge.options import Wrong, parse
from lanrelay.bridge.secure import Secure
from lanrelay.bridge.target import HttpTarget
from lanrelay.cli.stdio import parser

URL = "https://nas.lan/mcp"


class ParseTests(SynchronousTestCase):
    def test_help_knows_the_options_that_are_read(self) -> None:
        known = {name for action in parser()._actions for name in action.option_strings}
        self.assertEqual(known - {"--help", "-h", "-c"}, {one.name for one in options.OPTIONS})

    def test_help_and_the_quick_reader_read_the_same(self) -> None:
        words = [URL, "--header", "A: b", "--header=C: d", "--hold", "3s", "--no-cache", "-c", "x.yaml"]
        words += ["--ca", "system", "--ca", "home.pem", "--transport", "sse", "--only-tool", "x*"]
        mine, theirs = parse(words), parser().parse_args(words)
        self.assertEqual((mine.target, mine.headers, mine.hold), (theirs.target, theirs.header, theirs.hold))
        self.assertEqual((mine.no_cache, mine.config, mine.ca), (theirs.no_cache, theirs.config, theirs.ca))
        self.assertEqual((mine.transport, mine.only_tools), (theirs.transport, theirs.only_tool))

    def test_an_entry_of_mcp_remote_is_taken_with_warnings(self) -> None:
        found = parse(
            [
                URL,
                "3334",
                "--allow-http",
                "--debug",
                "--transport",
                "http-only",
                "--host",
                "x",
                "--header",
                "A:b",
            ]
        )
        self.assertEqual((found.target, found.transport, found.headers), (URL, "http", ["A:b"]))
        self.assertEqual(len(found.warnings), 5)

    def test_a_header_that_was_split_at_its_blanks_is_joined(self) -> None:
        for words, joined in (
            (["--header", "Authorization:", "Bearer", "abc"], "Authorization: Bearer abc"),
            (["--header", "X-Key:", "abc"], "X-Key: abc"),
        ):
            found = parse([*words, URL])
            self.assertEqual((found.headers, found.target), ([joined], URL))
            self.assertEqual(len(found.warnings), 1)
            self.assertNotIn("abc", found.warnings[0])

    def test_wrong_usage_is_said(self) -> None:
        for words in (
            [],
            [URL, "--ca"],
            [URL, "--unknown"],
            [URL, "--transport", "x"],
            [URL, "--hold", "x"],
            [URL, "--key", "x"],
            [URL, "other"],
            [URL, "--no-cache=1"],
            ["--"],
            [URL, "--", "x"],
        ):
            self.assertRaises(Wrong, parse, words)


class HeaderTests(SynchronousTestCase):
    def headers(self, *words: str) -> tuple[tuple[str, str], ...]:
        self.warned: list[str] = []
        return options.headers(parse([URL, *words]), self.warned.append)

    def test_variables_and_files_are_put_in(self) -> None:
        token = Path(self.mktemp())
        token.write_text("secret\n")
        token.chmod(0o600)
        os.environ["LANRELAY_TEST_TOKEN"] = "t0ken"
        self.addCleanup(os.environ.pop, "LANRELAY_TEST_TOKEN")
        found = self.headers(
            "--header", "Authorization:Bearer ${LANRELAY_TEST_TOKEN}", "--header", f"X-Key: ${{file:{token}}}"
        )
        self.assertEqual(found, (("Authorization", "Bearer t0ken"), ("X-Key", "secret")))

    def test_a_file_of_headers(self) -> None:
        file = Path(self.mktemp())
        file.write_text("# mine\nA: 1\n\nB:2\n")
        self.assertEqual(self.headers("--header-file", str(file)), (("A", "1"), ("B", "2")))

    def test_what_is_wrong_is_said_without_the_value(self) -> None:
        for text in ("s3cret", "Content-Length: s3cret", "A: s3cret\r\nB: c", "A: ${LANRELAY_NOT_SET}s3cret"):
            error = self.assertRaises(Wrong, self.headers, "--header", text)
            self.assertNotIn("s3cret", str(error))


class TargetTests(SynchronousTestCase):
    def test_urls(self) -> None:
        for text, shown, place, path in (
            ("http://nas.lan", "http://nas.lan/", "nas.lan:80", "/"),
            ("HTTPS://nas.lan:8443/mcp?x=1#y", "https://nas.lan:8443/mcp", "nas.lan:8443", "/mcp?x=1"),
            ("http://[::1]:81/mcp", "http://[::1]:81/mcp", "[::1]:81", "/mcp"),
            ("http://a:b@nas.lan/ü", "http://nas.lan/%C3%BC", "nas.lan:80", "/%C3%BC"),
            ("tcp://nas.lan:5432", "tcp://nas.lan:5432", "nas.lan:5432", ""),
            ("unix:/run/x", "unix:/run/x", "unix:/run/x", ""),
            ("http+unix:/run/x", "http+unix:/run/x", "unix:/run/x", "/mcp"),
        ):
            found = target.url(text)
            assert found is not None
            self.assertEqual((str(found), str(found.host_port), found.path), (shown, place, path))

    def test_a_name_is_no_url(self) -> None:
        self.assertIsNone(target.url("nas"))
        self.assertIsNone(target.url("nas/other"))

    def test_what_is_no_target_is_refused(self) -> None:
        for text in (
            "ftp://nas/",
            "http://",
            "http://nas:99999/",
            "tcp://nas",
            "tls://nas:1/x",
            "http://[::1/",
        ):
            self.assertRaises(Wrong, target.url, text)

    def head(self, url: str, ask: Ask, **own: str) -> list[str]:
        where = target.url(url)
        assert where is not None
        made = HttpTarget(where, own=tuple(own.items()), via=None, secure=lambda _: Secure())
        return made.head(ask).decode().splitlines()

    def test_the_head_of_a_request(self) -> None:
        ask = Ask(1, "POST", None, (("Accept", "application/json"),), b"{}", True)
        lines = self.head("http://me:pa%20ss@nas.lan:81/mcp", ask, Accept="x", X="y")
        self.assertEqual(lines[:2], ["POST /mcp HTTP/1.1", "Host: nas.lan:81"])
        self.assertIn("Accept: application/json", lines)
        self.assertIn("X: y", lines)
        self.assertNotIn("Accept: x", lines)
        self.assertIn("Authorization: Basic bWU6cGEgc3M=", lines)

    def test_a_path_of_the_same_origin_and_a_host_of_ones_own(self) -> None:
        lines = self.head(
            "http://nas.lan/sse", Ask(1, "POST", "/messages?a=b", (), b"{}", True), Host="other"
        )
        self.assertEqual(lines[0], "POST /messages?a=b HTTP/1.1")
        self.assertEqual([line for line in lines if line.startswith("Host")], ["Host: other"])
