from __future__ import annotations

from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from lanrelay.admin.exposition import figures
from lanrelay.admin.watched import Reload
from lanrelay.config import model
from lanrelay.errors import ConnectionRefused, RelayError
from tests.admin.support import WatchedTestCase, https


class FiguresTests(WatchedTestCase):
    def metrics(self) -> dict[str, Metric]:
        """What Prometheus' own parser finds; a counter is without its C{_total}."""
        found = list(text_string_to_metric_families(figures(self.watched).decode()))
        self.assertEqual(len({metric.name for metric in found}), len(found))
        for metric in found:
            labels = [(sample.name, *sorted(sample.labels.items())) for sample in metric.samples]
            self.assertEqual(len(set(labels)), len(labels), metric.name)
        return {metric.name: metric for metric in found}

    def value(self, name: str, **labels: str) -> float:
        """The one sample with exactly these labels."""
        for metric in self.metrics().values():
            for sample in metric.samples:
                if sample.name == name and sample.labels == labels:
                    return sample.value
        raise AssertionError(f"no {name} {labels} in\n{figures(self.watched).decode()}")

    def closed(self, listener: str, error: RelayError | None = None, **values: Any) -> None:
        session = self.around.ledger.open(listener, "kind", "unix")
        for name, value in values.items():
            setattr(session, name, value)
        if error is not None:
            session.failed(error, by="upstream")
        self.around.ledger.close(session)

    # ------------------------------------------------------------------------------------------------

    def test_before_anything_happened(self) -> None:
        self.forward("nas.lan")
        self.assertEqual(self.value("lanrelay_sessions_total", listener="to-nas.lan"), 0)
        self.assertEqual(self.value("lanrelay_received_bytes_total", listener="to-nas.lan"), 0)
        self.assertEqual(self.value("lanrelay_connections_open", listener="to-nas.lan"), 0)
        self.assertEqual(
            self.value("lanrelay_upstream_up", listener="to-nas.lan", upstream="tcp://nas.lan:5432"), 1
        )
        self.assertEqual(self.value("lanrelay_config_last_reload_successful"), 1)
        self.assertNotIn("lanrelay_request_duration_seconds", self.metrics())

    def test_names_follow_the_conventions(self) -> None:
        self.forward("nas.lan")
        self.closed("to-nas.lan", ConnectionRefused(), phase="dial", method="GET", status=502, dialed=0.1)
        for name, metric in self.metrics().items():
            self.assertTrue(name.startswith(("lanrelay_", "process_")), name)
            self.assertTrue(metric.documentation.endswith("."), name)
            for sample in metric.samples:
                if metric.type == "counter":
                    self.assertTrue(sample.name.endswith("_total"), sample.name)
                if metric.type == "histogram":
                    self.assertIn("_seconds_", sample.name)

    def test_requests_by_code(self) -> None:
        for status in (200, 200, 404, 0, 777, 999):
            self.closed("web", method="GET", status=status)
        for code, expected in (("200", 2), ("404", 1), ("none", 1), ("other", 2)):
            self.assertEqual(self.value("lanrelay_requests_total", listener="web", code=code), expected)

    def test_failures_by_word(self) -> None:
        self.closed("db", ConnectionRefused(), phase="dial")
        self.closed("db", ConnectionRefused(), phase="tunnel")
        labels = {"listener": "db", "error": "connection_refused"}
        self.assertEqual(self.value("lanrelay_dial_failures_total", **labels), 1)
        self.assertEqual(self.value("lanrelay_session_errors_total", **labels), 2)

    def test_bytes_are_counted_while_they_flow(self) -> None:
        self.closed("db", received=10, sent=100)
        session = self.around.ledger.open("db", "tcp-forward", "unix")
        session.received, session.sent = 5, 7
        self.assertEqual(self.value("lanrelay_received_bytes_total", listener="db"), 15)
        self.assertEqual(self.value("lanrelay_sent_bytes_total", listener="db"), 107)
        self.assertEqual(self.value("lanrelay_sessions_open", listener="db"), 1)
        self.around.ledger.close(session)
        self.assertEqual(self.value("lanrelay_received_bytes_total", listener="db"), 15)
        self.assertEqual(self.value("lanrelay_sessions_total", listener="db"), 2)

    def test_histograms(self) -> None:
        self.closed("web", method="GET", status=200, first_byte=0.3, dialed=0.02)
        self.closed("web", method="GET", status=200, first_byte=0.004)
        self.assertEqual(self.value("lanrelay_request_duration_seconds_count", listener="web"), 2)
        self.assertEqual(self.value("lanrelay_response_start_seconds_bucket", listener="web", le="0.005"), 1)
        self.assertEqual(self.value("lanrelay_response_start_seconds_bucket", listener="web", le="0.5"), 2)
        self.assertAlmostEqual(self.value("lanrelay_response_start_seconds_sum", listener="web"), 0.304)
        self.assertEqual(self.value("lanrelay_dial_duration_seconds_bucket", listener="web", le="0.025"), 1)

    def test_labels_never_come_from_clients(self) -> None:
        self.closed("web", method="GET", status=200, path="/s3cret", target="s3cret", client="s3cret")
        self.closed("web", ConnectionRefused("s3cret"), method="S3CRET", status=502)
        self.assertNotIn(b"s3cret", figures(self.watched).lower())

    def test_a_listener_that_a_reload_replaced_counts_with_its_successor(self) -> None:
        old, new = self.forward("nas.lan"), self.forward("nas.lan")
        self.listeners.remove(old)
        self.watched.draining = [old]
        old.draining = True
        old._connections.add(object())  # type: ignore[arg-type]
        new._connections.add(object())  # type: ignore[arg-type]
        self.assertEqual(self.value("lanrelay_connections_open", listener="to-nas.lan"), 2)
        self.assertEqual(self.value("lanrelay_listener_up", listener="to-nas.lan", kind="tcp-forward"), 1)
        self.assertEqual(self.value("lanrelay_connections_max", listener="to-nas.lan"), 4096)

    def test_upstreams(self) -> None:
        service = self.proxy(
            ("/mcp", https(address=model.TargetAddress(host="192.0.2.1", port=443))),
            ("/", https(trust=model.Trust(verify=False))),
        )
        second = service.groups[1].members[0]
        second.up, second.open = False, 3
        one = {"listener": "web", "route": "/mcp", "upstream": "https://nas.lan", "address": "192.0.2.1:443"}
        other = {"listener": "web", "upstream": "https://nas.lan"}
        self.assertEqual(self.value("lanrelay_upstream_up", **one), 1)
        self.assertEqual(self.value("lanrelay_upstream_up", **other), 0)
        self.assertEqual(self.value("lanrelay_upstream_insecure", **one), 0)
        self.assertEqual(self.value("lanrelay_upstream_insecure", **other), 1)
        self.assertEqual(self.value("lanrelay_upstream_connections_in_use", **other), 3)
        self.assertEqual(self.value("lanrelay_upstream_connections_idle", **other), 0)

    def test_one_that_is_listed_twice_is_one(self) -> None:
        service = self.forward("nas.lan", "nas.lan")
        first, second = service.group.members
        first.open, second.open, second.up = 1, 2, False
        labels = {"listener": "to-nas.lan", "upstream": "tcp://nas.lan:5432"}
        self.assertEqual(self.value("lanrelay_upstream_up", **labels), 0)
        self.assertEqual(self.value("lanrelay_upstream_connections_in_use", **labels), 3)

    def test_certificates(self) -> None:
        service = self.proxy(("/", https()))
        end = datetime(2027, 3, 1, tzinfo=timezone.utc)
        shown = object()
        upstream = service.groups[0].members[0]
        upstream._shown = shown
        upstream._certificate = (shown, SimpleNamespace(not_after=end))  # type: ignore[assignment]
        labels = {"listener": "web", "upstream": "https://nas.lan"}
        self.assertEqual(
            self.value("lanrelay_certificate_expiry_timestamp_seconds", **labels), end.timestamp()
        )

    def test_the_outcome_of_reloads(self) -> None:
        name = "lanrelay_config_last_reload_success_timestamp_seconds"
        self.assertEqual(self.value(name), 1_800_000_000)
        self.watched.reloaded(Reload(at=1_800_000_100.5, by="SIGHUP"))
        self.watched.reloaded(Reload(at=1_800_000_200.0, by="SIGHUP", errors=("no",)))
        self.assertEqual(self.value(name), 1_800_000_100.5)
        self.assertEqual(self.value("lanrelay_config_last_reload_successful"), 0)

    def test_the_process(self) -> None:
        self.assertGreater(self.value("process_cpu_seconds_total"), 0)
        self.assertGreater(self.value("process_open_fds"), 2)
        self.assertEqual(self.value("process_start_time_seconds"), 1_800_000_000)
        metrics = self.metrics()
        if "process_resident_memory_bytes" in metrics:  # Linux
            resident = metrics["process_resident_memory_bytes"].samples[0].value
            self.assertGreater(resident, 1_000_000)
            self.assertGreaterEqual(metrics["process_virtual_memory_bytes"].samples[0].value, resident)

    def test_the_build(self) -> None:
        (sample,) = self.metrics()["lanrelay_build_info"].samples
        self.assertEqual((sample.value, sample.labels["version"]), (1, "1.2.3"))
