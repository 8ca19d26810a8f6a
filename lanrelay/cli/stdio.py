"""C{lanrelay stdio}: MCP on standard input and output, carried to a target, by L{lanrelay.bridge}."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from lanrelay.bridge.messages import Failure
    from lanrelay.bridge.names import Listener
    from lanrelay.bridge.options import Options
    from lanrelay.errors import RelayError


def parser() -> ArgumentParser:
    """The command line, for help and completion; L{lanrelay.bridge.options} reads it, in less time."""
    from lanrelay.bridge.options import OPTIONS, REPEATABLE
    from lanrelay.cli.options import parser

    made = parser(
        "stdio",
        "Speak MCP over standard input and output with a client that starts programs, and carry it to a "
        "server that is reached by HTTP. Nothing that happens to the server ends it.",
        examples="""
            lanrelay stdio https://nas.lan:8443/mcp                  a server at a URL
            lanrelay stdio nas                                       a listener of the running relay
            lanrelay stdio nas/other                                 the same, another path
            lanrelay stdio https://nas.lan/mcp --ca home-ca.pem      its own authority
            lanrelay stdio URL --header 'X-Key:${NAS_KEY}'  a secret from the environment
            lanrelay stdio URL --ignore-tool 'delete_*'              without these tools
            lanrelay stdio URL --check                               look, as `lanrelay doctor` does
            lanrelay stdio tcp://192.168.1.20:5432                   a byte pipe
        """,
    )
    made.add_argument("target", metavar="TARGET", nargs="?", help="a URL, or the name of a listener")
    for option in OPTIONS:
        names = ("-c", option.name) if option.name == "--config" else (option.name,)
        if not option.value:
            made.add_argument(*names, action="store_true", help=option.help)
        else:
            action = "append" if option.field in REPEATABLE else "store"
            made.add_argument(*names, metavar=option.value, action=action, help=option.help)
    return made


def run(arguments: Sequence[str]) -> int:
    """0 at the end of input, 1 where something that was named cannot be used, 2 for a wrong command line."""
    before = list(arguments).index("--") if "--" in arguments else len(arguments)
    if "--help" in arguments[:before] or "-h" in arguments[:before]:
        parser().print_help()
        return 0
    # All that a start makes stays: to look through it for garbage takes a tenth of the start.
    gc.disable()
    from lanrelay.bridge.main import run

    return run(arguments, _Outside())


class _Outside:
    """See L{lanrelay.bridge.main.Outside}."""

    def complain(self, sentence: str) -> None:
        print(f"lanrelay stdio: {sentence}", file=sys.stderr)

    def listeners(self, config: str | None) -> list[Listener]:
        from pathlib import Path

        from lanrelay.bridge.names import NotThere
        from lanrelay.cli.asking import NotAsked, NotDone, result
        from lanrelay.config.default_path import NotFound, find

        try:
            file = find(Path(config) if config is not None else None)
            status = result(file, {"method": "status"}, timeout=5.0)
        except NotFound as error:
            raise NotThere("wrong_config", str(error), error.advice) from None
        except NotDone as error:
            raise NotThere("not_running", str(error), "Look at the relay's log.") from None
        except NotAsked as error:
            raise NotThere("not_running", str(error), error.advice) from None
        return list(status["listeners"])

    def is_pipe(self, config: str | None, name: str) -> bool:
        from pathlib import Path

        from lanrelay.bridge.names import is_pipe
        from lanrelay.config.default_path import NotFound, find
        from lanrelay.config.kinds import kind_of
        from lanrelay.config.load import ConfigErrors, load

        try:
            listeners = load(find(Path(config) if config is not None else None)).listeners
        except (NotFound, ConfigErrors, OSError):
            return False  # what is wrong is told where the relay is asked
        found = ((kind_of(one), one) for one in listeners if one.name == name)
        return any(is_pipe(kind.word, kind.mcp(one)) for kind, one in found)

    def check(self, options: Options) -> int:
        from lanrelay.bridge.options import headers
        from lanrelay.cli.stdio_check import check

        return check(options, headers(options, self.complain))

    def explain(self, error: Exception, ran: bool, url: str) -> Failure:
        from lanrelay.bridge.messages import Failure
        from lanrelay.bridge.names import NotThere
        from lanrelay.bridge.secure import NotUsable
        from lanrelay.errors import RelayError

        if isinstance(error, NotThere):
            return Failure(error.cause, error.said, error.remedy, ran)
        if isinstance(error, NotUsable):
            return Failure("wrong_config", str(error), "Correct the file, or name another.", ran)
        known = error if isinstance(error, RelayError) else _translated(error, url)
        return _explained(known, ran, url)


def _translated(error: Exception, url: str) -> RelayError:
    """What is no error of the relay's tree yet."""
    import errno

    from lanrelay import errors
    from lanrelay.bridge.carrier import Cut
    from lanrelay.bridge.http import Malformed
    from lanrelay.bridge.scheme import SpeaksTls

    if isinstance(error, SpeaksTls):
        return errors.TlsOnPlain(target=_place(url))
    if isinstance(error, Malformed):
        if "\\x15\\x03" in str(error):
            return errors.TlsOnPlain(target=_place(url))
        return errors.ResponseMalformed(str(error))
    if isinstance(error, Cut):
        return errors.ResponseIncomplete(str(error)) if error.begun else errors.PeerClosed(target=_place(url))
    if isinstance(error, OSError) and error.errno == errno.ETIMEDOUT:
        return errors.DialTimeout(target=_place(url))
    if isinstance(error, OSError):
        return errors.PeerClosed(error.strerror or str(error), target=_place(url))
    return errors.RelayError(f"{type(error).__name__}: {error}")


def _place(url: str) -> str:
    return url.partition("://")[2].partition("/")[0] or url


def _explained(error: RelayError, ran: bool, url: str) -> Failure:
    from lanrelay.bridge.messages import Failure
    from lanrelay.errors import DialError, Unroutable
    from lanrelay.examine.causes import cause_of
    from lanrelay.upstream import sentences
    from lanrelay.upstream.explain import explain

    if isinstance(error, DialError) and not error.target:
        error.target = _place(url)
    said, remedy = explain(error)
    cause: str = cause_of(error) or "tls_other"
    if isinstance(error, Unroutable) and isinstance(error, DialError):
        if said == sentences.host_down(error)[0]:
            cause = "host_down"
        elif said == sentences.kept_from_lan(error, sys.platform)[0]:
            cause = "local_network_privacy"
    if cause in ("unknown_ca", "self_signed"):
        remedy = f"Run `lanrelay trust {url}`, or name the PEM file of its authority with --ca."
    elif cause == "pin_differs":
        remedy = "If its owner says that this is its new key, give that pin with --pin."
    elif cause == "client_certificate_wanted":
        remedy = "Name a certificate that it accepts with --cert, and its key with --key."
        ran = False  # in TLS 1.3 it is told after the handshake, and no request is taken then
    elif cause == "wrong_name":
        remedy = "If it is the right server, use a name of that certificate in the URL."
    return Failure(cause, said, remedy, ran)
