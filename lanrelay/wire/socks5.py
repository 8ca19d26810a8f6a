"""SOCKS 5 (RFC 1928) with user and password (RFC 1929), as a server and as a client, without I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from lanrelay.addresses import in_ascii
from lanrelay.errors import GreetingError, RemoteProtocolError

VERSION: Final = 5
_LOGIN_VERSION: Final = 1
_NO_AUTHENTICATION, _USER_AND_PASSWORD, _NOT_ACCEPTABLE = 0x00, 0x02, 0xFF
_CONNECT, _BIND, _UDP_ASSOCIATE = 1, 2, 3
_IPV4, _NAME, _IPV6 = 1, 3, 4
_ADDRESS_LENGTHS: Final = {_IPV4: 4, _IPV6: 16}


class Reply(IntEnum):
    """RFC 1928 section 6."""

    SUCCEEDED = 0
    GENERAL_FAILURE = 1
    NOT_ALLOWED = 2
    NETWORK_UNREACHABLE = 3
    HOST_UNREACHABLE = 4
    REFUSED = 5
    TTL_EXPIRED = 6
    COMMAND_NOT_SUPPORTED = 7
    ADDRESS_TYPE_NOT_SUPPORTED = 8


PHRASES: Final = {
    Reply.SUCCEEDED: "succeeded",
    Reply.GENERAL_FAILURE: "general failure",
    Reply.NOT_ALLOWED: "not allowed by its rules",
    Reply.NETWORK_UNREACHABLE: "network unreachable",
    Reply.HOST_UNREACHABLE: "host unreachable",
    Reply.REFUSED: "connection refused",
    Reply.TTL_EXPIRED: "timed out",
    Reply.COMMAND_NOT_SUPPORTED: "command not supported",
    Reply.ADDRESS_TYPE_NOT_SUPPORTED: "address type not supported",
}


@dataclass(frozen=True, slots=True)
class Login:
    """
    Who a client says it is; nothing shows its password.

    Bytes that are no UTF-8 are kept as surrogates, as in L{lanrelay.policy.credentials}.
    """

    username: str
    password: str

    def __repr__(self) -> str:
        return "Login(***)"


@dataclass(frozen=True, slots=True)
class Request:
    """
    A CONNECT.

    @ivar host: a name as it was sent, or an address in its canonical form.
    """

    host: str
    port: int


class SocksError(GreetingError):
    """
    What a SOCKS client sent ends its connection.

    @ivar answer: what it is sent before that; may be empty.
    """

    def __init__(self, detail: str, answer: bytes = b"", *, http_status: int = 400) -> None:
        super().__init__(detail, http_status)
        self.answer = answer


class Socks5Server:
    """
    The side that is asked: a greeting, perhaps a login, and one request.

    C{receive} stops at a L{Login}, and goes on when it is called again, with nothing if need be. What comes
    behind the request waits for C{take_unread}; the caller bounds it.

    @param login: whether clients have to say who they are.
    """

    def __init__(self, *, login: bool) -> None:
        self._login = login
        self._held = b""
        self._step: Callable[[], tuple[bytes, Login | Request | None]] = self._greeting

    @property
    def begun(self) -> bool:
        """Something has come."""
        return bool(self._held) or self._step != self._greeting

    def receive(self, data: bytes) -> tuple[bytes, Login | Request | None]:
        """
        What to answer, and what was said, if anything.

        @raise SocksError: that is no SOCKS 5, or nothing that is served; with what to answer.
        """
        self._held += data
        output = b""
        while True:
            step = self._step
            try:
                answer, said = step()
            except SocksError as error:
                error.answer = output + error.answer
                raise
            output += answer
            if said is not None or self._step == step:
                return output, said

    @property
    def buffered(self) -> int:
        """Bytes that came and are not understood yet."""
        return len(self._held)

    def take_unread(self) -> bytes:
        """What came behind the request."""
        unread, self._held = self._held, b""
        return unread

    @staticmethod
    def login_answer(*, good: bool) -> bytes:
        """RFC 1929 section 2; after a bad one the connection has to be closed."""
        return bytes((_LOGIN_VERSION, 0 if good else 1))

    # each step gives what to answer and what was said; it stays the step until it has all it needs

    def _greeting(self) -> tuple[bytes, None]:
        held = self._held
        if held and held[0] != VERSION:
            raise SocksError(_what_else(held[0]))
        if len(held) >= 2 and held[1] == 0:
            raise SocksError("a SOCKS greeting that offers no method")
        if len(held) < 2 or len(held) < 2 + held[1]:
            return b"", None
        offered = held[2 : 2 + held[1]]
        self._held = held[2 + held[1] :]
        wanted = _USER_AND_PASSWORD if self._login else _NO_AUTHENTICATION
        if wanted not in offered:
            refusal = bytes((VERSION, _NOT_ACCEPTABLE))
            if self._login:
                raise SocksError("this proxy asks for a name and a password", refusal, http_status=407)
            raise SocksError("the client does not offer to come without authentication", refusal)
        self._step = self._wait_for_login if self._login else self._request
        return bytes((VERSION, wanted)), None

    def _wait_for_login(self) -> tuple[bytes, Login | None]:
        held = self._held
        if held and held[0] != _LOGIN_VERSION:
            raise SocksError("a malformed SOCKS login", self.login_answer(good=False))
        if len(held) < 2:
            return b"", None
        end = 2 + held[1]
        if len(held) <= end or len(held) < end + 1 + held[end]:
            return b"", None
        name, password = held[2:end], held[end + 1 : end + 1 + held[end]]
        self._held = held[end + 1 + held[end] :]
        self._step = self._request
        return b"", Login(
            name.decode("utf-8", "surrogateescape"), password.decode("utf-8", "surrogateescape")
        )

    def _request(self) -> tuple[bytes, Request | None]:
        held = self._held
        if held and held[0] != VERSION:
            raise SocksError("a malformed SOCKS request", reply(Reply.GENERAL_FAILURE))
        if len(held) >= 3 and held[2] != 0:
            raise SocksError("a malformed SOCKS request", reply(Reply.GENERAL_FAILURE))
        if len(held) < 4:
            return b"", None
        kind = held[3]
        if kind != _NAME and kind not in _ADDRESS_LENGTHS:
            raise SocksError(
                f"an address of the unknown type {kind}", reply(Reply.ADDRESS_TYPE_NOT_SUPPORTED)
            )
        if kind == _NAME and len(held) < 5:
            return b"", None
        begin = 5 if kind == _NAME else 4
        end = begin + (held[4] if kind == _NAME else _ADDRESS_LENGTHS[kind])
        if len(held) < end + 2:
            return b"", None
        command, address, port = held[1], held[begin:end], int.from_bytes(held[end : end + 2], "big")
        self._held = held[end + 2 :]
        if command != _CONNECT:
            name = {_BIND: "BIND", _UDP_ASSOCIATE: "UDP ASSOCIATE"}.get(command, f"the command {command}")
            raise SocksError(
                f"{name} is not supported, only CONNECT is",
                reply(Reply.COMMAND_NOT_SUPPORTED),
                http_status=501,
            )
        if port == 0:
            raise SocksError("a request for port 0", reply(Reply.GENERAL_FAILURE))
        host = _name(address) if kind == _NAME else str(ip_address(address))
        self._step = self._tunnel
        return b"", Request(host, port)

    def _tunnel(self) -> tuple[bytes, None]:
        return b"", None


def reply(code: Reply) -> bytes:
    """
    The answer to a request.

    The bound address is all zeros, as OpenSSH's is: clients have no use for it after CONNECT, and behind a
    parent proxy nobody here knows it.
    """
    return bytes((VERSION, code, 0, _IPV4, 0, 0, 0, 0, 0, 0))


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _name(raw: bytes) -> str:
    """A host name as it was sent; whether there is such a name shows when it is looked up."""
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        name = ""
    if not name or not name.isprintable() or " " in name:
        raise SocksError("a request for something that is no host name", reply(Reply.GENERAL_FAILURE))
    return name


def _what_else(first: int) -> str:
    if first == 4:
        return "the client speaks SOCKS 4, and only SOCKS 5 is served"
    if first == 0x16:
        return "the client speaks TLS, and SOCKS 5 is served"
    if chr(first).isalpha() and first < 0x80:
        return "the client seems to speak HTTP, and SOCKS 5 is served"
    return "the client does not speak SOCKS 5"


# --- the side that asks -----------------------------------------------------------------------------------


class Socks5Client:
    """
    Asks a SOCKS 5 server for a connection: send C{begin()}, then what C{receive} gives, until C{done}.

    A name goes to the server as it is; a caller that has resolved it here gives the address.

    @ivar done: the server has answered the request, or refused to go on.
    @ivar code: its reply; C{None} while not done, and when it refused before the request.
    @ivar refusal: how it refused, as a phrase; empty when it did not.
    """

    def __init__(
        self, host: str, port: int, *, username: str | None = None, password: str | None = None
    ) -> None:
        self._request = bytes((VERSION, _CONNECT, 0)) + _address(host) + port.to_bytes(2, "big")
        self._login = None if username is None else _login(username, password or "")
        self._held = b""
        self._step = self._method
        self.done = False
        self.code: int | None = None
        self.refusal = ""

    def begin(self) -> bytes:
        """The greeting; user and password are offered where there are some."""
        methods = (_NO_AUTHENTICATION,) if self._login is None else (_NO_AUTHENTICATION, _USER_AND_PASSWORD)
        return bytes((VERSION, len(methods), *methods))

    def receive(self, data: bytes) -> bytes:
        """
        What to send next; may be nothing.

        @raise RemoteProtocolError: this is no SOCKS 5 server.
        """
        self._held += data
        output = b""
        while not self.done:
            step = self._step
            output += step()
            if self._step == step:
                break
        return output

    def take_unread(self) -> bytes:
        """What came behind the answer, from the other end of the new connection."""
        unread, self._held = self._held, b""
        return unread

    def _method(self) -> bytes:
        held = self._held
        if held and held[0] != VERSION:
            raise RemoteProtocolError("it does not answer as a SOCKS 5 server")
        if len(held) < 2:
            return b""
        method, self._held = held[1], held[2:]
        if method == _NO_AUTHENTICATION:
            self._step = self._answer
            return self._request
        if method == _USER_AND_PASSWORD and self._login is not None:
            self._step = self._logged_in
            return self._login
        if method != _NOT_ACCEPTABLE:
            raise RemoteProtocolError("it chose a way of authentication that was not offered")
        self.done = True
        if self._login is None:
            self.refusal = "it asks for a name and a password"
        else:
            self.refusal = "it accepts neither a name and a password nor a client without them"
        return b""

    def _logged_in(self) -> bytes:
        held = self._held
        if len(held) < 2:
            return b""
        self._held = held[2:]
        # RFC 1929 says version 1; some servers repeat the 5. What counts is the status.
        if held[1] != 0:
            self.done = True
            self.refusal = "it does not accept the name and the password"
            return b""
        self._step = self._answer
        return self._request

    def _answer(self) -> bytes:
        held = self._held
        if held and held[0] != VERSION:
            raise RemoteProtocolError("it does not answer as a SOCKS 5 server")
        if len(held) >= 2 and held[1] != Reply.SUCCEEDED:
            # The rest of a refusal is of no interest, and some servers leave it out.
            self.done, self.code = True, held[1]
            self.refusal = PHRASES[Reply(held[1])] if held[1] in PHRASES else f"reply code {held[1]}"
            return b""
        if len(held) < 5:
            return b""
        if held[2] != 0 or (held[3] != _NAME and held[3] not in _ADDRESS_LENGTHS):
            raise RemoteProtocolError("it does not answer as a SOCKS 5 server")
        length = 6 + (1 + held[4] if held[3] == _NAME else _ADDRESS_LENGTHS[held[3]])
        if len(held) < length:
            return b""
        self.done, self.code, self._held = True, Reply.SUCCEEDED, held[length:]
        return b""


def _address(host: str) -> bytes:
    try:
        address: IPv4Address | IPv6Address = ip_address(host)
    except ValueError:
        name = in_ascii(host).encode("ascii")
        if not 0 < len(name) < 256:
            raise ValueError("a name that SOCKS cannot say") from None
        return bytes((_NAME, len(name))) + name
    return bytes((_IPV4 if address.version == 4 else _IPV6,)) + address.packed


def _login(username: str, password: str) -> bytes:
    name, secret = username.encode(), password.encode()
    if not 0 < len(name) < 256 or len(secret) > 255:
        raise ValueError("a user name and a password have at most 255 bytes")
    return bytes((_LOGIN_VERSION, len(name))) + name + bytes((len(secret),)) + secret
