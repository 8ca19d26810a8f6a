"""The status page in headless Chromium, over a live relay."""

from __future__ import annotations

import signal
import socket
import subprocess
from typing import Any
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from tests.support.browser import CHROMIUM, Page, browser, until
from tests.support.looks import findings, keep, poor_contrast, too_wide
from tests.support.ports import free_port
from tests.support.progress import PATIENCE
from tests.support.relay import Relay
from tests.support.servers import HttpOrigin
from tests.support.tls import authority


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
                {health}
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
            with socket.create_connection(
                ("127.0.0.1", self.relay.port("nowhere")), timeout=PATIENCE
            ) as client:
                client.recv(1)
        except ConnectionResetError:
            pass

    def wait_for(self, page: Page, expression: str) -> None:
        """Returns when it is true in C{page}."""
        until(lambda: page.evaluate(expression))

    # --- what is seen ---

    def test_what_happens_is_seen_without_a_reload_and_times_go_on(self) -> None:
        page = self.page()
        page.evaluate("window.loaded = 'once'")
        until(lambda: page.text("[data-part=state]") == "All 3 reachable")
        self.assertEqual(self.mood(page), ("poor", "bf8700"))  # one of them is not verified
        self.assertIn("Nothing is open.", page.text("[data-part=sessions]"))
        client = self.stream()
        until(lambda: "GET /events/9 200" in page.text("[data-part=sessions]"))
        age = "[data-part=sessions] time[data-form=age]"
        before = int(page.text(age).removesuffix(" s"))
        until(lambda: page.text(age) == f"{before + 1} s")  # times go on by themselves
        client.kill()
        self.fail_once()
        self.origin.stop()
        until(lambda: "1 request" in page.text("[data-part=row-web]"))
        until(lambda: "connection_refused" in page.text("[data-part=failures]"))
        until(lambda: "Nothing on this machine listens" in page.text("#listener-nowhere .problem"))
        until(lambda: page.text("[data-part=state]") == "0 of 3 reachable")
        self.assertEqual(page.evaluate("document.title"), "0 of 3 reachable · lanrelay")
        self.assertEqual(self.mood(page), ("bad", "cf222e"))
        self.assertIn("web is down since", page.text("[data-part=problems]"))
        self.assertIn("down since", page.text("#listener-web .state"))
        until(lambda: "lanrelay doctor web" in page.text("#listener-web .problem"))
        self.origin.start()
        until(lambda: page.text("[data-part=state]") == "2 of 3 reachable")
        until(lambda: page.text("#listener-web .problem") == "")
        self.assertEqual(page.evaluate("window.loaded"), "once")
        base = f"http://localhost:{self.admin}"
        self.assertEqual(page.asked, [f"{base}/", f"{base}/events"])  # nothing comes from elsewhere
        self.assertEqual(page.complaints, [])

    def mood(self, page: Page) -> tuple[str, str]:
        """Of the head, and the colour of the sign in the browser's tab."""
        icon = page.evaluate("document.querySelector('link[rel=icon]').href")
        return page.evaluate("document.documentElement.dataset.mood"), icon.partition("fill='%23")[2][:6]

    def test_a_relay_that_has_gone_is_said_and_found_again(self) -> None:
        page = self.page()
        before = page.evaluate("document.title"), self.mood(page)
        self.relay.stop()
        until(lambda: page.text("#live").startswith("No answer since "))
        self.assertRegex(page.evaluate("document.title"), r"^no answer since \d\d:\d\d · lanrelay$")
        self.assertEqual(self.mood(page), ("lost", "9aa2ab"))
        self.assertIn("web", page.text("[data-part=listeners]"))
        self.relay.start()
        until(lambda: page.text("#live").startswith("Live"), within=PATIENCE)
        until(lambda: (page.evaluate("document.title"), self.mood(page)) == before)
        # One that hangs ends no connection: nothing comes any more.
        page.evaluate("Date.now = () => performance.timeOrigin + performance.now() + 60000")
        until(lambda: page.evaluate("document.title").startswith("no answer since "))
        self.stream()
        until(lambda: page.text("#live").startswith("Live"))
        self.assertEqual((page.evaluate("document.title"), self.mood(page)), before)

    def test_it_reads_without_scripts(self) -> None:
        self.fail_once()
        self.stream()
        page = self.page(scripts=False, width=320)
        text = page.text("body")
        for expected in (
            "As of 20",
            "Without JavaScript the page stays as it is",
            "reachable",
            "not verified",
            "GET /events/9 200",
            "connection_refused",
            "CN=Home CA",
        ):
            self.assertIn(expected, text)
        self.assertNotIn("Live", text)
        self.assertEqual(too_wide(page, 320), [])
        self.assertFalse(page.evaluate("document.querySelector('.copy').checkVisibility()"))
        self.assertGreater(page.evaluate("document.querySelectorAll('svg.strip .up path').length"), 0)
        link = page.evaluate("document.querySelector('#requests-web a').href")
        self.assertEqual(link, f"http://localhost:{self.admin}/requests.json?listener=web")
        page.evaluate("document.querySelector('#requests-web').open = true")
        until(lambda: "The last 100 requests as JSON" in page.text("#requests-web"))

    def test_what_clients_send_is_only_text_and_no_script_gets_in(self) -> None:
        page = self.page()
        self.stream("/events/9?<b>")
        self.ask("/never/<img/src=x/onerror=window.hacked=3>")
        until(lambda: "<img/src=x" in page.text("[data-part=sessions]"))
        self.assertEqual(page.evaluate("document.images.length"), 0)
        self.assertIsNone(page.evaluate("window.hacked"))
        page.evaluate(
            "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=window.hacked=1>');"
            "const script = document.createElement('script'); script.text = 'window.hacked=2';"
            "document.body.append(script);"
        )
        until(lambda: page.evaluate("true") and len(page.complaints) >= 2)
        self.assertIsNone(page.evaluate("window.hacked"))
        self.assertTrue(all("Content Security Policy" in each for each in page.complaints), page.complaints)

    # --- what unfolds ---

    def test_snippets_are_copied_and_requests_come_when_they_are_asked_for(self) -> None:
        page = self.page()
        self.stream().kill()
        page.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text; }")
        page.evaluate("document.querySelector('#listener-web .copy').click()")
        url = f"http://127.0.0.1:{self.relay.port('web')}"
        until(lambda: page.evaluate("window.copied") == url)
        until(lambda: page.text("#said") == "Copied")
        page.evaluate("document.querySelector('#use-of-web').open = true")
        self.assertIn(f"curl {url}", page.text("#use-of-web"))
        # Where there is no clipboard, as over http:// from another machine, the selection is copied.
        page.evaluate("delete navigator.clipboard.writeText; navigator.clipboard.writeText = undefined;")
        page.evaluate("document.querySelector('#use-of-web figure:last-child .copy').click()")
        until(lambda: page.evaluate("getSelection().toString()") == f"curl {url}")
        page.evaluate("document.querySelector('#requests-web').open = true")
        until(lambda: "GET" in page.text("#requests-web tbody"))
        rows = "document.querySelectorAll('#requests-web tbody tr').length"
        before = page.evaluate(rows)
        self.stream().kill()
        until(lambda: page.evaluate(rows) == before + 1)
        self.assertTrue(page.evaluate("document.querySelector('#use-of-web').open"))
        self.assertNotIn("/events/9", page.text("#requests-web"))
        self.assertEqual(page.complaints, [])

    # --- for everybody ---

    def test_it_fits_every_screen_in_both_schemes_and_axe_finds_nothing(self) -> None:
        self.fail_once()
        self.stream()
        self.origin.stop()  # so that all there can be is there
        for width, scheme in ((1280, "light"), (390, "dark"), (320, "light")):
            page = self.page(width=width, scheme=scheme)
            self.wait_for(page, "document.querySelector('#listener-web .state').innerText.startsWith('down')")
            back = page.evaluate("getComputedStyle(document.body).backgroundColor")
            self.assertEqual(back, {"light": "rgb(255, 255, 255)", "dark": "rgb(21, 24, 27)"}[scheme])
            for opened in (False, True):
                page.evaluate(
                    f"document.querySelectorAll('details').forEach(each => each.open = {str(opened).lower()})"
                )
                self.assertEqual(too_wide(page, width), [])
            self.assertEqual(poor_contrast(page), [])
            if width != 320:  # which looks as 390 does
                self.assertEqual(findings(page), [])
            keep(page, f"{width}-{scheme}")

    def test_the_keyboard_reaches_everything_and_stays_there(self) -> None:
        page = self.page()
        page.tab()
        self.assertEqual(page.evaluate("document.activeElement.className"), "skip")
        shown = page.evaluate("document.activeElement.getBoundingClientRect().left >= 0")
        self.assertTrue(shown)
        page.press("Enter", code=13, text="\r")
        self.assertEqual(page.evaluate("document.activeElement.id"), "main")
        page.evaluate("document.querySelector('#listener-web .copy').focus()")
        width = page.evaluate("parseFloat(getComputedStyle(document.activeElement).outlineWidth)")
        self.assertGreaterEqual(width, 2)
        self.origin.stop()
        until(lambda: page.text("#listener-web .problem") != "")
        self.assertEqual(page.evaluate("document.activeElement.ariaLabel"), "Copy the address of web")
        page.tab()
        self.assertEqual(page.evaluate("document.activeElement.ariaLabel"), "Copy the remedy for web")
        for name in ("Use it of web", "Requests of web", "Details of web"):
            page.tab()
            self.assertEqual(page.evaluate("document.activeElement.textContent"), name)
        page.press("Enter", code=13, text="\r")
        self.origin.start()
        until(lambda: page.text("#listener-web .problem") == "")
        self.assertEqual(page.evaluate("document.activeElement.textContent"), "Details of web")
        self.assertTrue(page.evaluate("document.activeElement.parentElement.open"))
        # What is seen first is reached first, and the foot is the end of it.
        places = []
        while page.evaluate("document.activeElement.pathname") != "/readyz":
            page.tab()
            places.append(
                page.evaluate(
                    "(({top, left}) => [Math.round(top + scrollY), Math.round(left)])"
                    "(document.activeElement.getBoundingClientRect())"
                )
            )
        lines = [top for top, _ in places]
        self.assertEqual([round(top, -2) for top in lines], sorted(round(top, -2) for top in lines))
        self.assertGreater(len(places), 8)

    def test_a_screen_reader_finds_landmarks_names_and_figures(self) -> None:
        self.fail_once()
        for width in (1280, 320):
            page = self.page(width=width)
            self.wait_for(page, "document.querySelectorAll('table').length == 2")
            nodes = page.accessible()
            roles = [node["role"]["value"] for node in nodes]
            for landmark in ("banner", "main", "contentinfo"):
                self.assertEqual(roles.count(landmark), 1, landmark)
            tables = {_name(node) for node in nodes if node["role"]["value"] == "table"}
            self.assertEqual(tables, {"Last errors", "Certificates"})
            drawings = [_name(node) for node in nodes if node["role"]["value"] in ("image", "img")]
            self.assertTrue(
                any(each.startswith("Last hour: ") and " up" in each for each in drawings), drawings
            )
            self.assertTrue(any("of which 1 failed" in each for each in drawings), drawings)
            polite = [
                node
                for node in nodes
                if {"name": "live", "value": {"type": "token", "value": "polite"}}
                in node.get("properties", [])
            ]
            self.assertGreaterEqual(len(polite), 2)
            headings = page.evaluate(
                "[...document.querySelectorAll('h1, h2, h3')].map(each => each.innerText)"
            )
            self.assertEqual(headings[:5], ["lanrelay", "Listeners", "web", "careless", "nowhere"])

    def test_the_page_of_a_failure_fits_a_telephone_and_leads_to_the_status(self) -> None:
        self.origin.stop()
        held = socket.socket()  # so that nobody else listens there
        self.addCleanup(held.close)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", self.origin.port))
        web = f"http://localhost:{self.relay.port('web')}/"
        for scheme in ("light", "dark"):
            page = browser().open()
            self.addCleanup(page.close)
            page.screen(320, telephone=True)
            page.colours(scheme)
            page.goto(web)
            text = page.text("main")
            for expected in ("502 Bad Gateway", "web", "https://lan-host.test", "connection_refused"):
                self.assertIn(expected, text)
            self.assertEqual(too_wide(page, 320), [])
            self.assertEqual(poor_contrast(page), [])
            self.assertEqual(findings(page), [])
            keep(page, f"failure-{scheme}")
        self.assertEqual([each for each in page.complaints if "502" not in each], [])
        page.evaluate("document.querySelector('a').click()")
        until(lambda: page.text("#live").startswith("Live"))
        self.assertIn("web is down", page.text("[data-part=problems]"))


@skipUnless(CHROMIUM, "chromium is not here")
class ManyTests(SynchronousTestCase):
    def test_sixty_listeners_fit_a_telephone_and_a_change_of_them_is_followed(self) -> None:
        admin = free_port()
        text = f"admin: {{listen: 'localhost:{admin}'}}\nlisteners:\n"
        url = f"tcp://{'a-long-name.' * 12}lan:{free_port()}"
        entry = "  {}: {{type: tcp-forward, listen: '127.0.0.1:0', upstream: '" + url + "'}}\n"
        names = [f"to-{number}-{'x' * 50}" for number in range(60)]
        relay = Relay(text + "".join(entry.format(name) for name in names)).start()
        self.addCleanup(relay.stop)
        page = browser().open()
        self.addCleanup(page.close)
        page.goto(f"http://localhost:{admin}/")
        until(lambda: page.text("#live").startswith("Live"))
        for width in (320, 1000, 1280):
            page.screen(width, telephone=width == 320)
            self.assertEqual(page.evaluate("document.documentElement.scrollWidth"), width)
        self.assertEqual(page.evaluate("document.querySelectorAll('.listener').length"), 60)
        last = f"#use-of-{names[-1]}"
        page.evaluate(f"document.querySelector('{last}').open = true")
        kept = names[::-2]
        relay.config.write_text(text + "".join(entry.format(name) for name in kept))
        relay.process.send_signal(signal.SIGHUP)
        shown = "[...document.querySelectorAll('.listener h3')].map(each => each.textContent)"
        until(lambda: page.evaluate(shown) == kept)
        self.assertTrue(page.evaluate(f"document.querySelector('{last}').open"))
        self.assertIn("nc 127.0.0.1", page.text(last))
        self.assertEqual(page.complaints, [])


def _name(node: dict[str, Any]) -> str:
    name: str = node.get("name", {}).get("value", "")
    return name
