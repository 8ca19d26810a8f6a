"""What one text means: addresses to listen on, rules, URLs and host names."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Literal

from lanrelay.addresses import host_name, is_unspecified, parse_ip, unmapped
from lanrelay.config import model
from lanrelay.config.values import Unfit, has_control, is_off

# sun_path is 108 bytes on Linux and 104 on macOS and the BSDs, with the NUL at its end.
UNIX_PATH_LIMIT = 107 if sys.platform.startswith("linux") else 103

PathOf = Callable[[str], Path]
"""Makes a path absolute; raises L{Unfit}."""


def ip(text: str) -> model.IPAddress:
    """An address in its proper form; odd spellings (C{127.1}) are refused here, for nobody means them."""
    if "%" not in text:
        try:
            return ip_address(text)
        except ValueError:
            pass  # refused below, as what has a zone is
    raise Unfit("expected an IP address")


def _is_ip(text: str) -> bool:
    try:
        ip(text)
    except Unfit:
        return False
    return True


def _unbracketed(text: str) -> str:
    """The address in C{[::1]}; other text as it is."""
    if text.startswith("[") and text.endswith("]") and ":" in text:
        return text[1:-1]
    return text


def host(text: str) -> str:
    """A host name, or an IP address with or without brackets: lower case, without brackets or final dot."""
    bare = _unbracketed(text)
    if _is_ip(bare):
        return str(ip(bare))
    name = host_name(bare)
    if name is None:
        raise Unfit("expected a host name or an IP address")
    return name


def port(text: str, lowest: int = 1) -> int:
    if re.fullmatch(r"[0-9]{1,9}", text) is None or not lowest <= int(text) <= 65535:
        raise Unfit(f"expected a port from {lowest} to 65535")
    return int(text)


def _host_and_port(text: str) -> tuple[str, str | None]:
    """Parts C{host}, C{host:port}, C{[v6]} and C{[v6]:port}; a bare IPv6 address has no port."""
    match = re.fullmatch(r"(\[[^\[\]]*\])(?::(.*))?", text, re.DOTALL)
    if match is not None:
        return match[1], match[2]
    if text.count(":") > 1:
        return text, None
    name, colon, rest = text.partition(":")
    return name, rest if colon else None


def unix_path(text: str, path_of: PathOf) -> Path:
    """The path of a unix socket, which the kernel wants short."""
    if text.startswith("//") and not text.startswith("///"):
        raise Unfit("expected unix:PATH, without // before the path")
    path = path_of(text)
    if len(str(path).encode(errors="surrogateescape")) > UNIX_PATH_LIMIT:
        raise Unfit(f"expected a path of at most {UNIX_PATH_LIMIT} bytes, more a unix socket cannot have")
    return path


# --- listening ----------------------------------------------------------------------------------------

_LISTEN = 'expected an address such as localhost:8080, 127.0.0.1:8080, "[::1]:8080", 8080 or unix:PATH'


def listen_address(text: str, path_of: PathOf) -> model.ListenAddress:
    scheme, colon, rest = text.partition(":")
    if colon and scheme == "unix":
        return model.UnixAddress(path=unix_path(rest, path_of))
    if colon and scheme in ("systemd", "launchd"):
        if re.fullmatch(r"[!-9;-~]{1,255}", rest) is None:
            raise Unfit(f"expected {scheme}:NAME")
        return model.SystemdSocket(name=rest) if scheme == "systemd" else model.LaunchdSocket(name=rest)
    if re.fullmatch(r"[0-9]+", text) is not None:
        return model.LocalhostAddress(port=port(text, 0))
    name, digits = _host_and_port(text)
    if name == "*":
        raise Unfit(f'{_LISTEN}; every address is 0.0.0.0:PORT and "[::]:PORT"')
    if digits is None or not name:
        raise Unfit(_LISTEN)
    number = port(digits, 0)
    if name.lower() == "localhost":
        return model.LocalhostAddress(port=number)
    bare = _unbracketed(name)
    if not _is_ip(bare):
        raise Unfit(f"{_LISTEN}; names other than localhost are not looked up")
    return model.TcpAddress(host=ip(bare), port=number)


# --- rules --------------------------------------------------------------------------------------------

_CLIENT_WORDS: tuple[Literal["loopback", "private", "any"], ...] = ("loopback", "private", "any")
_WORDS: tuple[model.AddressWord, ...] = ("private", "loopback", "link-local", "public", "any")


def network(text: str) -> model.IPNetwork:
    """An address or a CIDR whose host part is zero."""
    if "%" in text or re.search(r"/(?![0-9]{1,3}\Z)", text):
        raise Unfit("expected an IP address or a network such as 192.168.1.0/24")
    try:
        return ip_network(text)
    except ValueError:
        pass  # perhaps only because it has bits of a host
    try:
        whole = ip_network(text, strict=False)
    except ValueError:
        raise Unfit("expected an IP address or a network such as 192.168.1.0/24") from None
    raise Unfit(f"expected {whole} for the whole network, or a single address")


def _looks_numeric(text: str) -> bool:
    return ":" in text or "/" in text or re.fullmatch(r"[0-9.]+", text) is not None


_DESTINATION = (
    'expected a host name, "*.DOMAIN", an IP address, a network, '
    "or private, loopback, link-local, public or any; "
    'each may end in :PORT or :FROM-TO (IPv6 then in brackets: "[fd00::/8]:443")'
)


def destination_rule(text: str) -> model.DestinationRule:
    name, digits = _host_and_port(text)
    ports = None if digits is None else _ports(digits)
    for word in _WORDS:
        if name.lower() == word:
            return model.DestinationRule(word=word, ports=ports)
    if is_off(name):
        raise Unfit(f'{_DESTINATION}; a word such as "off" stands alone, not in a list')
    bare = name[1:-1] if name.startswith("[") else name
    if name.startswith("[") and ":" not in bare:
        raise Unfit(_DESTINATION)
    if _looks_numeric(bare):
        return model.DestinationRule(network=network(bare), ports=ports)
    if bare == "*":
        raise Unfit(f'{_DESTINATION}; every destination is "any"')
    below = bare.startswith("*.")
    found = host_name(bare[2:] if below else bare)
    if found is None:
        raise Unfit(_DESTINATION)
    return model.DestinationRule(name=found, below=below, ports=ports)


def _ports(text: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    low = port(first)
    high = port(last) if dash else low
    if low > high:
        raise Unfit("expected ports as FROM-TO, the lower one first")
    return low, high


def client_rule(text: str) -> model.ClientRule:
    for word in _CLIENT_WORDS:
        if text.lower() == word:
            return model.ClientRule(word=word)
    bare = _unbracketed(text)
    if not _looks_numeric(bare):
        raise Unfit("expected an IP address, a network such as 192.168.1.0/24, or loopback, private or any")
    return model.ClientRule(network=_unmapped_network(network(bare)))


def _unmapped_network(net: IPv4Network | IPv6Network) -> model.IPNetwork:
    """An IPv4-mapped network as the IPv4 network that its addresses are judged as."""
    address = unmapped(net.network_address)
    if net.version == 6 and address.version == 4 and net.prefixlen >= 96:
        return IPv4Network((int(address), net.prefixlen - 96))
    return net


# --- URLs ---------------------------------------------------------------------------------------------

FORWARD_SCHEMES = ("tcp", "tls", "unix")
HTTP_SCHEMES = ("http", "https", "http+unix")

_PATH = re.compile(r"(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)*")  # RFC 3986 section 3.3


def url_path(text: str) -> str:
    """A path prefix without its final slash; empty for none."""
    if _PATH.fullmatch(text) is None or "//" in text:
        raise Unfit("expected a path such as /prefix, of ASCII characters, without empty segments")
    if any(segment in (".", "..") for segment in text.split("/")):
        raise Unfit('expected a path without "." and ".." segments')
    return text.removesuffix("/")


def request_path(text: str) -> str:
    """What a request may ask for, as it is; with a query if it has one."""
    if not text.startswith("/") or not all("!" <= letter <= "~" for letter in text) or "#" in text:
        raise Unfit("expected the path of a URL, such as /health")
    return text


def route_path(text: str) -> str:
    """The prefix of a route: C{/} or a path without its final slash."""
    if not text.startswith("/"):
        raise Unfit("expected a path prefix that begins with /")
    if "?" in text or "#" in text:
        raise Unfit("expected a path prefix without query and fragment")
    return url_path(text) or "/"


def upstream_url(text: str, schemes: tuple[str, ...], path_of: PathOf) -> model.UpstreamUrl:
    """
    @param schemes: L{FORWARD_SCHEMES} or L{HTTP_SCHEMES}.
    @raise Unfit: another scheme, or parts of a URL that an upstream has no use for.
    """
    if schemes == FORWARD_SCHEMES:
        wanted = "expected tcp://HOST:PORT, tls://HOST:PORT or unix:PATH"
    else:
        wanted = "expected http://HOST, https://HOST or http+unix:PATH"
    scheme, colon, rest = text.partition(":")
    scheme = scheme.lower()
    if not colon or scheme not in (*FORWARD_SCHEMES, *HTTP_SCHEMES):
        raise Unfit(wanted)
    if scheme not in schemes:
        raise Unfit(f"{wanted} for this type of listener")
    if scheme == "unix":
        return model.UpstreamUrl(scheme="unix", unix_path=unix_path(rest, path_of))
    if scheme == "http+unix":
        return model.UpstreamUrl(scheme="http", unix_path=unix_path(rest, path_of))
    if not rest.startswith("//"):
        raise Unfit(wanted)
    authority, slash, path = rest[2:].partition("/")
    _refuse_extras(authority, path)
    name, digits = _host_and_port(authority)
    found = _dialed_host(name, wanted)
    if ":" in found and not name.startswith("["):
        raise Unfit(f"{wanted}, an IPv6 address in brackets")
    if scheme == "tcp" or scheme == "tls":
        if slash:
            raise Unfit(f"{wanted}, without a path")
        if not digits:
            raise Unfit(f"{wanted}, with its port")
        return model.UpstreamUrl(scheme="tls" if scheme == "tls" else "tcp", host=found, port=port(digits))
    default = 443 if scheme == "https" else 80
    prefix = url_path(slash + path)
    number = default if digits is None else port(digits)
    return model.UpstreamUrl(
        scheme="https" if scheme == "https" else "http",
        host=found,
        port=number,
        path=prefix,
        slash=bool(prefix) and path.endswith("/"),
    )


def _refuse_extras(authority: str, path: str) -> None:
    if "?" in authority + path:
        raise Unfit("expected a URL without a query; the query comes from the client's request")
    if "#" in authority + path:
        raise Unfit("expected a URL without a fragment; leave out what begins with #")
    if "@" in authority:
        raise Unfit(
            "expected a URL without user information; "
            "headers.request.set can send an Authorization field instead"
        )


def target_address(text: str, default_port: int) -> model.TargetAddress:
    """C{host:port}; without a port that of the URL."""
    name, digits = _host_and_port(text)
    wanted = "expected an address such as 192.168.1.20:443"
    found = _dialed_host(name, wanted)
    try:
        return model.TargetAddress(host=found, port=default_port if digits is None else port(digits))
    except Unfit:
        raise Unfit(wanted) from None


def _dialed_host(name: str, wanted: str) -> str:
    """A host to connect to. 0.0.0.0 is no place, whatever the kernel makes of it."""
    try:
        found = host(name)
    except Unfit:
        raise Unfit(wanted) from None
    address = parse_ip(found)
    if address is not None and is_unspecified(address):
        raise Unfit(f"{wanted}; {found} is no host's address, and this machine's own is 127.0.0.1")
    return found


_PARENT = "expected http://[USER:PASSWORD@]HOST:PORT or socks5://[USER:PASSWORD@]HOST:PORT"


def parent_proxy(text: str) -> model.ParentProxy:
    match = re.fullmatch(r"(http|socks5)://(?:([^/?#]*)@)?([^/?#@]+)/?", text, re.IGNORECASE)
    if match is None:
        raise Unfit(_PARENT)
    name, digits = _host_and_port(match[3])
    if digits is None:
        raise Unfit(f"{_PARENT}, with its port")
    username: str | None = None
    password: model.Secret | None = None
    if match[2] is not None:
        first, colon, second = match[2].partition(":")
        username = _percent_decoded(first)
        password = model.Secret(_percent_decoded(second)) if colon else None
        if not username:
            raise Unfit(_PARENT)
    scheme: Literal["http", "socks5"] = "http" if match[1].lower() == "http" else "socks5"
    found = _dialed_host(name, _PARENT)
    try:
        return model.ParentProxy(
            scheme=scheme, host=found, port=port(digits), username=username, password=password
        )
    except Unfit:
        raise Unfit(_PARENT) from None


def _percent_decoded(text: str) -> str:
    def byte(match: re.Match[bytes]) -> bytes:
        return bytes.fromhex(match[1].decode("ascii"))

    raw = re.sub(rb"%([0-9A-Fa-f]{2})", byte, text.encode())
    if len(raw) > 255:  # RFC 1929
        raise Unfit("expected a user name and a password of at most 255 bytes")
    try:
        decoded = raw.decode()
    except UnicodeDecodeError:
        decoded = "\0"
    if has_control(decoded):
        raise Unfit("expected user information without control characters")
    return decoded


# --- browsers -----------------------------------------------------------------------------------------


def guard_host(text: str) -> str:
    """A further Host name: compared without port, case and trailing dot; IPv6 without brackets."""
    name, digits = _host_and_port(text)
    if digits is not None:
        raise Unfit("expected a host name without a port; every port is accepted")
    if "*" in name:
        raise Unfit('expected a whole host name; "any" disables the check')
    if is_off(name):
        raise Unfit('expected a host name; a word such as "off" stands alone, not in a list')
    return host(name)


_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#@]+)")


def guard_origin(text: str) -> str:
    """An Origin as browsers write it: lower case, without the scheme's own port."""
    lower = text.lower()
    if lower == "null":
        return lower
    wanted = "expected an origin such as https://app.example:8443, without a path, or null or any"
    match = _ORIGIN.fullmatch(lower)
    if match is None:
        raise Unfit(wanted)
    scheme = match[1]
    name, digits = _host_and_port(match[2])
    try:
        found = host(name)
    except Unfit:
        raise Unfit(wanted) from None
    bracketed = f"[{found}]" if ":" in found else found
    if digits is None or port(digits) == {"http": 80, "https": 443, "ws": 80, "wss": 443}.get(scheme):
        return f"{scheme}://{bracketed}"
    return f"{scheme}://{bracketed}:{port(digits)}"


def sent_host(text: str) -> str:
    """C{host} of a reverse proxy: C{upstream}, C{preserve}, or what the Host field shall say."""
    if text in ("upstream", "preserve"):
        return text
    wanted = "expected upstream, preserve, or a host with or without a port"
    name, digits = _host_and_port(text)
    try:
        found = host(name)
        number = None if digits is None else port(digits)
    except Unfit:
        raise Unfit(wanted) from None
    if is_off(name) or (":" in found and not name.startswith("[")):
        raise Unfit(wanted)
    bracketed = f"[{found}]" if ":" in found else found
    return bracketed if number is None else f"{bracketed}:{number}"
