"""How sentences stand at a terminal, whose width is that of a real one."""

from __future__ import annotations

import fcntl
import io
import os
import struct
import termios

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.cli.conversation import Conversation
from lanrelay.cli.wrapping import wrapped

LONG = (
    "The server's certificate lives 7 days only, and the next one will most likely have another key, so it"
    " is not pinned by itself."
)
TO_DO = (
    "To do: lanrelay trust https://nas.lan:8443/mcp --ca FILE  # with the root's certificate, from its owner"
)


class WrappingTests(SynchronousTestCase):
    def terminal(self, columns: int) -> io.TextIOWrapper:
        ours, theirs = os.openpty()
        self.addCleanup(os.close, ours)
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        stream = io.TextIOWrapper(io.FileIO(theirs, "w"), encoding="utf-8", write_through=True)
        self.addCleanup(stream.close)
        self.shown = ours
        return stream

    def test_lines_end_between_words_and_nothing_is_lost(self) -> None:
        for columns in (20, 40, 80):
            lines = wrapped(LONG, self.terminal(columns)).split("\n")
            self.assertLessEqual(max(map(len, lines)), columns)
            self.assertEqual(" ".join(lines), LONG)

    def test_what_is_to_be_pasted_stays_one_line(self) -> None:
        terminal = self.terminal(40)
        for line in (TO_DO, "  " + LONG, "sudo launchctl print " + "x " * 40, "lanrelay trust " + "x " * 40):
            self.assertEqual(wrapped(f"{LONG}\n{line}", terminal).split("\n")[-1], line)
        advice = wrapped(f"To do: {LONG}", terminal).split("\n")
        self.assertEqual(" ".join(advice), f"To do: {LONG}")
        self.assertGreater(len(advice), 2)
        command = "`lanrelay service install --mode daemon`"
        self.assertIn(command, wrapped(f"To have it started at every boot, say {command}.", terminal))
        address = "https://nas.lan/" + "x" * 60
        self.assertIn(f"{address},", wrapped(f"It is at {address}, and nowhere else.", terminal).split("\n"))

    def test_a_window_may_be_too_narrow_for_anything(self) -> None:
        for text in (LONG, TO_DO, "To do: ", "`", "a`b c", "lanrelay ", ""):
            shown = wrapped(text, self.terminal(1))
            self.assertEqual(shown.split(), text.split())

    def test_a_file_a_pipe_and_a_terminal_without_a_width_get_it_as_it_is(self) -> None:
        for stream in (io.StringIO(), self.terminal(0), self.terminal(500)):
            self.assertEqual(wrapped(LONG, stream), LONG)

    def test_so_a_command_tells_and_complains(self) -> None:
        terminal = self.terminal(40)
        conversation = Conversation("trust", stdin=io.StringIO(), stdout=io.StringIO(), stderr=terminal)
        conversation.complain(f"{LONG}\n{TO_DO}")
        *lines, to_do = os.read(self.shown, 65536).decode().removesuffix("\r\n").split("\r\n")
        self.assertEqual(" ".join(lines), f"lanrelay trust: {LONG}")
        self.assertLessEqual(max(map(len, lines)), 40)
        self.assertEqual(to_do, TO_DO)
