"""How bad it is: of an upstream, of a listener, and of all of them in one word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

Json = dict[str, Any]

GOOD, POOR, BAD, NONE = "good", "poor", "bad", "none"


class State(NamedTuple):
    """
    How an upstream or a listener is.

    @ivar kind: C{good}, C{poor}, C{bad} or, where nobody can tell, C{none}.
    @ivar said: that in words.
    """

    kind: str
    said: str


class Shown(NamedTuple):
    """
    A listener with what belongs to it.

    @ivar key: its name, which is made different where a replaced one has the same.
    @ivar problem: what is wrong and what to do, if that is known.
    """

    key: str
    listener: Json
    upstreams: Sequence[Json]
    certificates: Sequence[Json]
    state: State
    problem: Json | None


def listeners(document: Json) -> Iterator[Shown]:
    """All but the page itself."""
    seen: dict[str, int] = {}
    upstreams = _by_listener(document["upstreams"])
    certificates = _by_listener(document["certificates"])
    for one in document["listeners"]:
        if one["kind"] == "admin":
            continue
        name = one["name"]
        seen[name] = seen.get(name, 0) + 1
        current = not one["draining"]
        leads = upstreams.get(name, ()) if current else ()
        yield Shown(
            key=name if seen[name] == 1 else f"{name}.{seen[name]}",
            listener=one,
            upstreams=leads,
            certificates=certificates.get(name, ()) if current else (),
            state=of_listener(one, leads),
            problem=one["problem"] if "problem" in one else _problem(leads),
        )


def _problem(upstreams: Sequence[Json]) -> Json | None:
    """The problem as the upstreams have it, where the document has none for the listener."""
    for one in upstreams:
        error = one["noticed"] or (one["last_error"] if one["up"] is False else None)
        if error is not None:
            return {
                "cause": error["error"],
                "sentence": error["what"],
                "remedy": error["remedy"],
                "command": None,
                "since": one["history"][0]["at"] if one["history"] else None,
                "line": None,
            }
    return None


def _by_listener(found: Sequence[Json]) -> dict[str, list[Json]]:
    sorted_: dict[str, list[Json]] = {}
    for one in found:
        sorted_.setdefault(one["listener"], []).append(one)
    return sorted_


def of_upstream(one: Json) -> State:
    """The state of an upstream; one that is not checked is judged by what came of its use."""
    if one["up"] is None:
        if one["checked"]:
            return State(NONE, "not known yet")
        return State(NONE, "not checked") if one["last_error"] is None else State(POOR, "not reached")
    if not one["up"]:
        return State(BAD, "down")
    minutes = one.get("minutes")
    if minutes and minutes[-1]["state"] == "slow":
        return State(POOR, "slow")
    return State(GOOD, "up")


def of_listener(one: Json, upstreams: Sequence[Json]) -> State:
    if one["draining"]:
        return State(NONE, "ends with its connections")
    if not one["listening"]:
        return State(BAD, "does not listen")
    if not upstreams:
        return State(GOOD, "listens")
    states = [of_upstream(each) for each in upstreams]
    down = sum(state.kind == BAD for state in states)
    if down == len(states):
        return State(BAD, "down")
    if down:
        return State(POOR, f"{down} of {len(states)} down")
    for kind in (POOR, NONE):
        for state in states:
            if state.kind == kind:
                return state
    return State(GOOD, "up")


# --- all of them ---


class Overall(NamedTuple):
    """
    The state of the whole relay: one listener that is down does not make the others bad.

    @ivar mood: as the kind of a L{State}.
    """

    mood: str
    headline: str


def overall(document: Json, found: Sequence[Shown]) -> Overall:
    """@param found: all of L{listeners}."""
    shown = [each for each in found if not each.listener["draining"]]
    states = [each.state for each in shown]
    up, of = _reachable(document, shown)
    if of == 0:
        headline = "Ready" if document["ready"] else "Not ready"
    elif up == of:
        headline = "1 of 1 reachable" if of == 1 else f"All {of} reachable"
    else:
        headline = f"{up} of {of} reachable"
    deaf = any(not each.listener["listening"] for each in shown)
    last = document["last_reload"]
    if deaf or (of and not up and any(state.kind == BAD for state in states)):
        mood = BAD
    elif (
        any(state.kind in (BAD, POOR) for state in states)
        or (last is not None and not last["ok"])
        or any(one["insecure"] for one in document["upstreams"])
        or any(one["ends_soon"] or one["days_left"] < 0 for one in document["certificates"])
        or any(each.problem for each in shown)
    ):
        mood = POOR
    elif of and up < of:
        mood = NONE  # at the start, before the first check
    else:
        mood = GOOD
    return Overall(mood, headline)


def _reachable(document: Json, shown: Sequence[Shown]) -> tuple[int, int]:
    counted = document.get("reachable")
    if counted is not None:
        return counted["up"], counted["of"]
    with_upstreams = [each for each in shown if each.upstreams]
    up = sum(any(one["up"] is not False for one in each.upstreams) for each in with_upstreams)
    return up, len(with_upstreams)
