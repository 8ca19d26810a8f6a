from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.cli.status import age, first_steps, table

DOCUMENT: dict[str, Any] = {
    "version": "1.2.3",
    "pid": 4711,
    "config": "/home/somebody/.config/lanrelay/relay.yaml",
    "uptime": 7384.2,
    "ready": False,
    "unready": [
        "nas-db: tcp://nas.lan:5432 is down (connection_refused): nas.lan:5432 refused the connection."
    ],
    "warnings": ["/home/somebody/.config/lanrelay/token holds a secret and others can read it"],
    "last_reload": {
        "at": "2026-11-20T10:00:00.000+00:00",
        "by": "SIGHUP",
        "ok": False,
        "errors": ['relay.yaml:3:5: listeners.web.listen: found "x", expected a port'],
    },
    "sessions_open": 3,
    "sessions": [{"age": 75.0}, {"age": 3.0}],
    "listeners": [
        {
            "name": "nas-db",
            "addresses": ["127.0.0.1:5432", "[::1]:5432", "unix:/run/user/1000/nas-db.sock"],
            "listening": True,
            "draining": False,
            "leads_to": "tcp://nas.lan:5432",
            "open_connections": 12,
        },
        {
            "name": "old",
            "addresses": [],
            "listening": False,
            "draining": True,
            "leads_to": "tcp://nas.lan:5432",
            "open_connections": 1,
        },
        {
            "name": "closed",
            "addresses": [],
            "listening": False,
            "draining": False,
            "leads_to": "x",
            "open_connections": 0,
        },
    ],
    "upstreams": [
        {
            "listener": "nas-db",
            "route": "",
            "url": "tcp://nas.lan:5432",
            "up": False,
            "insecure": False,
            "open": 0,
            "last_error": {
                "error": "connection_refused",
                "what": "nas.lan:5432 refused the connection.",
                "remedy": "Start it.",
            },
        },
        {
            "listener": "web",
            "route": "/files",
            "url": "https://a-host-with-a-long-name.home.arpa",
            "up": True,
            "insecure": True,
            "open": 2,
            "last_error": None,
        },
    ],
}


class TableTests(SynchronousTestCase):
    def test_it_says_all_that_matters(self) -> None:
        text = "\n".join(table(DOCUMENT, 200))
        for words in (
            "lanrelay 1.2.3, pid 4711, up 2 h 3 min: NOT READY",
            "! nas-db: tcp://nas.lan:5432 is down",
            "! /home/somebody/.config/lanrelay/token holds a secret",
            "reload by SIGHUP at 2026-11-20T10:00:00: REFUSED",
            "! relay.yaml:3:5: ",
            "open sessions: 3, the oldest 1 min 15 s",
            "localhost:5432, unix:/run/user/1000/nas-db.sock",
            "connection_refused",
            "! nas-db: tcp://nas.lan:5432: nas.lan:5432 refused the connection. Start it.",
        ):
            self.assertIn(words, text)
        self.assertRegex(text, r"(?m)^nas-db +listens +12  ")
        self.assertRegex(text, r"(?m)^old +draining +1 +-  ")
        self.assertRegex(text, r"(?m)^closed +CLOSED ")
        self.assertRegex(text, r"(?m)^nas-db +DOWN ")
        self.assertRegex(text, r"(?m)^web/files +up, insecure ")

    def test_what_is_not_known_is_neither_up_nor_down(self) -> None:
        unknown = {**DOCUMENT["upstreams"][1], "up": None, "insecure": False}
        for checked, words in ((True, "not known yet"), (False, "not checked")):
            document = {**DOCUMENT, "upstreams": [{**unknown, "checked": checked}]}
            self.assertRegex("\n".join(table(document, 200)), rf"(?m)^web/files +{words} +2 ")

    def test_it_fits_whatever_the_width(self) -> None:
        for width in (*range(20, 130), 300):
            for line in table(DOCUMENT, width):
                self.assertLessEqual(len(line), width, (width, line))

    def test_states_and_numbers_are_the_last_to_be_cut(self) -> None:
        for width in (60, 80):
            text = "\n".join(table(DOCUMENT, width))
            self.assertRegex(text, r"(?m)^nas-db +listens +12 ")
            self.assertRegex(text, r"(?m)^nas-db +DOWN ")
            self.assertIn("...", text)

    def test_a_relay_that_does_nothing(self) -> None:
        document = {
            **DOCUMENT,
            "ready": True,
            "unready": [],
            "warnings": [],
            "last_reload": None,
            "sessions_open": 0,
            "sessions": [],
            "listeners": [],
            "upstreams": [],
        }
        self.assertEqual(
            table(document, 80),
            [
                "lanrelay 1.2.3, pid 4711, up 2 h 3 min: ready",
                "/home/somebody/.config/lanrelay/relay.yaml",
                "open sessions: 0",
                "",
                "LISTENER  STATE  OPEN  LISTENS ON  LEADS TO",
            ],
        )

    def test_a_relay_that_leads_nowhere_yet_says_what_to_do_first(self) -> None:
        self.assertEqual(first_steps({}), [])
        self.assertEqual(first_steps({"first_steps": []}), [])
        step = {"title": "Lead to a server of yours", "text": "It asks.", "command": "lanrelay setup"}
        self.assertEqual(
            first_steps({"first_steps": [step]}),
            [
                "",
                "It leads to no server yet. What to do first:",
                "- Lead to a server of yours:",
                "  lanrelay setup",
            ],
        )

    def test_ages(self) -> None:
        for seconds, text in (
            (0.9, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (185, "3 min 5 s"),
            (7200, "2 h"),
            (7384, "2 h 3 min"),
            (90000, "1 d 1 h"),
        ):
            self.assertEqual(age(seconds), text)
