"""The configuration of a relay that leads to one host and has no file: C{lanrelay run --to URL}."""

from __future__ import annotations

import errno
import json
import os
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lanrelay.config import model
    from lanrelay.config.load import Loaded

NAME = "(no file)"
"""What stands for the file's path in the log and on the status page."""


class Unusable(Exception):
    """The command line makes no configuration; the text is for the person at the terminal."""


def configuration(
    url: str, *, listen: str | None = None, ca: str | None = None, pin: str | None = None
) -> tuple[Loaded, str]:
    """
    A listener that leads to C{url}.

    A path that ends in C{/mcp} or C{/sse} is the endpoint of an MCP server and no prefix: the listener leads
    to its origin.

    @return: the configuration, and what clients are to be given; empty where only the log will know it.
    @raise Unusable: an option is wrong; all that are, are named.
    """
    from lanrelay.config.expand import escape
    from lanrelay.config.kinds import kind_for
    from lanrelay.config.load import ConfigErrors, examine
    from lanrelay.edit.masking import mask

    kind = kind_for(url.partition(":")[0].lower())
    if kind is None:
        raise Unusable(
            f"--to: found {json.dumps(mask(url))}, expected http://, https://, tcp:// or tls:// and a host"
        )
    origin, path = _split(url)
    upstream: dict[str, Any] = {"url": escape(origin)}
    if ca is not None:
        upstream["tls"] = {"ca": escape(ca if ca == "system" else os.path.abspath(ca))}
    elif pin is not None:
        upstream["tls"] = {"pin": escape(pin)}
    listener: dict[str, Any] = {"type": kind.word, "listen": escape(listen or "0"), "upstream": upstream}
    if path:
        listener["mcp"] = escape(path)
    document = {"control": "off", "listeners": {"relay": listener}}
    try:
        loaded = examine(Path(NAME), content=json.dumps(document).encode())
        if listen is None:
            listener["listen"] = f"localhost:{_free_port(_origin(loaded.config))}"
            loaded = examine(Path(NAME), content=json.dumps(document).encode())
    except ConfigErrors as errors:
        trusted = "--ca" if pin is None else "--pin"
        said = (_as_option(one.key_path, one.message, trusted) for one in errors.complaints)
        raise Unusable(mask("; ".join(said))) from None
    loaded.named_files = ()  # where in a text that nobody wrote
    loaded.config = loaded.config._replace(path=Path(NAME))
    return loaded, _given_out(loaded.config.listeners[0], path)


def _given_out(listener: model.Listener, path: str) -> str:
    from lanrelay.config import model
    from lanrelay.config.kinds import kind_of

    address = listener.listen[0]
    if isinstance(address, model.TcpAddress):
        host = f"[{address.host}]" if address.host.version == 6 else str(address.host)
    elif isinstance(address, model.LocalhostAddress):
        host = "localhost"
    else:
        return ""
    if not address.port:
        return ""
    return (
        f"http://{host}:{address.port}{path or '/'}"
        if kind_of(listener).routes(listener)
        else f"{host}:{address.port}"
    )


def _split(url: str) -> tuple[str, str]:
    """Without the path, and the path, if that is an MCP endpoint; else as it is."""
    found = re.fullmatch(r"(https?://[^/?#]*)((?:/[^?#]*)?/(?:mcp|sse))", url, re.IGNORECASE)
    return (found[1], found[2]) if found is not None else (url, "")


def _origin(config: model.Config) -> str:
    from lanrelay.config.kinds import upstreams_of

    return str(upstreams_of(config.listeners[0])[0].url._replace(path="", slash=False))


def _free_port(origin: str) -> int:
    from lanrelay.edit.formats.tree import NotEdited
    from lanrelay.setup.configuration import port_for

    taken: set[int] = set()
    while True:
        try:
            port = port_for(origin, taken)
        except NotEdited as error:
            raise Unusable(f"--listen: {error}, so say which one to take") from None
        if all(_is_free(family, host, port) for family, host in _LOOPBACKS):
            return port
        taken.add(port)


_LOOPBACKS = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


def _is_free(family: socket.AddressFamily, host: str, port: int) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        return error.errno != errno.EADDRINUSE  # a family that is not there takes no port
    return True


def _as_option(key_path: str, message: str, trusted: str) -> str:
    """A complaint about the configuration, as one about the option that it was made of."""
    keys = (
        key_path.removeprefix("listeners.relay").removeprefix(".").removeprefix("upstream").removeprefix(".")
    )
    option = "--listen" if keys.startswith("listen") else trusted if keys.startswith("tls") else "--to"
    return f"{option}: {message}"
