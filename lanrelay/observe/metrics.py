"""
The Prometheus text format, and the histogram that fills it.

The format is the one that every version of Prometheus reads (text, version 0.0.4). The counters keep plain
numbers, which become families only when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Literal

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

Kind = Literal["counter", "gauge", "histogram"]
Labels = Mapping[str, str]


class Histogram:
    """
    How many values were at most so large, for each of some bounds; two additions for each value.

    @ivar bounds: ascending; values above the last are counted, too.
    @ivar counts: for each bound those that are above the one before, and at last those above all.
    @ivar sum: of all values.
    """

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """One more value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self.counts)


@dataclass(slots=True)
class Family:
    """
    One metric with all its labels.

    Labels without a value are left out: to Prometheus they are the same as labels that are not there.
    """

    name: str
    kind: Kind
    help: str
    _lines: list[str] = field(default_factory=list)

    def add(self, value: float, labels: Labels | None = None) -> None:
        """One sample; no two may have the same labels."""
        self._lines.append(f"{self.name}{_labels(labels or {})} {_number(value)}")

    def add_histogram(self, histogram: Histogram, labels: Labels) -> None:
        """The samples of one histogram."""
        name = self.name
        bounds = [_number(bound) for bound in histogram.bounds]
        for bound, count in zip([*bounds, "+Inf"], accumulate(histogram.counts), strict=True):
            self._lines.append(f"{name}_bucket{_labels({**labels, 'le': bound})} {count}")
        self._lines.append(f"{name}_sum{_labels(labels)} {_number(histogram.sum)}")
        self._lines.append(f"{name}_count{_labels(labels)} {histogram.count}")

    def lines(self) -> Iterable[str]:
        """In the text format; none without a sample."""
        if self._lines:
            text = self.help.replace("\\", "\\\\").replace("\n", "\\n")
            yield f"# HELP {self.name} {text}"
            yield f"# TYPE {self.name} {self.kind}"
            yield from self._lines


def expose(families: Iterable[Family]) -> bytes:
    """The whole answer to a scrape."""
    return "".join(f"{line}\n" for family in families for line in family.lines()).encode()


def _labels(labels: Labels) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items() if value)
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    value = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return value.encode("utf-8", "replace").decode()  # lone surrogates of a file name are no UTF-8


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
