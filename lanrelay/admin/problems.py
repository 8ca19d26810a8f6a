"""What is wrong with a listener: the cause, a sentence for it and one for what to do, and a command."""

from __future__ import annotations

import os
import sys
import time
from shlex import quote
from typing import Any

from lanrelay.admin.watched import Watched
from lanrelay.config.default_path import NotFound, find
from lanrelay.errors import DialError, HostRefused, TlsOnPlain, Unroutable
from lanrelay.listeners.service import ListenerService
from lanrelay.upstream.explain import explain
from lanrelay.upstream.sentences import why_unroutable
from lanrelay.upstream.upstream import Upstream

Json = dict[str, Any]


def problem_of(listener: ListenerService, watched: Watched) -> Json | None:
    """The worst there is; C{None} if it can be used, as far as is known."""
    if not (listener.running and listener.bound) and not listener.draining:
        return _closed(listener, watched)
    for group in listener.groups:
        faults = [_fault(member) for member in group.members]
        if faults[0] is not None and None not in faults:
            member = group.members[0]
            return _problem(listener, member, faults[0], member.failing, watched)
    for group in listener.groups:
        for member in group.members:
            if member.noticed is not None:
                return _problem(listener, member, member.noticed, member.noticing, watched)
    return _expired(listener, watched)


def _fault(upstream: Upstream) -> DialError | None:
    """Why it cannot be used now."""
    if not upstream.up or upstream.health is None:
        return upstream.last_error
    return None


def _closed(listener: ListenerService, watched: Watched) -> Json:
    name = listener.config.name
    return {
        "cause": "not_running",
        "sentence": f"{name} does not listen.",
        "remedy": "Look at the relay's log.",
        "command": _command("lanrelay doctor", watched),
        "since": round(watched.pulses.of(name).since, 3),
        "line": line_of(watched, name),
    }


def _expired(listener: ListenerService, watched: Watched) -> Json | None:
    """The listener's own certificate has ended, so clients do not take it any more."""
    own = watched.own_certificates.of(listener)
    end = None if own is None else own.not_after.timestamp()
    if own is None or end is None or end > time.time():
        return None
    name = listener.config.name
    return {
        "cause": "expired",
        "sentence": f"The certificate that {name} shows has expired ({own.not_after:%Y-%m-%d}).",
        "remedy": "Put a new one in the place of the files `tls.cert` and `tls.key`; it is taken at once.",
        "command": None,
        "since": round(end, 3),
        "line": line_of(watched, name),
    }


def _problem(
    listener: ListenerService, upstream: Upstream, error: DialError, since: float, watched: Watched
) -> Json:
    """@param since: the reactor's seconds."""
    name, explanation, cause = listener.config.name, explain(error), _cause(error)
    if cause == "local_network_privacy":
        command = "sudo lanrelay service install --mode daemon"
    elif cause in ("unknown_ca", "self_signed", "pin_differs"):
        command = _command(f"lanrelay trust {quote(name)}", watched)
    else:
        command = _command(f"lanrelay doctor {quote(name)}", watched)
    return {
        "cause": cause,
        "sentence": explanation.what,
        "remedy": explanation.remedy,
        "command": command,
        "since": round(watched.wall.at(since), 3),
        "line": line_of(watched, name, upstream.url),
    }


def _cause(error: DialError) -> str:
    if isinstance(error, Unroutable):
        return why_unroutable(error, sys.platform)
    if isinstance(error, HostRefused):
        return "host_refused"
    if isinstance(error, TlsOnPlain):
        return "tls_on_plain"
    from lanrelay.examine.causes import cause_of  # its sentences take 6 ms, and mostly nothing is wrong

    return cause_of(error) or error.proxy_status


def _command(command: str, watched: Watched) -> str:
    """The command, with the relay's configuration file unless the command finds that by itself."""
    path = watched.config.path
    # A path that only the relay can open does not help at another terminal.
    environment = {key: value for key, value in os.environ.items() if key != "LANRELAY_CONFIG"}
    try:
        found = find(None, environment=environment) == path
    except NotFound:
        found = False
    return command if found else f"{command} -c {quote(str(path))}"


def line_of(watched: Watched, listener: str, url: str = "") -> str | None:
    """C{relay.yaml:12}."""
    lines = watched.lines
    line = lines.get((listener, url)) or lines.get((listener, ""))
    return None if line is None else f"{watched.config.path.name}:{line}"
