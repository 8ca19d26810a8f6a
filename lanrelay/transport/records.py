"""TLS records, to and from an OpenSSL connection in memory."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any
from typing import Protocol as Shape

if TYPE_CHECKING:
    from OpenSSL import SSL

RECORD = 16384  # bytes in a TLS record at most, and what SSL_read gives at most (RFC 8446 section 5.1)
LARGEST = 256 * 1024
"""Bytes that are encrypted, or decrypted, in one call at most."""

# How much OpenSSL's memory is given at once: it grows with that, and never shrinks again.
_PIECE = RECORD + 256


class Records(Shape):
    """
    What a L{TlsStream<lanrelay.transport.tls_stream.TlsStream>} asks of OpenSSL.

    What comes back may lie in a buffer that all connections share: it is valid until the next call of any.
    """

    def encrypt(self, data: bytes | memoryview) -> bytes | memoryview:
        """
        The records for C{data}, of L{LARGEST} bytes at most, and what else OpenSSL wants to send.

        @raise SSL.Error: it does not work any more.
        """

    def decrypt(
        self, data: bytes | memoryview, most: int
    ) -> tuple[int, bytes | memoryview, SSL.Error | None]:
        """
        Read what came, some C{most} bytes of content of it.

        @return: how many bytes of C{data} were taken; their content; and how it ended: C{WantReadError} when
            all that was taken is read, another error for what is wrong, C{ZeroReturnError} for close_notify.
            C{None}: there may be more.
        """

    def answers(self) -> bytes | memoryview:
        """What OpenSSL itself wants to send; empty for nothing."""


def records_of(connection: SSL.Connection) -> Records:
    """
    After the handshake, when all that OpenSSL wanted to send has been taken.

    pyOpenSSL allocates a buffer for each call, copies out of it, and raises when there is no more. Measured
    in one run, 1 KB sent and 1 KB received on each of 32 connections cost 22.5 us with it, 16.6 beneath it; a
    GB received 0.53 and 0.42 s, a GB sent 0.56 and 0.45. OpenSSL on the descriptor itself makes a system call
    more for each record: 17.6 and 14.1 us, 0.55 and 0.39 s, 0.64 and 0.55 s.
    """
    beneath = _beneath()
    if beneath is None or getattr(connection, "_into_ssl", None) is None:
        return PublicRecords(connection)
    return DirectRecords(connection, beneath)


class PublicRecords:
    """By what pyOpenSSL documents."""

    def __init__(self, connection: Any) -> None:
        from OpenSSL import SSL  # late: 80 ms; by now it was imported for the handshake

        self._SSL: Any = SSL
        self._connection = connection

    def encrypt(self, data: bytes | memoryview) -> bytes | memoryview:
        view = memoryview(data)
        parts = []
        for start in range(0, len(view), RECORD):
            self._connection.sendall(view[start : start + RECORD])
            parts.append(self.answers())
        return b"".join(parts)

    def decrypt(self, data: bytes | memoryview, most: int) -> tuple[int, bytes | memoryview, Any]:
        view = memoryview(data)
        parts: list[bytes] = []
        taken = size = 0
        while size < most:
            try:
                if taken < len(view):
                    taken += self._connection.bio_write(view[taken : taken + _PIECE])
                while size < most:
                    part = self._connection.recv(RECORD)
                    parts.append(part)
                    size += len(part)
            except self._SSL.Error as error:
                if not isinstance(error, self._SSL.WantReadError) or taken == len(view):
                    return taken, b"".join(parts), error
        return taken, b"".join(parts), None

    def answers(self) -> bytes:
        parts = []
        while True:
            try:
                parts.append(self._connection.bio_read(_PIECE))
            except self._SSL.WantReadError:
                return b"".join(parts)


class _Beneath:
    """What of pyOpenSSL's insides L{DirectRecords} is built on, and the two buffers that all share."""

    def __init__(self) -> None:
        from OpenSSL import SSL  # late: see above
        from OpenSSL._util import ffi, lib  # type: ignore[import-untyped, unused-ignore]

        self.ssl_read, self.ssl_write, self.ssl_get_error = lib.SSL_read, lib.SSL_write, lib.SSL_get_error
        self.bio_read, self.bio_write = lib.BIO_read, lib.BIO_write
        self.bio_new, self.bio_s_mem, self.bio_get_mem_data = lib.BIO_new, lib.BIO_s_mem, lib.BIO_get_mem_data
        self.ssl_set_bio = lib.SSL_set_bio
        self.want_read: int = lib.SSL_ERROR_WANT_READ
        self.null, self.from_buffer = ffi.NULL, ffi.from_buffer
        connection: Any = SSL.Connection
        self.explain = connection._raise_ssl_error
        self.error = SSL.Error
        self.drained = SSL.WantReadError()
        # A peer may have asked for records that are hardly larger than what they add (RFC 6066 section 4).
        content, records = bytearray(LARGEST), bytearray(2 * LARGEST)
        self.content, self.records = memoryview(content), memoryview(records)
        self.content_at, self.records_at = ffi.from_buffer(content), ffi.from_buffer(records)


@cache
def _beneath() -> Any:
    try:
        return _Beneath()
    except (ImportError, AttributeError):
        return None  # another pyOpenSSL than those we know


class DirectRecords:
    """
    By the functions of OpenSSL that pyOpenSSL calls.

    With L{_Beneath} the only place that knows pyOpenSSL's insides: C{_ssl}, C{_into_ssl} and C{_from_ssl} of
    a connection, and its C{_raise_ssl_error}.
    """

    __slots__ = ("_beneath", "_connection", "_from_ssl", "_into_ssl", "_ssl")

    def __init__(self, connection: Any, beneath: Any) -> None:
        self._connection = connection  # it ends what is beneath
        self._beneath = beneath
        self._ssl = connection._ssl
        if not beneath.bio_get_mem_data(connection._into_ssl, beneath.null):
            # What has grown with the handshake is given back: 3 KB of 38 for an idle connection.
            into, out = (beneath.bio_new(beneath.bio_s_mem()) for _ in range(2))
            beneath.ssl_set_bio(self._ssl, into, out)
            connection._into_ssl, connection._from_ssl = into, out
        self._into_ssl, self._from_ssl = connection._into_ssl, connection._from_ssl

    def encrypt(self, data: bytes | memoryview) -> memoryview:
        beneath, ssl, out = self._beneath, self._ssl, self._from_ssl
        write, read = beneath.ssl_write, beneath.bio_read
        source, target = beneath.from_buffer(data), beneath.records_at
        count, room = len(data), len(beneath.records)
        done = made = 0
        while done < count:
            number = write(ssl, source + done, count - done)  # one record
            if number <= 0:
                beneath.explain(self._connection, ssl, number)
            done += number
            made += read(out, target + made, room - made)
        return beneath.records[:made]  # type: ignore[no-any-return]

    def decrypt(self, data: bytes | memoryview, most: int) -> tuple[int, memoryview, Any]:
        beneath, ssl, into = self._beneath, self._ssl, self._into_ssl
        read, write = beneath.ssl_read, beneath.bio_write
        source, target = beneath.from_buffer(data), beneath.content_at
        count = len(data)
        taken = write(into, source, min(_PIECE, count)) if count else 0
        size, error = 0, None
        while size < most:
            number = read(ssl, target + size, most - size)
            if number > 0:
                size += number
                continue
            if beneath.ssl_get_error(ssl, number) != beneath.want_read:
                error = self._error(number)
                break
            if taken == count:
                error = beneath.drained
                break
            taken += write(into, source + taken, min(_PIECE, count - taken))
        return taken, beneath.content[:size], error

    def _error(self, number: int) -> Any:
        try:
            self._beneath.explain(self._connection, self._ssl, number)
        except self._beneath.error as error:
            return error.with_traceback(None)  # which would hold what it was about

    def answers(self) -> memoryview:
        beneath = self._beneath
        made = beneath.bio_read(self._from_ssl, beneath.records_at, len(beneath.records))
        return beneath.records[: max(made, 0)]  # type: ignore[no-any-return]
