from __future__ import annotations

import re
from base64 import b64encode
from copy import deepcopy
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.admin.page import SECTIONS, page, render, title

MOMENT = "2026-11-20T09:00:00.000+00:00"
NOW = "2026-11-20T09:02:05.000+00:00"
ERROR = {"error": "connection_refused", "what": "Nobody listens.", "remedy": "Set `upstream` right."}

DOCUMENT: dict[str, Any] = {
    "version": "1.2.3",
    "config": "/etc/relay.yaml",
    "started": MOMENT,
    "now": NOW,
    "uptime": 125.0,
    "ready": False,
    "unready": ["web: https://nas.lan is down"],
    "warnings": ["mind the gap"],
    "listeners": [
        {
            "name": "web",
            "kind": "reverse-proxy",
            "addresses": ["127.0.0.1:8080", "[::1]:8080"],
            "listening": True,
            "draining": False,
            "tls": True,
            "leads_to": "https://nas.lan",
            "open_connections": 12345,
            "max_connections": 4096,
        }
    ],
    "upstreams": [
        {
            "listener": "web",
            "route": "/mcp",
            "url": "https://nas.lan",
            "address": "192.168.1.20:443",
            "up": False,
            "checked": True,
            "open": 2,
            "idle": 3,
            "insecure": True,
            "last_error": ERROR,
            "noticed": None,
            "history": [
                {"at": MOMENT, "up": False, "error": ERROR},
                {"at": MOMENT, "up": True, "error": None},
            ],
        }
    ],
    "certificates": [
        {
            "listener": "web",
            "route": "",
            "upstream": None,
            "address": "",
            "subject": "CN=web",
            "issuer": "CN=Home CA",
            "names": ["web.lan"],
            "not_before": "2026-01-01T00:00:00+00:00",
            "not_after": "2026-12-01T00:00:00+00:00",
            "days_left": 10,
            "ends_soon": True,
        }
    ],
    "sessions_open": 2,
    "sessions": [
        {
            "id": 7,
            "listener": "web",
            "kind": "reverse-proxy",
            "client": "127.0.0.1:50000",
            "method": "GET",
            "path": "/events",
            "target": "https://nas.lan",
            "address": "192.168.1.20:443",
            "phase": "body",
            "status": 200,
            "started": MOMENT,
            "age": 125.0,
            "last_active": NOW,
            "silent_for": 0.0,
            "received": 0,
            "sent": 1536,
        }
    ],
    "failures": [
        {
            "listener": "web",
            "kind": "reverse-proxy",
            "client": "127.0.0.1:50001",
            "method": "POST",
            "path": "/mcp",
            "target": "https://nas.lan",
            "address": "",
            "phase": "dial",
            "status": 502,
            "error": "connection_refused",
            "detail": "Nobody listens. Set `upstream` right.",
            "ended_by": "upstream",
            "count": 3,
            "first": MOMENT,
            "last": MOMENT,
        }
    ],
    "last_reload": {"at": MOMENT, "by": "SIGHUP", "ok": False, "errors": ["line 3"], "changes": []},
    "reloads": [{"at": MOMENT, "by": "SIGHUP", "ok": False, "errors": ["line 3"], "changes": []}],
    "counters": {},
}

EMPTY: dict[str, Any] = {
    **DOCUMENT,
    **{name: [] for name in ("unready", "warnings", "listeners", "upstreams", "certificates")},
    **{name: [] for name in ("sessions", "failures", "reloads")},
    "ready": True,
    "sessions_open": 0,
    "last_reload": None,
}


def text_of(part: str) -> str:
    """What is read, without tags."""
    return " ".join(re.sub(r"<[^>]*>", " ", part).split())


def replaced(value: Any, text: str) -> Any:
    """C{value} with C{text} in place of every string that is no moment."""
    if isinstance(value, dict):
        return {key: replaced(each, text) for key, each in value.items()}
    if isinstance(value, list):
        return [replaced(each, text) for each in value]
    if isinstance(value, str) and not re.match(r"\d{4}-\d\d-\d\dT", value):
        return text
    return value


class Elements(HTMLParser):
    """Reads a page as strictly as it can: every element is closed in its turn."""

    VOID = ("meta", "link", "br", "wbr")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag


class PageTests(SynchronousTestCase):
    def setUp(self) -> None:
        body, policy = page(DOCUMENT)
        self.text, self.policy = body.decode(), policy.decode()

    def test_only_its_own_style_and_script_may_run(self) -> None:
        for kind, name in (("style-src", "style"), ("script-src", "script")):
            (content,) = re.findall(f"<{name}>(.*?)</{name}>", self.text, re.DOTALL)
            expected = b64encode(sha256(content.encode()).digest()).decode()
            self.assertIn(f"{kind} 'sha256-{expected}';", self.policy)
        self.assertTrue(self.policy.startswith("default-src 'none';"))
        self.assertNotIn("unsafe", self.policy)

    def test_nothing_comes_from_elsewhere_and_no_attribute_is_a_program(self) -> None:
        for name, attributes in Elements(self.text).found:
            for key, value in attributes.items():
                self.assertFalse(key.startswith("on") or key in ("style", "src", "srcset"), (name, key))
                if key == "href":
                    self.assertTrue((value or "").startswith(("/", "#", "data:image/svg+xml,")), value)

    def test_every_table_has_headers_with_a_scope_and_a_name(self) -> None:
        elements = Elements(self.text).found
        ids = {attributes.get("id") for _, attributes in elements}
        tables = [attributes for name, attributes in elements if name == "table"]
        self.assertEqual(len(tables), len(SECTIONS))
        for attributes in tables:
            self.assertIn(attributes["aria-labelledby"], ids)
        for name, attributes in elements:
            if name == "th":
                self.assertEqual(attributes["scope"], "col")
        names = [name for name, _ in elements]
        for landmark in ("header", "main", "footer"):
            self.assertEqual(names.count(landmark), 1)

    def test_ids_are_there_once(self) -> None:
        ids = [attributes["id"] for _, attributes in Elements(self.text).found if "id" in attributes]
        self.assertEqual(len(set(ids)), len(ids))

    def test_whatever_is_in_the_document_is_only_text(self) -> None:
        hostile = "</td><script>alert(1)</script><img src=x onerror=alert(2)>\"'`&amp;\ud800"
        plain = [name for name, _ in Elements(page(replaced(DOCUMENT, "x"))[0].decode()).found]
        body = page(replaced(DOCUMENT, hostile))[0].decode()
        names = [name for name, _ in Elements(body).found]
        allowed = {"code"}  # from a lone backtick
        self.assertEqual(
            [name for name in names if name not in allowed], [name for name in plain if name not in allowed]
        )
        self.assertNotIn("<img", body)

    def test_it_reads_without_its_script(self) -> None:
        text = text_of(self.text.partition("<body>")[2].partition("<script>")[0])
        for expected in (
            "Not ready",
            "Version 1.2.3 with /etc/relay.yaml , running for 2 min 5 s .",
            "As of 2026-11-20 09:02:05",
            "Problem web: https://nas.lan is down",
            "Problem web: the certificate of https://nas.lan is NOT verified (tls.verify: false)",
            "Note web: the certificate of this listener ends in 10 days",
            "Problem The last reload was refused",
            "Note mind the gap",
            "web reverse-proxy with TLS 127.0.0.1:8080 [::1]:8080 https://nas.lan 12,345",
            "web /mcp https://nas.lan at 192.168.1.20:443 not verified down for 2 min 5 s 2 3",
            "Nobody listens. Set upstream right. 2 changes of state",
            "Open sessions (2)",
            "GET /events 200 https://nas.lan at 192.168.1.20:443 body 2 min 5 s 0 s 0 B 1.5 KiB",
            "and 1 more",
            "2 min 5 s ago 3 web POST /mcp 502",
            "web its own web.lan CN=web CN=Home CA 2026-12-01 10 days",
            "2 min 5 s ago SIGHUP refused line 3",
        ):
            self.assertIn(expected, text)

    def test_where_there_is_nothing_it_says_so(self) -> None:
        parts = render(EMPTY, moving=True)
        self.assertEqual(text_of(parts["state"]), "Ready")
        self.assertEqual(parts["problems"], "")
        for name in SECTIONS:
            self.assertNotIn("<table", parts[name])
            self.assertIn(f'id="{name}-title"', parts[name])
            self.assertGreater(len(text_of(parts[name]).split()), 1)
        Elements(page(EMPTY)[0].decode())

    def test_the_title_says_how_it_is(self) -> None:
        self.assertEqual(title(DOCUMENT), "not ready (5) · lanrelay")
        self.assertEqual(title(EMPTY), "ready · lanrelay")


class PartsTests(SynchronousTestCase):
    def test_time_alone_changes_nothing(self) -> None:
        later = deepcopy(DOCUMENT)
        later["now"], later["uptime"] = "2026-11-20T10:00:00.000+00:00", 3600.0
        later["sessions"][0].update(age=3600.0, silent_for=3475.0)
        self.assertEqual(render(later, moving=False), render(DOCUMENT, moving=False))
        self.assertNotEqual(render(later, moving=True), render(DOCUMENT, moving=True))

    def test_a_byte_changes_one_part(self) -> None:
        later = deepcopy(DOCUMENT)
        later["sessions"][0]["received"] = 1
        before, after = render(DOCUMENT, moving=False), render(later, moving=False)
        self.assertEqual([name for name in before if before[name] != after[name]], ["sessions"])

    def test_where_a_listener_listens(self) -> None:
        for listening, draining, expected in (
            (True, False, "127.0.0.1:8080 [::1]:8080"),
            (False, False, "does not listen"),
            (False, True, "replaced, ends with its connections"),
        ):
            document = deepcopy(DOCUMENT)
            document["listeners"][0].update(listening=listening, draining=draining)
            text = text_of(render(document, moving=True)["listeners"])
            self.assertIn(f"with TLS {expected} https://nas.lan", text)

    def test_up_down_and_not_known_are_words(self) -> None:
        for up, checked, expected in (
            (True, True, "up"),
            (False, True, "down"),
            (None, True, "not known yet"),
            (None, False, "not checked"),
        ):
            document = deepcopy(DOCUMENT)
            document["upstreams"][0].update(up=up, checked=checked, history=[])
            found = re.findall(r'class="badge \w+">([^<]*)', render(document, moving=True)["upstreams"])
            self.assertEqual(found, ["not verified", expected])

    def test_a_certificate_near_its_end(self) -> None:
        for days, soon, expected, problems in (
            (-1, True, "expired", 1),
            (0, True, "less than a day", 1),
            (1, True, "1 day", 1),
            (13, True, "13 days", 1),
            (5, False, "5 days", 0),
            (1000, False, "1,000 days", 0),
        ):
            document = {**deepcopy(EMPTY), "certificates": deepcopy(DOCUMENT["certificates"])}
            document["certificates"][0].update(days_left=days, ends_soon=soon)
            parts = render(document, moving=True)
            self.assertTrue(text_of(parts["certificates"]).endswith(expected), parts["certificates"])
            self.assertEqual(parts["problems"].count("<li"), problems)
