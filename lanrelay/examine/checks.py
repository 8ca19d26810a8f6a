"""
The results of an examination: a record for each look, with its cause, what was seen, and what to do.

How the room is used::

    means = Means(reactor=reactor, resolver=Resolver(reactor))
    for subject in subjects("https://nas.lan:8443/mcp", config):     # lanrelay.examine.subject; Unknown
        examined = await examine(means, subject, timeout=5.0)        # lanrelay.examine.target
        examined.ok, examined.causes, examined.checks                # records of this module
        as_json(examined)                                            # as the contract has it

The layers of a target stand in the order of L{TargetLayer}; C{route} and C{connect} have a check for each
address. A layer that does not concern a target (C{tls} of C{http://}) has no check. What depends on a layer
that failed is C{skipped}.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from lanrelay.edit.masking import mask, url

SAID_MAX: Final = 1000
"""Characters of a check's sentence, which may quote the server."""

TargetLayer = Literal["name", "route", "connect", "proxy", "tls", "http", "mcp"]
MachineLayer = Literal["config", "relay", "ports", "service", "clients", "descriptors", "clock", "network"]
Layer = TargetLayer | MachineLayer
State = Literal["ok", "warn", "failed", "skipped"]
Viewpoint = Literal["here", "service"]

Cause = Literal[
    "name_unknown",
    "name_no_answer",
    "local_network_privacy",
    "host_down",
    "no_route",
    "refused",
    "timeout",
    "reset",
    "address_denied",
    "proxy_refused",
    "not_tls",
    "tls_on_plain",
    "unknown_ca",
    "self_signed",
    "expired",
    "not_yet_valid",
    "wrong_name",
    "pin_differs",
    "old_tls",
    "client_certificate_wanted",
    "tls_other",
    "host_refused",
    "origin_refused",
    "login_wanted",
    "forbidden",
    "path_unknown",
    "redirected",
    "server_error",
    "not_http",
    "http_timeout",
    "not_mcp",
    "mcp_error",
    "not_running",
    "not_installed",
    "wrong_config",
    "port_taken",
    "direct_to_lan",
    "dead_port",
    "network_extension",
    "clock_wrong",
    "few_descriptors",
]

TRUST_CAUSES: frozenset[Cause] = frozenset({"unknown_ca", "self_signed"})
"""The causes that a decision about trust can mend: nothing else is wrong with the certificate."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """
    One look.

    @ivar cause: why the state is C{failed} or C{warn}; C{None} where there is no word for it.
    @ivar said: one sentence for what was seen.
    @ivar remedy: one sentence, or a command or lines of YAML that can be pasted; C{None} where there is
        nothing to do.
    @ivar facts: JSON values, with the names of the contract.
    """

    layer: Layer
    state: State
    said: str
    cause: Cause | None = None
    seconds: float = 0.0
    remedy: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """
    A target, and all that was looked at.

    @ivar target: as it was asked for.
    @ivar url: the URL that was examined, without credentials; in JSON a fact of the first check.
    @ivar listener: the listener whose upstream it is.
    @ivar paths: those that were asked for; a long random piece in one may be a secret, which L{shown} masks.
    """

    target: str
    url: str
    listener: str | None
    place: Viewpoint
    checks: tuple[Check, ...]
    paths: tuple[str, ...] = ()

    def shown(self, text: str) -> str:
        """A text as people and programs may see it, without what may be secret."""
        for path in sorted(self.paths, key=len, reverse=True):
            text = text.replace(path, shown_place(path))
        return mask(text)

    @property
    def ok(self) -> bool:
        return not any(check.state == "failed" for check in self.checks)

    @property
    def causes(self) -> tuple[Cause, ...]:
        """The causes of what failed, in the order of the layers."""
        return tuple(check.cause for check in self.checks if check.state == "failed" and check.cause)

    def layer(self, layer: Layer) -> tuple[Check, ...]:
        """The checks of one layer."""
        return tuple(check for check in self.checks if check.layer == layer)

    @property
    def mcp_path(self) -> str | None:
        """The path at which an MCP server was found."""
        facts = [check.facts.get("mcp") or {} for check in self.layer("mcp")]
        return next((str(found["path"]) for found in facts if found.get("path")), None)

    @property
    def only_trust_is_missing(self) -> bool:
        """Whether a CA that is not trusted is all that keeps a client from the target."""
        return bool(self.causes) and set(self.causes) <= TRUST_CAUSES


def shown_place(reference: str) -> str:
    """A URL, or a path alone, without its query and what may be secret in it."""
    bare = reference.partition("?")[0]
    return url(f"http://h{bare}").removeprefix("http://h") if bare.startswith("/") else url(bare)


def check_as_json(check: Check, shown: Callable[[str], str] = mask) -> Json:
    """
    A check as the contract has it.

    @param shown: masks what may be secret in a text.
    """
    return {
        "layer": check.layer,
        "state": check.state,
        "cause": check.cause,
        "seconds": round(check.seconds, 4),
        "said": shown(check.said),
        "remedy": None if check.remedy is None else shown(check.remedy),
        "facts": {name: _shown(fact, shown) for name, fact in check.facts.items()},
    }


_NO_SECRETS = ("chain", "tls", "addresses", "address", "defaults")


def _shown(fact: Any, shown: Callable[[str], str]) -> Any:
    """Mask paths and texts of servers; certificates and addresses stay as they are."""
    if isinstance(fact, str):
        return shown(fact)
    if isinstance(fact, Mapping):
        return {name: value if name in _NO_SECRETS else _shown(value, shown) for name, value in fact.items()}
    return fact


def as_json(examined: Examined) -> Json:
    """A target as the contract has it."""
    return {
        "target": examined.shown(examined.target),
        "listener": examined.listener,
        "from": examined.place,
        "ok": examined.ok,
        "checks": [check_as_json(check, examined.shown) for check in examined.checks],
    }


def check_from_json(said: Mapping[str, Any]) -> Check:
    """
    What L{check_as_json} made.

    @raise KeyError: it is something else.
    """
    return Check(**{name: said[name] for name in Check.__slots__})


def from_json(said: Mapping[str, Any]) -> Examined:
    """
    What L{as_json} made, perhaps in another process.

    @raise KeyError: it is something else.
    """
    return Examined(
        target=said["target"],
        url=said["checks"][0]["facts"]["url"],
        listener=said["listener"],
        place=said["from"],
        checks=tuple(map(check_from_json, said["checks"])),
    )


def document(config: str | None, targets: Sequence[Examined], machine: Sequence[Check]) -> Json:
    """The whole that C{lanrelay doctor --json} prints."""
    good = all(one.ok for one in targets) and not any(check.state == "failed" for check in machine)
    return {
        "ok": good,
        "config": config,
        "targets": [as_json(one) for one in targets],
        "machine": [check_as_json(check) for check in machine],
    }
