"""Finds the upstreams that a name or a URL means, and has each of them reached."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

from lanrelay.admin.control import Json, Refused
from lanrelay.admin.leads import Lead, leads
from lanrelay.errors import DialError
from lanrelay.listeners.service import Environment, ListenerService
from lanrelay.upstream.explain import explain
from lanrelay.upstream.probe import Probed, Step, probe


async def probe_all(
    environment: Environment,
    listeners: Sequence[ListenerService],
    name: str,
    tell: Callable[[object], object],
) -> list[Json]:
    """
    Reach all upstreams of the listener C{name}, or those whose URL it is; one after the other.

    @param tell: is told which upstream is tried, and each step.
    @raise Refused: there is none.
    """
    outcomes = []
    for listener, lead in _meant(listeners, name):
        upstream = lead.upstream
        tell({"upstream": upstream.name, "listener": lead.listener, "route": lead.route})
        probed = await probe(
            environment.reactor,
            environment.dialer,
            upstream.config,
            listener.config.timeouts,
            upstream.health,
            lambda step: tell({"step": _rounded(step)}),
        )
        outcomes.append({"upstream": upstream.name, "listener": lead.listener, **_outcome(probed)})
    return outcomes


def _rounded(step: Step) -> Json:
    return {**asdict(step), "seconds": round(step.seconds, 4)}


def _outcome(probed: Probed) -> Json:
    error = probed.error
    outcome: Json = {"ok": error is None, "seconds": round(probed.seconds, 4)}
    if isinstance(error, DialError):
        explanation = explain(error)
        outcome |= {
            "error": error.proxy_status,
            "address": error.address,
            "errno": error.errno,
            "elapsed": round(error.elapsed, 4),
            "what": explanation.what,
            "remedy": explanation.remedy,
        }
    elif error is not None:
        outcome |= {
            "error": error.proxy_status,
            "address": "",
            "elapsed": 0.0,
            "what": str(error),
            "remedy": "",
        }
    return outcome


def _meant(listeners: Sequence[ListenerService], name: str) -> list[tuple[ListenerService, Lead]]:
    every = [(listener, lead) for listener in listeners for lead in leads([listener])]
    found = [entry for entry in every if name in (entry[1].listener, *_spellings(entry[1]))]
    if found:
        return found
    for listener in listeners:
        if listener.config.name == name:
            raise Refused(f"{name} leads to {listener.leads_to()}, and to no upstream that could be tried.")
    known = ", ".join(
        dict.fromkeys(word for _, lead in every for word in (lead.listener, lead.upstream.name))
    )
    raise Refused(f"There is no upstream {name}; there are {known}." if known else "There are no upstreams.")


def _spellings(lead: Lead) -> Iterator[str]:
    """The URL as it is configured and as it is shown, with or without a final slash."""
    for shown in (lead.upstream.url, lead.upstream.name):
        url = shown.removesuffix("/")
        yield url
        yield f"{url}/"
