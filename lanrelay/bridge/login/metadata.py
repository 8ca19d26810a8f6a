"""What servers say about their login, judged: RFC 9728, RFC 8414, RFC 9207; without I/O."""

from __future__ import annotations

import ipaddress
import json
import re
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from lanrelay.bridge.login.messages import Challenge, NoLogin
from lanrelay.bridge.messages import Fields

_parameter = re.compile(r'\s*,?\s*([A-Za-z0-9_\-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))').match
_bearer = re.compile(r"(?:^|,)\s*bearer(?=\s|,|$)", re.IGNORECASE).finditer
_escaped = re.compile(r"\\(.)").sub
_plain = re.compile(r"[!#$%&'()*+,\-./0-9:;=?@A-Z\[\]_a-z~]+").fullmatch

GIVE_TOKEN = "Give the token with --header 'Authorization: Bearer ...'."

_PORTS = {"http": 80, "https": 443}


class Resource(NamedTuple):
    """
    @ivar issuer: the first of its authorization servers.
    """

    name: str
    issuer: str
    scope: str | None


class Authority(NamedTuple):
    """
    An authorization server.

    @ivar methods: how a client may prove itself at the token endpoint.
    @ivar names_itself: each answer of its login page must bear C{iss}.
    """

    issuer: str
    authorization: str
    token: str
    registration: str | None
    methods: tuple[str, ...]
    names_itself: bool


def challenge(fields: Fields) -> Challenge | None:
    """What the first challenge of the kind C{Bearer} says; C{None} where there is none."""
    for name, value in fields:
        if name.lower() != "www-authenticate":
            continue
        for found in _bearer(value):
            named: dict[str, str] = {}
            at = found.end()
            while (match := _parameter(value, at)) is not None:
                text = match[3] if match[2] is None else _escaped(r"\1", match[2])
                named.setdefault(match[1].lower(), text)
                at = match.end()
            return Challenge(named.get("resource_metadata"), named.get("scope"), named.get("error"))
    return None


def is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def checked(url: object, *, loopback: bool, what: str) -> str:
    """
    A URL to which tokens, or a browser, may go: C{https}, or C{http} on this machine.

    @param loopback: the server itself is on this machine: only then may it lead to others there.
    @raise NoLogin: it is another.
    """
    parts: SplitResult | None = None
    if isinstance(url, str) and _plain(url):
        try:
            parts = urlsplit(url)
            parts.port  # noqa: B018 - raises
        except ValueError:
            parts = None
    if parts is None or not parts.hostname or parts.username is not None or parts.fragment:
        raise NoLogin(f"The server's {what} is no usable URL.")
    here = is_loopback(parts.hostname)
    if here and not loopback:
        raise NoLogin(f"The server's {what} leads to this machine.")
    if parts.scheme != "https" and not (parts.scheme == "http" and here):
        raise NoLogin(f"The server's {what} is no https:// URL, so a login there would be seen by others.")
    assert isinstance(url, str)
    return url


def origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or _PORTS.get(parts.scheme, 0)


def canonical(url: str) -> str:
    """
    The name of a resource (RFC 8707 section 2): without its query, and without a path that is only a slash.
    """
    parts = urlsplit(url)
    return parts._replace(query="", fragment="", path="" if parts.path == "/" else parts.path).geturl()


def well_known(url: str, name: str, *, behind: bool = False) -> str:
    """
    @param behind: C{name} stands after the path, as OpenID has it, and not before it.
    """
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    place = f"{path}/.well-known/{name}" if behind else f"/.well-known/{name}{path}"
    return parts._replace(path=place, query="", fragment="").geturl()


def resource_places(target: str, named: str | None) -> list[str]:
    """Where the metadata of a resource may be, in the order in which they are asked for."""
    if named is not None:
        return [named]
    name = "oauth-protected-resource"
    return list(dict.fromkeys((well_known(target, name), well_known(f"{root(target)}/", name))))


def authority_places(issuer: str) -> list[str]:
    """The same for an authorization server (RFC 8414 section 3, OpenID Connect Discovery section 4)."""
    return list(
        dict.fromkeys(
            (
                well_known(issuer, "oauth-authorization-server"),
                well_known(issuer, "openid-configuration"),
                well_known(issuer, "openid-configuration", behind=True),
            )
        )
    )


def root(url: str) -> str:
    """The URL without its path; it is also the issuer of a server that has no metadata (MCP 2025-03-26)."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def document(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def resource(found: dict[str, Any], target: str, *, loopback: bool) -> Resource:
    """
    @raise NoLogin: it is another's, or says too little.
    """
    name = found.get("resource")
    if not isinstance(name, str) or not covers(name, target):
        raise NoLogin(
            "The server's login is for another address than the one that is used.",
            f"Use the address that it gives: {printable(name)}" if isinstance(name, str) else "",
        )
    servers = found.get("authorization_servers")
    if not isinstance(servers, list) or not servers:
        raise NoLogin("The server wants a login, and names no authorization server.", GIVE_TOKEN)
    scopes = found.get("scopes_supported")
    scope = " ".join(map(str, scopes)) if isinstance(scopes, list) and scopes else None
    issuer = checked(servers[0], loopback=loopback, what="authorization server")
    return Resource(name, issuer, scope)


def covers(name: str, target: str) -> bool:
    """Whether a token for the resource of this name may be shown to the target."""
    try:
        if origin(name) != origin(target):
            return False
        path, wanted = urlsplit(name).path.rstrip("/"), urlsplit(target).path.rstrip("/")
    except ValueError:
        return False
    return wanted == path or wanted.startswith(f"{path}/")


def authority(found: dict[str, Any], issuer: str, *, loopback: bool) -> Authority:
    """
    @raise NoLogin: it is another's, or what it can is not enough.
    """
    if not same_issuer(found.get("issuer"), issuer):
        raise NoLogin("The authorization server gives itself another name than the server gives it.")
    challenges = found.get("code_challenge_methods_supported")
    if not isinstance(challenges, list) or "S256" not in challenges:
        raise NoLogin("The authorization server knows no PKCE with S256, without which no login is safe.")
    registration = found.get("registration_endpoint")
    methods = found.get("token_endpoint_auth_methods_supported")
    return Authority(
        str(found["issuer"]),
        checked(found.get("authorization_endpoint"), loopback=loopback, what="login page"),
        checked(found.get("token_endpoint"), loopback=loopback, what="token endpoint"),
        None if registration is None else checked(registration, loopback=loopback, what="registration"),
        tuple(map(str, methods)) if isinstance(methods, list) else ("client_secret_basic",),
        found.get("authorization_response_iss_parameter_supported") is True,
    )


def same_issuer(one: object, other: str) -> bool:
    """Letter by letter, as RFC 8414 section 3.3 has it; but an empty path may be written as a slash."""
    return isinstance(one, str) and _written_out(one) == _written_out(other)


def _written_out(url: str) -> str:
    return url[:-1] if url.endswith("/") and url.count("/") == 3 else url


def printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text[:200])
