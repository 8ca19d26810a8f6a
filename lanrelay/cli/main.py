"""The C{lanrelay} command: finds the sub-command and runs it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from lanrelay.cli import streams

# The module of each, imported when it is called, has run(arguments) -> exit status.
COMMANDS = {
    "setup": "have the clients on this machine reach the servers of the LAN, in one go",
    "run": "run the relay in the foreground",
    "check": "say what is wrong with a configuration file, or that nothing is",
    "demo": "show a private HTTPS host being used through the relay",
    "status": "show what the running relay is doing",
    "log": "show the last requests, and those that come",
    "reload": "have the running relay read its configuration anew",
    "stdio": "carry MCP on standard input and output to a server",
    "doctor": "say what keeps a client from a server, and what to do about it",
    "probe": "have the running relay reach an upstream, and show each step",
    "clients": "list the MCP servers of clients, and where each leads",
    "adopt": "have entries of clients that lead to the LAN lead through the relay",
    "unadopt": "put entries of clients back as they were",
    "env": "print the variables of the forward proxy, or run a command with them",
    "add": "have the relay lead to one more server",
    "remove": "take a listener out of the configuration again",
    "trust": "trust the certificate of a server, once it has been compared",
    "service": "have the system start the relay at login or at boot",
    "completion": "have a shell complete command lines",
    "manual": "write a manual page of each command",
    "schema": "print the JSON schema of the configuration, for editors",
    "bugreport": "gather what somebody must know who is to find a fault",
}

HELP = """usage: lanrelay COMMAND [OPTION ...]

A relay from loopback to the LAN. To run it, one of these:

  lanrelay run -c FILE
  lanrelay run --to URL
  twistd -n lanrelay -c FILE

Commands:
{commands}

`lanrelay COMMAND --help` says more about one of them.

Options:
  --help      show this and exit
  --version   show the version and exit"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script; returns the exit status."""
    if sys.version_info < (3, 10):  # noqa: UP036  # a checkout has no installer to say so
        print("lanrelay needs Python 3.10 or newer.", file=sys.stderr)
        return 1
    words = list(sys.argv[1:] if arguments is None else arguments)
    streams.open_closed()
    try:
        try:
            return _dispatch(words)
        finally:  # argparse exits when it has said something
            streams.flush()
    except BrokenPipeError:
        # `lanrelay check -c FILE | head`: nobody reads any more; nor may the interpreter's last flush fail.
        streams.silence(sys.stdout)
        streams.silence(sys.stderr)
        return 1
    except OSError as error:
        if error.errno not in streams.UNWRITABLE:
            raise
        streams.silence(sys.stdout)
        print(f"lanrelay: the output cannot be written: {error.strerror}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("--help", "-h", "help"):
        listed = "\n".join(f"  {name:<11} {what}" for name, what in COMMANDS.items())
        print(HELP.format(commands=listed), file=sys.stdout if words else sys.stderr)
        return 0 if words else 2
    name, *rest = words
    if name in ("--version", "-V"):
        from lanrelay.version import __version__

        print(f"lanrelay {__version__}")
        return 0
    if name not in COMMANDS:
        from lanrelay.config.complaints import printable

        print(
            f'lanrelay: found the command "{printable(name)}", expected one of: {", ".join(COMMANDS)}.',
            file=sys.stderr,
        )
        return 2
    if name == "stdio":  # starts within milliseconds, so nothing is imported for nothing
        from lanrelay.cli.stdio import run

        return run(rest)
    from importlib import import_module

    status: int = import_module(f"lanrelay.cli.{name}").run(rest)
    return status


if __name__ == "__main__":
    sys.exit(main())
