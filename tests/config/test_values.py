from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config import model, values
from lanrelay.config.values import Unfit
from tests.support.properties import given


class TableTests(SynchronousTestCase):
    """Each kind of value: what it takes, as what, and what it refuses."""

    def takes(self, convert: Callable[[str], object], table: dict[str, object]) -> None:
        for text, expected in table.items():
            self.assertEqual(convert(text), expected, text)

    def refuses(self, convert: Callable[[str], object], *texts: str) -> None:
        for text in texts:
            error = self.assertRaises(Unfit, convert, text)
            self.assertTrue(str(error).startswith("expected "), str(error))

    def test_duration(self) -> None:
        table = {
            "250ms": 0.25,
            "10s": 10,
            "5m": 300,
            "1h": 3600,
            "1.5": 1.5,
            "10": 10,
            "0.5h": 1800,
            "007s": 7,
        }
        self.takes(values.duration, dict(table))
        self.refuses(
            values.duration, "", "0", "0s", "0.0ms", "-1s", "+1s", "1d", "10S", "1m30s", "10 s", "s", "1e3"
        )
        self.refuses(
            values.duration, ".5s", "5.", "nan", "inf", "never", "off", "99999999h", "9" * 400, "٣s", "1s\n"
        )

    def test_duration_from_zero(self) -> None:
        self.takes(values.duration_from_zero, {"0": 0, "0ms": 0, "3s": 3})
        self.refuses(values.duration_from_zero, "-0", "never")

    def test_size(self) -> None:
        table: dict[str, object] = {"1": 1, "16KiB": 16384, "1MiB": 1048576, "64kB": 64000, "64KB": 64000}
        table |= {"2MB": 2_000_000, "1GB": 10**9, "1GiB": 2**30, "1.5KiB": 1536, "512B": 512, "1TiB": 2**40}
        self.takes(values.size, table)
        self.refuses(
            values.size, "", "0", "0KiB", "-1", "1.5", "1.5B", "64kb", "64K", "1M", "1 MiB", "MiB", "none"
        )
        self.refuses(values.size, "999999999999999TiB", "0.0001KiB", "1e6")

    def test_number(self) -> None:
        convert = values.number(1, 4096)
        self.takes(convert, {"1": 1, "4096": 4096, "0123": 123})
        self.refuses(convert, "", "0", "4097", "-1", "+1", "1.0", "0x10", "1_000", "ten", "²", "9" * 5000)

    def test_boolean(self) -> None:
        table: dict[str, object] = {"true": True, "True": True, "on": True, "false": False, "off": False}
        self.takes(values.boolean, {**table, "none": False, "never": False, "OFF": False})
        self.refuses(values.boolean, "", "no", "yes", "1", "0", "y", "truee")

    def test_choice(self) -> None:
        convert = values.choice(("debug", "info", "warn"))
        self.takes(convert, {"info": "info"})
        error = self.assertRaises(Unfit, convert, "INFO")
        self.assertEqual(str(error), "expected debug, info or warn")

    def test_mode(self) -> None:
        self.takes(values.mode, {"0600": 0o600, "0660": 0o660, "600": 0o600, "0o644": 0o644, "000": 0})
        self.refuses(values.mode, "", "0800", "0x600", "60", "06000", "rw", "384", "-600")

    def test_listener_name(self) -> None:
        self.takes(values.listener_name, {name: name for name in ("a", "lan-mcp", "nas_db", "0", "A" * 64)})
        self.refuses(
            values.listener_name, "", "a b", "a.b", "a/b", "-a", "_a", "a\n", "ä", "A" * 65, "${X}", "a:b"
        )

    def test_user_name_and_password(self) -> None:
        self.takes(values.user_name, {"alice": "alice", "a@b c": "a@b c"})
        self.refuses(values.user_name, "", "a:b", "a\nb", "a\0", "x" * 256, "ä" * 128)
        self.takes(values.password, {"0123": "0123", "p:w d": "p:w d", "off": "off"})
        self.refuses(values.password, "", "a\nb", "a\x7f", "x" * 256)
        self.assertEqual(repr(values.password("hunter2")), "Secret('***')")

    def test_path(self) -> None:
        def convert(text: str) -> Path:
            return values.path(text, folder=Path("/etc/lanrelay"), home="/home/alice")

        self.takes(
            convert,
            {
                "/abs/x": Path("/abs/x"),
                "x/y.pem": Path("/etc/lanrelay/x/y.pem"),
                "./x": Path("/etc/lanrelay/x"),
                "~/x": Path("/home/alice/x"),
                "~": Path("/home/alice"),
                "./~x": Path("/etc/lanrelay/~x"),
            },
        )
        self.refuses(convert, "", "a\0b", "~bob/x")

    def test_header_name(self) -> None:
        self.takes(
            values.header_name,
            {name: name for name in ("X-Api-Key", "authorization", "x_y", "!#$%&'*+-.^_`|~")},
        )
        self.refuses(values.header_name, "", "a b", "a:", "a\n", "ä", "(x)", "Host", "host")
        framing = (
            "Connection",
            "content-length",
            "Transfer-Encoding",
            "TE",
            "Trailer",
            "Upgrade",
            "Keep-Alive",
        )
        self.refuses(
            values.header_name, *framing, "Proxy-Connection", "Proxy-Authorization", "HTTP2-Settings"
        )

    def test_header_value(self) -> None:
        self.takes(values.header_value, {"": "", "a b": "a b", "\ta\tb ": "a\tb", "Bearer x==": "Bearer x=="})
        self.refuses(values.header_value, "a\r\nX: y", "a\n", "a\0", "a\x7f", "ä", "\x1b[0m")

    def test_pin(self) -> None:
        key = "sha256//AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
        digest = bytes(range(32))
        self.takes(
            values.pin,
            {
                key: model.PublicKeyPin(digest=digest),
                f"sha256:{digest.hex()}": model.CertificatePin(digest=digest),
                f"sha256:{digest.hex().upper()}": model.CertificatePin(digest=digest),
                f"sha256:{digest.hex(':')}": model.CertificatePin(digest=digest),
            },
        )
        self.refuses(
            values.pin, "", "sha256//", key[:-1], key[:-2] + "==", "sha256//" + "!" * 43 + "=", "sha1:00"
        )
        self.refuses(
            values.pin, "sha256:" + "0" * 63, "sha256:" + "g" * 64, digest.hex(), "sha256:" + "0" * 66
        )

    def test_statuses(self) -> None:
        table: dict[str, object] = {"200": ((200, 200),), "200-399,401": ((200, 399), (401, 401))}
        self.takes(values.statuses, {**table, "200, 204": ((200, 200), (204, 204))})
        self.refuses(values.statuses, "", "20", "600", "099", "399-200", "200-", "200,,201", "2xx")

    @given(st.text())
    def test_random_text_is_refused_or_taken(self, text: str) -> None:
        for convert in (
            values.duration,
            values.duration_from_zero,
            values.size,
            values.number(0, 5),
            values.boolean,
            values.mode,
            values.header_name,
            values.header_value,
            values.pin,
            values.statuses,
            values.listener_name,
        ):
            try:
                convert(text)
            except Unfit:
                pass
