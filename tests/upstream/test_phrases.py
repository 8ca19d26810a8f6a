"""The few words for each failure."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lanrelay import errors
from lanrelay.errors import DialError, RelayError
from lanrelay.upstream.phrases import PHRASES, words
from tests.upstream.test_explain import ours


def dial(error: DialError, target: str = "nas.lan:443", parent: str = "") -> DialError:
    error.target, error.parent = target, parent
    return error


class WordsTests(SynchronousTestCase):
    def test_every_class_has_its_own(self) -> None:
        """But for what happens at the start, and what the client did."""
        others = (errors.StartError, errors.RemoteProtocolError, errors.RequestDenied)
        without = [kind.__name__ for kind in ours() if kind not in PHRASES and not issubclass(kind, others)]
        self.assertEqual(without, [])

    def test_few_and_plain_whatever_is_known(self) -> None:
        for kind in PHRASES:
            for upstream in (
                "",
                "https://nas.lan/mcp",
                "unix:/run/x",
                "x" * 5000,
                "n\r\nB\xe4\u20ac: \0 {host}",
            ):
                error = kind("something\r\nhappened")
                if isinstance(error, DialError):
                    dial(error, upstream, upstream)
                said = words(error, upstream)
                if kind is not errors.RemoteProtocolError:
                    self.assertRegex(said, r"^[A-Za-z?][ -~]*[^ ]$")
                self.assertLess(len(said), 250)
                self.assertNotIn("  ", said)

    def test_what_they_say(self) -> None:
        for error, upstream, expected in (
            (dial(errors.DialTimeout("x")), "", "No answer from nas.lan"),
            (dial(errors.DialTimeout("x"), "[fd00::1]:443"), "", "No answer from [fd00::1]"),
            (dial(errors.ConnectionRefused("x")), "", "Nothing listens on nas.lan:443"),
            (dial(errors.ConnectionRefused("x"), "unix:/run/a"), "", "Nothing listens on unix:/run/a"),
            (dial(errors.UnknownIssuer("x")), "", "Certificate of nas.lan is not trusted"),
            (dial(errors.DialTimeout("x"), "p:3128", "http://p:3128"), "", "No answer from p"),
            (
                dial(errors.ParentRefused("x"), parent="http://p:3128"),
                "",
                "The proxy p:3128 opens no way to nas.lan",
            ),
            (errors.ResponseTimeout("x"), "https://nas.lan:8443/mcp", "No answer from nas.lan in time"),
            (errors.ResponseIncomplete("x"), "nas.lan:80", "nas.lan broke off its answer"),
            (errors.ResponseIncomplete("x"), "", "The upstream broke off its answer"),
            (errors.RequestDenied("x"), "", ""),
            (errors.RequestDenied("x", words="No route"), "", "No route"),
            (errors.RemoteProtocolError("x"), "", ""),
            (RelayError("x"), "http://nas.lan", "Fault in the relay"),
        ):
            self.assertEqual(words(error, upstream), expected)

    def test_a_class_of_somebody_else_has_those_of_the_one_above(self) -> None:
        class Special(errors.DialTimeout):
            pass

        self.assertEqual(words(dial(Special("x"))), "No answer from nas.lan")
