"""A case whose configuration files lie in a folder of its own."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TypeVar

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config import model
from lanrelay.config.load import ConfigErrors, Loaded, examine

T = TypeVar("T", bound=model.Listener)


def listener_text(body: str, *, kind: str = "tcp-forward") -> str:
    """A file with one listener, C{one}; its own keys begin in line 4, column 5."""
    upstream = {"tcp-forward": "tcp://nas.lan:22", "reverse-proxy": "https://lan-host"}.get(kind, "")
    lines = [line for line in body.strip("\n").split("\n") if line.strip()]
    keys = {line.partition(":")[0] for line in lines}
    if upstream and not keys & {"upstream", "routes"}:
        lines.append(f"upstream: {upstream}")
    if kind == "exec" and "command" not in keys:
        lines.append("command: [cat]")
    if "listen" not in keys:
        lines.append("listen: localhost:8080")
    if kind == "exec" and "enabled" not in keys:
        lines.append("enabled: false")
    indented = "".join(f"    {line}\n" for line in lines)
    return f"listeners:\n  one:\n    type: {kind}\n{indented}"


class ConfigCase(SynchronousTestCase):
    """
    @ivar folder: where C{relay.yaml} is; removed after the test.
    """

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.file = self.folder / "relay.yaml"

    def examine(self, text: str | bytes, **environment: str) -> Loaded:
        self.file.write_bytes(text.encode() if isinstance(text, str) else text)
        return examine(self.file, environment={"HOME": "/home/nobody", **environment})

    def load(self, text: str | bytes, **environment: str) -> model.Config:
        try:
            return self.examine(text, **environment).config
        except ConfigErrors as errors:
            self.fail(f"refused:\n{errors}")

    def complaints(self, text: str | bytes, **environment: str) -> list[str]:
        """What is wrong, as C{LINE:COLUMN: key.path: message}."""
        try:
            self.examine(text, **environment)
        except ConfigErrors as errors:
            return [line.removeprefix(f"{self.file}:") for line in str(errors).splitlines()]
        return []

    def complaint(self, text: str | bytes, **environment: str) -> str:
        """The only thing that is wrong."""
        found = self.complaints(text, **environment)
        self.assertEqual(len(found), 1, found)
        return found[0]

    def one(self, kind: type[T], body: str, **environment: str) -> T:
        """A listener with these keys, as the record."""
        names = {
            model.TcpForward: "tcp-forward",
            model.ReverseProxy: "reverse-proxy",
            model.ConnectProxy: "connect-proxy",
            model.SocksProxy: "socks-proxy",
            model.Exec: "exec",
        }
        (listener,) = self.load(listener_text(body, kind=names[kind]), **environment).listeners
        assert isinstance(listener, kind)
        return listener
