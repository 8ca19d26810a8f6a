"""The variables of the environment by which programs use a forward proxy."""

from __future__ import annotations

NO_PROXY = "localhost,127.0.0.1,::1"


def variables(proxy: str) -> dict[str, str]:
    """
    By their names, in both spellings: curl heeds only C{http_proxy} for C{http://} URLs.

    @param proxy: its URL.
    """
    return {
        "http_proxy": proxy,
        "HTTP_PROXY": proxy,
        "https_proxy": proxy,
        "HTTPS_PROXY": proxy,
        "no_proxy": NO_PROXY,
        "NO_PROXY": NO_PROXY,
        "NODE_USE_ENV_PROXY": "1",  # Node.js 24 heeds them because of this
    }
