"""What went wrong and what to do, in plain words."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from lanrelay.errors import RelayError


@dataclass(frozen=True, slots=True)
class Explanation:
    """
    @ivar what: what happened, one sentence.
    @ivar remedy: what to do about it, one sentence.
    """

    what: str
    remedy: str


def explain(error: RelayError, *, platform: str = sys.platform) -> Explanation:
    """The sentences for C{error}."""
    return Explanation(f"{error}.", "The log of the relay says more.")
