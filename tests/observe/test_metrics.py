from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.observe.metrics import Family, Histogram, expose


def parsed(families: Iterable[Family]) -> dict[str, Metric]:
    """What Prometheus' own client reads in our text; by name, where counters lose their C{_total}."""
    found = list(text_string_to_metric_families(expose(families).decode()))
    names = [metric.name for metric in found]
    assert len(set(names)) == len(names), names
    return dict(zip(names, found, strict=True))


class HistogramTests(SynchronousTestCase):
    def test_a_value_on_a_bound_belongs_to_it(self) -> None:
        histogram = Histogram((0.1, 1, 10))
        for value in (0.0, 0.1, 0.11, 1, 10, 10.5, 1e9):
            histogram.observe(value)
        self.assertEqual(histogram.counts, [2, 2, 1, 2])
        self.assertEqual(histogram.count, 7)
        self.assertAlmostEqual(histogram.sum, 1e9 + 21.71)


class ExpositionTests(SynchronousTestCase):
    def test_the_text(self) -> None:
        family = Family("lanrelay_sessions_total", "counter", "Sessions that have ended.")
        family.add(3, {"listener": "db"})
        family.add(1.5)
        self.assertEqual(
            expose([family]),
            b"# HELP lanrelay_sessions_total Sessions that have ended.\n"
            b"# TYPE lanrelay_sessions_total counter\n"
            b'lanrelay_sessions_total{listener="db"} 3\n'
            b"lanrelay_sessions_total 1.5\n",
        )

    def test_what_has_no_sample_is_not_there(self) -> None:
        self.assertEqual(expose([Family("lanrelay_x", "gauge", "None.")]), b"")

    def test_labels_without_a_value_are_left_out(self) -> None:
        family = Family("x", "gauge", "X.")
        family.add(1, {"route": "", "listener": "a"})
        family.add(2, {"route": ""})
        self.assertTrue(expose([family]).endswith(b'x{listener="a"} 1\nx 2\n'))

    def test_a_parser_reads_any_value_as_it_was(self) -> None:
        for value in ('a"b', "a\\b", "a\nb", "a\\nb", 'a\\"', "b}c,d=", "ü€", " "):
            family = Family("x", "gauge", 'An "x" with\na line and a \\.')
            family.add(1, {"l": value})
            metric = parsed([family])["x"]
            self.assertEqual(metric.samples[0].labels, {"l": value})
            self.assertEqual(metric.documentation, 'An "x" with\na line and a \\.')

    def test_undecodable_names_of_files_do_not_break_it(self) -> None:
        family = Family("x", "gauge", "X.")
        family.add(1, {"l": b"\xff".decode("utf-8", "surrogateescape")})
        self.assertEqual(parsed([family])["x"].samples[0].labels, {"l": "?"})

    def test_numbers(self) -> None:
        for value in (0, 1, -1, 0.1, 1e-9, 123456789.123, 2**53, 1.8e9):
            family = Family("x", "gauge", "X.")
            family.add(value)
            self.assertEqual(parsed([family])["x"].samples[0].value, value)

    def test_a_parser_reads_a_histogram(self) -> None:
        histogram = Histogram((0.1, 1, 2.5))
        for value in (0.05, 0.5, 2.0, 4.0):
            histogram.observe(value)
        family = Family("x_seconds", "histogram", "X.")
        family.add_histogram(histogram, {"listener": "db"})
        family.add_histogram(Histogram((0.1,)), {"listener": "web"})
        metric = parsed([family])["x_seconds"]
        self.assertEqual(metric.type, "histogram")
        found = {
            (sample.name, sample.labels.get("le")): sample.value
            for sample in metric.samples
            if sample.labels["listener"] == "db"
        }
        self.assertEqual(
            found,
            {
                ("x_seconds_bucket", "0.1"): 1,
                ("x_seconds_bucket", "1"): 2,
                ("x_seconds_bucket", "2.5"): 3,
                ("x_seconds_bucket", "+Inf"): 4,
                ("x_seconds_count", None): 4,
                ("x_seconds_sum", None): 6.55,
            },
        )
