"""C{lanrelay bugreport}: one text with what somebody must know who is to find a fault, secrets masked."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import ssl
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

LINES = 200
"""The last lines of the log that are in it."""

_DISTRIBUTIONS = ("lanrelayd", "Twisted", "pyOpenSSL", "cryptography", "service-identity", "PyYAML", "bcrypt")

_LOG_BYTES = 1 << 18
"""How much is read of a log's end: its lines have some 200 bytes, and at most a thousand or so."""

_PATIENCE = 10.0

_PATH = re.compile(r"""(?<=[\s"'=])/[^\s"'<>]+""")
"""The path of a request, or of a file."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    from lanrelay.cli.options import add_config, parser

    made = parser(
        "bugreport",
        f"Gather versions, platform, the configuration in force, the last {LINES} lines of the log and the "
        "status of the running relay in one text, with secrets masked. It is shown before it is written, and "
        "sent nowhere.",
        examples="""
            lanrelay bugreport                      look at it, and have it written
            lanrelay bugreport -c relay.yaml        of the relay with this file
            lanrelay bugreport --yes -o report.txt  into this file, without a question
        """,
    )
    add_config(made)
    made.add_argument("--log", metavar="FILE", type=Path, help="a log that the configuration does not name")
    made.add_argument(
        "-o", "--output", metavar="FILE", type=Path, help="where to write it (default: a new file here)"
    )
    made.add_argument("--yes", action="store_true", help="write it without asking")
    made.add_argument("--dry-run", action="store_true", help="show it, and write nothing")
    return made


def run(arguments: list[str]) -> int:
    """0 when it is written, or was not wanted; 1 when it could not be; 2 for a wrong command line."""
    options = parser().parse_args(arguments)
    from lanrelay.cli.conversation import Conversation, Refused
    from lanrelay.cli.options import NoConfiguration, config_of
    from lanrelay.edit import replace
    from lanrelay.errors import StartError

    talk = Conversation("bugreport", yes=options.yes, dry_run=options.dry_run)
    try:
        file: Path | None = config_of(options)
    except NoConfiguration:
        file = None
    output: Path = options.output or Path(time.strftime("lanrelay-bugreport-%Y%m%d-%H%M%S.txt"))
    with talk.waiting("Gathering"):
        text = report(file, options.log)
    talk.say(text)
    try:
        if not talk.agree(f"Write this to {output}?"):
            talk.tell("Nothing was written.")
            return 0
        replace.replace(replace.read(output), text.encode(), backups=None)
    except (Refused, StartError) as error:
        talk.complain(str(error))
        return 1
    talk.tell(f"{output} has it, for you alone. Read it once more before you give it to anybody.")
    return 0


def report(file: Path | None, log: Path | None) -> str:
    """
    The whole text, masked.

    @param file: the configuration, if there is one.
    @param log: a log that the configuration does not name.
    """
    from lanrelay.edit.masking import mask

    parts = [
        ("Versions", "\n".join(_versions())),
        ("Platform", "\n".join(_platform())),
        ("Configuration", _configuration(file)),
        ("Status", _status(file)),
        (f"Log, its last {LINES} lines", _log(file, log)),
    ]
    text = "\n".join(f"=== {title}\n\n{body.rstrip()}\n" for title, body in parts)
    return _PATH.sub(_path, mask(_without_home(text)))


def _path(found: re.Match[str]) -> str:
    """As of a URL: pieces that look drawn by lot, and values of a query, are not shown."""
    from lanrelay.edit.masking import url

    return url(f"x://y{found[0]}").removeprefix("x://y")


def _without_home(text: str) -> str:
    """The user's name is in the path of the home, and concerns nobody."""
    home = os.path.expanduser("~")
    return text if home in ("/", "~") else text.replace(home, "~")


def _versions() -> Iterator[str]:
    from importlib.metadata import PackageNotFoundError, version

    from lanrelay.version import __version__

    yield f"lanrelay {__version__}"
    for name in _DISTRIBUTIONS:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            yield f"{name} is not installed"
    yield f"Python {platform.python_version()} ({platform.python_implementation()}), {sys.prefix}"
    yield f"OpenSSL of Python: {ssl.OPENSSL_VERSION}"
    try:
        from cryptography.hazmat.backends.openssl.backend import backend

        yield f"OpenSSL of cryptography: {backend.openssl_version_text()}"
    except ImportError as error:
        yield f"OpenSSL of cryptography: {error}"


def _platform() -> Iterator[str]:
    yield platform.platform()
    yield f"{platform.machine()}, {os.cpu_count()} processors"
    if sys.platform == "darwin":
        yield f"macOS {platform.mac_ver()[0]}"
    import resource

    yield f"descriptors: {resource.getrlimit(resource.RLIMIT_NOFILE)[0]}"
    # Their names alone: a parent proxy's URL may have a password.
    proxies = sorted(name for name in os.environ if name.lower().endswith("_proxy"))
    yield f"proxy variables: {', '.join(proxies) or 'none'}"
    from lanrelay import commands
    from lanrelay.cli.around import modes_here

    for mode in modes_here():
        if mode.installed:
            yield f"service {mode.name} ({mode.path}): {mode.state(commands.run)}"


def _configuration(file: Path | None) -> str:
    from lanrelay.cli.check import render, unreadable
    from lanrelay.config.load import ConfigErrors, examine

    if file is None:
        return "There is none where one is looked for."
    try:
        loaded = examine(file)
    except ConfigErrors as errors:
        return "\n".join([f"{file} is wrong:", *map(str, errors.complaints)])
    problems = [f"! {problem}" for problem in unreadable(loaded)]
    return "\n".join([f"{file}, with all defaults:", *problems, "", render(loaded.effective)])


def _status(file: Path | None) -> str:
    from lanrelay.cli.asking import NotAsked, result

    if file is None:
        return "No relay was asked, for there is no configuration."
    try:
        return json.dumps(result(file, {"method": "status"}, timeout=_PATIENCE), indent=1)
    except NotAsked as error:
        return str(error)


# --- the log ------------------------------------------------------------------------------------------


def _log(file: Path | None, named: Path | None) -> str:
    path = named or (None if file is None else _log_file(file))
    if path is not None:
        return _tail_of(path)
    from lanrelay.cli.around import modes_here

    for mode in modes_here():
        if mode.installed:
            return _said_by(mode.log)
    return "The configuration names none, and no service is installed; --log names a file."


def _said_by(command: str) -> str:
    """
    @param command: where to read what a service says, for people.
    """
    from lanrelay import commands

    words = shlex.split(command)
    if words[0] == "journalctl":
        answer = commands.run((*words, f"--lines={LINES}", "--no-pager", "--output=cat"))
        return f"{command}:\n{answer.output if answer.good else answer.reason}"
    if words[0] == "tail":
        return _tail_of(Path(words[-1]))
    return f"It is kept nowhere: {command}."


def _log_file(file: Path) -> Path | None:
    from lanrelay.config.load import ConfigErrors, load

    try:
        return load(file).log.file
    except ConfigErrors:
        return None


def _tail_of(path: Path) -> str:
    try:
        # Non-blocking, so that a named pipe does not hang us.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as opened:
            size = opened.seek(0, os.SEEK_END)
            opened.seek(max(size - _LOG_BYTES, 0))
            raw = opened.read(_LOG_BYTES)
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    lines = raw.decode("utf-8", "replace").splitlines()[-LINES:]
    return "\n".join([f"{path}:", *lines])
