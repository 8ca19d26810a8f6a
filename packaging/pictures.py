"""
Makes the pictures of the documentation from the real thing:

    .venv/bin/python packaging/pictures.py [page] [demo]

C{page} is the status page of a relay that carries something, seen by a headless Chromium; C{demo} is what
C{lanrelay demo} prints. On Linux, as root, all of it happens in a network and below a C{/home} of its own, so
that ports are free and no path of this machine is in a picture.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
PICTURES = CHECKOUT / "docs" / "pictures"

MCP, PHOTOS = "mcp.home.lan", "photos.lan"

CONFIGURATION = """\
admin:
  listen: localhost:28081
control: off
listeners:
  home-mcp:
    type: reverse-proxy
    listen: localhost:28082
    mcp: /mcp
    upstream:
      url: https://{mcp}
      address: 127.0.0.1:{mcp_port}
      tls: {{ca: {ca}}}
  photos:
    type: reverse-proxy
    listen: localhost:28083
    upstream:
      url: http://{photos}
      address: 127.0.0.1:{photos_port}
  printer:
    type: reverse-proxy
    listen: localhost:28084
    upstream:
      url: http://printer.lan
      address: 127.0.0.1:631
  nas-db:
    type: tcp-forward
    listen: localhost:5432
    health: on
    upstream:
      url: tcp://nas.lan:5432
      address: 127.0.0.1:{photos_port}
  lan-proxy:
    type: connect-proxy
    listen: localhost:28080
"""


def main() -> int:
    """0; 1 where a picture could not be made."""
    parser = argparse.ArgumentParser(description="Make the pictures of the documentation.")
    parser.add_argument("picture", nargs="*", metavar="page|demo", help="all by default")
    parser.add_argument("--seconds", type=float, default=75.0, help="how long the relay carries something")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.inside and sys.platform == "linux" and os.geteuid() == 0 and shutil.which("unshare"):
        shell = 'ip link set lo up && mount -t tmpfs tmpfs /home && exec "$0" "$@"'
        again = [sys.executable, __file__, "--inside", *sys.argv[1:]]
        return subprocess.call(["unshare", "--net", "--mount", "sh", "-c", shell, *again])
    PICTURES.mkdir(exist_ok=True)
    wanted = options.picture or ["demo", "page"]
    if "demo" in wanted:
        demo()
    if "page" in wanted:
        page(options.seconds, inside=options.inside)
    return 0


# --- the page -----------------------------------------------------------------------------------------


def page(seconds: float, *, inside: bool) -> None:
    """C{page.png}."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("chromium is not here")
    with ExitStack() as stack:
        folder = stack.enter_context(_folder(inside))
        stack.enter_context(_relay(folder))
        stop = threading.Event()
        stack.callback(stop.set)
        _carry(stop, seconds)
        picture = PICTURES / "page.png"
        command = [
            *(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *("--no-proxy-server", "--no-first-run", "--disable-background-networking"),
            f"--user-data-dir={folder / 'profile'}",
            "--window-size=1200,890",
            "--timeout=3000",
            f"--screenshot={picture}",
            "http://localhost:28081/",
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        print(f"docs/pictures/page.png: {picture.stat().st_size // 1024} KB")


@contextmanager
def _folder(inside: bool) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/home" if inside else None) as temporary:
        folder = Path("/home/you/.config/lanrelay") if inside else Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        yield folder


@contextmanager
def _relay(folder: Path) -> Iterator[None]:
    from lanrelay.cli.authority import Authority

    authority = Authority(folder)
    issued = authority.issue(MCP)
    with ExitStack() as stack:
        host = stack.enter_context(
            _process([sys.executable, "-m", "lanrelay.cli.demo_host", str(issued.cert), str(issued.key)])
        )
        assert host.stdout is not None
        mcp_port = int(host.stdout.readline())
        photos = ThreadingHTTPServer(("127.0.0.1", 0), Photos)
        threading.Thread(target=photos.serve_forever, daemon=True).start()
        stack.callback(photos.shutdown)
        config = folder / "relay.yaml"
        config.write_text(
            CONFIGURATION.format(
                mcp=MCP,
                mcp_port=mcp_port,
                photos=PHOTOS,
                photos_port=photos.server_address[1],
                ca=authority.root.name,
            )
        )
        stack.enter_context(_process([sys.executable, "-m", "lanrelay.cli.main", "run", "-c", str(config)]))
        deadline = time.monotonic() + 30
        while _status("localhost", 28081, "/healthz") != 200:
            if time.monotonic() > deadline:
                raise SystemExit("the relay did not start")
            time.sleep(0.05)
        yield


@contextmanager
def _process(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE if "demo_host" in command[2] else subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


class Photos(BaseHTTPRequestHandler):
    """Something that answers; some of what it is asked for is not there."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        content = b"." * 20_000
        self.send_response(500 if self.path.endswith("97") else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *words: object) -> None:
        pass


def _status(host: str, port: int, path: str, body: dict[str, Any] | None = None) -> int:
    connection = HTTPConnection(host, port, timeout=5)
    try:
        if body is None:
            connection.request("GET", path)
        else:
            fields = {
                "Content-Type": "application/json",
                "Accept": "application/json, text/event-stream",
                "MCP-Protocol-Version": "2025-11-25",
            }
            connection.request("POST", path, json.dumps(body), fields)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except (OSError, HTTPException):
        return 0
    finally:
        connection.close()


def _read(connection: HTTPConnection) -> None:
    with suppress(OSError, HTTPException):  # the relay ends before
        connection.getresponse().read()


def _carry(stop: threading.Event, seconds: float) -> None:
    """Requests of all kinds for a while, and two streams that stay."""
    for _ in range(2):
        connection = HTTPConnection("localhost", 28082, timeout=3600)
        connection.request("GET", "/events")
        threading.Thread(target=_read, args=(connection,), daemon=True).start()
    first = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "pictures", "version": "1"},
        },
    }
    _status("localhost", 28082, "/mcp", first)
    _status("localhost", 28082, "/mcp", {"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}})
    call = {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "now", "arguments": {}}}
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end and not stop.is_set():
        count += 1
        _status("localhost", 28082, "/mcp", call)
        if count % 2:
            _status("localhost", 28083, f"/{count}")
        if count % 20 == 0:
            _status("localhost", 28084, "/")
        time.sleep(0.1)


# --- the terminal -------------------------------------------------------------------------------------

_COLUMNS, _WIDTH, _HEIGHT = 108, 8.4, 19

_SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{title}">
<rect width="{width}" height="{height}" rx="8" fill="#16181d"/>
<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="14" \
fill="#d6d9df">
{lines}
</g>
</svg>
"""


def demo() -> None:
    """C{demo.svg}: from the first line to what to try next."""
    done = subprocess.run(
        [sys.executable, "-m", "lanrelay.cli.main", "demo", "--once"],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    shown = done.stdout.partition("\n5. ")[0].rstrip()
    (PICTURES / "demo.svg").write_text(svg(f"$ lanrelay demo\n{shown}", "lanrelay demo in a terminal"))
    print(f"docs/pictures/demo.svg: {(PICTURES / 'demo.svg').stat().st_size // 1024} KB")


def svg(text: str, title: str) -> str:
    """A terminal that shows this text; headings and the command are bright."""
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        bright = line.startswith("$") or line[:2].rstrip(".").isdigit()
        style = ' fill="#7fd1b9" font-weight="600"' if bright else ""
        if line:
            shown = html.escape(line[:_COLUMNS]).replace(" ", "\N{NO-BREAK SPACE}")  # others become one
            lines.append(f'<text x="18" y="{number * _HEIGHT + 14}"{style}>{shown}</text>')
    height = (len(text.splitlines()) + 2) * _HEIGHT
    return _SVG.format(
        width=round(_COLUMNS * _WIDTH) + 36, height=height, title=html.escape(title), lines="\n".join(lines)
    )


if __name__ == "__main__":
    sys.exit(main())
