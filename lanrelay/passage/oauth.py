"""Changes the URLs of an OAuth login: those of the upstream become the relay's, and back."""

from __future__ import annotations

import re
from collections.abc import Callable

from lanrelay.passage.places import Places
from lanrelay.passage.rule import Asked, Rule, View
from lanrelay.wire.headers import Field, Headers, make_field

DOCUMENT_MAX = 256 * 1024
"""
The largest metadata document that is changed, in bytes; real ones have a few KiB (MCP's SDKs read 64 KiB).
"""

FORM_MAX = 64 * 1024
"""The largest form that is changed, in bytes; a token request with a signed assertion has some 4 KiB."""

Rewrite = Callable[[bytes], bytes]

# RFC 9728 section 3, RFC 8414 section 3, OpenID Connect Discovery section 4.
_WELL_KNOWN = re.compile(
    rb"/\.well-known/(oauth-protected-resource|oauth-authorization-server|openid-configuration)(?=/|\Z)"
)
_HTTP_URL = re.compile(rb"(https?://[^/?#]*)([^?#]*)(.*)", re.DOTALL | re.IGNORECASE)
_HAS_SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9+.\-]*:")


# --- where the documents are --------------------------------------------------------------------------


def split_well_known(path: bytes) -> tuple[bytes, bytes] | None:
    """
    C{/.well-known/NAME} and the REST after it, which is empty or begins with a slash.

    REST is the path of the resource, or of the issuer, that the document is about (RFC 8414 section 3.1).
    """
    match = _WELL_KNOWN.match(path)
    return None if match is None else (path[: match.end()], path[match.end() :])


def document_kind(path: bytes) -> bytes:
    """
    The document that a path asks for, such as C{b"openid-configuration"}; empty for none.

    The name may also stand after the issuer's path (OpenID Connect Discovery section 4).
    """
    match = _WELL_KNOWN.search(path)
    return b"" if match is None else match[1]


def url_path(url: bytes) -> bytes:
    """The path of a whole URL; C{/} if it has none."""
    match = _HTTP_URL.fullmatch(url)
    return b"/" if match is None else match[2] or b"/"


def url_to_relay(url: bytes, places: Places) -> bytes:
    """
    A whole URL as the client reaches it; in the URL of a document, the path after the document's name is
    changed.

    A URL that is not on the upstream stays as it is.
    """
    match = _HTTP_URL.fullmatch(url)
    if match is None:
        return url
    origin, path, query = match.groups()
    found = split_well_known(path)
    if found is None:
        return places.to_relay(url)
    name, rest = found
    moved = places.to_relay(origin + rest)
    there = _HTTP_URL.fullmatch(moved)
    if moved == origin + rest or there is None:
        return url
    path = b"" if there[2] == b"/" != rest else there[2]
    return there[1] + name + path + query


def url_to_upstream(url: bytes, places: Places) -> bytes:
    """
    A whole URL that begins with the relay's, as the upstream knows it.

    Clients write the root with a slash (RFC 3986 section 6.2.3), but the path of a resource without one.
    """
    match = _HTTP_URL.fullmatch(url)
    if match is None:
        return url
    if match[2] == b"/" and places.upstream.prefix and not (places.relay.prefix or places.slash):
        url = match[1] + match[3]
    return places.to_upstream(url)


# --- fields -------------------------------------------------------------------------------------------

# Finds the parameter outside of quoted strings, or a quoted string, to skip it.
_CHALLENGE = re.compile(
    rb"(?i:(?<![!#$%&'*+\-.^_`|~0-9A-Za-z])(resource_metadata[ \t]*=[ \t]*))"
    rb'(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))|"(?:[^"\\]|\\.)*"?'
)


def challenge_to_relay(value: bytes, places: Places) -> bytes:
    """One WWW-Authenticate value with its C{resource_metadata} (RFC 9728 section 5.1) at the relay."""

    def moved(match: re.Match[bytes]) -> bytes:
        name, quoted, token = match.groups()
        url = token if quoted is None else quoted
        if name is None or not url:
            return match[0]
        new = url_to_relay(url, places)
        if new == url:
            return match[0]
        return name + new if quoted is None else name + b'"' + new + b'"'

    return _CHALLENGE.sub(moved, value)


# Parameters of an answer to an authorization request, beside the issuer (RFC 6749 sections 4.1.2 and 4.2.2,
# OpenID Connect Core section 3.3.2.5).
_ANSWERS = frozenset({b"code", b"error", b"access_token", b"id_token"})


def callback_to_relay(location: bytes, places: Places) -> bytes:
    """
    A redirect to the client's callback, with the C{iss} (RFC 9207) that is the issuer in the changed
    metadata.

    A redirect to the upstream itself stays as it is, for there the upstream compares.
    """
    if b"iss=" not in location or _HAS_SCHEME.match(location) is None:
        return location
    if places.to_relay(location) != location:
        return location
    base, hash_sign, fragment = location.partition(b"#")
    base, question_mark, query = base.partition(b"?")

    def moved(parameters: bytes) -> bytes:
        names = {part.partition(b"=")[0] for part in parameters.split(b"&")}
        if names.isdisjoint(_ANSWERS):
            return parameters
        return with_parameter(parameters, b"iss", lambda issuer: url_to_relay(issuer, places))

    return base + question_mark + moved(query) + hash_sign + moved(fragment)


_NAMING = frozenset({b"www-authenticate", b"location"})


def response_to_relay(headers: Headers, places: Places) -> Headers:
    """
    The fields of a response; called before L{answer_rules<lanrelay.passage.places.answer_rules>}, which hides
    where a Location led.
    """

    def moved(field: Field) -> Field:
        to_relay = challenge_to_relay if field[0] == b"www-authenticate" else callback_to_relay
        new = to_relay(field[2], places)
        return field if new == field[2] else make_field(field[1], new)

    return headers.mapped(_NAMING, moved)


def _change_answer(view: View, asked: Asked) -> Headers:
    return view if asked.places is None else response_to_relay(view, asked.places)


ANSWERS = Rule(looks_at=_NAMING, change=_change_answer)
"""As L{response_to_relay}."""


# --- parameters of a query or a form ------------------------------------------------------------------

_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_RESERVED = re.compile(rb"[^A-Za-z0-9\-._~]")


def with_parameter(parameters: bytes, name: bytes, rewrite: Rewrite) -> bytes:
    """
    C{application/x-www-form-urlencoded} with each value of one parameter rewritten.

    A value that C{rewrite} does not change keeps its bytes, and so does all else.
    """
    if name + b"=" not in parameters:
        return parameters
    parts = parameters.split(b"&")
    for position, part in enumerate(parts):
        key, equals, value = part.partition(b"=")
        if key != name or not equals:
            continue
        plain = _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), value.replace(b"+", b" "))
        new = rewrite(plain)
        if new != plain:
            parts[position] = key + b"=" + _RESERVED.sub(lambda match: b"%%%02X" % match[0][0], new)
    return b"&".join(parts)


def authorize_target(target: bytes, rewrite: Rewrite) -> bytes:
    """
    A request target whose C{resource} (RFC 8707 section 2.1) is rewritten if it is an authorization request.

    Such a request names its client (RFC 6749 section 4.1.1); its path can be anything.
    """
    path, question_mark, query = target.partition(b"?")
    if b"resource=" not in query or b"client_id=" not in query:
        return target
    return path + question_mark + with_parameter(query, b"resource", rewrite)


# --- what concerns a login ----------------------------------------------------------------------------

FORM = b"application/x-www-form-urlencoded"
_IDENTITY = make_field(b"Accept-Encoding", b"identity")


def is_form(fields: Headers) -> bool:
    """Whether the request's content may hold a C{resource}."""
    kind = fields.get(b"content-type")
    return kind is not None and kind.partition(b";")[0].strip().lower() == FORM


FORMS = Rule(
    sees=frozenset({b"content-type"}),
    concerns=lambda fields, method: is_form(fields),
    in_target=(b"resource=",),
)
"""Concerns requests with a C{resource} in their content or target; the exchange rewrites it."""


def asks_for_document(method: bytes, target: bytes) -> bool:
    """Whether the answer may be a metadata document."""
    return method in (b"GET", b"HEAD") and bool(document_kind(target.partition(b"?")[0]))


def _change_document_request(view: View, asked: Asked) -> Headers:
    if b"accept-encoding" not in view or not asks_for_document(asked.method, asked.target):
        return view
    return view.replaced_by(_IDENTITY)


DOCUMENTS = Rule(
    sees=frozenset({b"accept-encoding"}), in_target=(b"/.well-known/",), change=_change_document_request
)
"""Asks for a document without an encoding, so that it can be rewritten; the exchange does that."""


# --- documents ----------------------------------------------------------------------------------------

# The tokens of a text that is known to be JSON: strings, punctuation, and the rest.
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+')


class _Container:
    """An object or an array that is open at some place of a document."""

    __slots__ = ("at_key", "is_object", "key")

    def __init__(self, is_object: bool) -> None:
        self.is_object = is_object
        self.at_key = is_object
        self.key = ""


def document_to_relay(body: bytes, kind: bytes, places: Places) -> bytes:
    """
    A metadata document with its URLs at the relay: C{resource} and C{authorization_servers} of a protected
    resource (RFC 9728 section 2), C{issuer}, the endpoints and C{jwks_uri} of a server (RFC 8414 section 2).

    Only those values change their bytes. Content that is no JSON object in UTF-8 stays as it is.

    @param kind: as L{document_kind} says.
    """
    import json  # only here; most relays never see such a document

    try:
        if not isinstance(json.loads(body.decode("utf-8")), dict):
            return body
    except (ValueError, RecursionError):
        return body
    named = _of_resource if kind == b"oauth-protected-resource" else _of_server
    out: list[bytes] = []
    done = 0
    open_: list[_Container] = []
    for match in _TOKEN.finditer(body):
        token = match[0]
        if token in (b"{", b"["):
            open_.append(_Container(token == b"{"))
        elif token in (b"}", b"]"):
            open_.pop()
        elif token == b",":
            open_[-1].at_key = open_[-1].is_object
        elif token[:1] == b'"':
            inner = open_[-1]
            if inner.at_key:
                inner.key, inner.at_key = json.loads(token), False
            elif named(open_):
                url = json.loads(token).encode("utf-8", "surrogatepass")
                new = url_to_relay(url, places)
                if new != url:
                    text = json.dumps(new.decode("utf-8", "surrogatepass"))
                    out += [body[done : match.start()], text.encode("ascii")]
                    done = match.end()
    return b"".join([*out, body[done:]]) if out else body


# Fields that describe the bytes as they were (RFC 9530, RFC 1864).
_DIGESTS = frozenset({b"content-digest", b"repr-digest", b"digest", b"content-md5"})


def changed_document(headers: Headers, length: int) -> Headers:
    """
    The fields of a document whose bytes were changed. Its ETag becomes a weak one (RFC 9110 section 8.8.1):
    it still tells whether the document is the same, but not byte for byte.
    """
    headers = headers.without(_DIGESTS)
    if b"content-length" in headers:
        headers = headers.replaced(b"Content-Length", b"%d" % length)
    etag = headers.get(b"etag")
    if etag is not None and not etag.startswith(b"W/"):
        headers = headers.replaced(b"ETag", b"W/" + etag)
    return headers


def _of_resource(open_: list[_Container]) -> bool:
    if len(open_) == 1:
        return open_[0].key == "resource"
    return len(open_) == 2 and open_[0].key == "authorization_servers" and not open_[1].is_object


def _of_server(open_: list[_Container]) -> bool:
    if len(open_) == 1:
        return open_[0].key in ("issuer", "jwks_uri") or open_[0].key.endswith("_endpoint")
    return (
        len(open_) == 2
        and open_[0].key == "mtls_endpoint_aliases"  # RFC 8705 section 5
        and open_[1].is_object
        and open_[1].key.endswith("_endpoint")
    )
