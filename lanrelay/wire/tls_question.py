"""Asks a port whether it speaks TLS: what is said to it, and what its answer means."""

from __future__ import annotations

from typing import Final

WITHIN: Final = 1.0
"""Seconds for each of the connection and its answer: a client waits, and a LAN answers in milliseconds."""

KNOWN_FOR: Final = 30.0
"""Seconds for which the result is remembered."""

# The types of the records that a TLS server may begin with (RFC 8446 section 5.1): alert, handshake.
_RECORDS: Final = (b"\x15\x03", b"\x16\x03")


def client_hello() -> bytes:
    """The first message of a TLS client."""
    import ssl  # late: 5 ms, and few ever ask

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    outgoing = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), outgoing).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def is_tls(answer: bytes) -> bool:
    """Whether it begins as TLS does, of which two bytes tell; also an alert shows that the port speaks it."""
    return answer.startswith(_RECORDS)
