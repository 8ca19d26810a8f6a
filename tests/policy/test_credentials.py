"""Tests for L{lanrelay.policy.credentials}."""

from __future__ import annotations

import base64
import hashlib
import sys
from pathlib import Path
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config import model
from lanrelay.errors import StartError
from lanrelay.policy import credentials
from lanrelay.policy.credentials import Credentials

try:
    import bcrypt
except ImportError:
    bcrypt = None  # type: ignore[assignment]

# The bcrypt package's own vector, in the three spellings of its version; the password is "Kk4DQuMMfZL9o".
VECTOR = "$cVWp4XaNU8a4v1uMRum2SO026BWLIoQMD/TXg5uZV.0P.uO8m3YEm"
PASSWORD = "Kk4DQuMMfZL9o"


def sha(password: str) -> str:
    return "{SHA}" + base64.b64encode(hashlib.sha1(password.encode()).digest()).decode()


def basic(text: str, encoding: str = "utf-8") -> bytes:
    return b"Basic " + base64.b64encode(text.encode(encoding))


def table(**users: str) -> Credentials:
    made = Credentials(model.Auth(users={name: model.Secret(password) for name, password in users.items()}))
    made.load()
    return made


def check(users: Credentials, username: str, password: str) -> bool:
    attempt = users.attempt(username, password)
    if users.remembers(attempt):
        return True
    good = attempt.run()
    if good:
        users.remember(attempt)
    return good


class TableTests(SynchronousTestCase):
    def test_right_and_wrong(self) -> None:
        users = table(alice="correct horse", bob="")
        for name, password, expected in (
            ("alice", "correct horse", True),
            ("alice", "correct hors", False),
            ("alice", "", False),
            ("Alice", "correct horse", False),
            ("bob", "", True),
            ("bob", "correct horse", False),
            ("carol", "correct horse", False),
            ("", "", False),
        ):
            self.assertIs(check(users, name, password), expected, (name, password))

    def test_nobody_is_let_in_before_load_or_by_an_empty_table(self) -> None:
        self.assertFalse(check(Credentials(model.Auth(users={"alice": model.Secret("x")})), "alice", "x"))
        self.assertFalse(check(table(), "alice", "x"))

    def test_an_unknown_name_is_checked_against_somebody(self) -> None:
        users = table(alice="x")
        tried: list[bytes] = []

        class Entry:
            costly = True

            def matches(self, password: bytes) -> bool:
                tried.append(password)
                return True

        users._others = (Entry(),)
        self.assertFalse(check(users, "mallory", "guess"))
        self.assertFalse(check(users, "mallory", "guess"))
        self.assertEqual(tried, [b"guess", b"guess"])


class BasicTests(SynchronousTestCase):
    def test_name_and_password(self) -> None:
        for value, expected in (
            (basic("alice:a:b"), ("alice", "a:b")),
            (b"bAsIc   " + basic("alice:a:b")[6:] + b" ", ("alice", "a:b")),
            (basic("jürgen:grün"), ("jürgen", "grün")),
            (basic("jürgen:x", "latin-1"), ("j\udcfcrgen", "x")),
            (basic(":"), ("", "")),
        ):
            self.assertEqual(credentials.basic(value), expected)

    def test_anything_else_is_nobody(self) -> None:
        for value in (
            None,
            b"",
            b"Basic",
            b"Basic !!!",
            b"Basic YWxpY2U",
            basic("alice"),
            b"Bearer " + basic("alice:x")[6:],
            b"Basic\xff " + basic("alice:x")[6:],
        ):
            self.assertIsNone(credentials.basic(value), value)


class FileTests(SynchronousTestCase):
    def load(self, content: str | bytes) -> Credentials:
        path = Path(self.mktemp())
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        made = Credentials(model.Auth(file=path))
        made.load()
        return made

    def refused(self, content: str | bytes) -> StartError:
        error = self.assertRaises(StartError, self.load, content)
        assert isinstance(error, StartError)
        return error

    def test_sha(self) -> None:
        users = self.load(f"# people\n\nalice:{sha('secret')}\r\nbob:{sha('')}:a comment\n")
        self.assertTrue(check(users, "alice", "secret"))
        self.assertTrue(check(users, "bob", ""))
        self.assertFalse(check(users, "alice", "Secret"))
        self.assertFalse(check(users, "# people", ""))

    def test_names_need_not_be_utf_8(self) -> None:
        users = self.load(b"j\xfcrgen:" + sha("x").encode())
        self.assertTrue(check(users, "j\udcfcrgen", "x"))

    def test_what_is_not_understood_names_its_line_and_a_remedy(self) -> None:
        good = f"alice:{sha('x')}\n"
        for line, found in (
            ("bob", "found no `NAME:HASH`"),
            (":" + sha("x"), "found no `NAME:HASH`"),
            ("bob:{SHA}abcd", "base64 of 20 bytes"),
            ("bob:{SHA}!", "base64 of 20 bytes"),
            ("bob:$apr1$abcdefgh$ABCDEFGHIJKLMNOPQRSTU0", "an MD5 entry"),
            ("bob:rqXexS6ZhobKA", "a crypt entry"),
            ("bob:$6$salt$hash", "a crypt entry"),
            ("bob:hunter2", "plain text"),
            ("bob:", "plain text"),
            ("bob:$2y$05$short", "bcrypt entry is malformed"),
            ("bob:$2y$03" + VECTOR, "bcrypt entry is malformed"),
            ("bob:$2y$13" + VECTOR, "a bcrypt cost of 13"),
            ("alice:" + sha("y"), "on line 1 already"),
        ):
            error = self.refused(good + line)
            self.assertIn(found, error.detail, line)
            self.assertIn("line 2", error.detail, line)
            self.assertNotIn("hunter2", str(error))
            self.assertTrue(error.remedy, line)

    def test_a_file_that_names_nobody_lets_nobody_in_so_it_is_refused(self) -> None:
        self.assertIn("names no user", self.refused("# later\n").detail)

    def test_an_unreadable_file(self) -> None:
        path = Path(self.mktemp())
        error = self.assertRaises(StartError, Credentials(model.Auth(file=path)).load)
        assert isinstance(error, StartError)
        self.assertEqual(error.detail, f"auth.file: cannot read {path}: No such file or directory")
        self.assertIn(f"htpasswd -cB {path} NAME", error.remedy)

    def test_bcrypt_without_its_package(self) -> None:
        there = sys.modules.get("bcrypt")
        sys.modules["bcrypt"] = None  # type: ignore[assignment]
        if there is None:
            self.addCleanup(sys.modules.pop, "bcrypt")
        else:
            self.addCleanup(sys.modules.__setitem__, "bcrypt", there)
        error = self.refused("alice:$2y$05" + VECTOR)
        self.assertIn("line 1", error.detail)
        self.assertIn("pip install 'lanrelayd[bcrypt]'", error.remedy)

    def test_load_again_forgets_who_is_gone(self) -> None:
        path = Path(self.mktemp())
        path.write_text(f"alice:{sha('x')}\n")
        users = Credentials(model.Auth(file=path))
        users.load()
        self.assertTrue(check(users, "alice", "x"))
        path.write_text(f"bob:{sha('x')}\n")
        users.load()
        self.assertFalse(check(users, "alice", "x"))
        self.assertTrue(check(users, "bob", "x"))


@skipUnless(bcrypt, "the Python package bcrypt is not installed")
class BcryptTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.checks = 0
        real = bcrypt.checkpw

        def counted(password: bytes, hashed: bytes) -> bool:
            self.checks += 1
            return real(password, hashed)

        self.patch(bcrypt, "checkpw", counted)

    def users(self, **entries: str) -> Credentials:
        self.path.write_text("".join(f"{name}:{entry}\n" for name, entry in entries.items()))
        made = Credentials(model.Auth(file=self.path))
        made.load()
        return made

    def test_the_three_spellings(self) -> None:
        users = self.users(a="$2a$04" + VECTOR, b="$2b$04" + VECTOR, y="$2y$04" + VECTOR)
        for name in "aby":
            self.assertTrue(check(users, name, PASSWORD), name)
            self.assertFalse(check(users, name, PASSWORD + "x"), name)

    def test_right_credentials_are_paid_for_once(self) -> None:
        users = self.users(alice="$2y$04" + VECTOR)
        for _ in range(3):
            self.assertTrue(check(users, "alice", PASSWORD))
        self.assertEqual(self.checks, 1)
        users.load()
        self.assertTrue(check(users, "alice", PASSWORD))
        self.assertEqual(self.checks, 2)

    def test_wrong_ones_and_unknown_names_are_paid_for_each_time(self) -> None:
        users = self.users(alice="$2y$04" + VECTOR)
        for name, password in (("alice", "wrong"), ("mallory", PASSWORD)) * 2:
            self.assertFalse(check(users, name, password))
        self.assertEqual(self.checks, 4)

    def test_what_is_remembered_is_bounded_and_holds_no_password(self) -> None:
        self.patch(credentials, "REMEMBERED", 2)
        users = self.users(a="$2y$04" + VECTOR, b="$2y$04" + VECTOR, c="$2y$04" + VECTOR)
        for name in "abc":
            check(users, name, PASSWORD)
        self.assertEqual(len(users._verified), 2)
        self.assertFalse([key for key in users._verified if PASSWORD.encode() in key])

    def test_long_passwords_count_to_72_bytes_and_a_nul_is_wrong_or_counts(self) -> None:
        long = "x" * 80
        users = self.users(alice=bcrypt.hashpw(long[:72].encode(), bcrypt.gensalt(4)).decode())
        self.assertTrue(check(users, "alice", long))
        self.assertFalse(check(users, "alice", "x" * 71))
        self.assertFalse(check(users, "alice", "a\0b"))
