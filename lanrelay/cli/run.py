"""C{lanrelay run}: the relay in the foreground, by this installation's own Twisted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from lanrelay.config.load import Loaded


def parser() -> argparse.ArgumentParser:
    """The command line."""
    from lanrelay.cli.options import add_config, parser

    made = parser(
        "run",
        "Run the relay in the foreground; its log goes to standard output. SIGTERM and Ctrl-C stop it, and "
        "SIGHUP has it read its configuration anew.",
        examples="""
            lanrelay run  with your own configuration
            lanrelay run -c relay.yaml --watch  with this file, and whatever it becomes
            lanrelay run --to https://nas.lan/mcp --ca ca.pem  one host, without a file
            lanrelay run --to https://nas.lan --pin sha256//BASE64  trusted by its key
            lanrelay run --to tcp://nas.lan:5432 --listen 5432  a database
        """,
    )
    add_config(made)
    made.add_argument("--watch", action="store_true", help="reload whenever the configuration changes")
    made.add_argument("--to", metavar="URL", help="relay to this without a file: http, https, tcp or tls")
    made.add_argument(
        "--listen", metavar="PORT", help="where, with --to: a port of loopback, or an address with a port"
    )
    trusted = made.add_mutually_exclusive_group()
    trusted.add_argument("--ca", metavar="FILE", help="with --to: the CA that its certificate is by")
    trusted.add_argument("--pin", metavar="PIN", help="with --to: its public key, as sha256//BASE64")
    return made


def run(arguments: list[str]) -> int:
    """
    Run until a signal ends it.

    @return: 0 after a stop, 1 where it could not start or a bug ended it, 2 for a wrong command line.
    """
    made = parser()
    options = made.parse_args(arguments)
    from lanrelay.cli.options import NoConfiguration, config_of, failed

    if options.to is None:
        for name in ("listen", "ca", "pin"):
            if getattr(options, name) is not None:
                made.error(f"--{name} goes with --to; a configuration file says it itself")
        try:
            file = config_of(options)
        except NoConfiguration as error:
            error.advice += " `lanrelay run --to URL` does without."
            return failed(options, error)
        return _become(file, watch=options.watch)
    if options.config is not None or options.watch:
        made.error("--to does without a configuration file, so there is none to name or watch")
    from lanrelay.cli.without_file import Unusable, configuration

    try:
        loaded, address = configuration(options.to, listen=options.listen, ca=options.ca, pin=options.pin)
    except Unusable as error:
        made.error(str(error))
    if address:
        print(f"Clients are to have {address}", file=sys.stderr, flush=True)
    return _become(None, loaded=loaded)


def _become(file: Path | None, *, watch: bool = False, loaded: Loaded | None = None) -> int:
    """
    What C{twistd -n lanrelay} does, without its lines in the log.

    twistd is not imported, with its profilers and its debugger. With L{_later}, a start and a stop are 758
    million instructions instead of 806; importing Twisted's reactor, with all it asks for, is 743.
    """
    import gc
    import signal

    # Until the reactor has its own handler, Ctrl-C ends at once, as SIGTERM does: a KeyboardInterrupt that is
    # raised within a Deferred's callback is kept there, and the start would go on.
    python_s = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if python_s:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    gc.disable()  # what is imported stays; makeService, which freezes it, has cycles looked for again
    _later("http", "cookiejar")

    from lanrelay import tap

    options = tap.Options()
    options["config"], options["watch"] = None if file is None else str(file), watch
    twistds: Any = {"nodaemon": True}  # what else it has is what it has by default
    options.parent = twistds
    if loaded is not None:
        options["loaded"] = loaded
    service: Any = tap.makeService(options)

    from twisted.internet import reactor as installed
    from twisted.logger import globalLogBeginner, globalLogPublisher

    reactor: Any = installed
    output, observer = sys.stdout, service.log_observer
    globalLogBeginner.beginLoggingTo([observer])
    service.privilegedStartService()
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    if python_s:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # which the reactor replaces
    status = 0
    try:
        reactor.run()
    except BaseException:
        import traceback

        status = 1
        traceback.print_exc(file=output)
        output.flush()
    globalLogPublisher.removeObserver(observer)
    ended_by = getattr(reactor, "_exitSignal", None)  # one that we have no handler for
    if ended_by is not None:
        import os

        signal.signal(ended_by, signal.SIG_DFL)
        os.kill(os.getpid(), ended_by)
    return status


def _later(package: str, name: str) -> None:
    """
    Have a module of the standard library imported when somebody first looks into it.

    Twisted asks for C{http.cookiejar}, which the relay has no use for, and which brings C{urllib.request},
    C{http.client} and C{email}.
    """
    from importlib import import_module
    from importlib.util import LazyLoader, find_spec, module_from_spec

    whole = f"{package}.{name}"
    spec = None if whole in sys.modules else find_spec(whole)
    if spec is None or spec.loader is None:
        return
    spec.loader = LazyLoader(spec.loader)
    sys.modules[whole] = module = module_from_spec(spec)
    spec.loader.exec_module(module)
    # Where its package has it, `from package import name` does not look into it.
    setattr(import_module(package), name, module)
