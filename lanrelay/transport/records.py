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

# How much is copied to OpenSSL's memory at once: it grows with that, and never shrinks again.
_PIECE = RECORD + 256


class Records(Shape):
    """
    What a L{TlsStream<lanrelay.transport.tls_stream.TlsStream>} asks of OpenSSL.

    The bytes that it returns may lie in a buffer that all connections share, so they are valid until the next
    call on any connection.
    """

    quiet: SSL.WantReadError
    """How L{decrypt} ends when all of its data was content and was read: OpenSSL has nothing to answer."""

    def encrypt(self, data: bytes | memoryview) -> memoryview:
        """
        The records for C{data}, of 1 to L{LARGEST} bytes, and what else OpenSSL wants to send.

        @raise SSL.Error: the connection does not work any more.
        """

    def decrypt(self, data: bytes | memoryview, most: int) -> tuple[int, memoryview, SSL.Error | None]:
        """
        Read from what came some C{most} bytes of content.

        @return: how many bytes of C{data} were taken; their content; and how it ended: C{WantReadError}
            (C{quiet} or another) when all was read, C{ZeroReturnError} for close_notify, another error if
            something is wrong, C{None} if there may be more.
        """

    def expect_other_keys(self) -> None:
        """A renegotiation may come, after which records may have another form."""

    def answers(self) -> memoryview:
        """What OpenSSL itself wants to send; empty for nothing."""


def records_of(connection: SSL.Connection) -> Records:
    """
    Made after the handshake, when all that OpenSSL wanted to send has been taken.

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
    """Uses only what pyOpenSSL documents."""

    def __init__(self, connection: Any) -> None:
        from OpenSSL import SSL  # late: 80 ms; by now it was imported for the handshake

        self._SSL: Any = SSL
        self._connection = connection
        self.quiet = SSL.WantReadError()  # never returned

    def encrypt(self, data: bytes | memoryview) -> memoryview:
        view = memoryview(data)
        parts: list[bytes | memoryview] = []
        for start in range(0, len(view), RECORD):
            self._connection.sendall(view[start : start + RECORD])
            parts.append(self.answers())
        return memoryview(b"".join(parts))

    def decrypt(self, data: bytes | memoryview, most: int) -> tuple[int, memoryview, Any]:
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
                    return taken, memoryview(b"".join(parts)), error
        return taken, memoryview(b"".join(parts)), None

    def expect_other_keys(self) -> None:
        pass  # nothing here relies on their form

    def answers(self) -> memoryview:
        parts: list[bytes] = []
        while True:
            try:
                parts.append(self._connection.bio_read(_PIECE))
            except self._SSL.WantReadError:
                return memoryview(b"".join(parts))


class _Beneath:
    """The parts of pyOpenSSL's insides that L{DirectRecords} uses, and the two buffers that all share."""

    def __init__(self) -> None:
        from OpenSSL import SSL  # late: see above
        from OpenSSL._util import ffi, lib  # type: ignore[import-untyped, unused-ignore]

        self.ssl_read, self.ssl_write, self.ssl_get_error = lib.SSL_read, lib.SSL_write, lib.SSL_get_error
        self.bio_read, self.bio_write = lib.BIO_read, lib.BIO_write
        self.bio_new, self.bio_s_mem, self.bio_get_mem_data = lib.BIO_new, lib.BIO_s_mem, lib.BIO_get_mem_data
        self.bio_new_mem_buf, self.bio_set_mem_eof_return = lib.BIO_new_mem_buf, lib.BIO_set_mem_eof_return
        self.ssl_set_bio = lib.SSL_set_bio
        self.want_read: int = lib.SSL_ERROR_WANT_READ
        self.null, self.from_buffer = ffi.NULL, ffi.from_buffer
        connection: Any = SSL.Connection
        self.explain = connection._raise_ssl_error
        self.error = SSL.Error
        self.drained, self.quiet = SSL.WantReadError(), SSL.WantReadError()
        # A peer may ask for small records, to which each adds nearly its own size (RFC 6066 section 4).
        content, records = bytearray(LARGEST), bytearray(2 * LARGEST)
        self.content, self.records = memoryview(content), memoryview(records)
        self.room = len(records)
        self.content_at, self.records_at = ffi.from_buffer(content), ffi.from_buffer(records)

    def bio_around(self, source: Any, count: int) -> Any:
        """A source of the C{count} bytes at C{source}, which stay where they are and have to outlive it."""
        bio = self.bio_new_mem_buf(source, count)
        self.bio_set_mem_eof_return(bio, -1)  # behind them is not the end: more may come
        return bio


@cache
def _beneath() -> Any:
    try:
        return _Beneath()
    except (ImportError, AttributeError):
        return None  # a pyOpenSSL with other insides than those we know


class DirectRecords:
    """
    Uses the functions of OpenSSL that pyOpenSSL calls.

    Only this and L{_Beneath} know pyOpenSSL's insides: C{_ssl}, C{_into_ssl} and C{_from_ssl} of a
    connection, and its C{_raise_ssl_error}.

    A call of OpenSSL through cffi costs 900 instructions, so OpenSSL is not asked what the sizes tell: if the
    one record that was read is all that came, there is nothing more to read, and nothing to answer. This
    saves 16,000 of the 51,000 instructions that TLS adds to an exchange of 1 KB.
    """

    __slots__ = (
        "_adds",
        "_beneath",
        "_connection",
        "_from_ssl",
        "_into_ssl",
        "_left",
        "_ssl",
        "_whole",
        "quiet",
    )

    def __init__(self, connection: Any, beneath: Any) -> None:
        self._connection = connection  # keeps what is beneath alive
        self._beneath = beneath
        self.quiet = beneath.quiet
        self._ssl = connection._ssl
        # Whether OpenSSL's memory may hold records: of the handshake, or that the last call had no room for.
        self._left = bool(beneath.bio_get_mem_data(connection._into_ssl, beneath.null))
        if not self._left:
            # Memory that grew with the handshake is given back: 3 KB of 38 for an idle connection.
            into, out = (beneath.bio_new(beneath.bio_s_mem()) for _ in range(2))
            beneath.ssl_set_bio(self._ssl, into, out)
            connection._into_ssl, connection._from_ssl = into, out
        self._into_ssl, self._from_ssl = connection._into_ssl, connection._from_ssl
        self._adds = _added(connection)
        self._whole = False  # all that came before were whole records, and all were read

    def encrypt(self, data: bytes | memoryview) -> memoryview:
        beneath, ssl, out = self._beneath, self._ssl, self._from_ssl
        write, read = beneath.ssl_write, beneath.bio_read  # looked up as methods they would cost more
        count = len(data)
        source: Any = data if type(data) is bytes else beneath.from_buffer(data)  # cffi takes bytes as well
        done = number = write(ssl, source, count)  # one record, as each call
        made = read(out, beneath.records_at, beneath.room) if number > 0 else 0
        if done != count:
            source = beneath.from_buffer(data)
            while done < count:
                if number <= 0:
                    beneath.explain(self._connection, ssl, number)
                number = write(ssl, source + done, count - done)
                done += number
                made += read(out, beneath.records_at + made, beneath.room - made)
        return beneath.records[:made]  # type: ignore[no-any-return]

    def decrypt(self, data: bytes | memoryview, most: int) -> tuple[int, memoryview, Any]:
        count = len(data)
        if count > _PIECE:
            if not self._left:
                return self._decrypt_much(data, most)
            count = 0
        beneath, ssl, into = self._beneath, self._ssl, self._into_ssl
        read = beneath.ssl_read
        if count:
            # The copy costs less than to let cffi look into a view: 90 ns against 140.
            beneath.bio_write(into, data.tobytes() if type(data) is memoryview else data, count)
        number = read(ssl, beneath.content_at, most)  # of one record, as each call
        if 0 < number == count - self._adds and self._whole:
            return count, beneath.content[:number], self.quiet
        self._whole = self._left = False
        size, error = 0, None
        while True:
            if number <= 0:
                error = self._error(number)
                break
            size += number
            if size == most:
                self._left = True
                break
            if not beneath.bio_get_mem_data(into, beneath.null):
                # OpenSSL takes one record at a time into its own memory, and that one was read.
                self._whole, error = True, beneath.drained
                break
            number = read(ssl, beneath.content_at + size, most - size)
        if error is beneath.drained and count != len(data):
            error = None
        return count, beneath.content[:size], error

    def _decrypt_much(self, data: bytes | memoryview, most: int) -> tuple[int, memoryview, Any]:
        """
        The same, read where it lies. OpenSSL's memory must be empty, and stays as small as it is.

        To copy it there piece by piece costs as much as a third of decrypting it.
        """
        beneath, ssl = self._beneath, self._ssl
        read, source = beneath.ssl_read, beneath.from_buffer(data)
        self._whole = False
        self._read_from(beneath.bio_around(source, len(data)))
        size, error = 0, None
        try:
            while size < most:
                number = read(ssl, beneath.content_at + size, most - size)
                if number <= 0:
                    error = self._error(number)
                    break
                size += number
            left = beneath.bio_get_mem_data(self._into_ssl, beneath.null)
        finally:
            self._read_from(beneath.bio_new(beneath.bio_s_mem()))
        return len(data) - left, beneath.content[:size], error

    def _read_from(self, into: Any) -> None:
        """Have OpenSSL read from C{into}, which it owns, and which replaces what it read from until now."""
        self._beneath.ssl_set_bio(self._ssl, into, self._from_ssl)
        self._connection._into_ssl = self._into_ssl = into

    def _error(self, number: int) -> Any:
        """What it means that a read gave C{number}, which is not positive."""
        beneath = self._beneath
        if beneath.ssl_get_error(self._ssl, number) == beneath.want_read:
            return beneath.drained
        try:
            beneath.explain(self._connection, self._ssl, number)
        except beneath.error as error:
            return error.with_traceback(None)  # the traceback would keep its locals alive

    def expect_other_keys(self) -> None:
        self._adds = 0

    def answers(self) -> memoryview:
        beneath = self._beneath
        made = beneath.bio_read(self._from_ssl, beneath.records_at, beneath.room)
        return beneath.records[: max(made, 0)]  # type: ignore[no-any-return]


def _added(connection: Any) -> int:
    """By how many bytes a record without padding is longer than its content; 0 if that is not fixed."""
    cipher = connection.get_cipher_name() or ""
    if connection.get_protocol_version_name() == "TLSv1.3":
        return 0 if "CCM" in cipher else 5 + 16 + 1  # RFC 8446 section 5.2
    if "CHACHA20" in cipher:
        return 5 + 16  # RFC 7905 section 2
    return 5 + 8 + 16 if "GCM" in cipher else 0  # RFC 5288 section 3
