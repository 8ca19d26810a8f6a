"""Trying the next upstream, and again after a pause."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config import model
from lanrelay.errors import AllDown, ConnectionRefused, DialError, DialTimeout, UnknownIssuer
from lanrelay.upstream.balance import UpstreamGroup
from lanrelay.upstream.retry import LONGEST_PAUSE, try_each
from lanrelay.upstream.upstream import Upstream
from tests.support.dialing import FakeDialer, upstreams


class RetryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.tried: list[str] = []
        self.times: list[float] = []
        self.counted = 0
        self.pending: list[Deferred[str]] = []
        self.answers: dict[str, Any] = {}
        self.chance = 0.5  # no jitter

    def begin(self, *hosts: str, duration: float = 3, backoff: float = 0.1, **more: Any) -> Deferred[str]:
        retry = model.Retry(duration=duration, backoff=backoff)
        config = upstreams(*(f"tcp://{host}:1" for host in hosts), retry=retry, **more)
        self.group = UpstreamGroup(self.clock, FakeDialer(), config, model.Timeouts())  # type: ignore[arg-type]
        return self.run_it()

    def run_it(self) -> Deferred[str]:
        return Deferred.fromCoroutine(
            try_each(self.clock, self.group, self.attempt, counted=self.count, rng=lambda: self.chance)
        )

    def count(self) -> None:
        self.counted += 1

    async def attempt(self, upstream: Upstream) -> str:
        host = upstream.config.url.host
        self.tried.append(host)
        self.times.append(round(self.clock.seconds(), 3))
        answer = self.answers.get(host)
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            return str(answer)
        self.pending.append(Deferred())
        return await self.pending[-1]

    def advance(self, seconds: float) -> None:
        for _ in range(round(seconds * 100)):
            self.clock.advance(0.01)

    def test_the_first_success_is_the_result(self) -> None:
        self.answers = {"a": "yes"}
        self.assertEqual(self.successResultOf(self.begin("a", "b")), "yes")
        self.assertEqual((self.tried, self.counted), (["a"], 1))

    def test_the_next_one_is_tried_at_once(self) -> None:
        self.answers = {"a": ConnectionRefused(), "b": "yes"}
        self.assertEqual(self.successResultOf(self.begin("a", "b")), "yes")
        self.assertEqual((self.tried, self.counted), (["a", "b"], 2))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_pauses_double_and_the_last_try_is_at_the_end(self) -> None:
        self.answers = {"a": ConnectionRefused()}
        result = self.begin("a")
        self.advance(2.9)
        self.assertNoResult(result)
        self.advance(0.2)
        self.failureResultOf(result, ConnectionRefused)
        self.assertEqual([round(moment, 1) for moment in self.times], [0, 0.1, 0.3, 0.7, 1.5, 3.0])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_pauses_have_a_longest(self) -> None:
        self.answers = {"a": ConnectionRefused()}
        result = self.begin("a", duration=20)
        self.advance(20.1)
        self.failureResultOf(result, ConnectionRefused)
        gaps = [after - before for before, after in zip(self.times, self.times[1:], strict=False)]
        self.assertAlmostEqual(max(gaps), LONGEST_PAUSE, 1)

    def test_jitter_is_half_either_way(self) -> None:
        for chance, expected in ((0.0, 0.05), (0.999, 0.15)):
            self.setUp()
            self.chance = chance
            self.answers = {"a": ConnectionRefused()}
            self.begin("a")
            self.advance(0.2)
            self.assertAlmostEqual(self.times[1], expected, 1)

    def test_a_success_after_a_pause(self) -> None:
        self.answers = {"a": ConnectionRefused()}
        result = self.begin("a")
        self.advance(0.2)
        self.answers = {"a": "back"}
        self.advance(0.2)
        self.assertEqual(self.successResultOf(result), "back")
        self.assertEqual(self.counted, 3)

    def test_the_time_counts_from_when_it_went_down(self) -> None:
        self.answers = {"a": ConnectionRefused()}
        result = self.begin("a", health=model.Health(fall=1))
        self.group.members[0].failed(ConnectionRefused())
        self.advance(3.1)
        self.failureResultOf(result, ConnectionRefused)  # it was up when this began
        self.assertEqual(len(self.times), 6)
        self.times.clear()
        self.failureResultOf(self.run_it(), ConnectionRefused)
        self.assertEqual(len(self.times), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.group.members[0].succeeded()
        self.group.members[0].failed(ConnectionRefused())
        self.advance(1)
        self.times.clear()
        result = self.run_it()
        self.advance(1.9)
        self.assertNoResult(result)
        self.advance(0.2)
        self.failureResultOf(result, ConnectionRefused)
        self.assertAlmostEqual(self.times[-1] - self.times[0], 2, 1)

    def test_one_that_is_down_is_tried_once_and_may_be_back(self) -> None:
        self.answers = {"a": ConnectionRefused()}
        result = self.begin("a", health=model.Health(fall=1))
        self.group.members[0].failed(ConnectionRefused())
        self.advance(10)
        self.failureResultOf(result, ConnectionRefused)
        self.answers = {"a": "back"}
        self.assertEqual(self.successResultOf(self.run_it()), "back")

    def test_one_to_avoid_is_tried_last_and_one_to_spare_is_not_tried(self) -> None:
        self.answers = {"a": "yes", "b": ConnectionRefused(), "c": ConnectionRefused()}
        self.begin("a", "b", "c")
        for spare, expected in ((False, ["b", "c", "a"]), (True, ["b", "c"])):
            self.tried.clear()
            attempts = try_each(
                self.clock, self.group, self.attempt, avoid=self.group.members[0], spare=spare
            )
            result = Deferred.fromCoroutine(attempts)
            self.assertEqual(self.tried, expected)
            if spare:
                self.advance(4)
                self.failureResultOf(result, ConnectionRefused)
                self.assertEqual(set(self.tried), {"b", "c"})
            else:
                self.assertEqual(self.successResultOf(result), "yes")

    def test_no_retry_when_it_is_off(self) -> None:
        self.answers = {"a": ConnectionRefused()}
        self.failureResultOf(self.begin("a", duration=0), ConnectionRefused)
        self.assertEqual(self.tried, ["a"])

    def test_a_slow_failure_uses_up_the_time(self) -> None:
        result = self.begin("a")
        self.advance(5)
        self.pending.pop().errback(DialTimeout())
        self.failureResultOf(result, DialTimeout)
        self.assertEqual(self.tried, ["a"])

    def test_what_is_permanent_is_not_tried_again(self) -> None:
        self.answers = {"a": UnknownIssuer()}
        self.failureResultOf(self.begin("a"), UnknownIssuer)
        self.assertEqual(self.tried, ["a"])
        self.setUp()
        self.answers = {"a": UnknownIssuer(), "b": ConnectionRefused()}
        result = self.begin("a", "b")
        self.advance(0.2)
        self.assertEqual(self.tried, ["a", "b", "b"])
        self.advance(3)
        error = self.failureResultOf(result, UnknownIssuer).value
        self.assertEqual([type(other) for other in error.others], [ConnectionRefused])

    def test_the_last_failure_of_each_counts(self) -> None:
        self.answers = {"a": ConnectionRefused()}
        result = self.begin("a")
        self.advance(1)
        self.answers = {"a": DialTimeout()}
        self.advance(2.1)
        self.failureResultOf(result, DialTimeout)

    def test_a_bug_is_not_retried(self) -> None:
        self.answers = {"a": ZeroDivisionError()}
        self.failureResultOf(self.begin("a", "b"), ZeroDivisionError)
        self.assertEqual(self.tried, ["a"])

    def test_all_down_is_told_at_once(self) -> None:
        self.answers = {"a": "yes", "b": "yes"}
        self.successResultOf(self.begin("a", "b", health=model.Health(fall=1)))
        for member in self.group.members:
            member.failed(ConnectionRefused(target=member.name))
        error: DialError = self.failureResultOf(self.run_it(), AllDown).value
        self.assertEqual(len(error.others), 2)
        self.assertEqual(self.tried, ["a"])

    def test_those_that_go_down_meanwhile_are_waited_for(self) -> None:
        self.answers = {"a": ConnectionRefused(), "b": ConnectionRefused()}
        result = self.begin("a", "b", health=model.Health(fall=1))
        for member in self.group.members:
            member.failed(ConnectionRefused())
        self.advance(1)
        self.assertEqual(self.tried, ["a", "b"])
        self.answers = {"b": "back"}
        self.group.members[1].succeeded()
        self.advance(2)
        self.assertEqual(self.successResultOf(result), "back")

    def test_cancelled_in_an_attempt(self) -> None:
        result = self.begin("a", "b")
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.assertTrue(self.pending[0].called)
        self.assertEqual((self.tried, self.clock.getDelayedCalls()), (["a"], []))

    def test_cancelled_in_a_pause(self) -> None:
        self.answers = {"a": ConnectionRefused()}
        result = self.begin("a")
        result.cancel()
        self.failureResultOf(result, CancelledError)
        self.assertEqual((self.tried, self.clock.getDelayedCalls()), (["a"], []))
