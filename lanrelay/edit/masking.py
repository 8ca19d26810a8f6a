"""Masks what is secret in text that people see: differences of files, logs, and what commands print."""

from __future__ import annotations

import re

HIDDEN = "***"

# Names whose value is a credential, in configuration files, environments, headers and queries alike: a name
# that ends with one of these words, as N8N_API_KEY, X-Auth-Token and clientSecret do.
_NAMES = (
    r"authorization|api[-_]?key|access[-_]?key|private[-_]?key|[a-z0-9][-_]key|token|secret|password|passwd"
    r"|passphrase|bearer|credentials?|cookie|session[-_]?id|signature|(?<![a-z])(?:pat|jwt|auth|pass|pwd)"
)
_KEY = rf"[\w.-]{{0,64}}?(?:{_NAMES})(?:[-_ ]?(?:value|header|id))?"
_WORD = r"""(?P<w>["'])(?P<value>(?:\\.|(?!(?P=w)|\n).)*)(?P=w)"""

# "key": "value" and "key" = "value"; "--key", "value" of a list, whose words may be lines of a difference.
_QUOTED = re.compile(
    rf"""(?P<before>(?P<q>["'])(?:{_KEY})(?P=q)(?:[ \t]*[:=]\s*|,[\s+-]*)){_WORD}""", re.IGNORECASE
)
_BARE = re.compile(
    rf"""(?P<before>(?:^|[\s{{,\[&?;"'+-])(?:{_KEY})[ \t]*[:=][ \t]*)
    (?:(?P<w>["'])(?P<quoted>(?:\\.|(?!(?P=w)|\n).)*)(?P=w)
    |(?P<value>\*{{3}}(?=\s)|[^\s"',}}\]\#&][^"'\n,}}\]&]*))""",
    re.IGNORECASE | re.VERBOSE | re.MULTILINE,
)
_SCHEME = re.compile(
    r"\b(?P<scheme>Bearer|Basic|Token|Digest|Negotiate|NTLM)\s+(?P<value>[\w+/=.~:-]{6,})", re.IGNORECASE
)
# Schemes are bounded (the longest in use have some ten letters), or a long line would take the square of it.
_URL = re.compile(r"""(?P<url>\b[a-z][a-z0-9+.-]{0,20}://[^\s"'<>`]+)""", re.IGNORECASE)
_USER = re.compile(r"(?P<scheme>^[a-z][a-z0-9+.-]*://)[^/?#@]*@", re.IGNORECASE)
# Well-known beginnings of tokens, wherever they stand.
_TOKEN = re.compile(
    r"\b(?:eyJ[\w-]{8,}(?:\.[\w-]+){0,2}"
    r"|(?:sk|pk|rk|ghp|gho|ghs|github_pat|glpat|xox[abprs]|hf|pypi)[-_][\w-]{8,}|AKIA[A-Z0-9]{12,})"
)
# A word that stands alone, in a value or an argument, and looks drawn by lot, whatever it is called.
_ALONE = re.compile(r"""(?<=["'\s:=])[\w-]{20,200}(?=["'\s;,]|$)""", re.MULTILINE)


def mask(text: str) -> str:
    """
    The text with its secrets as C{***}; line breaks, and all that is no secret, stay.

    These are taken for secrets: the value of a key, variable or header that is called like one, the word
    behind an authentication scheme, user information of a URL, long random pieces of its path and the values
    of its query, tokens that begin as well-known ones do, and long words of capitals, small letters and
    digits. References (C{${VAR}}, C{${file:PATH}}) are shown.
    """
    text = _URL.sub(lambda found: url(found["url"]), text)
    text = _SCHEME.sub(lambda found: f"{found['scheme']} {_hidden(found['value'])}", text)
    text = _TOKEN.sub(HIDDEN, text)
    text = _QUOTED.sub(
        lambda found: f"{found['before']}{found['w']}{_hidden(found['value'])}{found['w']}", text
    )
    text = _BARE.sub(_bare, text)
    return _ALONE.sub(lambda found: HIDDEN if _drawn(found[0]) else found[0], text)


def url(text: str) -> str:
    """A URL without what may be secret in it: user information, random pieces of the path, query values."""
    text = _USER.sub(lambda found: f"{found['scheme']}{HIDDEN}@", text)
    body, hash_, fragment = text.partition("#")
    place, mark, query = body.partition("?")
    scheme, separator, rest = place.partition("://")
    host, *pieces = rest.split("/")
    told = "/".join((scheme + separator + host, *map(piece, pieces)))
    if mark:
        told += "?" + "&".join(_query(part) for part in query.split("&"))
    return told + hash_ + piece(fragment)


def path(text: str) -> str:
    """A path without its random pieces: some programs have their token there."""
    return "/".join(map(piece, text.split("/")))


def piece(text: str) -> str:
    """A piece of a path as it is, or C{***} if it looks drawn by lot."""
    return _hidden(text) if _random(text) else text


def _query(part: str) -> str:
    name, equals, value = part.partition("=")
    if not equals:
        return _hidden(name) if _random(name) else name
    plain = len(value) < 8 and not re.fullmatch(_KEY, name, re.IGNORECASE)
    return f"{name}={value if plain else _hidden(value)}"


def _random(piece: str) -> bool:
    """Whether it looks drawn by lot: long, and with letters and digits mixed, or a UUID, or hexadecimal."""
    # "private_<secret>": the part behind the word is what counts. No secret has a space in it.
    for part in re.split(r"[_.~\s]", piece):
        letters = sum(letter.isalpha() for letter in part)
        digits = sum(letter.isdigit() for letter in part)
        if len(part) >= 16 and letters >= 2 and digits >= 2:
            return True
    return len(piece) >= 32 and " " not in piece and "-" not in piece.strip("-")


def _drawn(word: str) -> bool:
    """
    As L{_random}, but for a word with no hint that it is a secret: it needs capitals, small letters and
    digits.
    """
    return (
        sum(letter.isdigit() for letter in word) >= 3
        and any(letter.isupper() for letter in word)
        and any(letter.islower() for letter in word)
    )


def _bare(found: re.Match[str]) -> str:
    quote = found["w"] or ""
    value = found["quoted"] if quote else found["value"]
    return f"{found['before']}{quote}{_hidden(value)}{quote}"


def _hidden(value: str) -> str:
    """References stay, for they are no secret; so do the words that say there is none."""
    stripped = value.strip()
    if not stripped or stripped == HIDDEN or re.fullmatch(r"(?:\w+ )?\$\{[^}]*\}|(?:\w+ )?\$\w+", stripped):
        return value
    if stripped in ("[", "{", "|", ">", "true", "false", "null", "none", "~"):
        return value
    scheme = re.match(r"(Bearer|Basic|Token|Digest)\s+", stripped, re.IGNORECASE)
    if scheme is not None:
        return f"{scheme.group(1)} {HIDDEN}"
    return HIDDEN
