"""Who answers for a program that macOS keeps from the LAN, as C{launchctl procinfo} has said it on Macs."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.commands import Output
from lanrelay.examine.checks import Cause, Check, Examined, Viewpoint
from lanrelay.examine.responsible import app_of, responsible_checks, responsible_path
from tests.examine.support import Said
from tests.support.macos import recorded

OF_AN_APP, OF_A_JOB = recorded("launchctl_procinfo").strip().split("\n\n")
STATUS = {"pid": 4711}


def met(place: Viewpoint, cause: Cause = "local_network_privacy") -> Examined:
    check = Check(layer="connect", state="failed", cause=cause, said="No.", remedy="None.")
    return Examined(target="nas", url="tcp://192.168.1.20:1", listener="nas", place=place, checks=(check,))


class ResponsibleTests(SynchronousTestCase):
    def checks(self, *examined: Examined, said: str = "", root: bool = False, **more: Any) -> list[Check]:
        self.run_ = Said({("launchctl", "procinfo", str(pid)): Output(0, said) for pid in (7, 4711)})
        return responsible_checks(examined, more.get("status", STATUS), self.run_, shell=7, root=root)

    def test_nobody_is_asked_about_where_nothing_is_kept(self) -> None:
        self.assertEqual(self.checks(), [])
        self.assertEqual(self.checks(met("here", "host_down"), met("service", "refused"), root=True), [])
        self.assertEqual(self.run_.asked, [])

    def test_without_root_it_is_a_line_to_paste(self) -> None:
        here, service = self.checks(met("here"), met("service"), met("service"))
        self.assertEqual(here.remedy, "sudo launchctl procinfo 7 | grep responsible")
        self.assertEqual(service.remedy, "sudo launchctl procinfo 4711 | grep responsible")
        self.assertEqual((service.state, service.facts), ("warn", {"pid": 4711}))
        self.assertEqual(self.run_.asked, [])

    def test_root_is_told(self) -> None:
        (check,) = self.checks(met("service"), said=OF_AN_APP, root=True)
        self.assertIn("macOS holds /Applications/Cupertino.app/Contents/MacOS/Cupertino respons", check.said)
        self.assertIn("Look for Cupertino in System Settings", check.remedy or "")
        (check,) = self.checks(met("service"), said=OF_A_JOB, root=True)
        self.assertEqual(check.facts["responsible"], "/usr/local/Cellar/redis/6.2.1/bin/redis-server")
        self.assertIn("no app", check.remedy or "")

    def test_what_is_not_understood_is_a_line_to_paste(self) -> None:
        (check,) = self.checks(met("service"), said="Unrecognized subcommand", root=True)
        self.assertIn("grep responsible", check.remedy or "")

    def test_a_relay_that_is_gone_has_no_process(self) -> None:
        self.assertEqual(self.checks(met("service"), status=None), [])

    def test_of_an_app_within_an_app_it_is_the_outer_one(self) -> None:
        path = "/Applications/Claude.app/Contents/Helpers/x.app/Contents/MacOS/x"
        self.assertEqual(app_of(path), "Claude")
        self.assertEqual(app_of("/usr/bin/osascript"), "")
        self.assertEqual(responsible_path(""), "")
