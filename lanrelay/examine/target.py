"""Examines one target, layer after layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from lanrelay.errors import DialError
from lanrelay.examine.checks import Examined, Viewpoint
from lanrelay.examine.look import Look, side_by_side
from lanrelay.examine.name import look_up
from lanrelay.examine.opener import Means, Opener
from lanrelay.examine.reach import reach
from lanrelay.examine.subject import Subject


async def examine(
    means: Means, subject: Subject, *, timeout: float = 5.0, place: Viewpoint = "here"
) -> Examined:
    """
    Look at every layer of a target as a client of the relay would meet it. The relay counts nothing of this.

    No part of a request is sent to a TLS server that was not verified.

    @param timeout: seconds for each check.
    @raise CancelledError: the caller has cancelled; nothing stays open.
    """
    look = Look(means, subject, timeout, place)
    await _look(look)
    return Examined(
        target=subject.target,
        url=subject.url,
        listener=subject.listener,
        place=place,
        checks=tuple(look.checks),
        paths=tuple(
            path for path in {subject.path, subject.upstream.url.path, *subject.mcp} if len(path) > 1
        ),
    )


async def examine_all(
    means: Means, subjects: Sequence[Subject], *, timeout: float = 5.0, place: Viewpoint = "here"
) -> list[Examined]:
    """L{examine} for several, side by side."""
    return await side_by_side(
        [partial(examine, means, one, timeout=timeout, place=place) for one in subjects]
    )


async def _look(look: Look) -> None:
    addresses = await look_up(look)
    if not addresses:
        look.skip("there is no address to connect to", "route", "connect")
        return
    shown = None
    if look.upstream.url.tls:
        from lanrelay.examine.handshake import Shown

        shown = Shown(look.upstream.trust, look.upstream.server_name, platform=look.means.platform)
    way = await reach(look, addresses, shown)
    if way is None:
        look.skip("no connection could be made")
        return
    if way.parent is not None and not await _pass_proxy(look, way):
        look.skip("the parent proxy does not lead there")
        return
    if shown is not None:
        from lanrelay.examine.secured import look_at_tls

        if not await look_at_tls(look, way, shown):
            return
    if look.subject.is_http:
        from lanrelay.examine.web import look_at_http

        if await look_at_http(look, way):
            from lanrelay.examine.mcp import look_at_mcp

            await look_at_mcp(look, way)


async def _pass_proxy(look: Look, opener: Opener) -> bool:
    since = look.now()
    assert opener.parent is not None
    try:
        stream = await opener.pass_parent(await opener.connect())
    except DialError as error:
        look.checks.append(replace(look.failed("proxy", error, since), cause="proxy_refused"))
        return False
    stream.abortConnection()
    look.note("proxy", "ok", f"{opener.parent.name} opened the way to {opener.target}.", since)
    return True
