from __future__ import annotations

import re
from base64 import b64encode
from copy import deepcopy
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.admin.page import ROWS, SECTIONS, Renderer
from tests.support.status_play import document

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


def parts_of(content: dict[str, Any], *, moving: bool = True) -> dict[str, str]:
    return dict(Renderer().look(content, moving=moving)[1])


def page_of(content: dict[str, Any]) -> str:
    return Renderer().page(content)[0].decode()


def title_of(content: dict[str, Any]) -> str:
    return Renderer().look(content, moving=True)[0]


def text_of(part: str) -> str:
    """What is read, without tags."""
    return " ".join(re.sub(r"<[^>]*>", " ", part.replace("<wbr>", "")).split())


def states(found: list[str], seconds: int) -> list[dict[str, Any]]:
    """The cells of a bar."""
    return [{"state": state, "why": None, "at": index * seconds} for index, state in enumerate(found)]


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
        body, policy = Renderer().page(DOCUMENT)
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
        self.assertEqual(len(tables), len(SECTIONS) - 1)
        for attributes in tables:
            self.assertIn(attributes["aria-labelledby"], ids)
        for name, attributes in elements:
            if name == "th":
                self.assertEqual(attributes["scope"], "col")
        names = [name for name, _ in elements]
        for landmark in ("header", "main", "footer"):
            self.assertEqual(names.count(landmark), 1)

    def test_every_drawing_is_told_in_words_or_is_no_content(self) -> None:
        drawings = [attributes for name, attributes in Elements(page_of(document())).found if name == "svg"]
        self.assertGreater(len(drawings), 10)
        for attributes in drawings:
            if attributes.get("aria-hidden") != "true":
                self.assertEqual(attributes["role"], "img")
                self.assertTrue(attributes["aria-label"])

    def test_ids_are_there_once(self) -> None:
        again = deepcopy(DOCUMENT)
        replaced = {**deepcopy(DOCUMENT["listeners"][0]), "draining": True, "listening": False}
        again["listeners"].append(replaced)
        for content in (DOCUMENT, document(60), again):
            ids = [each["id"] for _, each in Elements(page_of(content)).found if "id" in each]
            self.assertEqual(len(set(ids)), len(ids))

    def test_whatever_is_in_the_document_is_only_text(self) -> None:
        hostile = "</td><script>alert(1)</script><img src=x onerror=alert(2)>\"'`&amp;\ud800"
        for content in (DOCUMENT, document()):
            self._is_only_text(content, hostile)

    def _is_only_text(self, content: dict[str, Any], hostile: str) -> None:
        plain = [name for name, _ in Elements(Renderer().page(replaced(content, "x"))[0].decode()).found]
        body = Renderer().page(replaced(content, hostile))[0].decode()
        names = [name for name, _ in Elements(body).found]
        allowed = {"code", "wbr"}  # from a lone backtick, and where a URL may be broken
        self.assertEqual(
            [name for name in names if name not in allowed], [name for name in plain if name not in allowed]
        )
        self.assertNotIn("<img", body)

    def test_it_reads_without_its_script(self) -> None:
        text = text_of(self.text.partition("<body>")[2].partition("<script>")[0])
        for expected in (
            "0 of 1 reachable",
            "Version 1.2.3 with /etc/relay.yaml , running for 2 min 5 s .",
            "As of 2026-11-20 09:02:05",
            "Problem web is down",
            "Problem web: the certificate of https://nas.lan is NOT verified (tls.verify: false)",
            "Note web: the certificate of this listener ends in 10 days",
            "Problem The last reload was refused",
            "Note mind the gap",
            "web down since",
            "reverse proxy with TLS",
            "/mcp → https://nas.lan at 192.168.1.20:443 not verified",
            "Nobody listens. Set upstream right. connection_refused",
            "127.0.0.1:8080, [::1]:8080",
            "12,345",
            "Open sessions (2)",
            "GET /events 200 https://nas.lan at 192.168.1.20:443 body 2 min 5 s 0 s 0 B 1.5 KiB",
            "and 1 more",
            "2 min 5 s ago 3 web POST /mcp 502",
            "web its own web.lan CN=web CN=Home CA 2026-12-01 10 days",
            "2 min 5 s ago SIGHUP refused line 3",
        ):
            self.assertIn(expected, text)

    def test_all_of_the_document_is_there(self) -> None:
        content = document()
        content["listeners"][0]["since"] = content["listeners"][1]["since"]
        text = text_of(page_of(content))
        for expected in (
            "4 of 5 reachable",
            "Problem printer-1 is down since",
            "mcp-0 up since",
            "http://localhost:28082/mcp",
            "reverse proxy · MCP 2025-06-18",
            "everything 2.0.1 · 11 tools · 3 sessions",
            "Nothing listens on port 631 of printer.lan (192.168.1.40). Start it, or correct the port in",
            "lanrelay doctor printer-1",
            "relay.yaml:13",
            "989 requests, 90 failed",
            "down in 1 of 20 h seen",
            "4.2 ms",
            "60 d",
            "claude mcp add --transport http mcp-0 http://localhost:28082/mcp",
            "psql -h localhost -p 28085",
            "The machine slept for 8 h 2 min.",
            "1 earlier one",
        ):
            self.assertIn(expected, text)

    def test_where_there_is_nothing_it_says_so(self) -> None:
        parts = parts_of(EMPTY)
        self.assertEqual(text_of(parts["state"]), "Ready")
        self.assertEqual((parts["problems"], parts["first"]), ("", ""))
        for name in SECTIONS:
            self.assertNotIn("<table", parts[name])
            self.assertIn(f'id="{name}-title"', parts[name])
            self.assertGreater(len(text_of(parts[name]).split()), 1)
        Elements(page_of(EMPTY))

    def test_title_header_and_sign_turn_with_the_worst(self) -> None:
        for content, title, mood, icon in (
            (EMPTY, "Ready", "good", "1a7f37"),
            (document(down=()), "All 5 reachable", "good", "1a7f37"),
            (document(), "4 of 5 reachable", "poor", "bf8700"),
            (document(2, down=(0, 1)), "0 of 2 reachable", "bad", "cf222e"),
        ):
            self.assertEqual(title_of(content), f"{title} · lanrelay")
            page = page_of(content)
            self.assertIn(f'<html lang="en" data-mood="{mood}">', page)
            self.assertIn(f"<title>{title} · lanrelay</title>", page)
            self.assertIn(f"fill='%23{icon}'", page)
            self.assertEqual(parts_of(content)["mood"], mood)

    def test_the_first_steps_are_shown_until_somebody_has_asked_for_something(self) -> None:
        step = {"title": "Begin", "text": "Do `it`.", "command": "lanrelay setup"}
        fresh = {**EMPTY, "first_steps": [step] * 3}
        self.assertEqual(text_of(parts_of(fresh)["first"]).count("Begin Do it . lanrelay setup"), 3)
        counted = {"sessions": 1}
        self.assertNotEqual(parts_of({**fresh, "counters": {"admin": counted}})["first"], "")
        for content in (
            {**fresh, "counters": {"web": counted}},
            {**fresh, "sessions_open": 1},
            {**fresh, "first_steps": []},
        ):
            self.assertEqual(parts_of(content)["first"], "")


class PartsTests(SynchronousTestCase):
    def test_time_alone_changes_nothing(self) -> None:
        later = deepcopy(DOCUMENT)
        later["now"], later["uptime"] = "2026-11-20T10:00:00.000+00:00", 3600.0
        later["sessions"][0].update(age=3600.0, silent_for=3475.0)
        self.assertEqual(parts_of(later, moving=False), parts_of(DOCUMENT, moving=False))
        self.assertNotEqual(parts_of(later), parts_of(DOCUMENT))

    def test_a_byte_changes_one_part(self) -> None:
        later = deepcopy(DOCUMENT)
        later["sessions"][0]["received"] = 1
        self.assertEqual(self.changed(DOCUMENT, later), ["sessions"])

    def test_a_request_changes_the_row_of_its_listener(self) -> None:
        later = document(60)
        later["listeners"][17]["hour"]["requests"][-1] += 1
        self.assertEqual(self.changed(document(60), later), [f"row-{later['listeners'][17]['name']}"])

    def changed(self, first: dict[str, Any], second: dict[str, Any]) -> list[str]:
        """The parts that are not the very same to somebody who looks on."""
        renderer = Renderer()
        before = renderer.look(first, moving=False)[1]
        after = renderer.look(second, moving=False)[1]
        self.assertEqual(list(before), list(after))
        return [name for name in before if before[name] != after[name]]

    def test_where_all_figures_change_each_look_shows_some_and_none_waits_for_long(self) -> None:
        renderer = Renderer()
        shown = renderer.look(document(60), moving=False)[1]
        later = document(60)
        for one in later["listeners"]:
            one["hour"]["requests"][-1] += 1000
        expected = parts_of(later, moving=False)
        for _ in range(60 // ROWS):
            self.assertNotEqual(shown, expected)
            before, shown = shown, renderer.look(later, moving=False)[1]
            self.assertEqual(sum(before[name] != shown[name] for name in shown), ROWS)
            for one in later["listeners"][:ROWS]:  # the first are busy all the time
                one["hour"]["requests"][0] += 1
            expected = parts_of(later, moving=False)
        late = [name for name in shown if shown[name] != expected[name]]
        self.assertEqual(late, [f"row-{one['name']}" for one in later["listeners"][:ROWS]])

    def test_a_row_whose_state_changes_does_not_wait(self) -> None:
        renderer = Renderer()
        renderer.look(document(60, down=()), moving=False)
        for index in range(60):
            later = document(60, down=(57,))
            for one in later["listeners"]:
                one["hour"]["requests"][-1] += index
            shown = renderer.look(later, moving=False)[1]
            self.assertIn("down since", shown[f"row-{later['listeners'][57]['name']}"])

    def test_the_whole_page_is_never_late(self) -> None:
        renderer = Renderer()
        renderer.page(document(60))
        later = document(60, down=())
        self.assertEqual(renderer.page(later), Renderer().page(later))

    def test_where_a_listener_listens(self) -> None:
        for listening, draining, expected in (
            (True, False, "down since"),
            (False, False, "does not listen since"),
            (False, True, "ends with its connections"),
        ):
            content = deepcopy(DOCUMENT)
            content["listeners"][0].update(listening=listening, draining=draining)
            self.assertIn(f"web {expected}", text_of(parts_of(content)["row-web"]))

    def test_up_down_and_not_known_are_words(self) -> None:
        for up, checked, expected in (
            (True, True, "up"),
            (False, True, "down"),
            (None, True, "not known yet"),
            (None, False, "not reached"),
        ):
            content = deepcopy(DOCUMENT)
            content["upstreams"][0].update(up=up, checked=checked, history=[])
            (found,) = re.findall(r'<p class="state \w+">([^<]*)', parts_of(content)["row-web"])
            self.assertEqual(found, expected)

    def test_a_path_that_nobody_has_said_is_called_a_guess(self) -> None:
        content = document(1, down=())
        (one, _) = content["listeners"]
        self.assertNotIn("This takes /mcp for it", text_of(parts_of(content)["use-mcp-0"]))
        one.update(mcp=None, url="http://localhost:28082")
        use = text_of(parts_of(content)["use-mcp-0"])
        self.assertIn("This takes /mcp for it", use)
        self.assertIn("claude mcp add --transport http mcp-0 http://localhost:28082/mcp", use)
        self.assertIn("<code>http://localhost:28082</code>", parts_of(content)["row-mcp-0"])

    def test_each_of_several_upstreams_has_its_line(self) -> None:
        content = document(1, down=())
        (first,) = content["upstreams"]
        content["upstreams"].append({**first, "url": "https://other.home.example", "up": False})
        text = text_of(parts_of(content)["row-mcp-0"])
        self.assertIn("mcp-0 1 of 2 down", text)
        for url in ("https://mcp.home.example", "https://other.home.example"):
            self.assertIn(f"{url} at 192.168.1.20:443", text)
        self.assertIn("mcp-0 has 1 of 2 down", text_of(parts_of(content)["problems"]))

    def test_only_hours_that_the_relay_has_seen_count(self) -> None:
        up, down, slow, unseen = "up", "down", "slow", "unchecked"
        for hours, minutes, expected in (
            ([up] * 24, [up] * 60, "never down"),
            ([down] + [up] * 23, [up] * 60, "down in 1 h"),
            ([up] * 22 + [slow] * 2, [slow] * 60, "slow in 2 h"),
            ([unseen] * 19 + [up] * 5, [up] * 60, "never down, 5 h seen"),
            ([up] * 2 + [unseen] * 21 + [up], [unseen] * 57 + [up] * 3, "never down, 3 h seen"),
            ([unseen] * 19 + [down, slow, up, up, up], [up] * 60, "down in 1 of 5 h seen"),
            ([unseen] * 20 + [slow, up, up, up], [up] * 60, "slow in 1 of 4 h seen"),
            # It was started three minutes ago, once just after the hour began.
            ([unseen] * 23 + [up], [unseen] * 57 + [up] * 3, "never down, 3 min seen"),
            ([unseen] * 22 + [up] * 2, [unseen] * 57 + [up] * 3, "never down, 3 min seen"),
            ([unseen] * 23 + [down], [unseen] * 57 + [up, down, down], "down in 2 of 3 min seen"),
            ([unseen] * 23 + [up], [unseen] * 36 + [up] * 24, "never down, 24 min seen"),
            # It was down an hour ago, of which the minutes know nothing any more.
            ([unseen] * 22 + [down, up], [unseen] * 57 + [up] * 3, "down in 1 of 2 h seen"),
            ([unseen] * 24, [unseen] * 60, "not checked"),
            (["of a later version"] * 24, ["of a later version"] * 60, "not checked"),
        ):
            content = document(1, down=())
            content["upstreams"][0].update(hours=states(hours, 3600), minutes=states(minutes, 60))
            row = parts_of(content)["row-mcp-0"]
            (said,) = re.findall(r'class="cell c4">.*?<p class="aside">([^<]*)', row)
            self.assertEqual(said.replace("\N{NO-BREAK SPACE}", " "), expected)

    def test_a_certificate_near_its_end(self) -> None:
        for days, soon, expected, problems in (
            (-1, True, "expired", 1),
            (0, True, "less than a day", 1),
            (1, True, "1 day", 1),
            (13, True, "13 days", 1),
            (5, False, "5 days", 0),
            (1000, False, "1,000 days", 0),
        ):
            content = {**deepcopy(EMPTY), "certificates": deepcopy(DOCUMENT["certificates"])}
            content["certificates"][0].update(days_left=days, ends_soon=soon)
            parts = parts_of(content)
            self.assertTrue(text_of(parts["certificates"]).endswith(expected), parts["certificates"])
            self.assertEqual(parts["problems"].count("<li"), problems)
