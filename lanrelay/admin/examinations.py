"""Makes the examination of C{lanrelay doctor} in the relay itself, asked for on the control socket."""

from __future__ import annotations

import resource
import sys
from typing import Any

from lanrelay.admin.control import Json, Refused
from lanrelay.config import model
from lanrelay.examine.checks import as_json
from lanrelay.examine.opener import Means
from lanrelay.examine.subject import Unknown, every_subject, subjects
from lanrelay.examine.target import examine_all
from lanrelay.upstream.resolve import Resolver

_LONGEST = 60.0  # seconds of one check
_MOST = 64  # targets at a time


async def examined(reactor: Any, resolver: Resolver, config: model.Config, request: Json) -> Json:
    """
    Examine what C{request} names: C{targets}, a list of words as the command takes them, empty for all that
    the listeners lead to; C{timeout}, seconds of each check.

    @raise Refused: a word means nothing, or the request is none.
    """
    words, timeout = request.get("targets", []), request.get("timeout", 5.0)
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words) or len(words) > _MOST:
        raise Refused(f"The targets are a list of words, {_MOST} at most.")
    if not isinstance(timeout, (int, float)) or not 0 < timeout <= _LONGEST:
        raise Refused(f"The timeout is a number of seconds up to {_LONGEST:g}.")
    try:
        wanted = [one for word in dict.fromkeys(words) for one in subjects(word, config)]
    except Unknown as error:
        raise Refused(str(error)) from None
    means = Means(reactor=reactor, resolver=resolver, platform=sys.platform)
    found = await examine_all(
        means, wanted if words else every_subject(config), timeout=float(timeout), place="service"
    )
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return {
        "targets": [as_json(one) for one in found],
        "descriptors": None if limit == resource.RLIM_INFINITY else limit,
    }
