"""What a server shows, where it shows nothing."""

from __future__ import annotations

import sys

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from lanrelay.errors import NameTimeout
from lanrelay.examine.opener import Means
from lanrelay.examine.subject import subjects
from lanrelay.setup.trusting import fetch
from lanrelay.upstream.explain import explain
from tests.examine.support import ExamineTestCase


class Silent:
    """A resolver that waits for its name server."""

    async def resolve(self, name: str) -> object:
        return await Deferred()


class FetchTests(ExamineTestCase):
    async def test_a_name_that_nobody_tells_says_how_long_that_was_waited_for(self) -> None:
        means = Means(reactor=reactor, resolver=Silent(), platform=sys.platform)  # type: ignore[arg-type]
        (subject,) = subjects("https://nas.lan", None, file=self.folder / "relay.yaml")
        try:
            await fetch(means, subject.upstream, timeout=0.2)
        except NameTimeout as error:
            self.assertGreaterEqual(error.elapsed, 0.15)
            self.assertNotIn("within 0.0 s", explain(error)[0])
        else:
            self.fail("it was resolved")
