from __future__ import annotations

import io
import json
import os
import time
from typing import Any

from twisted.logger import Logger, LogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.observe import logformat
from lanrelay.observe.accesslog import AccessRecord
from lanrelay.observe.logformat import ACCESS_NAMESPACE, Format, Level, LineObserver, moment, printable
from tests.observe.test_accesslog import session


class Written:
    """A log that writes to memory."""

    def __init__(self, format: Format = "text", level: Level = "info") -> None:
        self.file = io.StringIO()
        self.publisher = LogPublisher(LineObserver(self.file, format=format, level=level))

    def logger(self, namespace: str = "lanrelay.service") -> Logger:
        return Logger(namespace=namespace, observer=self.publisher)

    def lines(self) -> list[str]:
        return self.file.getvalue().splitlines()

    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines()]


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


def failure(error: Exception) -> Failure:
    try:
        raise error
    except Exception:
        return Failure()


class TextTests(SynchronousTestCase):
    def test_ours_and_foreign(self) -> None:
        written = Written()
        written.logger().info("ready in {ms} ms", ms=120)
        written.logger("twisted.scripts").warn("hm")
        ours, foreign = written.lines()
        self.assertRegex(
            ours, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d \[info\] ready in 120 ms$"
        )
        self.assertRegex(foreign, r" \[warn\] twisted\.scripts: hm$")

    def test_an_access_line(self) -> None:
        written = Written()
        written.logger(ACCESS_NAMESPACE).info("{record}", record=AccessRecord(session(), 1.0))
        self.assertRegex(written.lines()[0], r" \[access\] lan-mcp 127\.0\.0\.1:50123 ")

    def test_a_value_cannot_forge_a_line(self) -> None:
        written = Written()
        written.logger().info("{name}", name="a\r\n2026-11-20 [info] forged\x85\u2028b\x1b[2J")
        self.assertEqual(len(written.lines()), 1)
        self.assertIn("a\\r\\n2026-11-20 [info] forged\\x85\\u2028b\\x1b[2J", written.lines()[0])

    def test_a_traceback_follows_indented(self) -> None:
        written = Written()
        written.logger().failure("bug in {room}", failure(ValueError("first\nforged")), room="here")
        first, *rest = written.lines()
        self.assertTrue(first.endswith("[critical] bug in here"), first)
        self.assertTrue(rest)
        self.assertTrue(all(line.startswith("\t") for line in rest), rest)
        self.assertIn("\tbuiltins.ValueError: first", rest)

    def test_an_exception_whose_text_raises_is_logged_all_the_same(self) -> None:
        formats: list[Format] = ["text", "json"]
        for format in formats:
            written = Written(format)
            written.logger().failure("bug", failure(Unspeakable()))
            self.assertIn("bug", written.lines()[0])

    def test_what_the_file_cannot_encode_is_escaped(self) -> None:
        raw = io.BytesIO()
        file = io.TextIOWrapper(raw, encoding="ascii")
        publisher = LogPublisher(LineObserver(file, format="text", level="info"))
        Logger(namespace="lanrelay.service", observer=publisher).info("caf\u00e9")
        self.assertTrue(raw.getvalue().endswith(b"[info] caf\\xe9\n"), raw.getvalue())

    def test_undecodable_file_names_can_be_written(self) -> None:
        self.assertEqual(printable(os.fsdecode(b"caf\xe9")), "caf\\udce9")


class JsonTests(SynchronousTestCase):
    def test_each_line_is_one_object(self) -> None:
        written = Written("json")
        written.logger().info("ready in {ms} ms\nand more", ms=120)
        written.logger("log_legacy").failure("bug", failure(ValueError("x\ny\u2028z")))
        written.logger(ACCESS_NAMESPACE).info("{record}", record=AccessRecord(session(), 1.0))
        ready, bug, access = written.objects()
        self.assertEqual(ready["message"], "ready in 120 ms\nand more")
        self.assertEqual((ready["level"], ready["logger"]), ("info", "lanrelay.service"))
        self.assertIn("ValueError", bug["traceback"])
        self.assertEqual(bug["level"], "critical")
        self.assertEqual((access["listener"], access["duration"]), ("lan-mcp", 1.0))
        self.assertNotIn("message", access)

    def test_the_file_is_ascii(self) -> None:
        written = Written("json")
        written.logger().info("{text}", text="caf\u00e9 \u2028 " + os.fsdecode(b"\xe9"))
        self.assertTrue(written.file.getvalue().isascii())
        self.assertEqual(written.objects()[0]["message"], "caf\u00e9 \u2028 \udce9")

    def test_an_event_whose_format_is_broken_is_still_an_object(self) -> None:
        written = Written("json")
        written.logger().info("{missing}")
        self.assertIn("message", written.objects()[0])


class LevelTests(SynchronousTestCase):
    def test_what_is_below_the_level_is_not_written(self) -> None:
        cases: list[tuple[Level, int]] = [("debug", 4), ("info", 3), ("warn", 2), ("error", 1)]
        for level, expected in cases:
            written = Written(level=level)
            logger = written.logger()
            for emit in (logger.debug, logger.info, logger.warn, logger.error):
                emit("x")
            self.assertEqual(len(written.lines()), expected, level)

    def test_the_access_log_has_a_switch_of_its_own(self) -> None:
        written = Written(level="error")
        written.logger(ACCESS_NAMESPACE).info("{record}", record=AccessRecord(session(), 1.0))
        self.assertEqual(len(written.lines()), 1)


class MomentTests(SynchronousTestCase):
    def test_local_time_with_its_offset(self) -> None:
        self.addCleanup(time.tzset)
        self.patch(os, "environ", {**os.environ})
        for zone, text in (
            ("UTC0", "2027-01-15T08:00:00.250+00:00"),
            ("IST-5:30", "2027-01-15T13:30:00.250+05:30"),
            ("NST3:30", "2027-01-15T04:30:00.250-03:30"),
        ):
            os.environ["TZ"] = zone
            os.putenv("TZ", zone)
            time.tzset()
            logformat._second.cache_clear()
            self.assertEqual(moment(1_800_000_000.25), text)
        os.unsetenv("TZ")

    def test_milliseconds_carry_into_the_second(self) -> None:
        self.assertIn(":01.000", moment(1_800_000_000.9996))
