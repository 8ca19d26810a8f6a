"""A headless Chromium for live tests, spoken to by the DevTools protocol."""

from __future__ import annotations

import atexit
import base64
import itertools
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from websockets.sync.client import ClientConnection, connect

from tests.support.progress import PATIENCE

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-proxy-server",
    "--remote-debugging-port=0",
)

T = TypeVar("T")


class Browser:
    """
    One Chromium with a profile of its own. Its maker adds C{stop} as a cleanup.
    """

    def __init__(self, *, within: float = PATIENCE) -> None:
        assert CHROMIUM is not None
        self._profile = tempfile.TemporaryDirectory(prefix="lanrelay-chromium-", ignore_cleanup_errors=True)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the browser
        self._process = subprocess.Popen(
            [CHROMIUM, *FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=self._errors,
            stderr=self._errors,
        )
        try:
            port, path = until(self._address, within=within)
            self._socket = connect(f"ws://127.0.0.1:{port}{path}", max_size=None, proxy=None)
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise

    def _address(self) -> tuple[str, str] | None:
        file = Path(self._profile.name) / "DevToolsActivePort"
        if self._process.poll() is not None:
            self._errors.seek(0)
            raise AssertionError(f"chromium ended:\n{self._errors.read().decode('utf-8', 'replace')}")
        lines = file.read_text().splitlines() if file.exists() else []
        return (lines[0], lines[1]) if len(lines) == 2 else None

    def open(self) -> Page:
        """A new, empty page."""
        return Page(self._socket)

    def stop(self) -> None:
        """End it."""
        self._socket.close()
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._profile.cleanup()
        self._errors.close()


class Page:
    """
    One tab.

    @ivar complaints: what its console said, exceptions and violations of its policy.
    @ivar asked: the URLs that it requested.
    """

    _numbers = itertools.count(1)

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._session: str | None = None
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self._target: str = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=self._target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "DOM", "Accessibility"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a command; gives its result, and notes the events that come meanwhile."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv(timeout=PATIENCE))
            if answer.get("id") == number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result
            if answer.get("sessionId") == self._session:
                self._note(answer.get("method", ""), answer.get("params", {}))

    def _note(self, event: str, parameters: dict[str, Any]) -> None:
        if event == "Network.requestWillBeSent":
            self.asked.append(parameters["request"]["url"])
        elif event == "Log.entryAdded":
            self.complaints.append(parameters["entry"]["text"])
        elif event == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(parameters["exceptionDetails"]))
        elif event == "Runtime.consoleAPICalled":
            self.complaints.append(json.dumps(parameters["args"]))

    def close(self) -> None:
        """Close the page."""
        self._session = None
        self.call("Target.closeTarget", targetId=self._target)

    # --- how it looks ---

    def screen(self, width: int, height: int = 900, *, telephone: bool = False) -> None:
        """The size of the window, in CSS pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if telephone else 1,
            mobile=telephone,
        )

    def colours(self, scheme: str, *, motion: str = "no-preference") -> None:
        """C{light} or C{dark}; C{no-preference} or C{reduce}."""
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": motion},
        ]
        self.call("Emulation.setEmulatedMedia", features=features)

    def without_scripts(self) -> None:
        """As if JavaScript were switched off."""
        self.call("Emulation.setScriptExecutionDisabled", value=True)

    def screenshot(self, path: Path) -> None:
        """All of the page as PNG."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        data = self.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))

    # --- what is there ---

    def goto(self, url: str) -> None:
        """Returns when the document is there."""
        self.call("Page.navigate", url=url)
        until(lambda: self.evaluate("location.href != 'about:blank' && document.readyState == 'complete'"))

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise AssertionError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def text(self, selector: str) -> str:
        """What is to be read in the first such element; empty if there is none."""
        found: str = self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")
        return found

    def press(self, key: str, *, code: int = 0, text: str = "") -> None:
        """One key."""
        parameters = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **parameters)
        self.call("Input.dispatchKeyEvent", type="keyUp", **parameters)

    def tab(self) -> None:
        """To the next element that has the focus."""
        self.press("Tab", code=9)

    def accessible(self) -> list[dict[str, Any]]:
        """The tree that a screen reader gets, flat."""
        nodes: list[dict[str, Any]] = self.call("Accessibility.getFullAXTree")["nodes"]
        return [node for node in nodes if not node.get("ignored")]


@cache
def browser() -> Browser:
    """One for all tests of a run: it takes seconds to start."""
    started = Browser()
    atexit.register(started.stop)
    return started


def until(condition: Callable[[], T | None], *, within: float = PATIENCE) -> T:
    """The first true value of C{condition}; blocks."""
    deadline = time.monotonic() + within
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"nothing came of it within {within} s")
        time.sleep(0.05)
    return found
