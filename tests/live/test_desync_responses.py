"""An origin that says what two readers could understand in two ways, behind the live relay."""

from __future__ import annotations

from tests.live.test_desync import DesyncTestCase, in_thread
from tests.support.desync import Client
from tests.support.desync_responses import BROKEN, EXCESS, MALFORMED, RIGHT, Row
from tests.support.progress import PATIENCE


class ResponseTests(DesyncTestCase):
    listener = "web"

    @in_thread
    def test_what_is_malformed(self) -> None:
        self.check(MALFORMED)

    @in_thread
    def test_what_breaks_off(self) -> None:
        self.check(BROKEN)

    @in_thread
    def test_what_comes_behind_an_answer(self) -> None:
        self.check(EXCESS)

    @in_thread
    def test_what_is_right(self) -> None:
        self.check(RIGHT)

    def check(self, table: list[Row]) -> None:
        wrong: list[str] = []
        for row in table:
            try:
                problems = self.tried(row)
            except Exception as error:
                problems = [f"{type(error).__name__}: {error}"]
            wrong += [f"{row.name} ({row.rule}): {problem}" for problem in problems if problem]
        self.assertEqual(wrong, [], "\n".join(wrong))

    def tried(self, row: Row) -> list[str]:
        """What is wrong with what came of it."""
        origin, found = self.origin, [self.honest()]
        number = origin.asked[-1].connection if origin.asked else 0
        origin.forget()
        origin.reply = row.reply
        client = Client(self.port)
        try:
            client.send(self.for_listener(row.ask))
            heard = client.hear([row.method], event=origin.go_on)
            if row.cut:
                if not heard.cut or heard.answers or heard.heads[0][b":status"] != [b"%d" % row.status]:
                    found.append(f"not cut: {heard}")
            elif heard.cut or heard.statuses != (row.status,) or row.body not in (None, heard.answers[0][1]):
                found.append(f"heard {heard}")
            elif tuple(heard.interim) != row.interim and row.status != 502:  # a flood passes until it is one
                found.append(f"interim heads {heard.interim}")
            found += [f"{name!r} came" for head in heard.heads for name in row.absent if name in head]
            if any(b"evil" in value for head in heard.heads for values in head.values() for value in values):
                found.append(f"fields {heard.heads}")
        finally:
            origin.go_on.set()
            client.close()
        origin.said.wait(PATIENCE)
        asked = [one for one in origin.asked if one.target == b"/r"]
        if len(asked) != (min(row.tries, 1) if self.listener == "proxy" else row.tries):
            found.append(f"asked {len(asked)} times")
        used = asked[-1].connection if asked else number
        found.append(self.honest())
        again = origin.asked[-1].connection
        if self.listener == "web" and (again == used) is not row.pooled:
            found.append(
                "the connection was used again" if again == used else "the connection was not used again"
            )
        return found + origin.broken


class ForwardedResponseTests(ResponseTests):
    listener = "proxy"
