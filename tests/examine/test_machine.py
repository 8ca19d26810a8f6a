"""What is no target's: configuration, relay, ports, descriptors, clock and network."""

from __future__ import annotations

import resource
import socket
import time
from pathlib import Path
from typing import Any

from lanrelay.commands import Output, run
from lanrelay.config import model
from lanrelay.examine import machine
from lanrelay.examine.checks import Check
from lanrelay.examine.network import (
    active_extensions,
    darwin_defaults,
    darwin_interfaces,
    linux_defaults,
    network_checks,
)
from tests.examine.scripted import Scripted, always
from tests.examine.support import ExamineTestCase, Said
from tests.support.macos import recorded

NWI = ["Network information" + one for one in recorded("scutil_nwi").split("Network information")[1:]]

PORTS = """
    listeners:
      nas: {{type: tcp-forward, listen: "127.0.0.1:{port}", upstream: "tcp://127.0.0.1:1"}}
      off: {{type: tcp-forward, listen: "127.0.0.1:1", upstream: "tcp://127.0.0.1:1", enabled: false}}
    """


class MachineTestCase(ExamineTestCase):
    def one(self, check: Check, state: str, cause: str | None = None) -> Check:
        self.assertEqual((check.state, check.cause), (state, cause), check)
        self.assertTrue(check.said.endswith("."), check.said)
        if state != "ok":
            self.assertTrue(check.remedy)
        return check

    def nas(self, port: int = 0) -> model.Config:
        return self.config(PORTS.format(port=port))


class ConfigTests(MachineTestCase):
    def test_a_file_that_is_right(self) -> None:
        said = self.one(machine.config_check(Path("relay.yaml"), self.nas()), "ok").said
        self.assertEqual(said, "relay.yaml: 1 listener; not enabled: off.")

    def test_a_listener_that_is_asked_about_and_is_not_enabled(self) -> None:
        config = self.nas()
        self.assertEqual(machine.not_enabled(config, ["nas", "https://nas.lan"]), [])
        (check,) = machine.not_enabled(config, ["off"])
        self.assertIn("off is not enabled", self.one(check, "warn", "wrong_config").said)

    def test_what_it_names_and_what_is_wrong_with_it(self) -> None:
        config = self.nas()
        self.one(machine.config_check(Path("relay.yaml"), config, ["no such file"]), "failed", "wrong_config")
        config = config._replace(warnings=("token can be read by others.",))
        self.one(machine.config_check(Path("relay.yaml"), config), "warn", "wrong_config")
        self.one(machine.wrong_config(Path("relay.yaml"), "relay.yaml:1:1: no."), "failed", "wrong_config")


class RelayTests(MachineTestCase):
    def status(self, *names: str, version: str = "1.0") -> dict[str, Any]:
        listeners = [{"name": name, "kind": "tcp-forward", "listening": True} for name in names]
        return {"version": version, "pid": 7, "listeners": listeners}

    def check(self, status: dict[str, Any] | None, why: str = "") -> Check:
        return machine.relay_check(status, why, self.nas(), "1.0")

    def test_it_runs(self) -> None:
        facts = self.one(self.check(self.status("nas", "admin")), "ok").facts
        self.assertEqual((facts["version"], facts["pid"]), ("1.0", 7))

    def test_it_does_not(self) -> None:
        self.one(self.check(None, "No relay is running."), "failed", "not_running")

    def test_the_command_for_that_of_another_user_is_found_by_sudo(self) -> None:
        check = machine.relay_of_others(
            "The relay belongs to another user.", Path("/etc/lanrelay/relay.yaml")
        )
        expected = 'sudo "$(command -v lanrelay)" doctor -c /etc/lanrelay/relay.yaml'
        self.assertEqual(self.one(check, "warn").remedy, expected)

    def test_it_runs_with_what_the_file_was_before(self) -> None:
        check = self.one(self.check(self.status("other")), "failed", "wrong_config")
        self.assertIn("lanrelay reload -c", check.remedy or "")

    def test_it_is_of_another_version(self) -> None:
        self.one(self.check(self.status("nas", version="0.9")), "warn")


class PortTests(MachineTestCase):
    def taken(self, config: model.Config, runner: Any = run) -> Check:
        (check,) = machine.port_checks(config, None, runner)
        return check

    def test_free_ports(self) -> None:
        self.one(self.taken(self.nas()), "ok")

    def test_a_taken_port_and_who_has_it(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
            check = self.one(self.taken(self.nas(port)), "failed", "port_taken")
            self.assertEqual(check.facts["address"], f"127.0.0.1:{port}")
            if run(["ss", "--version"]).good:
                self.assertIn("process ", check.said)

    def test_localhost_is_two_addresses(self) -> None:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as listening:
            port = listening.getsockname()[1]
            config = self.config(PORTS.format(port=port).replace(f"127.0.0.1:{port}", f"localhost:{port}"))
            checks = machine.port_checks(config, None, run)  # another program may have that of IPv4
        found = {check.facts["address"]: check for check in checks}
        self.one(found[f"[::1]:{port}"], "failed", "port_taken")

    def test_a_mac_says_who_has_it(self) -> None:
        said = recorded("lsof_listen")
        ask = Said({("lsof", "-nP", "-iTCP:7000", "-sTCP:LISTEN"): Output(0, said)})
        self.assertEqual(machine.who_listens(7000, ask), "ControlCe, process 678")
        self.assertEqual(machine.who_listens(7001, ask), "")

    def test_of_a_running_relay(self) -> None:
        one = {"name": "nas", "kind": "tcp-forward", "listening": True}
        self.one(machine.port_checks(self.nas(), {"listeners": [one]}, run)[0], "ok")
        (check,) = machine.port_checks(self.nas(), {"listeners": [{**one, "listening": False}]}, run)
        self.one(check, "failed", "port_taken")


class DescriptorTests(MachineTestCase):
    def test_few(self) -> None:
        check = self.one(machine.descriptors_check(self.nas(), 1024), "warn", "few_descriptors")
        self.assertEqual(check.remedy, f"ulimit -n {256 + 2 * 4096}")
        self.one(machine.descriptors_check(self.nas(), 100_000), "ok")
        self.one(machine.descriptors_check(self.nas(), resource.RLIM_INFINITY), "ok")


class ClockTests(MachineTestCase):
    async def date(self, ahead: float) -> Check:
        """The clock beside a server whose own is so many seconds ahead."""
        moment = time.gmtime(time.time() + ahead)
        date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", moment)
        server = Scripted(self, always(200, Date=date), says_date=False)
        return machine.clock_check([await self.examine(f"{server.url}/")])

    async def test_a_server_that_agrees(self) -> None:
        self.assertIn("servers", self.one(await self.date(3), "ok").said)

    async def test_a_server_that_does_not(self) -> None:
        check = self.one(await self.date(-7 * 3600), "warn", "clock_wrong")
        self.assertIn("7 hours behind", check.said)

    def test_a_time_that_cannot_be(self) -> None:
        self.one(machine.clock_check([], now=1_000_000_000), "failed", "clock_wrong")
        self.one(machine.clock_check([]), "ok")


class NetworkTests(MachineTestCase):
    def test_extensions_of_a_mac(self) -> None:
        self.assertEqual(
            active_extensions(recorded("systemextensionsctl_list")),
            ["Proton VPN WireGuard", "Proton VPN Split Tunneling (experimental)"],
        )

    def test_default_routes_of_a_mac(self) -> None:
        first, second = (
            recorded("netstat_rn_inet").split("\n\nDestination", 1)[0],
            recorded("netstat_rn_inet"),
        )
        self.assertEqual([one.interface for one in darwin_defaults(first)][:2], ["utun4", "en0"])
        self.assertEqual(len(darwin_defaults(second)), 4)

    def test_interfaces_of_a_mac(self) -> None:
        one, two = NWI
        (wifi,) = darwin_interfaces(one)
        self.assertEqual((wifi.name, wifi.address, wifi.is_vpn), ("en0", "192.168.8.105", False))
        vpn, wifi = darwin_interfaces(two)
        self.assertEqual((vpn.name, vpn.address, vpn.vpn), ("utun6", "10.100.0.2", "127.0.0.1"))
        self.assertEqual((wifi.name, wifi.address, wifi.vpn), ("en0", "10.0.1.7", ""))
        self.assertEqual(darwin_interfaces(""), [])
        unlisted = two.replace("Network interfaces: utun6 en0", "Network interfaces: en0")
        self.assertEqual([(one.name, one.vpn) for one in darwin_interfaces(unlisted)], [("en0", "")])

    def mac(self, nwi: str) -> Check:
        """What is said of the ways out, with C{scutil}'s answer."""
        ask = Said(
            {
                ("netstat", "-rn", "-f", "inet"): Output(0, recorded("netstat_rn_inet").split("\n\nDest")[0]),
                ("scutil", "--nwi"): Output(0, nwi),
            }
        )
        (check,) = network_checks(ask, platform="darwin")
        return self.one(check, "ok")

    def test_a_vpn_that_comes_first(self) -> None:
        check = self.mac(NWI[1])
        self.assertIn("a VPN is among them. The VPN (utun6) comes first:", check.said)
        self.assertEqual(check.facts["interfaces"], ["utun6 10.100.0.2", "en0 10.0.1.7"])

    def test_several_interfaces(self) -> None:
        check = self.mac(NWI[1].replace("utun6", "  en5").replace("           VPN server : 127.0.0.1\n", ""))
        self.assertIn("Several interfaces are up (en5, en0), and macOS asks en5 first.", check.said)
        self.assertNotIn("The VPN", check.said)
        self.assertNotIn("Several", self.mac(NWI[0]).said)

    def test_a_mac(self) -> None:
        ask = Said(
            {
                ("systemextensionsctl", "list"): Output(0, recorded("systemextensionsctl_list")),
                ("netstat", "-rn", "-f", "inet"): Output(0, recorded("netstat_rn_inet")),
            }
        )
        extensions, defaults = network_checks(ask, platform="darwin")
        self.one(extensions, "warn", "network_extension")
        self.assertIn("Proton VPN WireGuard", extensions.said)
        self.assertIn("a VPN is among them", self.one(defaults, "ok").said)

    def test_default_routes_of_linux(self) -> None:
        table = (
            "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
            "wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n"
            "wg0\t00000000\t00000000\t0001\t0\t0\t50\t00000000\t0\t0\t0\n"
            "wlan0\t0001A8C0\t00000000\t0001\t0\t0\t600\t00FFFFFF\t0\t0\t0\n"
        )
        self.assertEqual(
            [(one.interface, one.gateway) for one in linux_defaults(table)],
            [("wg0", "0.0.0.0"), ("wlan0", "192.168.1.1")],
        )

    def test_this_machine(self) -> None:
        for check in network_checks(run, platform="linux"):
            self.one(check, "ok")
