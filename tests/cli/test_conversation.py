"""What goes to which stream, what is asked, and what a difference shows."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.cli.conversation import Conversation, Refused
from lanrelay.cli.difference import difference
from lanrelay.cli.home import shown


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class ConversationTests(SynchronousTestCase):
    def start(self, typed: str | None = None, **options: bool) -> Conversation:
        self.out = io.StringIO()
        self.err = io.StringIO() if typed is None else Terminal()
        stdin = io.StringIO() if typed is None else Terminal(typed)
        return Conversation("trust", stdin=stdin, stdout=self.out, stderr=self.err, **options)

    def test_a_question_is_answered_at_the_terminal(self) -> None:
        for typed, agreed in (
            ("y\n", True),
            ("YES\n", True),
            ("\n", False),
            ("no\n", False),
            ("x\ny\n", True),
        ):
            conversation = self.start(typed)
            self.assertIs(conversation.agree("Write it?"), agreed)
            self.assertEqual(self.out.getvalue(), "")
            self.assertIn("Write it? [y/N] ", self.err.getvalue())

    def test_without_a_terminal_the_refusal_names_the_option(self) -> None:
        conversation = self.start()
        error = self.assertRaises(Refused, conversation.agree, "Write it?", option="--yes")
        self.assertIn("--yes", str(error))
        self.assertIn("nothing was written", str(error))

    def test_the_end_of_input_is_no_consent(self) -> None:
        self.assertRaises(Refused, self.start("").agree, "Write it?")

    def test_yes_answers_and_dry_run_declines_without_a_question(self) -> None:
        self.assertTrue(self.start(yes=True).agree("Write it?"))
        self.assertFalse(self.start(yes=True, dry_run=True).agree("Write it?"))
        self.assertEqual(self.err.getvalue(), "")

    def test_json_is_all_there_is_on_standard_output(self) -> None:
        conversation = self.start(as_json=True)
        conversation.say("a result")
        conversation.tell("progress")
        conversation.json({"ok": True})
        self.assertEqual(json.loads(self.out.getvalue()), {"ok": True})
        self.assertEqual(self.err.getvalue(), "progress\n")

    def test_control_characters_are_written_out(self) -> None:
        conversation = self.start()
        conversation.say("a\x1b[31mb\n\tc\r\n")
        self.assertEqual(self.out.getvalue(), "a\\x1b[31mb\n\tc\n\n")

    def test_a_difference_masks_secrets_and_tells_of_a_missing_last_newline(self) -> None:
        told = difference(Path("a.yaml"), b"one\ntoken: abcdefghijkl", b"one\ntwo\ntoken: abcdefghijkl\n")
        self.assertEqual(
            told.splitlines(),
            [
                "--- a.yaml",
                "+++ a.yaml",
                "@@ -1,2 +1,3 @@",
                " one",
                "-token: ***",
                "\\ No newline at end of file",
                "+two",
                "+token: ***",
            ],
        )

    def test_a_certificate_is_a_line_that_says_which(self) -> None:
        one, two = (
            f"# of {name}\n-----BEGIN CERTIFICATE-----\n{name * 16}\n-----END CERTIFICATE-----\n".encode()
            for name in ("AAAA", "BBBB")
        )
        told = difference(Path("a.pem"), None, one).splitlines()
        self.assertEqual(told[3], "+# of AAAA")
        self.assertRegex(told[4], r"\A\+\(a certificate, SHA-256 ([0-9A-F]{2}:){31}[0-9A-F]{2}\)\Z")
        self.assertEqual(len(told), 5)
        both = difference(Path("a.pem"), one, two)
        self.assertEqual((both.count("\n-(a certificate"), both.count("\n+(a certificate")), (1, 1))
        key = b"-----BEGIN PRIVATE KEY-----\nAAAABBBB\n-----END PRIVATE KEY-----\n"
        self.assertNotIn("AAAABBBB", difference(Path("a"), None, key))

    def test_paths_are_told_as_people_write_them(self) -> None:
        self.patch(os, "environ", {**os.environ, "HOME": "/home/me"})
        conversation = self.start()
        conversation.tell("/home/me/a is kept as (/home/me/b), not '/home/me/c d' nor /x/home/me/e.")
        self.assertEqual(self.err.getvalue(), "~/a is kept as (~/b), not '/home/me/c d' nor /x/home/me/e.\n")
        self.start().diff(Path("/home/me/a"), b"/home/me/x\n", b"y\n")
        self.assertIn("--- ~/a\n", self.err.getvalue())
        self.assertIn("-/home/me/x\n", self.err.getvalue())
        self.assertEqual(shown(["a", "/home/me/b c", "/home/me/d"]), "a ~/'b c' ~/d")

    def test_a_file_that_is_made_comes_from_nowhere(self) -> None:
        self.assertTrue(difference(Path("a.yaml"), None, b"x\n").startswith("--- /dev/null\n+++ a.yaml\n"))

    def test_a_difference_is_the_result_of_a_dry_run_and_else_stands_before_the_question(self) -> None:
        self.start(dry_run=True).diff(Path("a"), b"x\n", b"y\n")
        self.assertIn("+y", self.out.getvalue())
        self.start().diff(Path("a"), b"x\n", b"y\n")
        self.assertIn("+y", self.err.getvalue())
        self.assertEqual(self.out.getvalue(), "")
