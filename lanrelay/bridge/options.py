"""The command line of C{lanrelay stdio}: one table, from which both the parser and the help are made."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Option(NamedTuple):
    """
    @ivar value: the name of its value in the help; empty if it takes none.
    @ivar field: the field of L{Options} that it sets.
    """

    name: str
    value: str
    field: str
    help: str


OPTIONS = (
    Option(
        "--transport",
        "KIND",
        "transport",
        "auto (the default), http (Streamable HTTP) or sse (HTTP+SSE of 2024-11-05)",
    ),
    Option(
        "--header",
        "'NAME: VALUE'",
        "headers",
        "sent with each request; ${VAR} and ${file:PATH} in the value are expanded; repeatable",
    ),
    Option("--header-file", "FILE", "header_files", "a file with one `NAME: VALUE` a line; repeatable"),
    Option(
        "--ca", "FILE", "ca", "trust this authority (PEM); `system` beside it keeps the system's; repeatable"
    ),
    Option("--pin", "PIN", "pins", "trust this key (sha256//BASE64) or certificate (sha256:HEX); repeatable"),
    Option("--cert", "FILE", "cert", "the certificate to show to the server (PEM)"),
    Option("--key", "FILE", "key", "its key, where it is not in the same file"),
    Option("--via", "URL", "via", "the parent proxy on the way, http://HOST:PORT or socks5://HOST:PORT"),
    Option("--ignore-tool", "GLOB", "ignore_tools", "hide these tools; repeatable"),
    Option("--only-tool", "GLOB", "only_tools", "hide all other tools; repeatable"),
    Option("--no-login", "", "no_login", "do not log in where the server wants a login (OAuth)"),
    Option("--client-id", "ID", "client_id", "of a client that is registered with the authorization server"),
    Option("--client-secret", "SECRET", "client_secret", "its secret; ${VAR} and ${file:PATH} are expanded"),
    Option(
        "--callback-port", "PORT", "callback_port", "the port on 127.0.0.1 to which the browser comes back"
    ),
    Option(
        "--hold",
        "TIME",
        "hold",
        "how long `initialize` waits for a server that is down, without a cache (20s)",
    ),
    Option("--no-cache", "", "no_cache", "remember no answers, and use none that are remembered"),
    Option("--check", "", "check", "look at the target as `lanrelay doctor` does, and end"),
    Option("--log", "FILE", "log", "write the log there, and not to standard error"),
    Option("--verbose", "", "verbose", "say more in the log; never a header's value or a body"),
    Option("--config", "FILE", "config", "the configuration of the relay (-c)"),
)

REPEATABLE = ("headers", "header_files", "ca", "pins", "ignore_tools", "only_tools")

# Further options of mcp-remote 0.15, which have no meaning here.
_MEANINGLESS = (
    "--allow-http",
    "--debug",
    "--silent",
    "--keep-alive",
    "--ipv4",
    "--enable-proxy",
    "--disable-cookies",
    "--disable-resource-parameter",
    "--device-code",
    "--client-credentials",
    "--use-id-token",
)
_MEANINGLESS_VALUES = (
    "--host",
    "--callback-path",
    "--auth-success-url",
    "--auth-timeout",
    "--connect-timeout",
    "--headers-timeout",
    "--body-timeout",
    "--ping-interval",
    "--protocol",
    "--resource",
    "--authorize-param",
    "--static-oauth-client-metadata",
    "--static-oauth-client-info",
    "--client-metadata-url",
    "--token-endpoint",
)
_TRANSPORTS = {"http-first": "auto", "sse-first": "auto", "http-only": "http", "sse-only": "sse"}
_SCHEMES = ("bearer", "basic", "digest", "token")


class Wrong(Exception):
    """The command line is wrong; the text is a sentence."""


class Options:
    """What was asked for; the fields are those of L{OPTIONS}."""

    def __init__(self) -> None:
        self.target = ""
        self.program: list[str] | None = None
        self.transport = "auto"
        self.headers: list[str] = []
        self.header_files: list[str] = []
        self.ca: list[str] = []
        self.pins: list[str] = []
        self.cert: str | None = None
        self.key: str | None = None
        self.via: str | None = None
        self.ignore_tools: list[str] = []
        self.only_tools: list[str] = []
        self.no_login = False
        self.client_id: str | None = None
        self.client_secret: str | None = None
        self.callback_port: str | None = None
        self.hold = "20s"
        self.no_cache = False
        self.check = False
        self.log: str | None = None
        self.verbose = False
        self.config: str | None = None
        self.warnings: list[str] = []


def parse(words: Sequence[str]) -> Options:
    """
    @raise Wrong: wrong usage.
    """
    by_name = {option.name: option for option in OPTIONS}
    found = Options()
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            found.program = rest
            break
        if not word.startswith("-") or word == "-":
            _positional(found, word)
            continue
        name, equals, value = word.partition("=")
        if name == "-c":
            name = "--config"
        if name.startswith("-c") and name[:2] != "--":
            rest.insert(0, word[2:])
            name, equals = "--config", ""
        if name in _MEANINGLESS or name in _MEANINGLESS_VALUES:
            if name in _MEANINGLESS_VALUES and not equals and rest:
                rest.pop(0)
            found.warnings.append(f"{name} has no meaning here, and is not heeded.")
            continue
        option = by_name.get(name)
        if option is None:
            raise Wrong(f"There is no option {_printable(name)}; `lanrelay stdio --help` lists them.")
        if not option.value:
            if equals:
                raise Wrong(f"{name} takes no value.")
            setattr(found, option.field, True)
            continue
        if not equals:
            if not rest:
                raise Wrong(f"{name} needs a value: {name} {option.value}.")
            value = rest.pop(0)
        if name == "--header":
            value = _joined(found, value, rest)
        if option.field in REPEATABLE:
            getattr(found, option.field).append(value)
        else:
            setattr(found, option.field, value)
    _judge(found)
    return found


def _positional(found: Options, word: str) -> None:
    if not found.target:
        found.target = word
    elif word.isdigit():
        found.warnings.append(f"The port {word} has no meaning here, and is not heeded.")
    else:
        raise Wrong(
            f"Found {_printable(word)} after the target; options begin with --, a program with `-- `."
        )


def _joined(found: Options, value: str, rest: list[str]) -> str:
    """A header that the client has split at its blanks, joined again."""
    if not value.endswith(":") or not rest or rest[0].startswith("-"):
        return value
    words = [rest.pop(0)]
    if words[0].lower() in _SCHEMES and rest and not rest[0].startswith("-"):
        words.append(rest.pop(0))
    found.warnings.append(
        f"The header {_printable(value)} came in pieces, which were joined; `{value}${{VAR}}` has no blank."
    )
    return " ".join((value, *words))


def _judge(found: Options) -> None:
    if found.program is not None and not found.program:
        raise Wrong("There is no program after `--`.")
    if not found.target and found.program is None:
        raise Wrong("A target is needed: a URL, or the name of a listener; or a program after `--`.")
    if found.target and found.program is not None:
        raise Wrong("There is a target and a program; one of them is enough.")
    if found.transport in _TRANSPORTS:
        meant = _TRANSPORTS[found.transport]
        found.warnings.append(f"--transport {found.transport} is taken for {meant}.")
        found.transport = meant
    if found.transport not in ("auto", "http", "sse"):
        raise Wrong(f"--transport is auto, http or sse, and not {_printable(found.transport)}.")
    if found.key is not None and found.cert is None:
        raise Wrong("--key needs --cert.")
    seconds(found.hold)


def seconds(text: str) -> float:
    """
    C{250ms}, C{20s}, C{5m}; a number alone is seconds.

    @raise Wrong: it is none.
    """
    for unit, factor in (("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("", 1.0)):
        digits = text[: len(text) - len(unit)] if text.endswith(unit) else ""
        if digits and digits.replace(".", "", 1).isdigit() and digits.isascii():
            return float(digits) * factor
    raise Wrong(f"A time is wanted, such as 20s or 500ms, and not {_printable(text)}.")


# --- headers ------------------------------------------------------------------------------------------

_OF_THE_CONNECTION = (
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
)
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def headers(options: Options, warn: Callable[[str], None]) -> tuple[tuple[str, str], ...]:
    """
    The person's own fields, their values expanded.

    @raise Wrong: one is no header, or names a variable or file that is not there.
    """
    found = [_field(text, os.curdir, warn) for text in options.headers]
    for file in options.header_files:
        try:
            with open(file, encoding="utf-8") as lines:
                content = lines.read(1 << 20)
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
            raise Wrong(f"The header file {_printable(file)} cannot be read: {reason}.") from None
        folder = os.path.dirname(file) or os.curdir
        lines_of = (line for line in content.splitlines() if line.strip())
        found += [_field(line, folder, warn) for line in lines_of if not line.lstrip().startswith("#")]
    return tuple(found)


def _field(text: str, folder: str, warn: Callable[[str], None]) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    name = name.strip()
    if not colon or not name or not _TOKEN.issuperset(name):
        # The text may be a secret without a name before it, so it is not shown.
        raise Wrong("A header is wanted as `Name: value`; what was found has no name before a colon.")
    if name.lower() in _OF_THE_CONNECTION:
        raise Wrong(f"The header {name} belongs to the connection, and cannot be set.")
    value = expanded(value.strip(), f"The header {name}", folder, warn)
    if not all(" " <= letter <= "~" or letter == "\t" for letter in value):
        raise Wrong(f"The value of the header {name} has a letter that no header may have.")
    return name, value


def expanded(text: str, called: str, folder: str, warn: Callable[[str], None]) -> str:
    """
    The text with the values of C{${VAR}} and C{${file:PATH}} put in.

    @param folder: to which a PATH is relative.
    @raise Wrong: a variable is not set, or a file cannot be read.
    """
    if "${" not in text:
        return text
    from pathlib import Path

    from lanrelay.config import secrets
    from lanrelay.config.expand import expand
    from lanrelay.config.values import Unfit

    def content(name: str) -> str:
        return secrets.content(Path(folder, os.path.expanduser(name)), warn=warn)

    try:
        return expand(text, os.environ, content)
    except Unfit as error:
        raise Wrong(f"{called}: {error}.") from None


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text[:80])
