"""What is read from py-spy's stacks and from the words of programs."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.machine import version
from benchmarks.profile import parsed, table

STACKS = """\
run (/usr/bin/twistd:8);doIteration (/v/lib/python3.11/site-packages/twisted/internet/epollreactor.py:20) 30
run (/usr/bin/twistd:8);doRead (/w/tcp.py:10);write (/home/x/lanrelay/lanrelay/wire/http1.py:7) 50
run (/usr/bin/twistd:8);write (/w/lanrelay/wire/http1.py:9) 10
run (/usr/bin/twistd:8);debug (/usr/lib/python3.11/logging/__init__.py:5) 10
"""


class ProfileTests(SynchronousTestCase):
    def test_the_innermost_function_gets_the_samples(self) -> None:
        found = parsed(STACKS)
        self.assertEqual(found.total, 100)
        self.assertEqual(found.own["`write` lanrelay/wire/http1.py"], 60)
        self.assertEqual(found.own["`doIteration` twisted/internet/epollreactor.py"], 30)
        self.assertEqual(found.rooms, {"lanrelay/wire": 60, "twisted/internet": 30, "logging": 10})

    def test_the_largest_share_comes_first(self) -> None:
        lines = table(parsed(STACKS))
        self.assertEqual(lines[0], "By room: lanrelay/wire 60%, twisted/internet 30%, logging 10%.")
        self.assertEqual(lines[4], "| 60.0% | `write` lanrelay/wire/http1.py |")

    def test_what_is_no_stack_is_passed_over(self) -> None:
        self.assertEqual(parsed("\nError: no samples\n").total, 0)


class VersionTests(SynchronousTestCase):
    def test_the_line_with_a_number_is_the_version(self) -> None:
        self.assertEqual(
            version("HAProxy version 2.6.12-1 2026/10/17 - https://haproxy.org/\nStatus"),
            "HAProxy version 2.6.12-1 2026/10/17",
        )
        self.assertEqual(
            version("socat by Gerhard\nsocat version 1.7.4.4 on 06"), "socat version 1.7.4.4 on 06"
        )
        self.assertEqual(version("none"), "none")
