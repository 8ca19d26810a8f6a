"""What C{docs/monitoring.md} and the example rules say, held against what there is."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any
from unittest import skipUnless

import yaml

from lanrelay.admin.exposition import figures
from lanrelay.admin.glance import request
from lanrelay.admin.status import status
from lanrelay.admin.watched import Reload
from lanrelay.config import model
from lanrelay.errors import ConnectionRefused
from tests.admin.support import WatchedTestCase, https
from tests.support.tls import server_certificate

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
RULES = DOCS / "lanrelay.rules.yml"
DASHBOARD = DOCS / "grafana-dashboard.json"

# What an alert must, and must not, say; in the words of `promtool test rules`.
CASES = """
rule_files: [{rules}]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: 'up{{job="lanrelay", instance="relay:28081"}}'
        values: '1 1 1 0x10'
      - series: 'lanrelay_upstream_up{{instance="relay:28081", listener="web", route="/mcp", upstream="https://nas.lan"}}'
        values: '1 1 1 0x10'
      - series: 'lanrelay_upstream_up{{instance="relay:28081", listener="db", upstream="tcp://nas.lan:5432"}}'
        values: '1x20'
      - series: 'lanrelay_requests_total{{instance="relay:28081", listener="web", code="200"}}'
        values: '0+80x30'
      - series: 'lanrelay_requests_total{{instance="relay:28081", listener="web", code="502"}}'
        values: '0+20x30'
      - series: 'lanrelay_requests_total{{instance="relay:28081", listener="good", code="200"}}'
        values: '0+80x30'
      - series: 'lanrelay_dial_failures_total{{instance="relay:28081", listener="db", error="dns_error"}}'
        values: '0+1x30'
      - series: 'lanrelay_certificate_expiry_timestamp_seconds{{instance="relay:28081", listener="web"}}'
        values: '90000x90'
      - series: 'lanrelay_certificate_expiry_timestamp_seconds{{instance="relay:28081", listener="far"}}'
        values: '9000000x90'
      - series: 'lanrelay_config_last_reload_successful{{instance="relay:28081"}}'
        values: '0x20'
    alert_rule_test:
      - {{alertname: LanrelayDown, eval_time: 4m}}
      - alertname: LanrelayDown
        eval_time: 6m
        exp_alerts:
          - exp_labels: {{severity: critical, job: lanrelay, instance: "relay:28081"}}
            exp_annotations: {{summary: "The relay on relay:28081 does not answer."}}
      - alertname: LanrelayUpstreamDown
        eval_time: 6m
        exp_alerts:
          - exp_labels:
              {{severity: warning, instance: "relay:28081", listener: web, route: /mcp, upstream: "https://nas.lan"}}
            exp_annotations:
              summary: "web/mcp on relay:28081 cannot reach https://nas.lan."
              description: "The status page says why, and what to do."
      - alertname: LanrelayErrorAnswers
        eval_time: 20m
        exp_alerts:
          - exp_labels: {{severity: warning, instance: "relay:28081", listener: web}}
            exp_annotations: {{summary: "20% of the answers of web are 5xx."}}
      - alertname: LanrelayDialsFail
        eval_time: 20m
        exp_alerts:
          - exp_labels: {{severity: warning, instance: "relay:28081", listener: db, error: dns_error}}
            exp_annotations: {{summary: "db on relay:28081 fails to connect: dns_error."}}
      - alertname: LanrelayCertificateEndsSoon
        eval_time: 70m
        exp_alerts:
          - exp_labels: {{severity: warning, instance: "relay:28081", listener: web}}
            exp_annotations:
              summary: "The certificate of the listener at web ends in 23h 50m 0s."
      - alertname: LanrelayReloadRefused
        eval_time: 6m
        exp_alerts:
          - exp_labels: {{severity: warning, instance: "relay:28081"}}
            exp_annotations:
              summary: "The last reload on relay:28081 was refused; what was in force before still is."
"""


@skipUnless(shutil.which("promtool"), "promtool is not here")
class PromtoolTests(WatchedTestCase):
    def promtool(self, *arguments: str, given: bytes = b"") -> None:
        done = subprocess.run(["promtool", *arguments], input=given, capture_output=True, check=False)
        self.assertEqual(done.returncode, 0, (done.stdout + done.stderr).decode())

    def test_the_example_configuration_and_its_rules(self) -> None:
        self.promtool("check", "config", str(DOCS / "prometheus.yml"))

    def test_alerts_fire_when_they_should_and_only_then(self) -> None:
        cases = Path(self.mktemp())
        cases.write_text(CASES.format(rules=RULES))
        self.promtool("test", "rules", str(cases))

    def test_the_figures(self) -> None:
        everything(self)
        self.promtool("check", "metrics", given=figures(self.watched))

    def test_the_dashboards_questions_can_be_asked(self) -> None:
        rules = [
            {"record": f"dashboard:{number}", "expr": expression}
            for number, expression in enumerate(sorted(set(asked_by_the_dashboard())))
        ]
        file = Path(self.mktemp())
        file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
        self.promtool("check", "rules", str(file))


class DocumentationTests(WatchedTestCase):
    def setUp(self) -> None:
        super().setUp()
        everything(self)
        self.names = set(re.findall(r"# TYPE (\w+)", figures(self.watched).decode()))
        self.page = (DOCS / "monitoring.md").read_text()

    def test_every_metric_is_explained_and_no_other(self) -> None:
        explained = set(re.findall(r"^\| `((?:lanrelay|process)_\w+)", self.page, re.MULTILINE))
        linux_only = {"process_resident_memory_bytes", "process_virtual_memory_bytes"}
        self.assertEqual(explained - linux_only, self.names - linux_only)

    def test_every_field_of_the_status_is_explained(self) -> None:
        explained = set(re.findall(r"`(\w+)`", self.page))
        self.assertEqual(sorted(keys(status(self.watched)) - explained), [])

    def test_every_field_of_a_request_is_explained(self) -> None:
        explained = set(re.findall(r"`(\w+)`", self.page))
        session = self.around.ledger.open("web", "reverse-proxy", "unix")
        self.assertEqual(sorted(request(session, "web").keys() - explained), [])

    def test_the_dashboard_asks_for_metrics_that_are_there(self) -> None:
        asked: dict[str, set[str]] = {}
        for expression in asked_by_the_dashboard():
            for name, labels in re.findall(r"\b((?:lanrelay|process)_\w+)(?:\{([^}]*)\})?", expression):
                bare = re.sub("_(bucket|sum|count)$", "", name)
                asked.setdefault(bare, set()).update(re.findall(r"(\w+)=", labels))
            self.assertNotIn("$", expression)
        linux_only = {"process_resident_memory_bytes"}
        self.assertEqual(sorted(asked.keys() - self.names - linux_only), [])
        shown = {name for name in self.names if name.startswith("lanrelay_")}
        self.assertEqual(
            sorted(shown - asked.keys()),
            ["lanrelay_connections_max", "lanrelay_listener_up", "lanrelay_sessions_total"],
        )
        for name, labels in asked.items():
            there = set(re.findall(rf"^{name}\w*\{{(.*)\}}", figures(self.watched).decode(), re.MULTILINE))
            known = set(re.findall(r'(\w+)="', " ".join(there)))
            self.assertEqual(sorted(labels - known - {"instance"}), [], name)

    def test_the_dashboards_panels_lie_beside_each_other(self) -> None:
        board = json.loads(DASHBOARD.read_text())
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            self.assertTrue(panel["description"], panel["title"])
            place = panel["gridPos"]
            cells = set(
                product(
                    range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
                )
            )
            self.assertEqual(cells & taken, set(), panel["title"])
            self.assertLessEqual(place["x"] + place["w"], 24)
            taken |= cells
        identities = [panel["id"] for panel in board["panels"]]
        self.assertEqual(len(set(identities)), len(identities))

    def test_rules_ask_for_metrics_that_are_there(self) -> None:
        asked: set[str] = set()
        for group in yaml.safe_load(RULES.read_text())["groups"]:
            for rule in group["rules"]:
                asked.update(re.findall(r"\b((?:lanrelay|process)_\w+)", rule["expr"]))
        bare = {re.sub("_(bucket|sum|count)$", "", name) for name in asked}
        self.assertEqual(sorted(bare - self.names), [])
        self.assertGreater(len(bare), 10)


def asked_by_the_dashboard() -> Iterator[str]:
    """Its questions, with what Grafana fills in."""
    board = json.loads(DASHBOARD.read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    asked += [one["expr"] for one in board["annotations"]["list"]]
    for expression in asked:
        yield (
            expression.replace("$__rate_interval", "5m")
            .replace('"$instance"', '".*"')
            .replace('"$listener"', '".*"')
        )


def everything(case: WatchedTestCase) -> None:
    """One of each thing that can be in the document and among the figures."""
    proxy = case.proxy(
        ("/", https(address=model.TargetAddress(host="192.0.2.1", port=443))),
        tls=model.ServerTls(cert=server_certificate().cert, key=server_certificate().key),
    )
    proxy.routes[0].server.told("initialize", {"serverInfo": {"name": "notes"}})
    proxy.routes[0].server.told("tools/list", {"tools": []})
    upstream = case.forward("nas.lan", health=model.Health(fall=1)).group.members[0]
    upstream.failed(ConnectionRefused(target="nas.lan:5432"))
    case.around.ledger.open("web", "reverse-proxy", "unix")
    session = case.around.ledger.open("web", "reverse-proxy", "unix", phase="dial")
    session.method, session.status, session.dialed, session.first_byte = "GET", 502, 0.1, 0.2
    session.failed(ConnectionRefused(), by="upstream")
    case.around.ledger.close(session)
    case.watched.reloaded(Reload(at=1_800_000_001.0, by="SIGHUP", errors=("no",)))


def keys(value: Any) -> set[str]:
    """The names of all fields, without the words, codes and listeners that counters go by."""
    if isinstance(value, list):
        return {key for each in value for key in keys(each)}
    if not isinstance(value, dict):
        return set()
    found = set()
    for key, each in value.items():
        found.add(key)
        if key == "counters":
            found.update(*(one.keys() for one in each.values()))
        elif key not in ("requests", "errors"):
            found |= keys(each)
    return found
