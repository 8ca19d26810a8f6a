"""C{lanrelay check}: validates a configuration file and prints what it comes to."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import argparse

    from lanrelay.config.load import Loaded
    from lanrelay.errors import StartError


class Loadable(Protocol):
    """Something made of files."""

    def load(self) -> None: ...


def parser() -> argparse.ArgumentParser:
    """The command line."""
    from lanrelay.cli.options import add_config, parser

    made = parser(
        "check",
        "Check a configuration file, and the certificates, keys and password files that it names, without "
        "opening a port. Everything that is wrong is said at once.",
        examples="""
            lanrelay check                       your own configuration
            lanrelay check -c relay.yaml         this file
            lanrelay check -c relay.yaml --show  and what it comes to with all defaults
            lanrelay check -c relay.yaml --json  the verdict, for programs
        """,
    )
    add_config(made)
    form = made.add_mutually_exclusive_group()
    form.add_argument(
        "--show", action="store_true", help="print what is in force, with defaults; secrets are masked"
    )
    form.add_argument("--json", action="store_true", help="print the verdict as JSON, for programs")
    return made


def run(arguments: list[str]) -> int:
    """0 for a file that is right, 1 for one that is not, 2 for a wrong command line."""
    return check(parser().parse_args(arguments))


def check(options: argparse.Namespace) -> int:
    """Say all that is wrong, and the verdict."""
    from lanrelay.cli.options import NoConfiguration, config_of, failed, print_json
    from lanrelay.config.complaints import printable
    from lanrelay.config.load import ConfigErrors, examine
    from lanrelay.config.risks import risks

    try:
        file = config_of(options)
    except NoConfiguration as error:
        return failed(options, error)
    warnings: list[str] = []
    listeners = 0
    try:
        loaded = examine(file)
    except ConfigErrors as errors:
        mistakes = list(map(str, errors.complaints))
    else:
        mistakes = list(map(str, unreadable(loaded)))
        warnings = list(dict.fromkeys(risks(loaded.config)))
        listeners = len(loaded.config.listeners)
        if options.show and not mistakes:
            encoding = (sys.stdout.encoding or "").lower().replace("-", "")
            print(render(loaded.effective, unicode=encoding == "utf8"), end="")
    verdict = f"{printable(str(file))}: {_verdict(listeners, len(mistakes), len(warnings))}"
    if options.json:
        print_json(
            {
                "ok": not mistakes,
                "config": str(file),
                "listeners": listeners,
                "mistakes": mistakes,
                "warnings": warnings,
            }
        )
        return 1 if mistakes else 0
    for warning in warnings:
        print(f"warning: {printable(warning)}", file=sys.stderr)
    for mistake in mistakes:
        print(printable(mistake), file=sys.stderr)
    # What --show prints stays a configuration.
    print(f"# {verdict}" if options.show and not mistakes else verdict)
    return 1 if mistakes else 0


def _verdict(listeners: int, mistakes: int, warnings: int) -> str:
    """C{6 listeners, no mistakes, 1 warning}."""
    parts = [_count(listeners, "listener")] if listeners else []
    parts.append(_count(mistakes, "mistake") if mistakes else "no mistakes")
    if warnings:
        parts.append(_count(warnings, "warning"))
    return ", ".join(parts)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def unreadable(loaded: Loaded) -> Iterator[StartError]:
    """What is wrong with the files that the enabled listeners name: certificates, keys, passwords."""
    from lanrelay.config.kinds import kind_of, named, upstreams_of
    from lanrelay.config.whereabouts import located
    from lanrelay.errors import StartError

    for listener in loaded.config.listeners:
        if not listener.enabled:
            continue
        files: list[Loadable] = []
        # Each is imported where there is one: it brings Twisted, which takes half of a check.
        if listener.tls is not None:
            from lanrelay.trust.trust import ServerContext

            files.append(ServerContext(listener.tls))
        if any(upstream.url.tls for upstream in upstreams_of(listener)):
            from lanrelay.trust.trust import ClientTls

            secured = (upstream for upstream in upstreams_of(listener) if upstream.url.tls)
            files += (ClientTls(upstream.trust, upstream.server_name) for upstream in secured)
        files += (named(name)(what) for name, what in kind_of(listener).files(listener))
        for file in files:
            try:
                file.load()
            except StartError as error:
                found = StartError(error.detail, listener=listener.name, remedy=error.remedy)
                yield located(found, loaded.named_files)


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
