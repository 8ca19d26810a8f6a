"""What fits a template would have been judged in the same way, and would have gone on in the same way."""

from __future__ import annotations

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.wire.limits import LIMITS
from lanrelay.wire.plain import PlainFields, read_plain_answer, read_plain_request
from lanrelay.wire.template import Repeats
from tests.support.properties import example, given

REQUESTS = PlainFields(noted={b"host"}, unusual={b"via"}, dropped={b"keep-alive"})
ANSWERS = PlainFields(noted={b"date"}, unusual={b"via"}, dropped={b"keep-alive"})

MORE = (
    b"GET /a HTTP/1.1\r\nX-A: 1f\r\nHost: a\r\nKeep-Alive: 5\r\nX-B: 1f2\r\nX-C: 1f3\r\n"
    b"Content-Length: 2\r\nAccept: x\r\n\r\nab"
)
GET = b"GET /a?b HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nX-Id: 1f\r\nAccept: x\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: a\r\nX-Id: 1f\r\nContent-Length: 2\r\n\r\nab"
OK = b"HTTP/1.1 200 OK\r\nDate: x\r\nConnection: keep-alive\r\nX-Id: 1f\r\nContent-Length: 2\r\n\r\nab"

Judged = tuple[object, str, int, bytes]


def judged(data: bytes) -> Judged | None:
    """What a relay makes of it that changes Host, and adds Via; by the general way through plain messages."""
    answer = data.startswith(b"HTTP/")
    if answer:
        found = read_plain_answer(data, ANSWERS)
        if found is None:
            return None
        what: object
        what, lines, _, content = found
        target = ""
    else:
        asked = read_plain_request(data, REQUESTS)
        if asked is None or b"host" not in asked[3]:
            return None
        what, target, lines, noted, content = asked
        lines[lines.index(noted[b"host"][3])] = b"Host: upstream.lan"
    lines[-2] = b"Via: 1.1 us"
    lines.append(data[content:])
    return what, target, content, b"\r\n".join(lines)


def place_of(data: bytes, message: Judged) -> int:
    return 0 if data.startswith(b"HTTP/") else len(str(message[0])) + len(message[1]) + 1


class Peer:
    """One whose messages are all read in both ways."""

    def __init__(self, fields: PlainFields) -> None:
        self.repeats = Repeats(fields)
        self.fitted = 0

    def says(self, data: bytes) -> Judged | None:
        """As L{judged}, by the template if it fits."""
        template = self.repeats.template
        at = 0
        if template is not None and not data.startswith(b"HTTP/"):
            at = (
                data.find(b" ", len(str(template.what)) + 1) if data.startswith(template.start) else len(data)
            )
        fitting = None if template is None else template.fit(data, at)
        if template is None or fitting is None:
            message = judged(data)
            if message is not None:
                self.repeats.saw(message[0], data, place_of(data, message), message[2], message[3])
            return message
        self.fitted += 1
        passed, content = fitting
        target = data[len(str(template.what)) + 1 : at].decode("latin-1") if at else ""
        return template.what, target, content, passed


EDITS = st.lists(
    st.tuples(
        st.integers(0, 120),
        st.integers(0, 3),
        st.sampled_from(
            [
                *(
                    b"",
                    b"1",
                    b"a",
                    b" ",
                    b"\r\n",
                    b"\n",
                    b"\r",
                    b"\0",
                    b"\x7f",
                    b"\xe9",
                    b"\t",
                    b":",
                    b": ",
                    b"-",
                ),
                *(b"\r\n\r\n", b"X-Id: 2\r\n", b"Host: b\r\n", b"Content-Length: 2\r\n", b"Via: x\r\n", b"#"),
            ]
        ),
    ),
    max_size=2,
)


def edited(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for at, taken, put in edits:
        data = data[:at] + put + data[at + taken :]
    return data


class TemplateTests(SynchronousTestCase):
    def taught(self, message: bytes, differs: bytes = b"1f") -> Peer:
        peer = Peer(ANSWERS if message.startswith(b"HTTP/") else REQUESTS)
        for value in (b"a1", b"b2", b"c3"):
            self.assertIsNotNone(peer.says(message.replace(differs, value)))
        self.assertIsNotNone(peer.repeats.template)
        return peer

    @given(st.sampled_from([GET, POST, OK, MORE]), st.lists(EDITS, min_size=1, max_size=6))
    @example(GET, [[(40, 0, b"\r\nHost: b")], []])
    @example(POST, [[(58, 1, b"3")]])
    @example(OK, [[(77, 1, b"02")]])
    def test_what_fits_would_have_been_judged_so(
        self, message: bytes, all_edits: list[list[tuple[int, int, bytes]]]
    ) -> None:
        peer = self.taught(message)
        for edits in all_edits:
            data = edited(message, edits)
            found = judged(data)
            if found is not None or peer.repeats.template is None:
                self.assertEqual(peer.says(data), found)
                continue
            fitted = peer.fitted
            said = peer.says(data)
            if peer.fitted > fitted:  # the target is judged by who asks
                assert said is not None
                target = said[1]
                self.assertTrue("#" in target or not target.isprintable() or target[:1] != "/", (data, said))

    def test_it_fits(self) -> None:
        for message in (GET, POST, OK):
            peer = self.taught(message)
            for value in (b"d4", b"0", b"a-b c/d", b"\xe9", b"x" * 500):
                data = message.replace(b"1f", value).replace(b"/a", b"/other")
                self.assertEqual(peer.says(data), judged(data))
            self.assertEqual(peer.fitted, 5)

    def test_a_length_may_be_what_differs(self) -> None:
        for message in (POST, OK):
            peer = Peer(ANSWERS if message is OK else REQUESTS)
            for size in (1, 20, 300, 0, 4000, 7):
                data = message[:-2].replace(b"Length: 2", b"Length: %d" % size) + b"x" * size
                self.assertEqual(peer.says(data), judged(data))
            self.assertEqual(peer.fitted, 3)
            for wrong in (b"+2", b"2,2", b"\xb2", b"0x2", b" 2", b"2 ", b"3", b"2" * 30):
                self.assertIsNone(peer.says(message.replace(b"Length: 2", b"Length: " + wrong)))

    def test_what_does_not_fit(self) -> None:
        for message in (GET, POST, OK):
            template = self.taught(message).repeats.template
            assert template is not None
            at = 0 if message is OK else message.index(b" HTTP")
            self.assertIsNotNone(template.fit(message, at))
            for wrong in (
                *(
                    message[:-1],
                    message + b"x",
                    message + message,
                    message[:-3],
                    message.replace(b"1.1", b"1.0"),
                ),
                *(
                    message.replace(b"1f", value)
                    for value in (b"", b" 1", b"1 ", b"1\0", b"1\r2", b"1\n2", b"1\r\nA: b")
                ),
                *(message.replace(b"1f", b"x" * LIMITS.head), message.replace(b"X-Id", b"X-ID")),
            ):
                self.assertIsNone(template.fit(wrong, at), wrong[:200])

    def test_identical_heads_fit(self) -> None:
        peer = Peer(REQUESTS)
        for _ in range(10):
            self.assertEqual(peer.says(GET), judged(GET))
        self.assertEqual(peer.fitted, 7)

    def test_several_values_may_differ(self) -> None:
        peer = Peer(REQUESTS)
        for number in range(40):
            names = (b"X-A", b"X-B", b"X-C", b"X-D", b"X-E")
            lines = b"\r\n".join(name + b": %d" % (number * 7**place) for place, name in enumerate(names))
            size = b"%d" % (number % 13)
            data = MORE.replace(b"X-A: 1f", lines).replace(b"Length: 2", b"Length: " + size)
            data = data[:-2] + b"x" * int(size)
            self.assertEqual(peer.says(data), judged(data))
        self.assertEqual(peer.fitted, 37)

    def test_what_differed_before_may_differ_again(self) -> None:
        """Else an answer that has another Etag now and then would often be judged anew."""
        peer = Peer(ANSWERS)
        for number in range(60):
            fields = b"Age: %d\r\nEtag: %d\r\nServer: %d" % (number, number // 2, number // 20)
            data = OK.replace(b"X-Id: 1f", fields)
            self.assertEqual(peer.says(data), judged(data))
        # Not the first three, nor eight with another Server, of which two with one Etag were compared, twice.
        self.assertEqual(peer.fitted, 60 - 3 - 8 - 8)

    def test_where_too_much_differs_nothing_is_learned(self) -> None:
        seven = b"\r\n".join(b"X-%d: %%d" % number for number in range(7))
        for differs in (b"Host: %d", seven, b"X-%d: a", b"Keep-Alive: %d"):
            peer = Peer(REQUESTS)
            for number in range(40):
                lines = differs.replace(b"%d", b"%d" % number)
                data = GET.replace(b"Host: a" if b"Host" in differs else b"X-Id: 1f", lines)
                self.assertEqual(peer.says(data), judged(data))
            self.assertEqual(peer.fitted, 0)

    def test_a_line_that_stands_twice_goes_on_twice(self) -> None:
        for first, second in ((b"%d", b"2"), (b"2", b"%d"), (b"%d", b"%d"), (b"2", b"2")):
            for between in (b"", b"X-Other: 1\r\n"):
                peer = Peer(REQUESTS)
                for number in [5, 7, 2, *range(20), *[2] * 10, *range(20)]:  # the third is compared
                    lines = first + b"\r\n" + between + b"X-Id: " + second
                    data = GET.replace(b"1f", lines.replace(b"%d", b"%d" % number))
                    self.assertEqual(peer.says(data), judged(data))

    def test_large_heads_are_not_remembered(self) -> None:
        peer = Peer(REQUESTS)
        for number in range(20):
            data = GET.replace(b"1f", b"%02000d" % number)
            self.assertEqual(peer.says(data), judged(data))
        self.assertIsNone(peer.repeats.template)

    def test_a_peer_that_changes_is_learned_anew(self) -> None:
        peer = self.taught(GET)
        other = GET.replace(b"Accept: x", b"Accept: y")
        for number in range(40):
            data = other.replace(b"1f", b"%d" % number)
            self.assertEqual(peer.says(data), judged(data))
        self.assertGreater(peer.fitted, 30)
