"""The status page in headless Chromium, over a live relay."""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
from functools import cache
from pathlib import Path
from typing import Any
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from tests.support.browser import CHROMIUM, Browser, Page, until
from tests.support.relay import Relay
from tests.support.servers import HttpOrigin
from tests.support.tls import authority

# Where to keep the screenshots, for people to look at.
SCREENSHOTS = os.environ.get("LANRELAY_SCREENSHOTS", "")

# The contrast of every text with what is behind it (WCAG 2.2, 1.4.3), where it is below 4.5.
CONTRAST = """
(() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = parts(colour).map((each) => {
      each /= 255;
      return each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const poor = [];
  for (const each of document.querySelectorAll("body *")) {
    const texts = [...each.childNodes].filter((node) => node.nodeType === 3 && node.nodeValue.trim());
    if (!texts.length || ["SCRIPT", "NOSCRIPT"].includes(each.nodeName)) continue;
    let back = each;
    const clear = () => parts(getComputedStyle(back).backgroundColor)[3] === 0;
    while (back.parentElement && clear()) back = back.parentElement;
    const [a, b] = [light(getComputedStyle(each).color), light(getComputedStyle(back).backgroundColor)];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (!(contrast >= 4.5)) poor.push(`${each.nodeName} "${each.textContent}" ${contrast}`);
  }
  return poor;
})()
"""


@cache
def browser() -> Browser:
    """One for all tests of a run: it takes seconds to start."""
    started = Browser()
    atexit.register(started.stop)
    return started


def free_port() -> int:
    """One that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@skipUnless(CHROMIUM, "chromium is not here")
class BrowserTests(SynchronousTestCase):
    """A relay in front of an origin that is there, trusted and not, and one that is not there."""

    def setUp(self) -> None:
        issued = authority().issue("lan-host.test")
        self.origin = HttpOrigin(tls=issued).start()
        self.addCleanup(self.origin.stop)
        self.admin = free_port()
        nobody = free_port()
        upstream = f'url: "{self.origin.lan_url}", address: "{self.origin.address}"'
        health = "health: {interval: 200ms, down_interval: 200ms, fall: 1}"
        self.relay = Relay(
            f"""
            admin: {{listen: "127.0.0.1:{self.admin}"}}
            listeners:
              web:
                type: reverse-proxy
                listen: 127.0.0.1:0
                upstream: {{{upstream}, tls: {{ca: "{authority().root}"}}}}
                {health}
              careless:
                type: reverse-proxy
                listen: 127.0.0.1:0
                upstream: {{{upstream}, tls: {{verify: false}}}}
              nowhere:
                type: tcp-forward
                listen: 127.0.0.1:0
                upstream: "tcp://127.0.0.1:{nobody}"
                retry: {{for: 0}}
            """
        ).start()
        self.addCleanup(self.relay.stop)

    def page(self, *, width: int = 1280, scheme: str = "light", scripts: bool = True) -> Page:
        page = browser().open()
        self.addCleanup(page.close)
        page.screen(width, telephone=width < 400)
        page.colours(scheme)
        if not scripts:
            page.without_scripts()
        page.goto(f"http://localhost:{self.admin}/")
        if scripts:
            until(lambda: page.text("#live").startswith("Live"))
        return page

    def stream(self, path: str = "/events/9") -> subprocess.Popen[bytes]:
        """A client with a stream open; it ends with the test."""
        client = self.ask(path)
        assert client.stdout is not None
        client.stdout.readline()
        return client

    def ask(self, path: str) -> subprocess.Popen[bytes]:
        """A client that waits for its answer; it ends with the test."""
        url = f"http://127.0.0.1:{self.relay.port('web')}{path}"
        client = subprocess.Popen(["curl", "-qsN", "--noproxy", "*", url], stdout=subprocess.PIPE)

        def end() -> None:
            client.kill()
            client.communicate()

        self.addCleanup(end)
        return client

    def fail_once(self) -> None:
        """A session that comes to nothing."""
        try:
            with socket.create_connection(("127.0.0.1", self.relay.port("nowhere")), timeout=10) as client:
                client.recv(1)
        except ConnectionResetError:
            pass

    def wait_for(self, page: Page, expression: str) -> None:
        """Returns when it is true in C{page}."""
        until(lambda: page.evaluate(expression))

    # --- what is seen ---

    def test_what_happens_is_seen_without_a_reload(self) -> None:
        page = self.page()
        page.evaluate("window.loaded = 'once'")
        self.assertIn("Nothing is open.", page.text("[data-part=sessions]"))
        until(lambda: page.text("[data-part=state]") == "Ready")
        client = self.stream()
        until(lambda: "GET /events/9 200" in page.text("[data-part=sessions]"))
        client.kill()
        until(lambda: "Nothing is open." in page.text("[data-part=sessions]"))
        self.fail_once()
        until(lambda: "connection_refused" in page.text("[data-part=failures]"))
        self.origin.stop()
        until(lambda: page.text("[data-part=state]") == "Not ready")
        self.assertTrue(page.evaluate("document.title").startswith("not ready ("))
        self.assertIn("web: https://lan-host.test", page.text("[data-part=problems]"))
        self.origin.start()
        until(lambda: page.text("[data-part=state]") == "Ready")
        self.assertIn("2 changes of state", page.text("[data-part=upstreams]"))
        self.assertEqual(page.evaluate("window.loaded"), "once")
        self.assertEqual(page.complaints, [])

    def test_times_go_on_by_themselves(self) -> None:
        self.stream()
        page = self.page()
        selector = "[data-part=sessions] time[data-form=age]"
        before = int(page.text(selector).removesuffix(" s"))
        until(lambda: page.text(selector) == f"{before + 2} s", within=10)

    def test_a_relay_that_has_gone_is_said_and_found_again(self) -> None:
        page = self.page()
        self.relay.stop()
        until(lambda: "does not answer" in page.text("#live"))
        self.relay.start()
        until(lambda: page.text("#live").startswith("Live"), within=30)

    def test_it_reads_without_scripts(self) -> None:
        self.fail_once()
        self.stream()
        page = self.page(scripts=False)
        text = page.text("body")
        for expected in (
            "As of 20",
            "Without JavaScript the page stays as it is",
            "not verified",
            "GET /events/9 200",
            "connection_refused",
            "CN=Home CA",
        ):
            self.assertIn(expected, text)
        self.assertNotIn("Live", text)

    def test_what_clients_send_is_only_text(self) -> None:
        page = self.page()
        self.stream("/events/9?<b>")
        self.ask("/never/<img/src=x/onerror=window.hacked=3>")
        until(lambda: "<img/src=x" in page.text("[data-part=sessions]"))
        self.assertEqual(page.evaluate("document.images.length"), 0)
        self.assertIsNone(page.evaluate("window.hacked"))

    # --- what may run, and from where ---

    def test_nothing_comes_from_elsewhere(self) -> None:
        page = self.page()
        base = f"http://localhost:{self.admin}"
        self.assertEqual(page.asked, [f"{base}/", f"{base}/events"])
        self.assertEqual(page.complaints, [])

    def test_a_script_that_got_in_would_not_run(self) -> None:
        page = self.page()
        page.evaluate(
            "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=window.hacked=1>');"
            "const script = document.createElement('script'); script.text = 'window.hacked=2';"
            "document.body.append(script);"
        )
        until(lambda: page.evaluate("true") and len(page.complaints) >= 2)
        self.assertIsNone(page.evaluate("window.hacked"))
        self.assertTrue(all("Content Security Policy" in each for each in page.complaints), page.complaints)

    # --- for everybody ---

    def test_a_telephone_shows_all_of_it(self) -> None:
        self.fail_once()
        self.stream()
        for scripts in (True, False):
            page = self.page(width=320, scripts=scripts)
            self.assertEqual(page.evaluate("document.documentElement.scrollWidth"), 320)
            wide = page.evaluate(
                "[...document.querySelectorAll('main *')].filter("
                "  each => each.checkVisibility() && !each.closest('thead')"
                "  && each.getBoundingClientRect().right > 320"
                ").map(each => each.outerHTML)"
            )
            self.assertEqual(wide, [])

    def test_every_text_has_contrast(self) -> None:
        self.fail_once()
        self.stream()
        for scheme in ("light", "dark"):
            page = self.page(scheme=scheme)
            back = page.evaluate("getComputedStyle(document.body).backgroundColor")
            self.assertEqual(back, {"light": "rgb(255, 255, 255)", "dark": "rgb(21, 24, 27)"}[scheme])
            self.assertEqual(page.evaluate(CONTRAST), [])

    def test_the_keyboard_reaches_everything_and_stays_there(self) -> None:
        self.origin.stop()
        page = self.page()
        until(lambda: page.evaluate("!!document.querySelector('summary')"))
        page.tab()
        self.assertEqual(page.evaluate("document.activeElement.className"), "skip")
        shown = page.evaluate("document.activeElement.getBoundingClientRect().left >= 0")
        self.assertTrue(shown)
        page.press("Enter", code=13, text="\r")
        self.assertEqual(page.evaluate("document.activeElement.id"), "main")
        page.tab()
        self.assertEqual(page.evaluate("document.activeElement.nodeName"), "SUMMARY")
        width = page.evaluate("parseFloat(getComputedStyle(document.activeElement).outlineWidth)")
        self.assertGreaterEqual(width, 2)
        page.press("Enter", code=13, text="\r")
        self.assertTrue(page.evaluate("document.activeElement.parentElement.open"))
        self.origin.start()
        until(lambda: "2 changes of state" in page.text("[data-part=upstreams]"))
        self.assertEqual(page.evaluate("document.activeElement.nodeName"), "SUMMARY")
        self.assertTrue(page.evaluate("document.activeElement.parentElement.open"))
        for path in ("/status.json", "/metrics", "/healthz", "/readyz"):
            page.tab()
            while page.evaluate("document.activeElement.nodeName") == "SUMMARY":
                page.tab()
            self.assertEqual(page.evaluate("document.activeElement.pathname"), path)

    def test_a_screen_reader_finds_landmarks_and_tables(self) -> None:
        self.fail_once()
        for width in (1280, 320):
            page = self.page(width=width)
            self.wait_for(page, "document.querySelectorAll('table').length == 4")
            nodes = page.accessible()
            roles = [node["role"]["value"] for node in nodes]
            for landmark in ("banner", "main", "contentinfo"):
                self.assertEqual(roles.count(landmark), 1, landmark)
            tables = {_name(node) for node in nodes if node["role"]["value"] == "table"}
            self.assertEqual(tables, {"Listeners", "Upstreams", "Last errors", "Certificates"})
            headers = {_name(node) for node in nodes if node["role"]["value"] == "columnheader"}
            self.assertLessEqual({"Listens on", "State", "Error, and what to do", "Left"}, headers)
            polite = [
                node
                for node in nodes
                if {"name": "live", "value": {"type": "token", "value": "polite"}}
                in node.get("properties", [])
            ]
            self.assertGreaterEqual(len(polite), 2)
            headings = [_name(node) for node in nodes if node["role"]["value"] == "heading"]
            self.assertEqual(headings[:2], ["lanrelay", "Listeners"])

    def test_screenshots(self) -> None:
        """Kept where LANRELAY_SCREENSHOTS says."""
        folder = Path(SCREENSHOTS or self.mktemp())
        folder.mkdir(parents=True, exist_ok=True)
        self.fail_once()
        self.stream()
        for name, keys in {
            "light": {},
            "dark": {"scheme": "dark"},
            "telephone": {"width": 320},
            "telephone-dark": {"width": 320, "scheme": "dark"},
            "without-scripts": {"scripts": False},
        }.items():
            file = folder / f"{name}.png"
            self.page(**keys).screenshot(file)  # type: ignore[arg-type]
            self.assertTrue(file.read_bytes().startswith(b"\x89PNG"))


def _name(node: dict[str, Any]) -> str:
    name: str = node.get("name", {}).get("value", "")
    return name
