"""Proxies of others for live tests, each in a process of its own on 127.0.0.1."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

from twisted.trial.unittest import TestCase

from tests.support.ports import free_port
from tests.support.progress import LIMIT, Patience

READY_WITHIN = 10.0  # seconds; longer for one that gets on

_NONE: Mapping[int, str] = {}


def free_ports(count: int) -> list[int]:
    """Ports on which nothing listens now; these programs cannot choose one by themselves."""
    return [free_port() for _ in range(count)]


class Program:
    """
    A program with a configuration in a folder of its own.

    @param arguments: C{{folder}} and C{{config}} in them are filled in.
    @param ports: it is ready when it listens on all of them.
    @param secure: the ports among them on which it must also have a certificate, with its name: Caddy listens
        before it has made one, and refuses handshakes until then.
    """

    def __init__(
        self, arguments: list[str], ports: list[int], *, config: str = "", secure: Mapping[int, str] = _NONE
    ) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="lanrelay-peer-")
        self.folder = Path(self._temporary.name)
        path = self.folder / "config"
        path.write_text(dedent(config).replace("{folder}", str(self.folder)))
        self._log = self.folder / "log"
        self._command = [each.format(folder=self.folder, config=path) for each in arguments]
        self._ports = ports
        self._secure = secure
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """All that it wrote."""
        return self._log.read_text("utf-8", "replace")

    def start(self) -> Program:
        """Start it; returns when it listens. The caller adds C{stop} as a cleanup."""
        environ = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environ,
                cwd=self.folder,
            )
        patience = Patience(self._process.pid, READY_WITHIN)
        for port in self._ports:
            while not _serves(port, self._secure.get(port)):
                if self._process.poll() is not None or patience.over():
                    self.stop()
                    raise AssertionError(f"{self._command[0]} did not start:\n{self.log}")
                time.sleep(0.02)
        return self

    def stop(self) -> None:
        """End it; nothing happens if it has ended."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(3)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _serves(port: int, name: str | None) -> bool:
    """Whether it takes a connection, and with a C{name} a handshake."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=READY_WITHIN) as connection:
            if name is not None:
                anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
                anybody.wrap_socket(connection, server_hostname=name).close()
    except OSError:
        return False
    return True


class PeerTestCase(TestCase):
    """Starts such programs, or skips the test for want of one."""

    timeout = LIMIT

    def program(
        self, arguments: list[str], ports: list[int], *, config: str = "", secure: Mapping[int, str] = _NONE
    ) -> Program:
        """As L{Program}, started."""
        found = shutil.which(arguments[0], path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if found is None:
            self.skipTest(f"{arguments[0]} is not here")
        program = Program([found, *arguments[1:]], ports, config=config, secure=secure)
        program.start()
        self.addCleanup(program.stop)
        return program

    def tinyproxy(self, more: str = "") -> int:
        """An HTTP proxy; its port."""
        [port] = free_ports(1)
        config = f"Port {port}\nListen 127.0.0.1\nTimeout 60\nAllow 127.0.0.1\nMaxClients 50\n{more}\n"
        self.program(["tinyproxy", "-d", "-c", "{config}"], [port], config=config)
        return port

    def microsocks(self, *more: str) -> int:
        """A SOCKS 5 server; its port."""
        [port] = free_ports(1)
        self.program(["microsocks", "-i", "127.0.0.1", "-p", str(port), *more], [port])
        return port

    def haproxy(self, config: str, *ports: int) -> Program:
        """HAProxy with these frontends and backends."""
        common = """
            defaults
                mode tcp
                timeout connect 5s
                timeout client 30s
                timeout server 30s
        """
        text = dedent(common) + dedent(config)
        return self.program(["haproxy", "-db", "-f", "{config}"], list(ports), config=text)

    def nginx(self, config: str, *ports: int, stream: bool = False) -> Program:
        """nginx with this C{http} or C{stream} block."""
        module = ""
        if stream:
            found = Path("/usr/lib/nginx/modules/ngx_stream_module.so")  # where Debian has it
            if shutil.which("nginx", path="/usr/sbin:/usr/bin") and not found.exists():
                self.skipTest("libnginx-mod-stream is not here")
            module = f"load_module {found};\n"
        text = (
            f"{module}daemon off;\nmaster_process off;\npid {{folder}}/pid;\nerror_log stderr;\nevents {{}}\n"
        )
        temporary = "".join(
            f"{kind}_temp_path {{folder}}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        body = (
            f"stream {{\n{config}\n}}\n" if stream else f"http {{\naccess_log off;\n{temporary}{config}\n}}\n"
        )
        arguments = ["nginx", "-p", "{folder}", "-e", "{folder}/errors", "-c", "{config}"]
        return self.program(arguments, list(ports), config=text + body)
