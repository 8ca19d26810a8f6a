"""C{lanrelay env}: the variables by which programs use the relay's forward proxy."""

from __future__ import annotations

import json
import os
import signal
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lanrelay.proxy_variables import variables

if TYPE_CHECKING:
    import argparse

    from lanrelay.config import model

SHELLS = ("sh", "fish", "powershell", "dotenv", "json")

REMARKS = (
    "Both spellings, for curl heeds only http_proxy for http:// URLs. Node.js 24 heeds them because "
    "of NODE_USE_ENV_PROXY.",
    "The proxy passes TLS on as it is, so a program must trust a private CA itself. SSL_CERT_FILE, "
    "REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE replace the public roots: name a file that has them, too. "
    "NODE_EXTRA_CA_CERTS adds to them.",
)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    from lanrelay.cli import options

    made = options.parser(
        "env",
        "Print the variables by which programs use the relay's forward proxy, or run a command with them.",
        examples="""
            eval "$(lanrelay env)"  for this shell
            lanrelay env --shell fish | source  for fish
            lanrelay env --shell powershell | Out-String | Invoke-Expression  for PowerShell
            lanrelay env --shell dotenv >> .env  for a file that programs read
            lanrelay env -- curl http://nas.lan/  for one command
        """,
    )
    made.usage = "lanrelay env [-c FILE] [--shell SHELL] [-- COMMAND ...]"
    options.add_config(made)
    made.add_argument("--shell", choices=SHELLS, help="for whom: by default your shell, as $SHELL says")
    return made


def run(arguments: list[str]) -> int:
    """0, 1 where there is no forward proxy, 2 for a wrong command line; else that of the command."""
    from lanrelay.cli.conversation import Conversation

    words, command = arguments, []
    if "--" in arguments:
        cut = arguments.index("--")
        words, command = arguments[:cut], arguments[cut + 1 :]
    chosen = parser().parse_args(words)
    if "--" in arguments and not command:
        print("lanrelay env: say which command to run after --.", file=sys.stderr)
        return 2
    talk = Conversation("env")
    found = _proxy(chosen.config)
    if isinstance(found, str):
        talk.complain(found)
        return 1
    file, url = found
    values = variables(url)
    if command:
        # Python ignores it, and a program that is run would go on ignoring it.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        try:
            os.execvpe(command[0], command, {**os.environ, **values})
        except OSError as error:
            talk.complain(f"{command[0]} cannot be run: {error.strerror}.")
            return 1
    shell = chosen.shell or ("fish" if os.path.basename(os.environ.get("SHELL", "")) == "fish" else "sh")
    print(render(values, shell, file), end="")
    return 0


def _proxy(given: Path | None) -> tuple[Path, str] | str:
    """The configuration and the URL of its proxy, or why there is none."""
    from lanrelay.config.complaints import ConfigErrors
    from lanrelay.config.default_path import NotFound, find
    from lanrelay.config.load import load

    try:
        file = find(given)
        config = load(file)
    except NotFound as error:
        return f"{error} {error.advice}"
    except ConfigErrors as error:
        return str(error)
    url = proxy_of(config)
    if url is None:
        return (
            f"{file} has no forward proxy on a port of this machine; `lanrelay add proxy` adds one:\n"
            "  lan-proxy:\n    type: connect-proxy\n    listen: localhost:28080"
        )
    return file, url


def proxy_of(config: model.Config) -> str | None:
    """The URL of the first HTTP proxy (C{connect-proxy}) that listens on loopback."""
    from lanrelay.config import model
    from lanrelay.config.kinds import kind_of

    for listener in config.listeners:
        if kind_of(listener).proxy != "http" or not listener.enabled:
            continue
        scheme = "http" if listener.tls is None else "https"
        for address in listener.listen:
            if isinstance(address, model.LocalhostAddress) and address.port:
                return f"{scheme}://127.0.0.1:{address.port}"
            if isinstance(address, model.TcpAddress) and address.port:
                host = address.host
                if host.is_unspecified:
                    return f"{scheme}://127.0.0.1:{address.port}"
                if host.is_loopback:
                    return f"{scheme}://{address}"
    return None


def render(found: Mapping[str, str], shell: str, file: Path) -> str:
    """
    What a shell, or whoever reads C{.env} files, is to read.

    @param file: the configuration whose proxy it is.
    """
    if shell == "json":
        return json.dumps(dict(found), indent=2) + "\n"
    patterns = {
        "sh": "export {name}='{value}'",
        "fish": "set -gx {name} '{value}';",
        "powershell": "$env:{name} = '{value}'",
        "dotenv": "{name}={value}",
    }
    # No value has a quote in it: they are made of addresses and ports.
    from lanrelay.config.complaints import printable

    remarks = (f"The forward proxy of {printable(str(file))}.", *REMARKS)
    lines = [f"# {line}" for remark in remarks for line in textwrap.wrap(remark, 90, break_long_words=False)]
    lines += [patterns[shell].format(name=name, value=value) for name, value in found.items()]
    return "\n".join(lines) + "\n"
