"""Chooses the reactor, and imports it without the modules that it does not need here."""

from __future__ import annotations

import sys

# Twisted's own TLS brings OpenSSL and X.509 parsing, which took 40 of the 240 ms of a start. Ours is in
# C{transport.tls}, imported by the first connection that needs it. Twisted works without these modules where
# they cannot be imported.
_NOT_NEEDED = ("twisted.internet._newtls", "twisted.internet.ssl", "twisted.protocols.tls")


def install_reactor() -> None:
    """Install it, unless there is one already, as under C{python -m twisted}."""
    if "twisted.internet.reactor" in sys.modules:
        return
    hidden = [name for name in _NOT_NEEDED if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        choose()
    finally:
        for name in hidden:
            del sys.modules[name]


def choose() -> None:
    """Install the one for this platform."""
    if sys.platform == "darwin":  # its default is select(), which serves no more than 1024 descriptors
        from twisted.internet import kqreactor as chosen
    else:
        from twisted.internet import default as chosen
    chosen.install()
