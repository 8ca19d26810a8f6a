"""Chooses the reactor, and has it imported without what it can do without."""

from __future__ import annotations

import sys

# Twisted's own TLS, which brings OpenSSL and X.509 parsing: 40 of the 240 ms that a start took without this.
# Ours is in C{transport.tls} and is imported by the first connection that needs it; Twisted does without
# these where they cannot be imported.
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
    if sys.platform == "darwin":  # where the default is select(), which serves no more than 1024 descriptors
        from twisted.internet import kqreactor as chosen
    else:
        from twisted.internet import default as chosen
    chosen.install()
