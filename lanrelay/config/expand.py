"""C{${VAR}}, C{${VAR:-fallback}} and C{${file:PATH}} in values, and how such text is shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from lanrelay.config.values import Unfit

_REFERENCE = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")
_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)

# Words that stand before a credential and are no part of it: "Bearer ${file:token}" is shown whole.
_SCHEME = re.compile(r"(?:Basic|Bearer|Digest|Token) +", re.IGNORECASE)

_SECRET_NAME = re.compile(r"token|secret|key|passw|auth|cookie|credential", re.IGNORECASE)

# What stands between the slashes of a URL or a path; those in a reference are its own.
_PIECE = re.compile(r"(?:\$\{[^{}]*\}|[^/?#])+")

HIDDEN = "***"


def expand(text: str, environment: Mapping[str, str], read_file: Callable[[str], str]) -> str:
    """
    Put in what the references stand for, once: references in that text stay as they are.

    @param read_file: gives the content for the PATH of C{${file:PATH}}; raises L{Unfit}.
    @raise Unfit: a variable that is not set, or a reference that is none.
    """

    def replacement(match: re.Match[str]) -> str:
        if match.group() == "$${":
            return "${"
        inner = match.group(1)
        if inner is None:
            raise Unfit('expected "${NAME}" with its closing brace; "$${" stands for "${" itself')
        if inner.startswith("file:") and not inner.startswith("file:-"):
            return read_file(inner[len("file:") :])
        parts = _VARIABLE.fullmatch(inner)
        if parts is None:
            raise Unfit(
                'expected "${NAME}", "${NAME:-fallback}" or "${file:PATH}"; "$${" stands for "${" itself'
            )
        name, fallback = parts.groups()
        value = environment.get(name)
        if fallback is not None:
            return value or fallback  # as in a shell, a variable that is set to nothing counts as unset
        if value is None:
            raise Unfit(
                f"expected the environment variable {name} to be set (or a fallback: ${{{name}:-...}})"
            )
        return value

    if "${" not in text:
        return text
    return _REFERENCE.sub(replacement, text)


def escape(text: str) -> str:
    """The literal text as it must be written in a file."""
    return text.replace("${", "$${")


# --- what may be shown --------------------------------------------------------------------------------


def mask(text: str) -> str:
    """
    A secret as C{check} and errors show it: references as they are written, all other text hidden.

    The word before a token (C{Bearer}) is kept beside a reference; a fallback is hidden, for it is the
    secret itself.
    """
    shown = []
    end = 0
    referred = False
    for match in _REFERENCE.finditer(text):
        inner = match.group(1)
        if inner is None:
            continue
        referred = True
        shown.append(_masked_literal(text[end : match.start()], first=end == 0))
        name, separator, _ = inner.partition(":-")
        shown.append(f"${{{name}:-{HIDDEN}}}" if separator else match.group())
        end = match.end()
    if not referred:
        return HIDDEN if text else ""
    shown.append(_masked_literal(text[end:], first=False))
    return "".join(shown)


def _masked_literal(text: str, *, first: bool) -> str:
    if not text.strip() or (first and _SCHEME.fullmatch(text)):
        return text
    return HIDDEN


def mask_url(text: str) -> str:
    """
    A URL with its user information, its query and the random pieces of its path masked; also one that is no
    right URL.
    """
    return _mask_pieces(_mask_user_and_query(text), host=True)


def mask_path(text: str) -> str:
    """A path with its query masked, and its random pieces: some programs have their token there."""
    path, mark, query = text.partition("?")
    return _mask_pieces(path, host=False) + mark + mask(query)


def _mask_pieces(text: str, *, host: bool) -> str:
    """
    @param host: the first piece behind the scheme is a host, which is never masked. Nor is the path of a unix
        socket, which nobody asks for a token.
    """
    if host and re.match(r"(?:http\+)?unix:", text):
        return text
    from lanrelay.edit import masking  # only to show a value, which a start does not

    def piece(found: re.Match[str]) -> str:
        nonlocal host
        if host and not found[0].endswith(":"):
            host = False
            return found[0]
        shown = []
        end = 0
        for reference in _REFERENCE.finditer(found[0]):
            shown.append(masking.piece(found[0][end : reference.start()]))
            name, separator, fallback = (reference[1] or "").partition(":-")
            hidden = separator and masking.path(fallback) != fallback
            shown.append(f"${{{name}:-{HIDDEN}}}" if hidden else reference[0])
            end = reference.end()
        shown.append(masking.piece(found[0][end:]))
        return "".join(shown)

    return _PIECE.sub(piece, text)


def _mask_user_and_query(text: str) -> str:
    before, at, after = text.rpartition("@")
    place, mark, query = after.partition("?")
    if mark and (at or "://" in after):
        masked = _mask_user_and_query(f"{before}{at}{place}")
        return f"{masked}?{mask(query)}"
    if not at:
        # "http://name:password", its host forgotten: what follows the colon is shown when it is a port
        match = re.fullmatch(r"(.*://.*:)([^:/\]]+)", _flat(text))
        if match is None or match[2].isdigit():
            return text
        return text[: match.end(1)] + mask(text[match.end(1) :])
    scheme, slashes, userinfo = before.partition("://")
    if not slashes:
        scheme, userinfo = "", before
    name, colon, password = _split_userinfo(userinfo)
    return f"{scheme}{slashes}{mask(name)}{colon}{mask(password)}@{after}"


def _split_userinfo(text: str) -> tuple[str, str, str]:
    """Name and password, at the first colon that is not inside of a reference."""
    colon = _flat(text).find(":")
    return (text, "", "") if colon < 0 else (text[:colon], ":", text[colon + 1 :])


def _flat(text: str) -> str:
    """Of the same length, without the colons of references."""
    return _REFERENCE.sub(lambda match: "x" * len(match.group()), text)


def is_secret_name(name: str) -> bool:
    """Whether a header field or a variable with this name bears a credential, as far as names tell."""
    return _SECRET_NAME.search(name) is not None
