"""C{lanrelay log}: the last requests that the relay has served, and those that come."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

Json = dict[str, Any]

_AGAIN = 0.5
"""Seconds between two tries to find a relay that has gone."""

_SILENCE = 24 * 3600.0
"""Seconds in which nobody asks for anything, after which a relay that is followed is asked anew."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    from lanrelay.cli.options import add_config, parser

    made = parser(
        "log",
        "Show the last 100 requests of each listener: when, where, how (of JSON-RPC the method, too), the "
        "status, how long it took and how much was sent. Of a forward, connections. No path, no field and no "
        "content is kept of any.",
        examples="""
            lanrelay log                   of all listeners
            lanrelay log -f nas            of one, and go on with those that come, until Ctrl-C
            lanrelay log --json nas        as a JSON document, for programs
            lanrelay log -f --json | jq .  a JSON object a line, as they come
        """,
    )
    add_config(made)
    made.add_argument("listener", metavar="LISTENER", nargs="?", help="the name of one (default: all)")
    made.add_argument("-f", "--follow", action="store_true", help="go on with those that come, until Ctrl-C")
    made.add_argument(
        "--json", action="store_true", help="print a JSON document, or with -f a JSON object a line"
    )
    return made


def run(arguments: list[str]) -> int:
    """0 for requests that were shown, be they none; 1 for no relay or no such listener."""
    options = parser().parse_args(arguments)
    from lanrelay.cli.asking import NotAsked
    from lanrelay.cli.options import NoConfiguration, config_of, failed

    try:
        file = config_of(options)
        if options.follow:
            _follow(file, options)
        else:
            _once(file, options)
    except (NoConfiguration, NotAsked) as error:
        return failed(options, error)
    return 0


def _once(file: Path, options: argparse.Namespace) -> None:
    from lanrelay.cli.asking import ask
    from lanrelay.cli.options import print_json

    asked = ask(file, {"method": "log", "listener": options.listener}, shown=True)
    found = [said for last, said in asked if not last and "remembered" not in said]
    if options.json:
        print_json({"requests": found})
        return
    wide = max((len(one["listener"]) for one in found), default=0)
    for one in found:
        print(line(one, wide))
    if not found:
        what = f"{options.listener} has" if options.listener else "The listeners have"
        print(f"lanrelay log: {what} served no request since the relay was started.", file=sys.stderr)


def _follow(file: Path, options: argparse.Namespace) -> None:
    import json

    from lanrelay.cli.streams import end_when_nobody_reads

    end_when_nobody_reads()
    wide = len(options.listener or "")
    for one in _coming(file, options.listener):
        if options.json:
            print(json.dumps(one), flush=True)
        elif "missed" in one:
            print(f"... and {one['missed']:,} more", flush=True)
        else:
            wide = max(wide, len(one["listener"]))
            print(line(one, wide), flush=True)


def _coming(file: Path, listener: str | None) -> Iterator[Json]:
    """All that are remembered, then those that come; a relay that goes is waited for."""
    from lanrelay.cli.asking import NotAsked, NotDone, ask

    request = {"method": "log", "listener": listener, "follow": True}
    latest = shown = 0.0  # ends of requests: of the last one, and up to when they were shown before
    found = waits = False
    while True:
        try:
            for last, said in ask(file, request, timeout=_SILENCE):
                if waits:
                    print("lanrelay log: the relay is there again.", file=sys.stderr, flush=True)
                found, waits = True, False
                if last or "remembered" in said:
                    shown = 0.0
                    continue
                if "missed" not in said:
                    end = said["at"] + said["seconds"]
                    if end <= shown:
                        continue
                    latest = end
                yield said
        except NotDone as error:
            if not found or "stopping" not in str(error):
                raise
        except NotAsked:
            if not found:
                raise
        shown = latest
        if not waits:
            waits = True
            print("lanrelay log: the relay has gone; waiting for it ...", file=sys.stderr, flush=True)
        time.sleep(_AGAIN)


# --- a line -----------------------------------------------------------------------------------------------


def line(one: Json, wide: int) -> str:
    """
    One request for people.

    @param wide: letters of the longest listener's name.
    """
    from lanrelay.config.complaints import printable

    at = time.localtime(one["at"])
    what = " ".join(word for word in (one["method"] or "connection", one["rpc"]) if word)
    status = str(one["status"] or "-")
    parts = (
        f"{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02}",
        one["listener"].ljust(wide),
        status.rjust(3),
        _seconds(one["seconds"]).rjust(8),
        _size(one["bytes"]).rjust(8),
        what,
        one["error"] or "",
    )
    text = printable("  ".join(parts).rstrip())
    encoding = sys.stdout.encoding or "ascii"
    return text.encode(encoding, "replace").decode(encoding)


def _seconds(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 600 else f"{seconds / 60:.0f} min"


def _size(size: float) -> str:
    if size < 1000:
        return f"{size:.0f} B"
    units = iter(("kB", "MB", "GB"))
    unit = ""
    while size >= 1000 and unit != "GB":
        size, unit = size / 1000, next(units)
    return f"{size:.1f} {unit}"
