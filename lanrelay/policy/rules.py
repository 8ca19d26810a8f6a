"""Whether a listener may reach a destination, and whether a client may use the listener."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

from lanrelay.addresses import (
    IPAddress,
    Kind,
    embedded_ipv4,
    host_name,
    kind,
    names_kind,
    parse_ip,
    unmapped,
    unmapped_network,
)
from lanrelay.config.model import ClientRule, DestinationRule

Permit = Callable[[IPAddress], str | None]
"""C{None}: the address may be dialed; else the reason why not, as a phrase."""

_KEPT = 1024

EXPLICIT: frozenset[Kind] = frozenset({"link-local", "multicast", "unspecified", "reserved"})
"""
Kinds that neither a name nor C{any} permits: they lead to metadata services, or to places that nobody means.
"""


class DestinationRules:
    """
    C{allow} and C{deny} of a forward proxy; the contract's "How rules are judged".

    A reason is a phrase that names the rule, such as C{"10.0.0.7 is denied by `private` in `deny`"}.
    """

    def __init__(
        self,
        allow: Iterable[DestinationRule],
        deny: Iterable[DestinationRule] = (),
        *,
        resolve: Collection[str] = (),
    ) -> None:
        """@param resolve: names whose addresses the configuration says."""
        self._allow = tuple(_Rule(rule) for rule in allow)
        self._resolve = frozenset(_name(name) for name in resolve)
        self._deny = tuple(_Rule(rule) for rule in deny)
        # Judgements that do not change, for the destinations of now: 25 us less of a tunnel's 200.
        self.judge_name = lru_cache(maxsize=_KEPT)(self._judge_name)
        self.judge_address = lru_cache(maxsize=_KEPT)(self._judge_address)

    def _judge_name(self, host: str, port: int) -> str | None:
        """
        The reason for refusing C{host} without a look at its addresses; C{None} to go on to L{judge_address}.

        The reason is a C{deny} rule for the name or for everything, or that no C{allow} rule could permit any
        of its addresses. So a name that may not be reached is not looked up either.
        """
        name = _name(host)
        for rule in self._deny:
            if rule.has_port(port) and (rule.has_name(name) or rule.everything):
                return f"{host} is denied by `{rule}` in `deny`"
        for rule in self._allow:
            if rule.has_port(port) and (rule.by_address or rule.has_name(name)):
                return None
        return f"no rule in `allow` permits {host} on port {port}"

    def _judge_address(self, host: str, port: int, address: IPAddress) -> str | None:
        """
        The reason for refusing C{address}, to which C{host} resolved (or which it is); C{None} permits it.

        An address with an IPv4 address in it is judged as both: each must be permitted, and none denied. But
        nothing permits an IPv4-mapped one except what permits its IPv4 address, which is what is dialed.
        """
        name = _name(host)
        deny = [rule for rule in self._deny if rule.has_port(port)]
        allow = [rule for rule in self._allow if rule.has_port(port)]
        address = _without_zone(address)
        plain = unmapped(address)
        forms = (plain, *embedded_ipv4(plain))
        for rule in deny:
            if rule.has_name(name):
                return f"{host} is denied by `{rule}` in `deny`"
            for form in (*forms, address):
                if rule.has_address(form):
                    return f"{_subject(address, form)} is denied by `{rule}` in `deny`"
        for form in forms:
            subject, sort = _subject(address, form), kind(form)
            if sort in EXPLICIT:
                if not any(rule.names(form) for rule in allow):
                    wanted = "`link-local`, it" if sort == "link-local" else "it"
                    return (
                        f"{subject} is {sort}, and no rule in `allow` names {wanted} or its network"
                        f" for port {port}"
                    )
            else:
                fit = [rule for rule in allow if rule.has_name(name) or rule.has_address(form)]
                if not fit:
                    return f"{subject} is {sort}, and no rule in `allow` permits it on port {port}"
                if not self._is_plain(name) and all(rule.implied for rule in fit):
                    return (
                        f"{subject} is {sort}, where by default an address, `localhost` or a name in"
                        f" `resolve` may lead; for {host} `{sort}` has to be written in `allow`"
                    )
        return None

    def _is_plain(self, name: str | None) -> bool:
        """
        Whether a name can surprise nobody: the client or the configuration says where it leads. C{None} is an
        address.
        """
        if name is None or name == "localhost" or name.endswith(".localhost"):
            return True
        return name in self._resolve

    def judge_unresolved(self, host: str, port: int) -> str | None:
        """
        The reason for refusing a name whose addresses are not looked up here, because a parent proxy does
        that; C{None} permits it.

        Rules for names hold as ever. The parent judges where the name leads, so it counts as C{public}: that
        word and C{any} permit or deny it, and C{private} or a network does neither.
        """
        name = _name(host)
        for rule in self._deny:
            if rule.has_port(port) and (rule.has_name(name) or rule.somewhere):
                return f"{host} is denied by `{rule}` in `deny`"
        for rule in self._allow:
            if rule.has_port(port) and (rule.has_name(name) or rule.somewhere):
                return None
        return (
            f"no rule in `allow` permits {host} on port {port}, which the parent proxy looks up:"
            " only its name, `public` or `any` would"
        )

    def permit_for(self, host: str, port: int) -> Permit:
        """L{judge_address} for one destination, as the dialer wants it."""
        return lambda address: self.judge_address(host, port, address)


class Destinations:
    """C{parent_bypass}: a set of destinations, of which no rule weighs more than another."""

    def __init__(self, rules: Iterable[DestinationRule]) -> None:
        self._rules = tuple(_Rule(rule) for rule in rules)

    def hold(self, host: str, port: int, addresses: Iterable[IPAddress] = ()) -> bool:
        """
        Whether C{host} is one of them, by its name or by one of its addresses.

        @param addresses: those that are known without a look-up.
        """
        name = _name(host)
        forms = [unmapped(_without_zone(address)) for address in addresses]
        return any(
            rule.has_port(port)
            and (rule.has_name(name) or rule.everything or any(rule.has_address(form) for form in forms))
            for rule in self._rules
        )


class ClientRules:
    """C{clients} of a listener, C{accept_proxy}: who may connect."""

    def __init__(self, rules: Iterable[ClientRule]) -> None:
        rules = tuple(rules)
        self._words = {rule.word for rule in rules if rule.word is not None}
        self._networks = [unmapped_network(rule.network) for rule in rules if rule.network is not None]
        self._latest: IPAddress | None = None
        self._verdict = False

    def permits(self, address: IPAddress | None) -> bool:
        """
        Whether a client may connect from C{address}.

        @param address: C{None}: a unix socket's peer, which is on this machine and counts as loopback. An
            IPv4-mapped address is judged as IPv4.
        """
        if "any" in self._words:
            return True
        if address is None:
            return "loopback" in self._words
        # Most often it is the one that connected before, and then the same object (L{parse_ip}): 2 us less.
        if address is not self._latest:
            plain = unmapped(address)
            self._verdict = kind(plain) in self._words or any(plain in network for network in self._networks)
            self._latest = address
        return self._verdict


class _Rule:
    """One rule, ready to be asked."""

    def __init__(self, rule: DestinationRule) -> None:
        self._rule = rule
        self._name = None if rule.name is None else _name(rule.name) or rule.name
        self._network = None if rule.network is None else unmapped_network(rule.network)
        self.everything = rule.word == "any"
        self.somewhere = rule.word in ("any", "public")
        self.by_address = rule.name is None
        self.implied = rule.implied

    def has_port(self, port: int) -> bool:
        ports = self._rule.ports
        return ports is None or ports[0] <= port <= ports[1]

    def has_name(self, name: str | None) -> bool:
        if name is None or self._name is None:
            return False
        return name.endswith(f".{self._name}") if self._rule.below else name == self._name

    def has_address(self, form: IPAddress) -> bool:
        if self._network is not None:
            return form in self._network
        return self.everything or self._rule.word == kind(form)

    def names(self, form: IPAddress) -> bool:
        """Whether it gives the kind of the address as a word, or an address or a network of that kind."""
        if self._network is not None:
            return names_kind(self._network, form)
        return self._rule.word == kind(form)

    def __str__(self) -> str:
        rule = self._rule
        if rule.network is not None:
            alone = rule.network.prefixlen == rule.network.max_prefixlen
            text = str(rule.network.network_address if alone else rule.network)
            if rule.ports is not None and rule.network.version == 6:
                text = f"[{text}]"
        else:
            text = rule.word or f"{'*.' if rule.below else ''}{rule.name}"
        if rule.ports is None:
            return text
        first, last = rule.ports
        return f"{text}:{first}" if first == last else f"{text}:{first}-{last}"


def _name(host: str) -> str | None:
    """The name to compare; C{None} when C{host} is an address, in whatever spelling."""
    if parse_ip(host) is not None:
        return None
    return host_name(host) or host.lower().removesuffix(".")


def _without_zone(address: IPAddress) -> IPAddress:
    # The zone is the interface; with it the address would not equal itself.
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return IPv6Address(int(address))
    return address


def _subject(address: IPAddress, form: IPAddress) -> str:
    if form == address or not isinstance(form, IPv4Address):
        return str(address)
    # Python writes a mapped address so from 3.13 on only.
    text = f"::ffff:{form}" if unmapped(address) == form else str(address)
    return f"{text}, which leads to {form},"
