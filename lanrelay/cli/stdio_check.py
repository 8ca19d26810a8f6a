"""C{lanrelay stdio --check}: the doctor's look at the target, with what the options say of it."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lanrelay.cli.in_reactor import in_reactor
from lanrelay.cli.report import Report
from lanrelay.config import model, values
from lanrelay.config.default_path import NotFound, find, users_own
from lanrelay.config.hosts import parent_proxy
from lanrelay.config.load import ConfigErrors, load
from lanrelay.edit.masking import mask
from lanrelay.examine.checks import Examined, as_json, from_json
from lanrelay.examine.subject import Subject, Unknown, subjects

if TYPE_CHECKING:
    from lanrelay.bridge.options import Options


def check(chosen: Options, fields: tuple[tuple[str, str], ...]) -> int:
    """
    Do what a client would, and print what was seen.

    @param fields: the person's own.
    @return: 0 where nothing keeps a client from working.
    """
    file, config = _configuration(chosen.config)
    name, slash, path = chosen.target.partition("/")
    try:
        if ":" in chosen.target:
            found = subjects(chosen.target, config, file=file, expect_mcp=not _is_pipe(chosen.target))
        else:
            found = subjects(name, config, file=file)
            found = [replace(one, mcp=(f"/{path}",), mcp_is_named=True) for one in found] if slash else found
    except Unknown as error:
        print(f"lanrelay stdio: {mask(str(error))}", file=sys.stderr)
        return 1
    found = [_as_chosen(one, chosen, fields) for one in found]

    async def look(reactor: Any) -> list[Examined]:
        from lanrelay.examine.opener import Means
        from lanrelay.examine.target import examine_all
        from lanrelay.upstream.resolve import Resolver

        means = Means(reactor=reactor, resolver=Resolver(reactor), platform=sys.platform)
        return await examine_all(means, found)

    examined = [from_json(as_json(one)) for one in in_reactor(look)]
    report = Report(shutil.get_terminal_size().columns, colour=_colour())
    for line in report.targets(examined):
        print(line)
    print(report.verdict(examined, []))
    return 0 if all(one.ok for one in examined) else 1


def _configuration(named: str | None) -> tuple[Path, model.Config | None]:
    try:
        file = find(Path(named) if named is not None else None)
        return file, load(file)
    except NotFound:
        return users_own(), None
    except ConfigErrors as error:
        print(f"lanrelay stdio: {error}", file=sys.stderr)
        return file, None


def _is_pipe(target: str) -> bool:
    return target.startswith(("tcp:", "tls:", "unix:"))


def _as_chosen(subject: Subject, chosen: Options, fields: tuple[tuple[str, str], ...]) -> Subject:
    """As the bridge reaches it: a listener's own way is not ours to change."""
    if subject.listener is not None and ":" not in chosen.target:
        return subject
    upstream = subject.upstream
    trust = upstream.trust
    if chosen.ca or chosen.pins:
        ca: tuple[Any, ...] = tuple("system" if one == "system" else Path(one) for one in chosen.ca)
        trust = trust._replace(ca=ca, pin=tuple(values.pin(one) for one in chosen.pins))
    if chosen.cert is not None:
        trust = trust._replace(cert=Path(chosen.cert), key=Path(chosen.key or chosen.cert))
    via = upstream.via if chosen.via is None else parent_proxy(chosen.via)
    return replace(
        subject, upstream=upstream._replace(trust=trust, via=via), fields=(*subject.fields, *fields)
    )


def _colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"
