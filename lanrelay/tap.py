"""The command line of C{twistd lanrelay} and C{python -m twisted lanrelay}: from a file to a service."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Iterable, MutableMapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar, NoReturn

from twisted.python import usage

from lanrelay.transport.reactor_choice import install_reactor

if TYPE_CHECKING:
    from twisted.application.service import IService
    from twisted.logger import ILogObserver
    from twisted.python.logfile import LogFile

    from lanrelay.config.load import Loaded
    from lanrelay.config.model import Log
    from lanrelay.observe.logsettings import LogSettings


DEFAULT = (
    "the configuration file (YAML) [default: $LANRELAY_CONFIG, else ~/.config/lanrelay/relay.yaml, else "
    "/etc/lanrelay/relay.yaml]"
)


class Options(usage.Options):
    """
    What stands after C{lanrelay} on the command line.

    C{lanrelay run} may set C{"loaded"}, a configuration that lies in no file.
    """

    synopsis = "[-c FILE] [--watch]"
    longdesc = "Relays from loopback to the LAN, as the configuration file says."
    optParameters: ClassVar[list[list[str | None]]] = [["config", "c", None, DEFAULT]]
    optFlags: ClassVar[list[list[str | None]]] = [
        ["watch", None, "read the configuration anew whenever its file changes"]
    ]
    compData = usage.Completions(optActions={"config": usage.CompleteFiles("*.yaml")})


def makeService(options: Options) -> IService:
    """
    Make the relay, with its files loaded and its ports bound.

    This is the last moment before twistd forks: the person at the terminal sees what goes wrong here, by
    lines on standard error and exit status 1. Later there is only the log.
    """
    begun = time.monotonic()
    # The objects of a start stay: to look for cycles in them frees nothing, and took 7 of 250 ms. Once they
    # are frozen, no later collection looks at them either.
    gc.disable()
    try:
        service = _make_service(options, begun)
        gc.freeze()
    finally:
        gc.enable()
    return service


def _make_service(options: Options, begun: float) -> IService:
    from lanrelay.config.load import ConfigErrors, examine

    try:
        loaded: Loaded = options.get("loaded") or examine(_path(options))
    except ConfigErrors as wrong:
        _fail(str(wrong).splitlines())
    config = loaded.config
    reactor = _reactor()

    from lanrelay.observe.logsettings import LogSettings
    from lanrelay.process import follow_monotonic_clock
    from lanrelay.service import RelayService
    from lanrelay.transport.choice import OWN

    follow_monotonic_clock(reactor)
    if OWN:
        from lanrelay.transport.reactor_turn import quicken

        quicken(reactor)
    service = RelayService(reactor, config, begun=begun, files=loaded.named_files, lines=loaded.lines)
    settings = LogSettings()
    wrong_with_log = ""

    def open_log() -> None:
        nonlocal wrong_with_log
        try:
            service.log_observer = choose_log(options.parent, config.log, settings)
        except OSError as error:
            wrong_with_log = _about_log(error, loaded)

    # Files come before ports. But if the log is twistd's own, a start that fails leaves no file behind.
    early = config.log.file is not None
    if early:
        open_log()
    errors = service.open()
    if not early and not errors:
        open_log()
    if wrong_with_log or errors:
        service.close()
        _fail([*filter(None, [wrong_with_log]), *map(str, errors)])
    service.prepare_log, service.reopen_log = settings.prepare, settings.reopen
    if options["watch"]:
        service.watch_file()
    service.handle_signals()
    return service


def _about_log(error: OSError, loaded: Loaded) -> str:
    said = f"the log {error.filename} cannot be opened: {error.strerror}"
    if str(error.filename) != str(loaded.config.log.file):
        return f"{said}; choose another with --logfile"
    from lanrelay.config.whereabouts import place_of

    return f"{place_of('log.file', loaded.named_files)}: {said}; change log.file"


def _path(options: Options) -> Path:
    if options["config"]:
        return Path(options["config"])
    from lanrelay.config.default_path import NotFound, find

    try:
        return find(None)
    except NotFound as error:
        _fail([f"{error} Say which one with -c FILE, as in `twistd -n lanrelay -c conf/relay.yaml`."])


def _fail(lines: Iterable[str]) -> NoReturn:
    from lanrelay.observe.logformat import printable

    for line in lines:
        sys.stderr.write(f"{printable(line)}\n")
    raise SystemExit(1)


def _reactor() -> Any:
    install_reactor()
    from twisted.internet import reactor

    return reactor


# --- where the log goes ---


def choose_log(
    command_line: MutableMapping[str, Any] | None, log: Log, settings: LogSettings | None = None
) -> ILogObserver | None:
    """
    Have the log written in our format and at our level: to C{log.file}, or to where Twisted's command line
    puts it. A place that the command line names wins.

    @param command_line: the options of C{twistd} or C{python -m twisted}; the latter's are changed, for they
        are read later.
    @param settings: learns what a reload may change.
    @return: the observer for twistd to take, or C{None} where it (or who else runs us) has one.
    @raise OSError: the file cannot be opened.
    """
    if command_line is None:
        return None
    if settings is None:
        from lanrelay.observe.logsettings import LogSettings

        settings = LogSettings()
    if "fileLogObserverFactory" in command_line:  # python -m twisted
        from twisted.logger import LogLevel

        given = command_line["logLevel"].name  # where --log-level says something, it wins
        settings.level = None if given == "info" else {"critical": "error"}.get(given, given)
        command_line["logLevel"] = LogLevel.debug  # ours decides
        settings.ours = command_line.get("logFile") in (None, sys.stdout, sys.__stdout__)
        own = _own_file(log, settings)
        make = settings.make
        command_line["fileLogObserverFactory"] = lambda theirs: make(own or theirs, log)
        return None
    if command_line.get("logger") or command_line.get("syslog"):
        return None
    settings.ours = not command_line.get("logfile")
    own = _own_file(log, settings)
    return _twistd_file(command_line, log, settings) if own is None else settings.make(own, log)


def _own_file(log: Log, settings: LogSettings) -> IO[str] | None:
    """C{log.file}, which SIGUSR1 opens anew, if it has a say."""
    if log.file is None or not settings.ours:
        return None
    import signal

    file = settings.open(log)
    signal.signal(signal.SIGUSR1, lambda number, frame: _reactor().callFromThread(settings.reopen))
    return file


def _twistd_file(
    command_line: MutableMapping[str, Any], log: Log, settings: LogSettings
) -> ILogObserver | None:
    """What twistd's own C{UnixAppLogger} does, with our format."""
    import signal

    from twisted.python.logfile import LogFile

    name = command_line.get("logfile")
    if command_line.get("nodaemon") and name in (None, "", "-"):
        return settings.make(sys.stdout, log)
    if name == "-":
        return None  # twistd says that a daemon cannot
    file = LogFile.fromFullPath(name or "twistd.log")
    if not signal.getsignal(signal.SIGUSR1):
        signal.signal(signal.SIGUSR1, lambda number, frame: _reactor().callFromThread(_renew, file))
    return settings.make(file, log)


def _renew(file: LogFile) -> None:
    """
    Rotate twistd's log, as twistd does at SIGUSR1; or open it anew, if somebody has moved it away.

    Twisted's C{rotate} does nothing if there is no file, and lines go on to the one that was moved.
    """
    import os

    try:
        if os.path.samestat(os.stat(file.path), os.fstat(file._file.fileno())):
            file.rotate()
            return
    except OSError:
        pass  # it has gone
    try:
        os.close(os.open(file.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640))
    except OSError as error:
        from twisted.logger import Logger

        Logger(namespace=__name__).warn(
            "the log {path} cannot be opened anew, so the old one is gone on with: {reason}",
            path=file.path,
            reason=error.strerror,
        )
        return
    file.reopen()
