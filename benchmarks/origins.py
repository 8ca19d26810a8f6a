"""What relays lead to: origins on the load's core, and the certificates they show."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.environment import Environment, program
from benchmarks.measure import LOAD_CORE, Program, free_port
from lanrelay.cli.authority import Authority

HERE = Path(__file__).resolve().parent
DOWNLOAD = 1_000_000_000
TICK = 10  # milliseconds between the events of the stream whose latency is measured


class Missing(Exception):
    """A program is not here; the peer is left out, with a line that says so."""


def debian(name: str) -> str:
    found = program(name)
    if found is None:
        raise Missing(f"{name} is not here (a package of Debian)")
    return found


class Origins:
    """
    Each is started when a workload first asks for it.

    @ivar load: the compiled C{load.c}.
    @ivar environment: where the peers from PyPI are.
    """

    def __init__(self, folder: Path, environment: Environment) -> None:
        folder.mkdir(parents=True)
        folder.chmod(0o755)  # nginx's and squid's workers are other users
        self.folder = folder
        self.environment = environment
        self.load = folder / "load"
        self._origin = folder / "origin"
        for source, compiled in ((HERE / "load.c", self.load), (HERE / "origin.c", self._origin)):
            command: list[str | Path] = [debian("gcc"), "-O2", "-Wall", "-Wextra", "-o", compiled, source]
            subprocess.run(command, check=True)
        authority = folder / "authority"
        authority.mkdir()
        self._authority = Authority(authority)
        self.root = self._authority.root
        issued = self._authority.issue("localhost", "127.0.0.1")
        self.certificate, self.key = issued.cert, issued.key
        self.both = folder / "certificate-and-key.pem"  # as HAProxy and socat want it
        self.both.write_bytes(issued.cert.read_bytes() + issued.key.read_bytes())
        self._running: dict[str, tuple[int, Program]] = {}

    def port(self, kind: str) -> int:
        """
        Where C{echo}, C{source}, C{sink}, C{http}, C{mcp}, C{calls}, C{https} or C{events} listens.

        C{ticks} and C{silence} are C{events} of another period, and so is C{events-10}, of 10 ms.
        """
        if kind not in self._running:
            port = free_port()
            folder = self.folder / kind
            if kind == "https":
                origin = self._https(folder, port)
            else:
                words: dict[str, tuple[object, ...]] = {
                    "ticks": ("events", port, TICK),
                    "events": ("events", port, 1000),
                    "silence": ("events", port, 3_600_000),
                }
                name, _, period = kind.partition("-")
                usual = (name, port, *filter(None, [period]))
                origin = Program([self._origin, *words.get(kind, usual)], folder, core=LOAD_CORE)
            origin.listening(port)
            self._running[kind] = port, origin
        return self._running[kind][0]

    def cpu(self) -> float:
        """Seconds that all of them took."""
        return sum(origin.cpu() for _, origin in self._running.values())

    def _https(self, folder: Path, port: int) -> Program:
        files = folder / "files"
        files.mkdir(parents=True)
        with (files / "down").open("wb") as file:
            file.truncate(DOWNLOAD)
        body = "x" * 1024
        return nginx(
            folder,
            f"""
            server {{
                listen 127.0.0.1:{port} ssl backlog=4096;
                ssl_certificate {self.certificate}; ssl_certificate_key {self.key};
                ssl_protocols TLSv1.3;
                default_type application/json;
                location / {{
                    add_header Vary Accept-Encoding; add_header Cache-Control no-store;
                    add_header X-Request-Id $http_x_request_id;
                    return 200 '{body}';
                }}
                location /down {{ root {files}; output_buffers 2 256k; }}
                location /silent {{
                    proxy_pass http://127.0.0.1:{self.port("silence")}; proxy_http_version 1.1; {STREAMED}
                }}
                location /up {{
                    proxy_pass http://127.0.0.1:{self.port("sink")}; proxy_http_version 1.1; {STREAMED}
                }}
            }}
            """,
            core=LOAD_CORE,
        )


STREAMED = (
    "proxy_buffering off; proxy_request_buffering off; client_body_buffer_size 64k; "
    "proxy_buffer_size 64k; proxy_buffers 4 64k; proxy_busy_buffers_size 64k;"
)


def nginx(folder: Path, servers: str, *, core: int, more: Sequence[object] = ()) -> Program:
    command = debian("nginx")
    user = "user root;" if os.geteuid() == 0 else ""  # else its worker could not read the folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nginx.conf").write_text(
        f"""
        daemon off; worker_processes 1; {user} pid {folder}/pid; error_log {folder}/error.log crit;
        events {{ worker_connections 24000; }}
        http {{
            access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; client_max_body_size 0;
            sendfile on; tcp_nodelay on; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
            fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
            {servers}
        }}
        """
    )
    command_line: list[object] = [
        command,
        "-p",
        folder,
        "-c",
        folder / "nginx.conf",
        "-e",
        folder / "error.log",
        *more,
    ]
    return Program(command_line, folder, core=core)
