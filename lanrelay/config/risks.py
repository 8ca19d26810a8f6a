"""Sentences for the log of a start, and for C{check}, about what is allowed but should be known."""

from __future__ import annotations

from collections.abc import Iterator

from lanrelay.config import model
from lanrelay.config.kinds import upstreams_of

_BROKEN = ("1.0", "1.1")


def risks(config: model.Config) -> Iterator[str]:
    """Of the whole file, then of its enabled listeners in their order."""
    yield from config.warnings
    for listener in config.listeners:
        if listener.enabled:
            yield from risks_of(listener)


def risks_of(listener: model.Listener) -> Iterator[str]:
    """Of one listener: whom it believes, and by which TLS."""
    for upstream in upstreams_of(listener):
        if not upstream.url.tls:
            continue
        if not upstream.trust.verify:
            yield (
                f"{listener.name}: the certificate of {upstream.url} is NOT verified (tls.verify: false): "
                "anybody on the way can read and change what is sent"
            )
        oldest = upstream.trust.min_version
        if oldest in _BROKEN:
            yield (
                f"{listener.name}: {upstream.url} may use TLS {oldest} (tls.min_version), "
                "which is broken (RFC 8996)"
            )
    server = listener.tls
    if server is not None and server.min_version in _BROKEN:
        yield (
            f"{listener.name}: clients may use TLS {server.min_version} (tls.min_version), "
            "which is broken (RFC 8996)"
        )
