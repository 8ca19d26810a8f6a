"""What the answers of an upstream tell of how it is asked: by a Host that it refuses, or without its TLS."""

from __future__ import annotations

import re
from typing import Final

from lanrelay.errors import HostRefused, TlsOnPlain

STATUSES: Final = frozenset({400, 403, 421})
"""Those of answers that may tell."""

CONTENT_MAX: Final = 2048
"""Bytes of such an answer that are looked at; Vite's and Django's say it in the first."""

# In the words of MCP's SDKs, Starlette, webpack-dev-server and Django; of Rails; Vite; Jupyter; Syncthing;
# Werkzeug and Tomcat.
_HOST_REFUSED: Final = re.compile(
    rb"invalid\W{1,3}(?:http_)?host\b"
    rb"|blocked hosts?\b"
    rb"|this host [^\r\n]{0,300}is not allowed"
    rb"|non-local ['\"]?host"
    rb"|\bhost check error"
    rb"|disallowed ?host"
    rb"|\bhost (?:header )?(?:[^\r\n<]{1,100} )?(?:is )?not (?:allowed|trusted|valid)\b",
    re.IGNORECASE,
)

# nginx; Apache; Go and so Caddy and Traefik; Tomcat.
_TLS_WANTED: Final = re.compile(
    rb"plain HTTP request was sent to HTTPS port"
    rb"|speaking plain HTTP to an SSL-enabled"
    rb"|sent an HTTP request to an HTTPS server"
    rb"|combination of host and port requires TLS",
    re.IGNORECASE,
)


def fault_in(
    status: int, content: bytes, *, host: str, preserved: bool, tls: bool
) -> HostRefused | TlsOnPlain | None:
    """
    What an answer tells; C{None} if nothing, or if it has another status than L{STATUSES}.

    @param content: up to L{CONTENT_MAX} bytes of it.
    @param host: the Host that it was sent.
    @param preserved: that was the client's own.
    @param tls: it was asked over TLS.
    """
    if status == 400 and not tls and _TLS_WANTED.search(content) is not None:
        return TlsOnPlain("it says that it was asked without")
    if status == 421 or (status in STATUSES and _HOST_REFUSED.search(content) is not None):
        return HostRefused(f"it answered {status}", host=host, preserved=preserved)
    return None
