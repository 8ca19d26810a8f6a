"""What was found, as a page for people."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from benchmarks.rounds import DIRECT, Row
from benchmarks.workloads import OURS

UNFAIR = """\
* One process on one core each: nginx, HAProxy and squid can take more workers, the relay cannot.
* Access logs are off for all. The relay's counters, timeouts, limits and checks of hosts, origins and framing
  are on, as shipped; so are the counters and timeouts of the others.
* HAProxy in TCP mode, socat, `portforward` and the scripts parse, judge, name and count less than the relay.
  mitmproxy is made to look into traffic, not to be fast. The scripts are short, and nobody's product.
* The relay takes 1 MB at a time where nginx was given 64 KB, and HAProxy 16 KB (as shipped) or 256 KB.
* Everything runs on one machine over loopback. A send includes much of the receiver's work in the kernel, and
  no network card is served. Where the load's core is nearly full, the relay waits for work and finds less of
  it at a time; the tables say how full it was.
* Where the load's core has slept, who sends to it pays for waking it, in a virtual machine above all. A
  slower relay pays that more often.
* No two HTTP requests are alike: path and X-Request-Id change each time. The other seven fields do not, and
  what remembers them gains by that, as it does with a real client on a kept connection. The relay does, as
  long as no more than six values change: see the rows with three fields. Those of wrk are all the same.
* Memory is what a process has written to and shares with nobody. The kernel's socket buffers are not in it.
* The relay has the OpenSSL that cryptography brings, HAProxy and nginx have the system's. A connection takes
  16.3 KB in OpenSSL 4.0.3 before its handshake, and 8.6 in 3.0.19. With Debian's own pyOpenSSL, and so with
  the same OpenSSL as HAProxy, an idle pair with TLS had a ratio of 0.89 (to the upstream) and 0.98 (from the
  client).
"""

_MEASURES = {
    "cpu": "CPU time of the program, its threads and children, living and dead, for each unit",
    "p50": "The median that the load generator saw",
    "added": "The median that the load generator saw, less that without a relay",
    "memory": "Private memory that 1,000 connections add, a new process each time",
    "start": "From the start of the process to the first accepted connection",
    "pause": "The longest round trip of a ping-pong on a connection that is not concerned",
    "ran": "CPU time of the process from its start to its end",
}


def line(row: Row) -> str:
    """For the terminal."""
    shown = [f"{name} {_number(value)}" for name in row.figures if (value := row.median(name)) is not None]
    ratios = []
    for goal in row.workload.goals:
        found = row.ratio(goal)
        if found is not None:
            wanted = f" (must {goal.must:.2f}, aim {goal.aim:.2f})" if goal.must and goal.aim else ""
            ratios.append(f"{found[0]} {found[1]:.2f}{wanted}")
    return f"{row.workload.unit}: {', '.join(shown)}; ratios: {', '.join(ratios) or 'none'}"


def page(rows: Sequence[Row], settings: Sequence[str]) -> str:
    """The whole of C{RESULTS.md}."""
    parts = [
        "# What the relay costs, beside its peers",
        "",
        "Written by `python -m benchmarks`; [README.md](README.md) says how. A ratio is the figure of the "
        "best of the peers that are named in the row, divided by the relay's in the same round; the median "
        "of the rounds. Higher is better for the relay.",
        "",
        *_ratios(rows),
        "",
        *_limits(rows),
        "## What is unfair",
        "",
        UNFAIR,
        "## Machine, versions, settings",
        "",
        *[f"* {setting}" for setting in settings],
        "",
        "## Figures",
        "",
    ]
    for row in rows:
        parts += [*_figures(row), ""]
    return "\n".join(parts).rstrip() + "\n"


def _ratios(rows: Sequence[Row]) -> list[str]:
    lines = ["| work | peers | best | ratio | must | aim | |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        for goal in row.workload.goals:
            start = f"| {row.workload.name} | {', '.join(goal.peers)} |"
            end = f"{goal.must:.2f} | {goal.aim:.2f} |" if goal.must and goal.aim else "| |"
            found = row.ratio(goal)
            if found is None:
                lines.append(f"{start} | not measured | {end} |")
                continue
            best, ratio = found
            said = ""
            if goal.must and goal.aim:
                said = (
                    " aim reached"
                    if ratio >= goal.aim
                    else " must reached"
                    if ratio >= goal.must
                    else " **missed**"
                )
            lines.append(f"{start} {best} | {ratio:.2f} | {end}{said} |")
    return lines


def _limits(rows: Sequence[Row]) -> list[str]:
    limited = [row for row in rows if row.workload.most is not None]
    if not limited:
        return []
    lines = ["| work | lanrelay | may be | |", "| --- | --- | --- | --- |"]
    for row in limited:
        value, most = row.median(OURS), row.workload.most
        assert most is not None
        shown = "not measured" if value is None else f"{_number(value)} {row.workload.unit}"
        said = "" if value is None else " reached" if value <= most else " **missed**"
        lines.append(f"| {row.workload.name} | {shown} | {_number(most)} |{said} |")
    return [*lines, ""]


def _figures(row: Row) -> list[str]:
    figures = [figure for name in row.figures for figure in row.figures[name]]
    titles = ["median", "lowest", "highest"]
    if any(figure.p99 for figure in figures):
        titles.append("p99, us")
    if any(figure.rate for figure in figures):
        titles += ["a second", "its core", "load's core"]
    lines = [
        f"### {row.workload.name}",
        "",
        f"{_MEASURES[row.workload.measure]}, in {row.workload.unit}.",
        "",
        f"| program | {' | '.join(titles)} |",
        f"| --- |{' ---: |' * len(titles)}",
    ]
    for name, those in row.figures.items():
        values = row.values(name)
        columns = {
            "median": _number(statistics.median(values)),
            "lowest": _number(min(values)),
            "highest": _number(max(values)),
            "p99, us": _number(statistics.median(figure.p99 for figure in those)),
            "a second": _number(statistics.median(figure.rate for figure in those)),
            "its core": ""
            if name == DIRECT
            else f"{statistics.median(figure.relay for figure in those):.0%}",
            "load's core": f"{statistics.median(figure.load for figure in those):.0%}",
        }
        lines.append(f"| {name} | {' | '.join(columns[title] for title in titles)} |")
    return lines + [f"\nLeft out: {name} ({why})." for name, why in row.left_out.items()]


def _number(value: float) -> str:
    """Three digits that count, and no powers of ten."""
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if suffix == 'k' else size):.3g} {suffix}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
