"""
The folder C{trust/} beside the configuration file: what was trusted for hosts that no upstream names.

For a host and a port there is C{HOST_PORT.pem} (authorities, trusted beside the system's) or
C{HOST_PORT.pin} (the pin of a key, which is trusted alone).
"""

from __future__ import annotations

from pathlib import Path

from lanrelay.config import model, values

FOLDER = "trust"


def stem(host: str, port: int) -> str:
    """The name of both files without their ends; an IPv6 address has C{-} for C{:} in it."""
    plain = "".join(letter if letter.isalnum() or letter in ".-" else "-" for letter in host.lower())
    return f"{plain}_{port}"


def authorities_file(config: Path, host: str, port: int) -> Path:
    """Where the authorities for a host are, if there are any."""
    return config.parent / FOLDER / f"{stem(host, port)}.pem"


def pin_file(config: Path, host: str, port: int) -> Path:
    """Where the pin of a host is, if there is one."""
    return config.parent / FOLDER / f"{stem(host, port)}.pin"


def stored_trust(config: Path, host: str, port: int) -> model.Trust | None:
    """
    What was trusted for a host.

    @param config: the configuration file, existing or not.
    @return: C{None} for nothing.
    @raise values.Unfit: the pin's file holds something else.
    """
    authorities = authorities_file(config, host, port)
    if authorities.is_file():
        return model.Trust(ca=("system", authorities))
    try:
        text = pin_file(config, host, port).read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return model.Trust(ca=(), pin=(values.pin(text),))
