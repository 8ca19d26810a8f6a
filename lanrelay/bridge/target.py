"""Where a target is, and how its requests look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from lanrelay.bridge.dial import Approach, HostPort, Parent
from lanrelay.bridge.loop import Steps
from lanrelay.bridge.messages import Ask, Fields
from lanrelay.bridge.options import Wrong

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lanrelay.bridge.secure import Secure, Tls

PORTS = {"http": 80, "https": 443}
PIPES = ("tcp", "tls", "unix")
DEFAULT_PATH = "/mcp"


class Url(NamedTuple):
    """
    @ivar scheme: C{http}, C{https}, C{tcp}, C{tls} or C{unix}; C{http} for C{http+unix}.
    @ivar path: with its query; empty for a byte pipe.
    @ivar login: name and password, if the URL has them.
    """

    scheme: str
    host_port: HostPort
    path: str = ""
    login: tuple[str, str] | None = None

    @property
    def is_pipe(self) -> bool:
        return self.scheme in PIPES

    @property
    def is_secure(self) -> bool:
        return self.scheme in ("https", "tls")

    @property
    def origin(self) -> str:
        """C{scheme://host:port}, without the scheme's usual port; empty for a unix socket."""
        if self.host_port.path:
            return ""
        return f"{self.scheme}://{str(self.host_port).removesuffix(f':{PORTS.get(self.scheme)}')}"

    def __str__(self) -> str:
        """Without the login, and without the query, which may hold a secret."""
        if self.host_port.path:
            return f"{'unix' if self.is_pipe else 'http+unix'}:{self.host_port.path}"
        host_port = str(self.host_port)
        default = PORTS.get(self.scheme)
        return f"{self.scheme}://{host_port.removesuffix(f':{default}')}{self.path.partition('?')[0]}"


def url(text: str) -> Url | None:
    """
    @return: C{None} if it is a name and no URL.
    @raise Wrong: it is a wrong URL.
    """
    scheme, colon, rest = text.partition(":")
    scheme = scheme.lower()
    if colon and scheme in ("unix", "http+unix"):
        path = rest.removeprefix("//") if rest.startswith("///") else rest
        if not path:
            raise Wrong(f"The path of a socket is missing after {scheme}:.")
        pipe = scheme == "unix"
        return Url("unix" if pipe else "http", HostPort("localhost", 0, path), "" if pipe else DEFAULT_PATH)
    if not rest.startswith("//"):
        return None
    if scheme not in ("http", "https", "tcp", "tls"):
        raise Wrong("A target begins with http://, https://, http+unix:, tcp://, tls:// or unix:.")
    authority = rest[2:]
    for mark in ("/", "?", "#"):
        authority = authority.partition(mark)[0]
    path = rest[2 + len(authority) :].partition("#")[0]
    if not all("!" <= letter <= "~" for letter in path):
        path = "".join(
            letter if "!" <= letter <= "~" else "".join(f"%{byte:02X}" for byte in letter.encode())
            for letter in path
        )
    user, at, host_port = authority.rpartition("@")
    host, port = _host_and_port(host_port, PORTS.get(scheme))
    if scheme in PIPES and path not in ("", "/"):
        raise Wrong(f"A {scheme}:// target is a byte pipe, and has no path.")
    login = None
    if at:
        name, _, password = user.partition(":")
        login = (_decoded(name), _decoded(password))
    path = (path if path.startswith("/") else f"/{path}") if scheme in PORTS else ""
    return Url(scheme, HostPort(host, port), path, login)


def parent(text: str) -> Parent:
    """
    @raise Wrong: it names no proxy.
    """
    scheme, mark, rest = text.partition("://")
    if not mark or scheme.lower() not in ("http", "socks5", "socks5h"):
        raise Wrong("--via is http://HOST:PORT or socks5://HOST:PORT.")
    user, at, host_port = rest.rstrip("/").rpartition("@")
    host, port = _host_and_port(host_port, 80 if scheme.lower() == "http" else 1080)
    name, _, password = user.partition(":")
    kind = "http" if scheme.lower() == "http" else "socks5"
    if max(len(_decoded(name).encode()), len(_decoded(password).encode())) > 255:
        raise Wrong("The name or the password of --via is too long.")
    return Parent(kind, HostPort(host, port), _decoded(name) if at else "", _decoded(password))


def _host_and_port(text: str, default: int | None) -> tuple[str, int]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise Wrong("An IPv6 address stands in brackets: http://[fe80::1%25eth0]:8080/.")
        port = rest[1:]
        host = host.replace("%25", "%")
    else:
        host, _, port = text.partition(":")
        if not host.isascii():
            try:
                host = host.encode("idna").decode("ascii")
            except UnicodeError:
                raise Wrong("The host name cannot be right.") from None
    if not host or any(letter <= " " or letter in "\\/?#@<>" for letter in host):
        raise Wrong("A host is missing in the URL, or is none.")
    if not port:
        if default is None:
            raise Wrong("A byte pipe needs its port: tcp://HOST:PORT.")
        return host, default
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise Wrong("The port in the URL is none.")
    return host, int(port)


def _decoded(text: str) -> str:
    if "%" not in text:
        return text
    from urllib.parse import unquote

    return unquote(text)


class HttpTarget:
    """
    A target at a URL.

    @param own: the person's fields.
    @param secure: finds what it may show and is shown; is asked anew after a failure.
    """

    def __init__(
        self, where: Url, *, own: Fields, via: Parent | None, secure: Callable[[Url], Secure]
    ) -> None:
        self.url = where
        self._via = via
        self._secure = secure
        self._context: tuple[Any, Secure] | None = None
        fields = own
        if where.login is not None and not any(name.lower() == "authorization" for name, _ in own):
            from base64 import b64encode

            name, password = where.login
            fields = (*own, ("Authorization", f"Basic {b64encode(f'{name}:{password}'.encode()).decode()}"))
        self.own = fields

    def approach(self, until: float) -> Steps[Approach]:
        """Say how the target is reached."""
        yield from ()
        return self._approach(self.url)

    def _approach(self, where: Url) -> Approach:
        if not where.is_secure:
            return Approach(where.host_port, self._via)
        if self._context is None:
            from lanrelay.bridge import secure

            wanted = self._secure(where)
            self._context = (secure.context(wanted), wanted)
        made, wanted = self._context
        host = where.host_port.host

        def tls() -> Tls:
            from lanrelay.bridge.secure import Tls

            return Tls(made, wanted, host)

        return Approach(where.host_port, self._via, tls)

    def failed(self) -> None:
        """The connection failed: the files may have to be read anew."""
        self._context = None

    def head(self, ask: Ask) -> bytes:
        """The request line and the fields."""
        path = self.url.path if ask.path is None else ask.path
        given = {name.lower() for name, _ in ask.fields}
        lines = [f"{ask.method} {path} HTTP/1.1"]
        own = [(name, value) for name, value in self.own if name.lower() not in given]
        named = {name.lower() for name, _ in own} | given
        if "host" not in named:
            lines.append(f"Host: {_host(self.url)}")
        if "user-agent" not in named:
            lines.append("User-Agent: lanrelay-stdio")
        if "accept-encoding" not in named:
            lines.append("Accept-Encoding: identity")
        lines += [f"{name}: {value}" for name, value in (*ask.fields, *own)]
        return "\r\n".join((*lines, "")).encode("latin-1", "replace")


def _host(where: Url) -> str:
    if where.host_port.path:
        return "localhost"
    host = where.host_port.host.partition("%")[0]
    host_port = str(HostPort(host, where.host_port.port))
    default = PORTS.get(where.scheme)
    return host_port.removesuffix(f":{default}") if where.host_port.port == default else host_port


def secure_by(
    *,
    ca: tuple[str, ...],
    pins: tuple[str, ...],
    cert: str | None,
    key: str | None,
    config: Callable[[], Path],
) -> Callable[[Url], Secure]:
    """What a target may show: what the options say, else what C{lanrelay trust} has stored."""

    def look(where: Url) -> Secure:
        from lanrelay.bridge import secure

        if not ca and not pins:
            stored = secure.stored(config(), where.host_port.host, where.host_port.port)
            if stored is not None:
                return stored._replace(cert=cert, key=key)
        return secure.Secure(ca, tuple(secure.pin(one) for one in pins), cert, key)

    return look
