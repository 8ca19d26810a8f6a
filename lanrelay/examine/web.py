"""The layer of HTTP: one GET, and what its status means to a client."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

from lanrelay.config.model import Trust
from lanrelay.errors import (
    ClientCertificateWanted,
    DialError,
    NoCommonVersion,
    PeerClosed,
    RelayError,
    ResponseIncomplete,
    ResponseMalformed,
    TlsAlert,
)
from lanrelay.examine import causes
from lanrelay.examine.asking import HttpAnswer, ask, request_head
from lanrelay.examine.checks import shown_place
from lanrelay.examine.handshake import Shown
from lanrelay.examine.hosts_tried import MISDIRECTED, REFUSING, refusal_found
from lanrelay.examine.look import Look
from lanrelay.examine.opener import Opener

_TOKEN = 'headers: {request: {set: {Authorization: "Bearer ${file:token}"}}}'


async def look_at_http(look: Look, opener: Opener) -> bool:
    """Note the check; whether the layers above HTTP may be looked at."""
    since = look.now()
    subject = look.subject
    try:
        answer = await get(look, opener, subject.path)
    except ClientCertificateWanted as error:
        client_certificate_wanted(look, opener, error)
        return False
    except RelayError as error:
        odd = isinstance(error, (ResponseMalformed, ResponseIncomplete, PeerClosed))
        if odd and not look.upstream.url.tls and await speaks_tls(look, opener):
            _tls_on_plain(look, since)
        else:
            look.checks.append(look.failed("http", error, since))
        look.skip("there was no answer over HTTP")
        return False
    if answer.status == 400 and not look.upstream.url.tls and await speaks_tls(look, opener):
        _tls_on_plain(look, since, status=400)
        look.skip("there was no answer over HTTP")
        return False
    return await _judge(look, opener, answer, since)


async def get(
    look: Look,
    opener: Opener,
    path: str,
    *,
    host: str | None = None,
    origin: bool = True,
    accept: str = "*/*",
) -> HttpAnswer:
    """
    A GET as the relay would send it.

    @param origin: with the Origin field, where there is one.
    @raise RelayError: no answer.
    """
    fields = [("Accept", accept), *request_fields(look, origin=origin)]
    head = request_head("GET", path, look.subject.host if host is None else host, fields)
    return await ask(look.means, opener, head, timeout=look.timeout)


def request_fields(look: Look, *, origin: bool = True) -> list[tuple[str, str]]:
    """What the listener puts on every request."""
    sent = look.subject.origin
    return [*([("Origin", sent)] if origin and sent is not None else []), *look.subject.fields]


def client_certificate_wanted(look: Look, opener: Opener, error: ClientCertificateWanted) -> None:
    """Mend the check of TLS: in TLS 1.3 the server judges our certificate only after the handshake."""
    error.target, error.address = opener.label, str(opener.address)
    for index, check in enumerate(look.checks):
        if check.layer == "tls":
            failed = look.failed("tls", error, look.now(), **check.facts)
            look.checks[index] = replace(failed, seconds=check.seconds)
    look.skip("nothing is answered without a client certificate")


# --- TLS on a port that should be plain -----------------------------------------------------------------


async def speaks_tls(look: Look, opener: Opener) -> bool:
    """Whether a TLS handshake gets anywhere on this port."""
    shown = Shown(Trust(min_version="1.0"), look.upstream.url.host, platform=look.means.platform)
    trying = Opener(look.means, look.upstream, opener.address, look.timeout, shown)
    try:
        (await trying.open()).abortConnection()
    except (TlsAlert, NoCommonVersion):
        return True
    except DialError:
        return bool(shown.chain)
    return True


def _tls_on_plain(look: Look, since: float, **facts: object) -> None:
    url = look.upstream.url
    look.note(
        "http",
        "failed",
        f"{url.authority} speaks TLS, and is spoken to without it.",
        since,
        cause="tls_on_plain",
        remedy=f"url: {url._replace(scheme='https')}  # in place of {url}",
        **facts,
    )


# --- statuses -------------------------------------------------------------------------------------------


async def _judge(look: Look, opener: Opener, answer: HttpAnswer, since: float) -> bool:
    """Note the check; whether an MCP server may yet be behind this answer."""
    status, path = answer.status, look.subject.path
    got = f"GET {path} is answered {status} {_phrase(status)}".rstrip()
    if status in REFUSING and await _host_or_origin_refused(look, opener, answer, since, path):
        return False
    if status == 401:
        await login_wanted(look, opener, answer, since, "http")
        return True
    if status == 403:
        look.note(
            "http",
            "warn",
            f"{got}: this request, or this user, may not.",
            since,
            cause="forbidden",
            remedy="Look at who may do what over there; a token may be missing, or may lack a right.",
            status=status,
        )
        return True
    if status == 200 and answer.is_html:
        look.page_at = path
    if status == 404 and look.subject.path_is_named and path not in look.subject.mcp:
        look.note(
            "http",
            "failed",
            f"{got}: there is nothing at that path.",
            since,
            cause="path_unknown",
            remedy="Correct the path; its end counts, too (/mcp and /mcp/ may be different).",
            status=status,
        )
        return True
    if 300 <= status < 400 and status != 304:
        redirected(look, answer, since, got)
        return True
    if status >= 500:
        server_error(look, got, status, since, "http")
        look.skip("the server fails")
        return False
    said = got
    if status in (405, 406, 400, 415):
        said = f"{got}: it is there, and wants to be asked in another way"
    elif status == 404:
        named = look.subject.path_is_named
        said = f"{got} to GET" if named else f"{got}, which does no harm: nobody has named that path"
    look.note("http", "ok", f"{said}.", since, status=status, **_clock_offset(answer))
    return True


def _clock_offset(answer: HttpAnswer) -> dict[str, Any]:
    """How far the server's clock is ahead of ours, in seconds, as far as it says."""
    try:
        there = parsedate_to_datetime(answer.field(b"date"))
    except (TypeError, ValueError):
        return {}
    if there.tzinfo is None:
        return {}
    return {"clock_offset": round(there.timestamp() - time.time())}


async def _host_or_origin_refused(
    look: Look, opener: Opener, answer: HttpAnswer, since: float, path: str
) -> bool:
    # A good Host may still get a 400, for a bare GET is not what an MCP server wants.
    no_better = REFUSING if answer.status == 400 else (403, MISDIRECTED)

    async def accepts(host: str | None, *, origin: bool = True) -> bool:
        try:
            tried = await get(look, opener, path, host=host, origin=origin)
        except RelayError:
            return False
        return tried.status not in no_better

    return await refusal_found(look, opener, answer.status, since, "http", accepts)


def redirected(look: Look, answer: HttpAnswer, since: float, got: str) -> None:
    location = shown_place(answer.field(b"location"))[:200]
    url = look.upstream.url
    remedy = "Put the place that it names into the URL, if a client should get there at once."
    if not url.tls and location.startswith(f"https://{url.host}") and causes.is_pasteable_place(location):
        remedy = f"url: {location}  # in place of {url}"
    look.note(
        "http",
        "warn",
        f"{got} and leads to {location or 'nowhere'}.",
        since,
        cause="redirected",
        remedy=remedy,
        status=answer.status,
    )


def server_error(look: Look, got: str, status: int, since: float, layer: causes.WebLayer) -> None:
    through = status in (502, 503, 504)
    remedy = (
        "Look at the log over there: a proxy answered, and could not reach the server behind it."
        if through
        else "Look at the log over there."
    )
    look.note(layer, "failed", f"{got}.", since, cause="server_error", remedy=remedy, status=status)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


# --- logins ---------------------------------------------------------------------------------------------

_METADATA = re.compile(r'resource_metadata="?([^",\s]+)', re.IGNORECASE)


async def login_wanted(
    look: Look,
    opener: Opener,
    answer: HttpAnswer,
    since: float,
    layer: causes.WebLayer,
    path: str | None = None,
) -> None:
    """Note the check for a 401: whether clients can log in (OAuth), or a header is wanted."""
    path = look.subject.path if path is None else path
    given = any(name.lower() == "authorization" for name, _ in look.subject.fields)
    asked = answer.field(b"www-authenticate")
    page = await _login_page(look, opener, asked, path)
    if given:
        said = f"The server does not accept the Authorization that the listener sets (401 at {path})."
        remedy = "Put a token that it accepts into the listener's `headers`."
    elif page:
        said = f"The server wants a login (401 at {path}), and says where: {page}."
        remedy = "Log in from the client, which opens the login page when it first connects."
    else:
        said = f"The server wants a credential (401 at {path}), and has no login page: a header is wanted."
        remedy = f"{_TOKEN}  # of the listener; or the same header in the client"
        if asked.lower().startswith("basic"):
            remedy = remedy.replace("Bearer", "Basic")
    look.note(layer, "warn", said, since, cause="login_wanted", remedy=remedy, status=401)


async def _login_page(look: Look, opener: Opener, asked: str, path: str) -> str:
    """Where the login is described (RFC 9728, RFC 8414); empty if it is nowhere."""
    named = _METADATA.search(asked)
    if named is not None:
        return named[1]
    bare = path.partition("?")[0].rstrip("/")
    places = [
        f"/.well-known/oauth-protected-resource{bare}",
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-authorization-server",
    ]
    for place in dict.fromkeys(places):
        try:
            answer = await get(look, opener, place, accept="application/json")
        except RelayError:
            return ""
        if answer.status == 200 and _is_metadata(answer):
            return place
    return ""


def _is_metadata(answer: HttpAnswer) -> bool:
    try:
        found = json.loads(answer.content)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and bool(
        {"authorization_servers", "authorization_endpoint"} & found.keys()
    )
