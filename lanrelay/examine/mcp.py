"""The layer of MCP: what a client finds, from the first message to the number of tools."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lanrelay.errors import ClientCertificateWanted, RelayError
from lanrelay.examine.asking import HttpAnswer
from lanrelay.examine.causes import is_pasteable_place
from lanrelay.examine.checks import Cause, shown_place
from lanrelay.examine.hosts_tried import REFUSING, refusal_found
from lanrelay.examine.look import Look
from lanrelay.examine.mcp_talk import Found, McpError, NoMcp, Talk
from lanrelay.examine.opener import Opener
from lanrelay.examine.web import client_certificate_wanted, login_wanted, server_error

_NOTHING_THERE = (400, 404, 405, 406, 415)


async def look_at_mcp(look: Look, opener: Opener) -> None:
    """Note one check of what answers as an MCP server."""
    since = look.now()
    subject = look.subject
    told: list[tuple[str, HttpAnswer]] = []
    for path in subject.mcp:
        try:
            found = await Talk(look, opener, path).find()
        except ClientCertificateWanted as error:
            client_certificate_wanted(look, opener, error)
            return
        except RelayError as error:
            look.checks.append(look.failed("mcp", error, since))
            return
        except McpError as error:
            _failed_itself(look, error, path, since)
            return
        except NoMcp as error:
            told.append((path, error.answer))
            if error.answer.status not in (200, *_NOTHING_THERE):
                break
        else:
            _tell(look, found, since)
            return
    await _not_there(look, opener, told, since)


def _tell(look: Look, found: Found, since: float) -> None:
    tools = "1 tool" if found.tools == 1 else f"{found.tools} tools"
    version = f" {found.version}" if found.version else ""
    said = f"{found.server or 'A server'}{version} at {found.path}: MCP of {found.era}, {tools}"
    facts: dict[str, Any] = {"mcp": found.as_json()}
    if found.sse_only:
        look.note(
            "mcp",
            "warn",
            f"{said}, over HTTP+SSE alone, which not every client speaks.",
            since,
            remedy=f"In the client, say that the server is of type `sse`; its URL ends in {found.path}.",
            **facts,
        )
        return
    said += ", with sessions" if found.session else ", without sessions"
    said += "" if found.stream is None else " and a GET stream" if found.stream else " and no GET stream"
    if found.redirected_from:
        name = look.subject.listener
        look.note(
            "mcp",
            "warn",
            f"{said}. {found.redirected_from} leads there by a redirect.",
            since,
            cause="redirected",
            remedy=f"mcp: {found.path}  # of listeners.{name}"
            if name and is_pasteable_place(found.path)
            else f"Use {found.path} in the URL.",
            **facts,
        )
        return
    look.note("mcp", "ok", f"{said}.", since, **facts)


def _failed_itself(look: Look, error: McpError, path: str, since: float) -> None:
    look.note(
        "mcp",
        "failed",
        f"The MCP server at {path} answers {error.method} with an error: {error}.",
        since,
        cause="mcp_error",
        remedy="Look at the log of the server.",
    )


# --- where there is none --------------------------------------------------------------------------------


async def _not_there(look: Look, opener: Opener, told: list[tuple[str, HttpAnswer]], since: float) -> None:
    subject = look.subject
    for path, answer in told:
        if answer.status in (*REFUSING, 404, 200) and await _host_or_origin_refused(
            look, opener, path, answer, since
        ):
            return
        if answer.status == 401:
            if any(check.cause == "login_wanted" for check in look.checks):
                look.skip("a login comes first")
            else:
                await login_wanted(look, opener, answer, since, "mcp", path)
            return
        if answer.status >= 500:
            got = f"POST {path} is answered {answer.status}"
            server_error(look, got, answer.status, since, "mcp")
            return
    path, first = told[0]
    if 300 <= first.status < 400 and any(check.cause == "redirected" for check in look.checks):
        look.skip("a redirect comes first")
        return
    if first.status == 404 and subject.path == path and subject.path_is_named:
        _path_unknown(look)
        return
    if not subject.mcp_is_named and len(told) > 1:
        tried = " or ".join(path for path, _ in told)
        look.note("mcp", "skipped", f"There is no MCP server at {tried}.", since)
        return
    said, cause, remedy = _what_it_is(path, first, look)
    look.note(
        "mcp",
        "failed" if subject.mcp_is_named and cause == "not_mcp" else "warn",
        said,
        since,
        cause=cause,
        remedy=remedy,
        status=first.status,
    )


def _path_unknown(look: Look) -> None:
    """Neither GET nor POST finds anything at the path that was named."""
    path = look.subject.path
    for index, check in enumerate(look.checks):
        if check.layer == "http":
            look.checks[index] = replace(
                check,
                state="failed",
                cause="path_unknown",
                said=f"There is nothing at {path} (404).",
                remedy="Correct the path; its end counts, too: /mcp and /mcp/ may be different.",
            )
    look.skip("there is nothing at that path")


def _what_it_is(path: str, answer: HttpAnswer, look: Look) -> tuple[str, Cause, str]:
    status = answer.status
    if status == 403:
        said = f"POST {path} is answered 403: this request, or this user, may not."
        return said, "forbidden", "Look at who may do what over there; a token may be missing."
    if 300 <= status < 400:
        place = shown_place(answer.field(b"location")) or "nowhere"
        said = f"POST {path} is answered {status} and leads to {place}."
        return said, "redirected", "Put the place that it names into the URL, unless it is a login page."
    if answer.is_html or (look.page_at == path and status != 404):
        said = f"At {path} there is a web page ({status}) and no MCP server: another path, or a login page."
        return said, "not_mcp", "Correct the path (mostly it is /mcp), or log in with a header."
    if status in (404, 405):
        said = f"There is no MCP server at {path} ({status})."
        return said, "not_mcp", "Correct the path; mostly it is /mcp, or /sse of older servers."
    if status == 200 and not answer.content:
        said = f"At {path} there is an empty answer (200), as of a web server that has no site for this Host."
        return said, "not_mcp", "Use the name in the URL by which the server knows the site."
    kind = answer.media_type or "no type"
    said = f"What is at {path} is no MCP server: it answers {status} with {kind}."
    return said, "not_mcp", "Correct the path; mostly it is /mcp, or /sse of older servers."


async def _host_or_origin_refused(
    look: Look, opener: Opener, path: str, answer: HttpAnswer, since: float
) -> bool:
    async def accepts(host: str | None, *, origin: bool = True) -> bool:
        return await Talk(look, opener, path, host=host, origin=origin).is_there()

    return await refusal_found(look, opener, answer.status, since, "mcp", accepts)
