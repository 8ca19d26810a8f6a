"""C{lanrelay check}: validates a configuration file and prints what it comes to."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from lanrelay.config.load import Loaded
    from lanrelay.config.model import Listener, Upstream
    from lanrelay.errors import StartError


class Loadable(Protocol):
    """Something made of files."""

    def load(self) -> None: ...


def run(arguments: list[str]) -> int:
    """0 for a file that is right, 1 for one that is not, 2 for a wrong command line."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="lanrelay check",
        description="Check a configuration file and print it with its defaults. Secrets are masked.",
    )
    parser.add_argument("-c", "--config", metavar="FILE", type=Path, help="the configuration file")
    options = parser.parse_args(arguments)
    if options.config is None:
        print("lanrelay check: say which file to check: lanrelay check -c FILE", file=sys.stderr)
        return 2
    return check(options.config)


def check(file: Path) -> int:
    """Print the effective configuration, or all that is wrong."""
    from lanrelay.config.load import ConfigErrors, examine

    try:
        loaded = examine(file)
    except ConfigErrors as errors:
        print(errors, file=sys.stderr)
        return 1
    for warning in loaded.config.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    print(render(loaded.effective, unicode=encoding == "utf8"), end="")
    problems = [str(problem) for problem in unreadable(loaded)]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def unreadable(loaded: Loaded) -> Iterator[StartError]:
    """What is wrong with the files that the enabled listeners name: certificates, keys, passwords."""
    from lanrelay.config import model
    from lanrelay.config.whereabouts import located
    from lanrelay.errors import StartError
    from lanrelay.policy.credentials import Credentials
    from lanrelay.transport.trust import ClientTls, ServerContext

    for listener in loaded.config.listeners:
        if not listener.enabled:
            continue
        files: list[Loadable] = []
        if listener.tls is not None:
            files.append(ServerContext(listener.tls))
        if isinstance(listener, model.ForwardProxy) and listener.auth is not None:
            files.append(Credentials(listener.auth))
        secured = (upstream for upstream in _upstreams(listener) if upstream.url.tls)
        files += (ClientTls(upstream.trust, upstream.server_name) for upstream in secured)
        for file in files:
            try:
                file.load()
            except StartError as error:
                found = StartError(error.detail, listener=listener.name, remedy=error.remedy)
                yield located(found, loaded.named_files)


def _upstreams(listener: Listener) -> Iterator[Upstream]:
    from lanrelay.config import model

    if isinstance(listener, model.TcpForward):
        yield from listener.upstreams.members
    elif isinstance(listener, model.ReverseProxy):
        for route in listener.routes:
            yield from route.upstreams.members


def render(tree: object, *, unicode: bool = True) -> str:
    """
    As YAML that reads well: every scalar is text to us, so none needs quotes for looking like a number.

    @param unicode: whether letters beyond ASCII may stand for themselves.
    """
    import yaml

    class Dumper(yaml.SafeDumper):
        yaml_implicit_resolvers: dict[str, list[tuple[str, object]]] = {}  # noqa: RUF012

        def ignore_aliases(self, data: object) -> bool:
            return True

    text: str = yaml.dump(tree, Dumper=Dumper, sort_keys=False, allow_unicode=unicode, width=1000)
    return text
