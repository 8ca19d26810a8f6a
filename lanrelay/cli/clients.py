"""C{lanrelay clients}: lists the MCP servers in the clients' files, and where each leads."""

from __future__ import annotations

import shutil
import textwrap
from typing import TYPE_CHECKING, Any

from lanrelay.cli.home import home

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from lanrelay.clients.finding import Finding
    from lanrelay.clients.survey import BrokenFile, Survey


def parser() -> argparse.ArgumentParser:
    """The command line."""
    from lanrelay.cli import looking, options

    made = options.parser(
        "clients",
        "List the MCP servers that clients have in their files, where each leads, and what `lanrelay adopt` "
        "would do with it.",
        examples="""
            lanrelay clients  all clients of this machine, and of the working folder's project
            lanrelay clients --client cursor --json  one client, for programs
            lanrelay clients --file settings.json --format gemini  a file that is somewhere else
        """,
    )
    looking.options(made)
    made.add_argument("--json", action="store_true", help="print it as JSON, for programs")
    return made


def run(arguments: list[str]) -> int:
    """0, 1 for a file that is broken, 2 for a wrong command line."""
    import sys

    from lanrelay.cli import looking
    from lanrelay.cli.conversation import Conversation

    chosen = parser().parse_args(arguments)
    wrong = looking.wrong_usage(chosen)
    if wrong:
        print(f"lanrelay clients: {wrong}.", file=sys.stderr)
        return 2
    talk = Conversation("clients", as_json=chosen.json)
    try:
        seen = looking.look(chosen, looking.listeners(chosen.config, talk), talk)
    except FileNotFoundError as error:
        talk.complain(str(error))
        talk.json({"clients": []})
        return 1
    talk.json(as_json(seen))
    for line in lines(seen, shutil.get_terminal_size().columns):
        talk.say(line)
    for broken in seen.broken:
        talk.complain(f"{home(broken.found.path)} is left alone: {broken.said}.")
    return 1 if any(broken.reason == "file_broken" for broken in seen.broken) else 0


def as_json(seen: Survey) -> dict[str, Any]:
    """The document of C{--json}."""
    return {"clients": [*map(_entry, seen.findings), *map(_broken, seen.broken)]}


def _entry(finding: Finding) -> dict[str, Any]:
    server = finding.server
    return {
        "client": server.client.name,
        "file": str(server.read.found.path),
        "scope": server.scope,
        "server": server.name,
        "transport": server.transport,
        "leads_to": finding.leads_to,
        "listener": finding.listener,
        "works": finding.works,
        "adopt": "yes" if finding.adopt else "no",
        "reason": finding.reason,
    }


def _broken(broken: BrokenFile) -> dict[str, Any]:
    return {
        "client": broken.found.client.name,
        "file": str(broken.found.path),
        "scope": broken.found.files.scope,
        "server": None,
        "transport": None,
        "leads_to": "unknown",
        "listener": None,
        "works": False if broken.reason == "file_broken" else None,
        "adopt": "no",
        "reason": broken.reason,
    }


def lines(seen: Survey, width: int) -> Iterator[str]:
    """The text for the terminal."""

    if not seen.findings:
        yield "No client's file with MCP servers was found here."
        return
    names = min(max(len(each.server.name) for each in seen.findings), 24)
    before = None
    for finding in seen.findings:
        server = finding.server
        if server.read.found.path != before:
            if before is not None:
                yield ""
            before = server.read.found.path
            scope = "" if server.scope == "user" else f" ({server.scope})"
            yield f"{server.client.called}{scope}: {home(before)}"
        verdict = "adopt" if finding.adopt else finding.reason
        head = f"  {server.name:<{names}}  {server.transport or '?':<5}  {finding.leads_to:<8}  "
        never = " It cannot work as it stands." if finding.works is False and not finding.bridged else ""
        yield from textwrap.wrap(
            f"{verdict}: {finding.said}{never}",
            max(width, len(head) + 30),
            initial_indent=head,
            subsequent_indent=" " * min(len(head), max(width - 40, 4)),
            break_long_words=False,
            break_on_hyphens=False,
        )
    adopted = sum(finding.adopt for finding in seen.findings)
    if adopted:
        entries = "One entry leads" if adopted == 1 else f"{adopted} entries lead"
        yield ""
        yield f"{entries} to the LAN directly; `lanrelay adopt` has the relay in between."
