"""The status page with one listener, with some and with many, on screens of all sizes, light and dark."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.admin.page import Renderer
from tests.support.browser import CHROMIUM, Page, browser, until
from tests.support.looks import findings, keep, poor_contrast, too_wide
from tests.support.progress import PATIENCE
from tests.support.status_play import document

SCREENS = ((1280, "light"), (1280, "dark"), (390, "light"), (390, "dark"), (320, "light"), (320, "dark"))


class Shown(ThreadingHTTPServer):
    """
    Serves the page of a document that is made up, with a stream of events that says nothing.

    @ivar gone: set for the streams to end, and for no others to begin.
    """

    daemon_threads = True

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content
        self.gone = threading.Event()
        super().__init__(("127.0.0.1", 0), Answers)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.gone.set()
        self.shutdown()
        self.server_close()


class Answers(BaseHTTPRequestHandler):
    server: Shown

    def do_GET(self) -> None:
        if self.path == "/":
            body, policy = Renderer().page(self.server.content)
            self.answer("text/html; charset=utf-8", body, policy.decode())
        elif self.path == "/events" and not self.server.gone.is_set():
            self.answer("text/event-stream", b'data: {"now": %d}\n\n' % time.time())
            self.server.gone.wait(PATIENCE)
        elif self.path.startswith("/requests.json"):
            self.answer("application/json", json.dumps({"requests": requests()}).encode())

    def answer(self, kind: str, body: bytes, policy: str = "") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        if policy:
            self.send_header("Content-Security-Policy", policy)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None: ...


def requests() -> list[dict[str, Any]]:
    """Short ones and long ones."""
    return [
        {
            "at": time.time() - index,
            "method": method,
            "rpc": rpc,
            "status": status,
            "seconds": index * 17.3,
            "bytes": index * 12345,
            "error": error,
        }
        for index, (method, rpc, status, error) in enumerate(
            (
                ("GET", None, 200, None),
                ("POST", "notifications/elicitation/complete", 502, "destination_ip_prohibited"),
                (None, None, None, "proxy_configuration_error"),
            )
        )
    ]


@skipUnless(CHROMIUM, "chromium is not here")
class SizesTests(SynchronousTestCase):
    def page(self, content: dict[str, Any]) -> tuple[Page, Shown]:
        shown = Shown(content)
        self.addCleanup(shown.stop)
        page = browser().open()
        self.addCleanup(page.close)
        page.goto(f"http://127.0.0.1:{shown.server_port}/")
        until(lambda: page.text("#live").startswith("Live"))
        return page, shown

    def looks_right(self, page: Page, name: str) -> None:
        for width, scheme in SCREENS:
            page.screen(width, telephone=width < 400)
            page.colours(scheme)
            self.assertEqual(too_wide(page, width), [], (name, width))
            self.assertEqual(poor_contrast(page), [], (name, scheme))
            keep(page, f"{name}-{width}-{scheme}")
        self.assertEqual(page.complaints, [])

    def test_one_listener_that_is_well(self) -> None:
        page, _ = self.page(document(1, down=(), now=time.time()))
        self.looks_right(page, "1")
        self.assertEqual(findings(page), [])

    def test_seven_one_of_which_is_down_with_all_that_unfolds(self) -> None:
        page, _ = self.page(document(7, now=time.time()))
        self.looks_right(page, "7")
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        until(lambda: page.evaluate("document.querySelectorAll('.requests tbody').length") == 7)
        self.looks_right(page, "7-unfolded")
        for width in (1280, 320):
            page.screen(width, telephone=width == 320)
            inside = page.evaluate(
                "[...document.querySelectorAll('.requests')]"
                ".filter(each => each.scrollWidth > each.clientWidth).length"
            )
            self.assertEqual(inside, 0, "nothing within scrolls sideways")
            self.assertEqual(findings(page), [])

    def test_sixty(self) -> None:
        page, _ = self.page(document(60, down=(1, 8), now=time.time()))
        self.looks_right(page, "60")

    def test_a_relay_that_has_gone(self) -> None:
        page, shown = self.page(document(2, down=(0, 1), now=time.time()))
        self.looks_right(page, "down")
        shown.gone.set()
        until(lambda: page.text("#live").startswith("No answer since "))
        page.complaints.clear()
        self.looks_right(page, "gone")
        self.assertEqual(findings(page), [])

    def test_who_wants_no_motion_gets_none(self) -> None:
        page, _ = self.page(document(1, now=time.time()))
        moves = "getComputedStyle(document.documentElement).scrollBehavior"
        page.colours("light")
        self.assertEqual(page.evaluate(moves), "smooth")
        page.colours("light", motion="reduce")
        self.assertEqual(page.evaluate(moves), "auto")
        moving = page.evaluate(
            "[...document.querySelectorAll('*')].filter(each => { const style = getComputedStyle(each);"
            " return style.animationName !== 'none' || parseFloat(style.transitionDuration) > 0; }).length"
        )
        self.assertEqual(moving, 0)
