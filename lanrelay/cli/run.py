"""C{lanrelay run}: the relay in the foreground, by this installation's own Twisted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

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

    @return: 0 after a stop, 1 where it could not start, 2 for a wrong command line.
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
            return failed(options, f"{error} Or do without one: lanrelay run --to URL")
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
    """What C{twistd -n lanrelay} does, without its search for plugins and its lines in the log."""
    import gc

    gc.disable()  # what is imported stays; makeService, which freezes it, has cycles looked for again

    from twisted.application import app
    from twisted.application.service import ServiceMaker
    from twisted.scripts import _twistd_unix as twistd

    maker = ServiceMaker("lanrelay", "lanrelay.tap", "the relay", "lanrelay")

    class Options(twistd.ServerOptions):
        _getPlugins = staticmethod(lambda interface: [maker])  # type: ignore[assignment]

    class Logger(twistd.UnixAppLogger):
        def _initialLog(self) -> None:
            pass  # its version and its reactor

        def stop(self) -> None:
            from twisted.logger import globalLogPublisher

            observer, self._observer = self._observer, None
            if observer is not None:
                globalLogPublisher.removeObserver(observer)

    class Runner(twistd.UnixApplicationRunner):
        loggerFactory = Logger

    options = Options()
    words = ["-n", "--pidfile=", "lanrelay"]
    if file is not None:
        words += ["-c", str(file)]
    options.parseOptions([*words, "--watch"] if watch else words)
    if loaded is not None:
        options.subOptions["loaded"] = loaded
    runner = Runner(options)
    runner.run()
    if runner._exitSignal is not None:
        app._exitWithSignal(runner._exitSignal)
    return 0
