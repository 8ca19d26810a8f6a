"""
Reads the few fields of a certificate that decide something here, straight from its DER.

A strict parser refuses a certificate as a whole for one odd byte in it, and home-made ones have many: a
DEFAULT written out, an address of eight bytes among the names, a subject that does not decode. OpenSSL takes
those, so this reads no more of a verified certificate than it needs (RFC 5280 section 4.1).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone

SERVER_AUTH, CLIENT_AUTH, ANY_PURPOSE = (
    bytes.fromhex(digits) for digits in ("2b06010505070301", "2b06010505070302", "551d2500")
)
"""Object identifiers of purposes, as they are encoded."""

ISSUER, SUBJECT = 2, 4

_ATTRIBUTES = {
    bytes.fromhex(digits): short
    for digits, short in {
        "550403": "CN",
        "550406": "C",
        "550407": "L",
        "550408": "ST",
        "55040a": "O",
        "55040b": "OU",
        "2a864886f70d010901": "emailAddress",
    }.items()
}
_ALTERNATIVE_NAMES = bytes.fromhex("551d11")
_EXTENDED_KEY_USAGE = bytes.fromhex("551d25")
_OID, _OCTETS, _SEQUENCE, _UTC_TIME = 0x06, 0x04, 0x30, 0x17
_VERSION, _EXTENSIONS, _REJECTED = 0xA0, 0xA3, 0xA0
_DNS_NAME, _ADDRESS = 0x82, 0x87  # of GeneralName, section 4.2.1.6


def first(data: bytes) -> tuple[bytes, bytes]:
    """
    The first element of C{data} with its head, and what comes after it.

    @raise ValueError: there is none.
    """
    _, _, end = _element(data, 0)
    return data[:end], data[end:]


def public_key(certificate: bytes) -> bytes:
    """The SubjectPublicKeyInfo as it stands there, which is what curl's pins are made of."""
    fields = _fields(certificate)
    start, end = fields[5][1:]
    return _to_be_signed(certificate)[start:end]


def name(certificate: bytes, field: int) -> list[tuple[str, bytes]]:
    """
    The attributes of a name, each with its value as it is encoded.

    @param field: L{ISSUER} or L{SUBJECT}.
    """
    _, start, end = _fields(certificate)[field]
    found = []
    for _, parts in _all_in(_to_be_signed(certificate)[start:end]):
        for _, pair in _all(parts):
            attribute, *values = [content for _, content in _all(pair)]
            found.append((_ATTRIBUTES.get(attribute, attribute.hex()), values[0] if values else b""))
    return found


def dates(certificate: bytes) -> tuple[datetime, datetime]:
    """
    From when to when it is good (section 4.1.2.5).

    @raise ValueError: it does not say.
    """
    _, start, end = _fields(certificate)[3]
    times = [_moment(tag, content) for tag, content in _all_in(_to_be_signed(certificate)[start:end])]
    if len(times) != 2:
        raise ValueError("there are two dates in a certificate")
    return times[0], times[1]


def _moment(tag: int, content: bytes) -> datetime:
    digits = content.decode("ascii").removesuffix("Z")
    if tag == _UTC_TIME:
        digits = ("19" if digits[:2] >= "50" else "20") + digits
    if len(digits) != 14 or not digits.isdigit():
        raise ValueError("no date as certificates have them")
    parts = [int(digits[:4]), *(int(digits[at : at + 2]) for at in range(4, 14, 2))]
    return datetime(*parts, tzinfo=timezone.utc)  # type: ignore[arg-type,misc]


def alternative_names(certificate: bytes) -> list[str | bytes]:
    """
    The names for which a certificate is: DNS names as text, addresses as bytes, whatever their number.

    What cannot be read is left out, for it can be nobody's name.
    """
    names: list[str | bytes] = []
    for tag, content in _all_in(_extension(certificate, _ALTERNATIVE_NAMES)):
        if tag == _DNS_NAME and content.isascii():
            names.append(content.decode("ascii"))
        elif tag == _ADDRESS:
            names.append(content)
    return names


def has_alternative_names(certificate: bytes) -> bool:
    """Whether there is any such extension; before it there was the common name alone."""
    return _extension(certificate, _ALTERNATIVE_NAMES) is not None


def purposes(certificate: bytes) -> list[bytes] | None:
    """What a certificate is meant for, as object identifiers; C{None}: it does not say."""
    extension = _extension(certificate, _EXTENDED_KEY_USAGE)
    if extension is None:
        return None
    return [content for tag, content in _all_in(extension) if tag == _OID]


def refuses_purpose(trust: bytes, purpose: bytes) -> bool:
    """
    Whether what OpenSSL writes behind the certificate in a TRUSTED CERTIFICATE denies it C{purpose}.

    @raise ValueError: it does not parse.
    """
    if not trust:
        return False
    _, begin, end = _element(trust, 0)
    wanted = (purpose, ANY_PURPOSE)
    trusted: bool | None = None
    for tag, content in _all(trust[begin:end]):
        if tag == _SEQUENCE:
            trusted = any(oid in wanted for _, oid in _all(content))
        elif tag == _REJECTED and any(oid in wanted for _, oid in _all(content)):
            return True
    return trusted is False


# ------------------------------------------------------------------------------------------------------


def _extension(certificate: bytes, wanted: bytes) -> bytes | None:
    """What an extension says; empty where that cannot be found out, C{None} where there is none such."""
    try:
        signed = _to_be_signed(certificate)
        for tag, start, end in _fields(certificate)[6:]:
            if tag != _EXTENSIONS:
                continue
            _, begin, last = _element(signed[start:end], 0)
            for _, extension in _all_in(signed[start:end][begin:last]):
                parts = list(_all(extension))
                if parts and parts[0] == (_OID, wanted):
                    return next((content for kind, content in parts if kind == _OCTETS), b"")
    except ValueError:
        return b""  # what it says is not known, and it may be there
    return None


def _to_be_signed(certificate: bytes) -> bytes:
    _, begin, end = _element(certificate, 0)
    _, begin, end = _element(certificate[:end], begin)
    return certificate[begin:end]


def _fields(certificate: bytes) -> list[tuple[int, int, int]]:
    """Tag, begin (with the head) and end of each but the version: serial number, signature, issuer, ..."""
    signed = _to_be_signed(certificate)
    found = []
    at = 0
    while at < len(signed):
        tag, _, end = _element(signed, at)
        if tag != _VERSION or at:  # which version 1 leaves out
            found.append((tag, at, end))
        at = end
    if len(found) < 6:
        raise ValueError("a certificate has six fields at least")
    return found


def _all_in(data: bytes | None) -> Iterator[tuple[int, bytes]]:
    """Tags and contents within the first element; as far as they can be read."""
    if not data:
        return
    try:
        _, begin, end = _element(data, 0)
        yield from _all(data[begin:end])
    except ValueError:
        return


def _all(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        tag, begin, end = _element(data, at)
        yield tag, data[begin:end]
        at = end


def _element(data: bytes, at: int) -> tuple[int, int, int]:
    """Tag, begin of the content and end of the element at C{at}; tags have one byte where we look."""
    if at + 2 > len(data):
        raise ValueError("the data end before the element")
    length, begin = data[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        if not 1 <= size <= 4 or begin + size > len(data):
            raise ValueError("no length that DER knows")
        length, begin = int.from_bytes(data[begin : begin + size], "big"), begin + size
    if begin + length > len(data):
        raise ValueError("the element is longer than the data")
    return data[at], begin, begin + length
