"""Real servers for live tests, each in a process of its own, so that the tests' reactor is free."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, ClassVar, TypeVar

from lanrelay.cli.authority import Issued
from tests.support.ports import free_port  # so that nobody takes it while the program is stopped
from tests.support.progress import PATIENCE, Patience

CHECKOUT = Path(__file__).resolve().parent.parent.parent

LAN_NAME = "lan-host.test"
"""The name by which servers are reached through the relay only (RFC 6761 keeps it out of DNS)."""

_Self = TypeVar("_Self", bound="Server")


class Server:
    """
    A program of C{tests.support} on 127.0.0.1.

    @ivar port: where it listens, once it was started; C{start} after C{stop} takes the same port again.
    @ivar ready_within: seconds; longer for one that gets on (L{Patience}).
    @ivar within: a command that runs it, with its arguments.
    @ivar tls: the certificate that it shows, or C{None}.
    """

    module: ClassVar[str]
    scheme: ClassVar[str] = "tcp"
    ready_within: ClassVar[float] = PATIENCE
    within: Sequence[str] = ()

    def __init__(self, *, tls: Issued | None = None, port: int = 0, **options: object) -> None:
        self.tls = tls
        self.port = port
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the server

    @property
    def address(self) -> str:
        """C{127.0.0.1:PORT}."""
        return f"127.0.0.1:{self.port}"

    @property
    def lan_url(self) -> str:
        """The URL with the name for which its certificate should be."""
        return f"{self.scheme}{'s' if self.tls else ''}://{LAN_NAME}:{self.port}"

    @property
    def url(self) -> str:
        """The URL with its address."""
        return f"{self.scheme}{'s' if self.tls else ''}://{self.address}"

    @property
    def errors(self) -> str:
        """What it wrote to its standard error."""
        self._errors.seek(0)
        return self._errors.read().decode("utf-8", "replace")

    def wait_for_errors(self, text: str, *, within: float = PATIENCE) -> None:
        """Returns when it has written C{text} to its standard error; blocks."""
        assert self._process is not None
        patience = Patience(self._process.pid, within)
        while text not in self.errors:
            if patience.over():
                raise AssertionError(f"no {text!r} within {within} s in\n{self.errors}")
            time.sleep(0.02)

    def start(self: _Self) -> _Self:
        """Start it; returns when it listens. The caller adds C{stop} as a cleanup."""
        tls = None if self.tls is None else [str(self.tls.cert), str(self.tls.key)]
        options = {**self._options, "tls": tls, "port": self.port or free_port()}
        # Without the proxies of the user who runs the tests.
        environ = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        environ["PYTHONPATH"] = str(CHECKOUT)
        self._process = subprocess.Popen(
            [*self.within, sys.executable, "-m", f"tests.support.{self.module}", json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environ,
        )
        try:
            word, _, port = _line(self._process, self.ready_within).partition(b" ")
            if word != b"ready":
                raise AssertionError(f"{self.module} did not start:\n{self.errors}")
        except BaseException:
            self.kill()
            raise
        self.port = int(port)
        return self

    def stop(self) -> None:
        """End it in order, or by force after three seconds; nothing happens if it has ended."""
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()
            try:
                process.wait(3)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()

    def kill(self) -> None:
        """End it as a crash does."""
        if self._process is not None:
            self._process.kill()
            self.stop()

    def freeze(self) -> None:
        """It hangs: the kernel still accepts for it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on after L{freeze}."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


class HttpOrigin(Server):
    """An HTTP/1.1 origin; its routes are listed in C{origin_program}."""

    module = "origin_program"
    scheme = "http"


class TcpServer(Server):
    """
    Streams without HTTP; see C{tcp_program}.

    @param mode: C{echo}, C{digest} or C{packets}.
    """

    module = "tcp_program"

    def __init__(self, mode: str = "echo", *, tls: Issued | None = None, port: int = 0) -> None:
        super().__init__(tls=tls, port=port, mode=mode)


class WebSocketServer(Server):
    """Echoes WebSocket messages, with the C{websockets} package."""

    module = "websocket_program"
    scheme = "ws"


class McpServer(Server):
    """
    An MCP server made with the official SDK under uvicorn: Streamable HTTP at C{/mcp}, SSE at C{/sse}, and
    protection against DNS rebinding that lets in C{name} alone.

    @param host: where it listens; another address than loopback only in a network namespace.
    """

    module = "mcp_program"
    scheme = "http"

    def __init__(
        self,
        *,
        tls: Issued | None = None,
        port: int = 0,
        name: str = LAN_NAME,
        host: str = "127.0.0.1",
        within: Sequence[str] = (),
    ) -> None:
        super().__init__(tls=tls, port=port, allowed_hosts=[name, f"{name}:*"], host=host)
        self.within = within


class AsgiServer(Server):
    """uvicorn on httptools; see C{asgi_program}."""

    module = "asgi_program"
    scheme = "http"


class UvicornServer(Server):
    """
    uvicorn with a page at C{/a} and an endless event stream at C{/events}; its C{errors} say C{closed} for
    each connection that has ended. It stops as uvicorn does on SIGTERM.

    @param keepalive: seconds that it keeps an idle connection.
    """

    module = "uvicorn_program"
    scheme = "http"

    def __init__(self, *, tls: Issued | None = None, keepalive: int = 60) -> None:
        super().__init__(tls=tls, keepalive=keepalive)


class DjangoServer(Server):
    """A form that takes only what comes from its own page, by Origin and Host; see C{django_program}."""

    module = "django_program"
    scheme = "http"

    def __init__(self, *, port: int = 0) -> None:
        super().__init__(port=port, allowed_hosts=[LAN_NAME, "localhost"])


class CountingProcess(Server):
    """
    L{tests.support.stdio.CountingServer} in a process of its own.

    @param record: a file that gets a line for each execution.
    """

    module = "counting_program"
    scheme = "http"

    def __init__(self, record: Path) -> None:
        super().__init__(record=str(record))


class LoginServer(Server):
    """An MCP server that wants an OAuth login; see C{login_program}."""

    module = "login_program"
    scheme = "http"

    def __init__(self, *, tls: Issued, name: str = LAN_NAME) -> None:
        super().__init__(tls=tls, name=name)


def _line(process: subprocess.Popen[bytes], seconds: float) -> bytes:
    """The first line of its standard output, or a part of it if the program ended before."""
    assert process.stdout is not None
    patience = Patience(process.pid, seconds)
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if not selector.select(patience.left):
                if patience.over():
                    raise AssertionError(f"{process.args!r} was not ready within {seconds} s")
                continue
            data = os.read(process.stdout.fileno(), 1000)
            if not data:
                break
            line += data
    return line.strip()


class ErasServer(Server):
    """
    An MCP server at C{/mcp} that asks back, and has an argument repeated in a field; see C{eras_program}.

    @param modern: it knows 2026-07-28 alone.
    """

    module = "eras_program"
    scheme = "http"

    def __init__(self, *, modern: bool) -> None:
        super().__init__(modern=modern)
        self.modern = modern
