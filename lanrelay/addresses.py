"""What an address is (loopback, private, public and so on), and which address or name a text means."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Literal

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

Kind = Literal["loopback", "private", "link-local", "multicast", "unspecified", "reserved", "public"]

# --- kinds --------------------------------------------------------------------------------------------

# Own tables, because the flags of the module ipaddress differ between Python 3.10 and 3.13. They follow the
# IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890): what is not "globally reachable" there and
# is neither loopback, link-local nor private is reserved, so that nothing gets there unless a rule names it.
# That includes documentation, benchmarking and the deprecated relays: if something answers there, it is local
# and has borrowed the number. The first row that holds the address decides.
_IPV4: tuple[tuple[str, Kind], ...] = (
    ("0.0.0.0/32", "unspecified"),  # connect() takes it for loopback on Linux and macOS
    ("0.0.0.0/8", "reserved"),  # "this network", RFC 791
    ("10.0.0.0/8", "private"),  # RFC 1918
    ("100.64.0.0/10", "private"),  # shared address space, RFC 6598; Tailscale's too
    ("127.0.0.0/8", "loopback"),  # RFC 1122
    ("169.254.0.0/16", "link-local"),  # RFC 3927; the clouds' metadata services
    ("172.16.0.0/12", "private"),  # RFC 1918
    ("192.0.0.9/32", "public"),  # PCP anycast, RFC 7723: globally reachable
    ("192.0.0.10/32", "public"),  # TURN anycast, RFC 8155: globally reachable
    ("192.0.0.0/24", "reserved"),  # IETF protocol assignments, RFC 6890; DS-Lite
    ("192.0.2.0/24", "reserved"),  # documentation, RFC 5737
    ("192.88.99.0/24", "reserved"),  # 6to4 relay anycast, deprecated by RFC 7526
    ("192.168.0.0/16", "private"),  # RFC 1918
    ("198.18.0.0/15", "reserved"),  # benchmarking, RFC 2544
    ("198.51.100.0/24", "reserved"),  # documentation
    ("203.0.113.0/24", "reserved"),  # documentation
    ("224.0.0.0/4", "multicast"),  # RFC 5771
    ("240.0.0.0/4", "reserved"),  # RFC 1112, with 255.255.255.255
)
_IPV6: tuple[tuple[str, Kind], ...] = (
    ("::/128", "unspecified"),
    ("::1/128", "loopback"),
    ("64:ff9b::/96", "public"),  # NAT64, RFC 6052: globally reachable; the IPv4 address in it is judged too
    ("2001:1::1/128", "public"),  # PCP anycast, RFC 7723
    ("2001:1::2/128", "public"),  # TURN anycast, RFC 8155
    ("2001:1::3/128", "public"),  # DNS-SD registration anycast, RFC 9665
    ("2001:3::/32", "public"),  # AMT, RFC 7450
    ("2001:4:112::/48", "public"),  # AS112, RFC 7535
    ("2001:20::/28", "public"),  # ORCHIDv2, RFC 7343
    ("2001:30::/28", "public"),  # drone identifiers, RFC 9374
    ("2001::/23", "reserved"),  # IETF protocol assignments, RFC 2928: Teredo, benchmarking
    ("2001:db8::/32", "reserved"),  # documentation, RFC 3849
    ("3fff::/20", "reserved"),  # documentation, RFC 9637
    (
        "2000::/3",
        "public",
    ),  # global unicast, RFC 4291; 6to4 (2002::/16) too, its IPv4 address is judged as well
    ("fc00::/7", "private"),  # unique local, RFC 4193
    ("fe80::/10", "link-local"),  # RFC 4291
    ("ff00::/8", "multicast"),  # RFC 4291
    # The rest is "Reserved by IETF", block by block as in the IPv6 address space registry.
    ("::/8", "reserved"),  # IPv4-compatible, local-use NAT64
    ("100::/8", "reserved"),  # discard-only, RFC 6666
    ("200::/7", "reserved"),
    ("400::/6", "reserved"),
    ("800::/5", "reserved"),
    ("1000::/4", "reserved"),
    ("4000::/3", "reserved"),  # SRv6, RFC 9602
    ("6000::/3", "reserved"),
    ("8000::/3", "reserved"),
    ("a000::/3", "reserved"),
    ("c000::/3", "reserved"),
    ("e000::/4", "reserved"),
    ("f000::/5", "reserved"),
    ("f800::/6", "reserved"),
    ("fe00::/9", "reserved"),
    ("fec0::/10", "reserved"),  # site-local, deprecated by RFC 3879
)


def _rows(table: tuple[tuple[str, Kind], ...]) -> tuple[tuple[int, int, Kind], ...]:
    networks = [(ip_network(text), kind) for text, kind in table]
    return tuple((int(network[0]), int(network[-1]), kind) for network, kind in networks)


_ROWS = {4: _rows(_IPV4), 6: _rows(_IPV6)}
_REST: tuple[int, int, Kind] = (0, (1 << 32) - 1, "public")
_MAPPED = int(IPv6Address("::ffff:0:0")) >> 32
_NAT64 = int(IPv6Address("64:ff9b::")) >> 32
_LOCAL_NAT64 = int(IPv6Address("64:ff9b:1::")) >> 80
_6TO4 = 0x2002


@lru_cache(maxsize=1024)
def kind(address: IPAddress) -> Kind:
    """
    What sort of address it is.

    An IPv4-mapped address is of the sort of its IPv4 address, because the kernel connects there.
    """
    return _row(unmapped(address))[2]


def _row(address: IPAddress) -> tuple[int, int, Kind]:
    number = int(address)
    for row in _ROWS[address.version]:
        if row[0] <= number <= row[1]:
            return row
    return _REST  # of IPv4: the IPv6 table is complete


def names_kind(network: IPNetwork, address: IPAddress) -> bool:
    """
    Whether C{network} holds C{address}, and only addresses to which the registries give the same meaning.

    C{169.254.0.0/16} names 169.254.169.254; C{0.0.0.0/0} holds it and does not name it.
    """
    if network.version != address.version or address not in network:
        return False
    first, last, _ = _row(address)
    return first <= int(network[0]) and int(network[-1]) <= last


def is_loopback(address: IPAddress) -> bool:
    return kind(address) == "loopback"


def is_private(address: IPAddress) -> bool:
    """RFC 1918, RFC 4193 or RFC 6598; loopback is not among them."""
    return kind(address) == "private"


def is_link_local(address: IPAddress) -> bool:
    return kind(address) == "link-local"


def is_unspecified(address: IPAddress) -> bool:
    return kind(address) == "unspecified"


def unmapped(address: IPAddress) -> IPAddress:
    """The IPv4 address of an IPv4-mapped one; any other address as it is."""
    if address.version == 6 and int(address) >> 32 == _MAPPED:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def unmapped_host(host: str) -> str:
    """
    The host of a socket's name as an IPv4 socket has it, where one of IPv6 serves an IPv4 peer.
    """
    return host[7:] if host.startswith("::ffff:") and "." in host else host


def unmapped_network(network: IPNetwork) -> IPNetwork:
    """The IPv4 network of a network of IPv4-mapped addresses; any other network as it is."""
    if network.version == 6 and network.prefixlen >= 96 and int(network[0]) >> 32 == _MAPPED:
        return IPv4Network((int(network[0]) & 0xFFFFFFFF, network.prefixlen - 96))
    return network


def embedded_ipv4(address: IPAddress) -> tuple[IPv4Address, ...]:
    """
    The IPv4 addresses that an IPv6 address may lead to: mapped, compatible, NAT64, 6to4.

    Under 64:ff9b:1::/48 (RFC 8215) the length of the prefix is the site's choice, so there every place where
    RFC 6052 section 2.2 puts the IPv4 address is looked at.
    """
    if address.version == 4:
        return ()
    number = int(address)
    low = number & 0xFFFFFFFF
    top = number >> 32
    if top in (_MAPPED, _NAT64) or (top == 0 and low > 1):
        return (IPv4Address(low),)
    if number >> 112 == _6TO4:
        return (IPv4Address(number >> 80 & 0xFFFFFFFF),)
    if number >> 80 == _LOCAL_NAT64:
        return _local_nat64(number)
    return ()


def _local_nat64(number: int) -> tuple[IPv4Address, ...]:
    found = [number & 0xFFFFFFFF]  # a /96
    if not number >> 56 & 0xFF:  # the octet "u" is zero in the shorter prefixes
        for length in (48, 56, 64):
            before = 64 - length  # bits of the address above "u"
            after = 32 - before
            suffix = 56 - after
            if not number & ((1 << suffix) - 1):
                high = number >> 64 & ((1 << before) - 1)
                found.append(high << after | number >> suffix & ((1 << after) - 1))
    # Zeros are found wherever the address is not; they count only if there is nothing else.
    return tuple(IPv4Address(value) for value in dict.fromkeys(value for value in found if value) or (0,))


# --- texts --------------------------------------------------------------------------------------------


def parse_ip(text: str) -> IPAddress | None:
    """
    The address that C{text} means, or C{None} when it means none.

    Beside the proper forms those that C{inet_aton} takes: C{2130706433}, C{0x7f.1}, C{0177.0.0.1}, C{127.1},
    and one final dot. Brackets are not part of an address, and a zone (C{fe80::1%en0}) is refused.
    """
    return _known_ip(text) if len(text) < _LONG else _parse_ip(text)


_LONG = 64  # what is longer is a name, if anything, and not worth keeping


def _parse_ip(text: str) -> IPAddress | None:
    if ":" in text:
        if "%" in text:
            return None
        try:
            return IPv6Address(text)
        except AddressValueError:
            return None
    parts = text.removesuffix(".").split(".")
    if len(parts) > 4:
        return None
    numbers = [_number(part) for part in parts]
    value = 0
    for number in numbers[:-1]:
        if number is None or number > 255:
            return None
        value = value << 8 | number
    last = numbers[-1]
    room = 8 * (5 - len(parts))  # the last number fills what is left
    if last is None or last >> room:
        return None
    return IPv4Address(value << room | last)


# A connection asks three to five times, a tunnel's at 4 us each, and always for the same few.
_known_ip = lru_cache(maxsize=1024)(_parse_ip)


def _number(text: str) -> int | None:
    """One part of an IPv4 address, as strtoul with base 0 reads it; C{0x} alone is zero, as on the BSDs."""
    if not text or len(text) > 64 or not text.isascii() or not text.isalnum():
        return None
    try:
        if text[:2] in ("0x", "0X"):
            return int(text[2:] or "0", 16)
        if text[0] == "0":
            return int(text, 8)
        return int(text, 10)
    except ValueError:
        return None


def in_ascii(name: str) -> str:
    """
    A name by IDNA 2008, after the mapping of UTS 46 (not the transitional one): C{xn--strae-oqa.lan} for
    C{straße.lan}. Python's own codec is IDNA 2003, which asks for C{strasse.lan}.

    Labels that are ASCII pass as they are, with the underscores that IDNA knows nothing of.

    @raise UnicodeError: a label that IDNA does not allow.
    """
    if name.isascii():
        return name
    import idna  # late: its tables take 10 ms, and names in ASCII need none. Twisted depends on it.

    mapped = idna.uts46_remap(name, std3_rules=False, transitional=False)
    labels = mapped.split(".")
    return ".".join(each if each.isascii() else idna.alabel(each).decode("ascii") for each in labels)


def host_name(text: str) -> str | None:
    """
    The name as DNS and rules compare it: lower case, in ASCII (IDNA), without the final dot.

    C{None} when it can be no name: empty, too long (RFC 1035 section 2.3.4), with a character that no host
    bears, or ending in a number (RFC 1123 section 2.1), which some resolvers would take for an address.
    """
    if not text.isascii():
        try:
            text = in_ascii(text)
        except UnicodeError:
            return None
    name = text.removesuffix(".").lower()
    if not name or len(name) > 253 or not all(letter.isalnum() or letter in "-._" for letter in name):
        return None
    labels = name.split(".")
    if not all(0 < len(label) < 64 for label in labels):
        return None
    if labels[-1].isdigit() or _number(labels[-1]) is not None:
        return None
    return name
