"""C{lanrelay status}: what the running relay is doing, as a table that fits the terminal."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

Json = dict[str, Any]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    from lanrelay.cli.options import add_config, parser

    made = parser(
        "status",
        "Show what the running relay is doing.",
        examples="""
            lanrelay status                the relay with your own configuration
            lanrelay status -c relay.yaml  the one that runs with this file
            lanrelay status --watch        again every two seconds, until Ctrl-C
            lanrelay status --json         all there is, for programs
        """,
    )
    add_config(made)
    form = made.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print the document of /status.json, for programs")
    form.add_argument("--watch", action="store_true", help="show it anew every two seconds, until Ctrl-C")
    return made


def run(arguments: list[str]) -> int:
    """0 for a relay that runs, 1 for none, 2 for a wrong command line."""
    options = parser().parse_args(arguments)
    from lanrelay.cli.asking import NotAsked
    from lanrelay.cli.options import NoConfiguration, config_of, failed

    try:
        file = config_of(options)
        if options.watch:
            _watch(file)
        else:
            _once(file, as_json=options.json)
    except (NoConfiguration, NotAsked) as error:
        return failed(options, error)
    return 0


def _once(file: Path, *, as_json: bool) -> None:
    from lanrelay.cli.asking import result

    document = result(file, {"method": "status"}, shown=True)
    if as_json:
        import json

        print(json.dumps(document, indent=2))
    else:
        for line in (*table(document, shutil.get_terminal_size().columns), *first_steps(document)):
            print(_printable(line))


def _watch(file: Path) -> None:
    from lanrelay.cli.asking import result

    while True:
        document = result(file, {"method": "status"})
        columns, rows = shutil.get_terminal_size()
        shown = list(map(_printable, table(document, columns)))
        if sys.stdout.isatty():
            # Home, each line cleared to its end, the rest of the screen cleared: no flicker.
            text = "".join(f"{line}\x1b[K\n" for line in shown[: rows - 1])
            sys.stdout.write(f"\x1b[H{text}\x1b[J")
        else:
            sys.stdout.write("\n".join([*shown, "", ""]))
        sys.stdout.flush()
        time.sleep(2.0)


# --- the table ----------------------------------------------------------------------------------------


def table(document: Json, width: int) -> list[str]:
    """C{/status.json} for people, in lines of at most C{width}."""
    width = max(width, 20)
    lines = [part for line in _about(document) for part in _wrapped(line, width)]
    listeners = [
        (
            one["name"],
            _state(one),
            str(one["open_connections"]),
            _addresses(one["addresses"]) or "-",
            one["leads_to"],
        )
        for one in document["listeners"]
    ]
    lines += ["", *_grid(("LISTENER", "STATE", "OPEN", "LISTENS ON", "LEADS TO"), listeners, width)]
    upstreams = [
        (one["listener"] + one.get("route", ""), _health(one), str(one["open"]), one["url"], _last(one))
        for one in document["upstreams"]
    ]
    if upstreams:
        lines += ["", *_grid(("LISTENER", "STATE", "OPEN", "UPSTREAM", "LAST ERROR"), upstreams, width)]
    for one in document["upstreams"]:
        for error in (one["last_error"], one.get("noticed")):
            if error is not None:
                text = f"! {one['listener']}: {one['url']}: {error['what']} {error['remedy']}"
                lines += ["", *_wrapped(text, width)]
    return lines


def first_steps(document: Json) -> list[str]:
    """What to do with a relay that leads to no server yet; commands stay whole, to be copied."""
    steps = document.get("first_steps", [])
    lines = [line for step in steps for line in (f"- {step['title']}:", f"  {step['command']}")]
    return ["", "It leads to no server yet. What to do first:", *lines] if lines else []


def _about(document: Json) -> list[str]:
    state = "ready" if document["ready"] else "NOT READY"
    lines = [
        f"lanrelay {document['version']}, pid {document['pid']}, up {age(document['uptime'])}: {state}",
        document["config"],
        *(f"! {sentence}" for sentence in (*document["unready"], *document["warnings"])),
    ]
    reload = document.get("last_reload")
    if reload is not None:
        lines.append(
            f"reload by {reload['by']} at {reload['at'][:19]}: {'done' if reload['ok'] else 'REFUSED'}"
        )
        lines += [f"! {complaint}" for complaint in reload["errors"]]
    count = document.get("sessions_open", len(document["sessions"]))
    oldest = max((session["age"] for session in document["sessions"]), default=None)
    lines.append(f"open sessions: {count}{f', the oldest {age(oldest)}' if oldest is not None else ''}")
    return lines


def _state(listener: Json) -> str:
    if listener.get("draining"):
        return "draining"
    return "listens" if listener.get("listening", bool(listener["addresses"])) else "CLOSED"


def _health(upstream: Json) -> str:
    if upstream["up"] is None:
        state = "not known yet" if upstream["checked"] else "not checked"
    else:
        state = "up" if upstream["up"] else "DOWN"
    return f"{state}, insecure" if upstream["insecure"] else state


def _last(upstream: Json) -> str:
    error = upstream["last_error"]
    return error["error"] if error is not None else "-"


def _addresses(names: Sequence[str]) -> str:
    """Both loopback addresses of one port are C{localhost} to people."""
    shown = []
    for name in names:
        port = name.rpartition(":")[2]
        both = {f"127.0.0.1:{port}", f"[::1]:{port}"}
        shown.append(f"localhost:{port}" if name in both <= set(names) else name)
    return ", ".join(dict.fromkeys(shown))


def _wrapped(text: str, width: int) -> list[str]:
    import textwrap

    lines = textwrap.wrap(text, width, subsequent_indent="  ", break_on_hyphens=False)
    return lines or [""]


def _grid(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], width: int) -> list[str]:
    """
    Columns side by side. The widest ones give way until all fit; what is cut ends in C{...}.

    Numbers and states stay whole, as far as there is room at all.
    """
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    least = [min(wide, 8) for wide in widths]
    room = width - 2 * (len(head) - 1)
    while sum(widths) > room:
        spare = [wide - small for wide, small in zip(widths, least, strict=True)]
        widest = max(range(len(widths)), key=lambda index: (spare[index] > 0, widths[index]))
        if spare[widest] <= 0:
            break  # a very narrow window: the last columns do not show
        widths[widest] -= 1
    return [
        _cut("  ".join(_cut(cell, wide).ljust(wide) for cell, wide in zip(row, widths, strict=True)), width)
        for row in (head, *rows)
    ]


def _cut(text: str, width: int) -> str:
    text = text.rstrip()
    if len(text) <= width:
        return text
    return text[: width - 3] + "..." if width > 6 else text[:width]


def age(seconds: float) -> str:
    """C{12 s}, C{3 min 5 s}, C{2 h 10 min}, C{5 d 3 h}."""
    whole = int(seconds)
    for unit, name, smaller, small in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= unit:
            rest = whole % unit // smaller
            return f"{whole // unit} {name}" + (f" {rest} {small}" if rest else "")
    return f"{whole} s"


def _printable(text: str) -> str:
    from lanrelay.config.complaints import printable

    text = printable(text)
    encoding = sys.stdout.encoding or "ascii"
    return text.encode(encoding, "replace").decode(encoding)
