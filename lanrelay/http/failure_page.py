"""The page for a browser whose request failed: it says what failed and what to do."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from html import escape
from typing import Final

# In the reader's colour scheme, and no wider than a telephone.
_STYLE: Final = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--faint:#59636e;--line:#e2e5e9;--link:#0b57c0}
@media(prefers-color-scheme:dark){
:root{--paper:#15181b;--ink:#e4e7ea;--faint:#a0a9b3;--line:#2c3137;--link:#84b6ff}}
body{margin:0 auto;max-width:38rem;padding:clamp(1.5rem,10vh,6rem) 1.25rem 2rem;
background:var(--paper);color:var(--ink);overflow-wrap:anywhere;
font:1rem/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
h1{margin:0 0 1rem;font-size:1.25rem;line-height:1.3}
p{margin:0 0 .75rem}
dl{display:grid;grid-template-columns:auto minmax(0,1fr);gap:.125rem 1rem;margin:1.5rem 0;padding:1rem 0;
border:solid var(--line);border-width:1px 0;font-size:.875rem}
dt{color:var(--faint)}
dd{margin:0}
code{font:.9em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
a{color:var(--link)}
"""

POLICY: Final = (
    b"default-src 'none'; style-src 'sha256-%b'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    % b64encode(sha256(_STYLE.encode()).digest())
)
"""The page's C{Content-Security-Policy}."""


def failure_page(
    title: str, what: str, remedy: str, facts: tuple[tuple[str, str], ...], status_page: str
) -> bytes:
    """
    The page.

    @param facts: names and values; those without a value are left out.
    @param status_page: the URL of the relay's status page, empty if this client may not see it.
    """
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts if value)
    more = f'<p><a href="{escape(status_page)}">The status page of the relay</a></p>\n' if status_page else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escape(title)}</h1>\n<p>{_prose(what)}</p>\n{f'<p>{_prose(remedy)}</p>' if remedy else ''}\n"
        f"<dl>{rows}</dl>\n{more}</main>\n</body>\n</html>\n"
    ).encode("utf-8", "replace")


def _prose(text: str) -> str:
    """A sentence that has keys and commands between backticks."""
    pieces = escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if index % 2 else piece for index, piece in enumerate(pieces))
