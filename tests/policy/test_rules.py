"""How destination and client rules are judged."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network
from typing import get_args

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config.model import AddressWord, ClientRule, DestinationRule
from lanrelay.policy.rules import ClientRules, DestinationRules, Destinations


def rule(text: str, ports: tuple[int, int] | None = None) -> DestinationRule:
    if text in get_args(AddressWord):
        return DestinationRule(word=text, ports=ports)  # type: ignore[arg-type]
    try:
        return DestinationRule(network=ip_network(text), ports=ports)
    except ValueError:
        below = text.startswith("*.")
        return DestinationRule(name=text.removeprefix("*."), below=below, ports=ports)


def rules(allow: list[str] | str, deny: list[str] | str = "") -> DestinationRules:
    split = [texts.split() if isinstance(texts, str) else texts for texts in (allow, deny)]
    return DestinationRules(*([rule(text) for text in texts] for texts in split))


class AddressTests(SynchronousTestCase):
    def judge(self, allow: str, deny: str, address: str, host: str = "", port: int = 443) -> str | None:
        return rules(allow, deny).judge_address(host or address, port, ip_address(address))

    def assertPermits(self, allow: str, deny: str, *addresses: str, host: str = "") -> None:
        for address in addresses:
            self.assertIsNone(self.judge(allow, deny, address, host), f"{allow} / {deny}: {address}")

    def assertRefuses(self, allow: str, deny: str, *addresses: str, host: str = "") -> None:
        for address in addresses:
            self.assertIsNotNone(self.judge(allow, deny, address, host), f"{allow} / {deny}: {address}")

    def test_a_word_permits_its_kind_and_no_other(self) -> None:
        kinds = {
            "private": ("10.0.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "fd00::1", "fc00::1"),
            "loopback": ("127.0.0.1", "127.255.0.1", "::1"),
            "link-local": ("169.254.169.254", "fe80::1"),
            "public": ("1.1.1.1", "2606:4700::1111"),
        }
        for word in kinds:
            for other, addresses in kinds.items():
                check = self.assertPermits if other == word else self.assertRefuses
                check(word, "", *addresses)

    def test_any_permits_what_is_ordinary(self) -> None:
        self.assertPermits("any", "", "10.0.0.1", "127.0.0.1", "::1", "1.1.1.1", "fd00::1")

    def test_neither_any_nor_a_name_permits_what_must_be_named(self) -> None:
        special = (
            *("169.254.169.254", "224.0.0.1", "0.0.0.0", "240.0.0.1", "255.255.255.255", "192.0.2.1"),
            *("fe80::1", "ff02::1", "::", "2001:db8::1"),
        )
        self.assertRefuses("any meta.lan *.lan", "", *special, host="meta.lan")
        self.assertRefuses("0.0.0.0/0 ::/0", "", *special)

    def test_an_address_or_a_network_permits_what_must_be_named(self) -> None:
        self.assertPermits("169.254.169.254/32", "", "169.254.169.254")
        self.assertPermits("169.254.0.0/16", "", "169.254.169.254")
        self.assertRefuses("169.254.169.253/32", "", "169.254.169.254")
        self.assertPermits("224.0.0.0/4", "", "239.1.2.3")
        self.assertPermits("0.0.0.0/32", "", "0.0.0.0")
        self.assertPermits("0.0.0.0/8", "", "0.1.2.3")
        self.assertRefuses("0.0.0.0/8", "", "0.0.0.0")
        self.assertPermits("198.18.0.0/15", "", "198.18.0.7")
        self.assertPermits("2001:db8::/32", "", "2001:db8::1")
        self.assertRefuses("2000::/3", "", "2001:db8::1")

    def test_a_zone_changes_nothing(self) -> None:
        judge = rules("fe80::1/128").judge_address
        self.assertIsNone(judge("host", 1, IPv6Address("fe80::1%3")))
        self.assertIsNotNone(judge("host", 1, IPv6Address("fe80::2%3")))

    def test_deny_wins(self) -> None:
        self.assertRefuses("any 10.0.0.0/8 nas.lan", "10.0.0.7/32", "10.0.0.7", host="nas.lan")
        self.assertRefuses("any", "any", "10.0.0.7")
        self.assertPermits("any", "10.0.0.7/32", "10.0.0.8")

    def test_a_mapped_address_is_its_ipv4_address(self) -> None:
        mapped = "::ffff:127.0.0.1"
        self.assertRefuses("any", "loopback", mapped)
        self.assertRefuses("any", "127.0.0.0/8", mapped)
        self.assertRefuses("private public", "", mapped)
        self.assertRefuses("::/0", "", mapped)
        self.assertRefuses("any", "::/0", mapped)
        self.assertPermits("loopback", "", mapped)
        self.assertPermits("127.0.0.1/32", "", mapped)
        self.assertPermits("private", "", "::ffff:192.168.1.1")
        self.assertRefuses("any", "", "::ffff:169.254.169.254", "::ffff:0.0.0.0")

    def test_a_rule_in_mapped_form_is_an_ipv4_rule(self) -> None:
        self.assertPermits("::ffff:10.0.0.0/104", "", "10.1.2.3", "::ffff:10.1.2.3")
        self.assertRefuses("any", "::ffff:10.0.0.0/104", "10.1.2.3", "::ffff:10.1.2.3")

    def test_an_address_that_embeds_another_is_judged_as_both(self) -> None:
        for loopback, private in (
            ("64:ff9b::7f00:1", "64:ff9b::c0a8:101"),
            ("2002:7f00:1::1", "2002:c0a8:101::1"),
        ):
            self.assertRefuses("any", "loopback", loopback)
            self.assertRefuses("any", "127.0.0.0/8", loopback)
            self.assertRefuses("private public", "", loopback)
            self.assertRefuses("private", "", private)
            self.assertRefuses("public", "", private)
            self.assertPermits("private public", "", private)
        self.assertRefuses("2002::/16", "", "2002:7f00:1::1")
        self.assertRefuses("64:ff9b::/96", "", "64:ff9b::7f00:1")
        self.assertRefuses("any", "", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1")
        self.assertPermits("public", "", "64:ff9b::101:101", "2002:101:101::1")

    def test_ipv4_compatible_and_local_nat64_must_be_named(self) -> None:
        self.assertRefuses("any", "", "::10.0.0.1", "64:ff9b:1::a00:1")
        self.assertPermits("::10.0.0.1/128 private", "", "::10.0.0.1")
        self.assertRefuses("::10.0.0.1/128", "", "::10.0.0.1")
        self.assertPermits("64:ff9b:1::/48 private", "", "64:ff9b:1::a00:1")
        self.assertRefuses("64:ff9b:1::/48 any", "private", "64:ff9b:1::a00:1")

    def test_a_name_permits_its_ordinary_addresses(self) -> None:
        self.assertPermits("nas.lan", "", "10.0.0.1", "127.0.0.1", "1.1.1.1", "fd00::1", host="nas.lan")
        self.assertPermits("nas.lan", "", "10.0.0.1", host="NAS.Lan.")
        self.assertRefuses("nas.lan", "", "10.0.0.1", host="other.lan")
        self.assertRefuses("nas.lan", "", "10.0.0.1", host="10.0.0.1")

    def test_ports(self) -> None:
        allow = [rule("any", (8000, 8999)), rule("private", (22, 22))]
        some = DestinationRules(allow, [rule("any", (8080, 8080))])
        address = ip_address("10.0.0.1")
        for port, permitted in ((22, 1), (23, 0), (7999, 0), (8000, 1), (8999, 1), (9000, 0), (8080, 0)):
            self.assertEqual(some.judge_address("h", port, address) is None, bool(permitted), port)

    def test_the_reason_names_the_rule(self) -> None:
        self.assertEqual(
            self.judge("any", "10.0.0.0/8", "10.0.0.7"), "10.0.0.7 is denied by `10.0.0.0/8` in `deny`"
        )
        self.assertEqual(
            self.judge("any", "loopback", "::ffff:127.0.0.1"),
            "::ffff:127.0.0.1, which leads to 127.0.0.1, is denied by `loopback` in `deny`",
        )
        self.assertEqual(
            self.judge("public", "", "10.0.0.7"),
            "10.0.0.7 is private, and no rule in `allow` permits it on port 443",
        )
        self.assertEqual(
            self.judge("any", "", "169.254.169.254"),
            "169.254.169.254 is link-local, and no rule in `allow` names `link-local`, it or its network"
            " for port 443",
        )
        narrow = DestinationRules([], [rule("fd00::/8", (443, 443)), rule("::1/128", (1, 9))])
        self.assertIn("`[fd00::/8]:443`", str(narrow.judge_address("h", 443, ip_address("fd00::1"))))
        self.assertIn("`[::1]:1-9`", str(narrow.judge_address("h", 5, ip_address("::1"))))

    def test_permit_for_is_judge_address(self) -> None:
        permit = rules("private").permit_for("nas.lan", 443)
        self.assertIsNone(permit(ip_address("10.0.0.1")))
        self.assertIn("1.1.1.1 is public", str(permit(ip_address("1.1.1.1"))))


class NameTests(SynchronousTestCase):
    def judge(self, allow: str, deny: str, host: str) -> str | None:
        return rules(allow, deny).judge_name(host, 443)

    def test_a_name_goes_on_when_an_address_could_be_permitted(self) -> None:
        for allow in ("private", "any", "10.0.0.0/8", "nas.lan"):
            self.assertIsNone(self.judge(allow, "", "nas.lan"), allow)

    def test_a_name_that_nothing_permits_is_not_looked_up(self) -> None:
        self.assertEqual(
            self.judge("nas.lan *.home", "", "evil.example"),
            "no rule in `allow` permits evil.example on port 443",
        )
        self.assertIsNotNone(DestinationRules([rule("any", (80, 80))]).judge_name("nas.lan", 443))

    def test_deny_by_name(self) -> None:
        self.assertEqual(self.judge("any", "nas.lan", "nas.lan"), "nas.lan is denied by `nas.lan` in `deny`")
        for host in ("NAS.LAN", "nas.lan.", "NAS.lan."):
            self.assertIsNotNone(self.judge("any", "nas.lan", host), host)
        self.assertIsNone(self.judge("any", "nas.lan", "other.nas.lan"))
        self.assertIsNone(self.judge("any", "nas.lan", "xnas.lan"))

    def test_below_a_domain_is_not_the_domain(self) -> None:
        for host in ("a.lan", "a.b.lan", "A.LAN."):
            self.assertIsNotNone(self.judge("any", "*.lan", host), host)
        for host in ("lan", "lan.", "alan", "a.lan.example"):
            self.assertIsNone(self.judge("any", "*.lan", host), host)

    def test_names_are_compared_in_ascii(self) -> None:
        self.assertIsNotNone(self.judge("any", "xn--bcher-kva.lan", "bücher.lan"))
        self.assertIsNotNone(self.judge("any", "xn--strae-oqa.lan", "straße.lan"))
        self.assertIsNotNone(self.judge("any", "bücher.lan", "xn--bcher-kva.lan"))
        self.assertIsNotNone(self.judge("any", "nas.lan", "ｎａｓ.lan"))

    def test_an_address_in_any_spelling_is_no_name(self) -> None:
        for host in ("127.0.0.1", "2130706433", "0x7f.1", "::1"):
            self.assertIsNone(self.judge("loopback", "", host), host)
            self.assertIsNotNone(self.judge("nas.lan", "", host), host)

    def test_deny_any_decides_for_names_too(self) -> None:
        self.assertEqual(self.judge("any", "any", "nas.lan"), "nas.lan is denied by `any` in `deny`")


class ImpliedTests(SynchronousTestCase):
    """The C{loopback} of a default, which nobody wrote."""

    def setUp(self) -> None:
        implied = DestinationRule(word="loopback", implied=True)
        self.rules = DestinationRules(
            [rule("private"), rule("public"), implied], resolve=["Fixed.lan", "straße.lan"]
        )

    def judge(self, host: str, address: str = "127.0.0.1") -> str | None:
        name = self.rules.judge_name(host, 3000)
        self.assertIsNone(name)
        return self.rules.judge_address(host, 3000, ip_address(address))

    def test_whose_meaning_is_plain_gets_there(self) -> None:
        for host in (
            *("127.0.0.1", "127.1", "0x7f.1", "2130706433", "::1", "::ffff:127.0.0.1"),
            *("localhost", "LOCALHOST.", "app.localhost", "app.Localhost."),
            *("fixed.lan", "FIXED.lan.", "straße.lan"),
        ):
            for address in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"):
                self.assertIsNone(self.judge(host, address), (host, address))

    def test_a_name_that_turns_there_is_refused(self) -> None:
        for host in ("rebound.example", "localhost.example", "notlocalhost", "nas", "x.fixed.lan"):
            for address in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"):
                said = self.judge(host, address)
                assert said is not None, (host, address)
                self.assertIn(f"for {host} `loopback` has to be written in `allow`", said)

    def test_other_addresses_of_such_names_are_as_ever(self) -> None:
        self.assertIsNone(self.judge("nas.lan", "192.168.1.20"))
        self.assertIsNone(self.judge("example.com", "8.8.8.8"))

    def test_a_rule_that_somebody_wrote_is_for_names_too(self) -> None:
        implied = DestinationRule(word="loopback", implied=True)
        for written in ("loopback", "any", "127.0.0.0/8", "dev.lan", "*.lan"):
            some = DestinationRules([rule("private"), implied, rule(written)])
            self.assertIsNone(some.judge_address("dev.lan", 80, ip_address("127.0.0.1")), written)


class UnresolvedTests(SynchronousTestCase):
    """Names that a parent proxy looks up."""

    def test_they_count_as_public(self) -> None:
        for allow, deny, permitted in (
            ("private public", "", True),
            ("public", "private", True),
            ("any", "", True),
            ("nas.lan", "", True),
            ("*.lan", "", True),
            ("private", "", False),
            ("0.0.0.0/0 ::/0", "", False),
            ("other.lan", "", False),
            ("any", "public", False),
            ("any", "any", False),
            ("any", "nas.lan", False),
            ("any", "*.lan", False),
            ("any", "10.0.0.0/8", True),
        ):
            reason = rules(allow, deny).judge_unresolved("NAS.lan.", 443)
            self.assertEqual(reason is None, permitted, (allow, deny, reason))

    def test_ports(self) -> None:
        allowed = DestinationRules([rule("public", (443, 443))], [rule("nas.lan", (22, 22))])
        self.assertIsNone(allowed.judge_unresolved("nas.lan", 443))
        self.assertIsNotNone(allowed.judge_unresolved("nas.lan", 80))
        self.assertIsNotNone(allowed.judge_unresolved("nas.lan", 22))


class DestinationsTests(SynchronousTestCase):
    def test_names_and_known_addresses(self) -> None:
        set_of = Destinations([rule("nas.lan"), rule("*.home.lan", (22, 22)), rule("10.0.0.0/8")])
        for host, port, addresses, held in (
            ("NAS.LAN.", 80, (), True),
            ("a.nas.lan", 80, (), False),
            ("a.home.lan", 22, (), True),
            ("a.home.lan", 23, (), False),
            ("10.1.2.3", 80, ("10.1.2.3",), True),
            ("11.1.2.3", 80, ("11.1.2.3",), False),
            ("fixed.lan", 80, ("192.0.2.1", "10.1.2.3"), True),
            ("::ffff:10.1.2.3", 80, ("::ffff:10.1.2.3",), True),
        ):
            found = set_of.hold(host, port, [ip_address(each) for each in addresses])
            self.assertEqual(found, held, host)

    def test_any_holds_what_is_not_looked_up(self) -> None:
        self.assertTrue(Destinations([rule("any")]).hold("nas.lan", 80))
        self.assertFalse(Destinations([rule("public"), rule("private")]).hold("nas.lan", 80))
        self.assertFalse(Destinations([]).hold("nas.lan", 80))


class ClientTests(SynchronousTestCase):
    def permits(self, *texts: str, client: str | None) -> bool:
        given = [
            ClientRule(word=text)  # type: ignore[arg-type]
            if text in ("loopback", "private", "any")
            else ClientRule(network=ip_network(text))
            for text in texts
        ]
        return ClientRules(given).permits(None if client is None else ip_address(client))

    def test_words_and_networks(self) -> None:
        table = [
            (("loopback",), "127.0.0.1", True),
            (("loopback",), "127.8.8.8", True),
            (("loopback",), "::1", True),
            (("loopback",), "10.0.0.1", False),
            (("private",), "10.0.0.1", True),
            (("private",), "100.100.1.1", True),
            (("private",), "fd00::1", True),
            (("private",), "127.0.0.1", False),
            (("private",), "8.8.8.8", False),
            (("any",), "8.8.8.8", True),
            (("any",), "169.254.1.1", True),
            (("192.168.1.0/24",), "192.168.1.7", True),
            (("192.168.1.0/24",), "192.168.2.7", False),
            (("::1/128", "10.0.0.1/32"), "10.0.0.1", True),
            ((), "127.0.0.1", False),
        ]
        for texts, client, expected in table:
            self.assertEqual(self.permits(*texts, client=client), expected, (texts, client))

    def test_one_client_after_another(self) -> None:
        rules = ClientRules([ClientRule(word="loopback")])
        here, elsewhere = ip_address("127.0.0.1"), ip_address("10.0.0.1")
        for address in (here, here, elsewhere, elsewhere, here, None, elsewhere):
            self.assertEqual(rules.permits(address), address is not elsewhere)

    def test_a_mapped_address_is_judged_as_ipv4(self) -> None:
        self.assertTrue(self.permits("loopback", client="::ffff:127.0.0.1"))
        self.assertTrue(self.permits("192.168.1.0/24", client="::ffff:192.168.1.7"))
        self.assertFalse(self.permits("::/0", client="::ffff:192.168.1.7"))
        self.assertTrue(self.permits("::ffff:10.0.0.0/104", client="10.0.0.9"))

    def test_a_unix_peer_counts_as_loopback(self) -> None:
        self.assertTrue(self.permits("loopback", client=None))
        self.assertTrue(self.permits("any", client=None))
        self.assertFalse(self.permits("private", "127.0.0.0/8", client=None))
