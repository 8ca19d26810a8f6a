"""Each public example: what is said of its entries, what it becomes, and that it comes back."""

from __future__ import annotations

import codecs

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.clients.finding import authorities
from lanrelay.clients.plan import through_listeners, through_proxy
from lanrelay.edit.formats.edit import Change, apply, put_back, spans
from lanrelay.edit.formats.tree import Broken
from tests.clients.support import FILES, findings, read

LAN = "lan yes"

# Of each file: its entries in order, with where they lead and what is to become of them.
SAID = {
    "01": {"animus": LAN},
    "02": {"ktree": LAN, "dongle": LAN},
    "04": {
        "mealie": LAN,
        "mealie-tailnet": "lan disabled",
        "mealie-dev": "program program",
        "filesystem": "program program",
    },
    "05": {"revit": LAN, "inventree": LAN},
    "07": {"Home Assistant": LAN, "Home Assistant (env only)": LAN, "Home Assistant (streamable)": LAN},
    "08": {"duplicati": LAN, "hub": LAN},
    "09": {"homelab": "unknown not_understood", "homelab-ok": LAN, "graphs": LAN},
    "11": {"ktree": LAN},
    "12": dict.fromkeys(
        ("Home Assistant", "n8n-mcp", "address-book", "wazuh", "ollama", "proxmox"), "program program"
    ),
    "13": dict.fromkeys(("n8n-docker", "unraid", "MCP_DOCKER"), "program container"),
    "15": {
        "shell": "unknown shell_string",
        "ssh-tunnelled": "program ssh",
        "already-relayed": "relay already_relayed",
        "public": "public public",
    },
    "17": {
        "home-assistant": "unknown unresolved_variable",
        "memory": LAN,
        "unity": "unknown unresolved_variable",
    },
    "19": {
        "homeAssistant": LAN,
        "oldSse": LAN,
        "nas": LAN,
        "sock": "loopback loopback",
        "context7": "public public",
    },
    "20": {"lab": "lan container"},
    "21": {"projectpulse": LAN, "with-headers": LAN},
    "23": {"searxng": LAN, "implicit-sse": "lan disabled", "from-cli": LAN, "legacy": LAN},
    "25": {"Home Assistant": LAN, "notes": LAN, "bridge": LAN},
    "26": {"dash": LAN, "proxied": LAN},
    "27": {"home-assistant": LAN, "ha-mcp": LAN, "movies": LAN, "both": LAN},
    "28": {"graylog": LAN, "email": LAN, "home assistant": LAN, "penpot": LAN},
    "29": {
        "developer": "program program",
        "homeassistant": LAN,
        "oldsse": "lan client_unsupported",
        "bridge": LAN,
    },
    "31": {"ha-mcp": "program program", "lab": LAN},
    "32": {
        "homeassistant": "lan container",
        "per-user": "lan container",
        "ws": "unknown not_understood",
    },
    "33": {"postgres-http": LAN, "no-type-means-sse": LAN},
    "35": {"lab": LAN},
    "40": {"lab": LAN, "bridge": LAN, "very-old": LAN, "extension": "program program"},
    "41": {
        "nas": LAN,
        "bridge": LAN,
        "elsewhere": "unknown unresolved_variable",
        "off": "lan disabled",
        "with-login": "lan oauth",
    },
    "42": {"ha": LAN, "old": LAN, "bridge": LAN},
    "43": {"lab": LAN, "fetch": "program program", "nas": LAN},
    "44": {"http": LAN, "sse": LAN},
    "45": {"lab": LAN, "stray": LAN},
    "46": {"lab": LAN, "fetch": "program program"},
    "47": {"lab": LAN, "off": "lan disabled"},
    "48": {"nas": LAN, "untyped": LAN, "lab": LAN},
    "49": {"lab": LAN, "wrong": "lan client_unsupported"},
    "90": {"h": LAN},
    "94": {},
}

# Those that cannot work on any network, as they stand.
NEVER = {
    *("02 ktree", "02 dongle", "09 homelab", "11 ktree", "29 oldsse", "32 ws", "40 very-old", "41 bridge"),
    *("45 stray", "48 untyped", "49 wrong", "90 h"),
}


class ExampleTests(SynchronousTestCase):
    def test_every_example_is_looked_at(self) -> None:
        names = {path.name[:2] for path in FILES.iterdir() if path.is_file()}
        self.assertEqual(names, {*SAID, "91"})

    def test_what_is_said_of_each_entry(self) -> None:
        never = set()
        for number, said in SAID.items():
            [path] = FILES.glob(f"{number}-*")
            found = findings(read(path))
            entries = {each.server.name: f"{each.leads_to} {each.reason or 'yes'}" for each in found}
            self.assertEqual(entries, said, path.name)
            never |= {f"{number} {each.server.name}" for each in found if each.works is False}
        self.assertEqual(never, NEVER)

    def test_what_each_becomes_and_that_it_comes_back(self) -> None:
        """
        The files below C{adopted} have the ports 28101 and on, one for each origin in the order of the file.
        """
        for number in SAID:
            [path] = FILES.glob(f"{number}-*")
            file = read(path)
            form = file.found.format
            ports: dict[str, int] = {}
            changes: list[Change] = []
            adopted = [each for each in findings(file) if each.adopt]
            for each in adopted:
                for target in each.targets:
                    ports.setdefault(target.url.origin, 28101 + len(ports))
                changes += through_listeners(each, ports).changes
            after = apply(form, file.text, changes)
            expected = FILES / "adopted" / path.name
            if not adopted:
                self.assertEqual(after, file.text)
                self.assertFalse(expected.exists(), f"nothing in {path.name} is to change")
                continue
            self.assertEqual(file.mark + after.encode(), expected.read_bytes(), path.name)
            back = after
            for each in adopted:
                back = put_back(form, back, each.server.path, spans(form, file.text, each.server.path))
            self.assertEqual(file.mark + back.encode(), path.read_bytes(), path.name)

    def test_what_is_adopted_leads_to_the_relay(self) -> None:
        for path in (FILES / "adopted").iterdir():
            entries = {each.server.name: each for each in findings(read(path))}
            said = SAID[path.name[:2]]
            for name, finding in entries.items():
                if said[name] == LAN:
                    self.assertEqual((finding.leads_to, finding.works), ("loopback", None), path.name)

    def test_the_forward_proxy_for_a_program(self) -> None:
        [path] = FILES.glob("12-*")
        file = read(path)
        [ollama] = [each for each in findings(file) if each.server.name == "ollama"]
        self.assertEqual(ollama.lan, ("192.168.1.60",))
        after = apply(file.found.format, file.text, through_proxy(ollama, 28080).changes)
        added = (
            '"OLLAMA_HOST": "192.168.1.60:11434", "HTTP_PROXY": "http://127.0.0.1:28080", '
            '"HTTPS_PROXY": "http://127.0.0.1:28080", "NO_PROXY": "127.0.0.1,localhost,::1", '
            '"NODE_USE_ENV_PROXY": "1" }'
        )
        self.assertEqual(after, file.text.replace('"OLLAMA_HOST": "192.168.1.60:11434" }', added))

    def test_programs_and_what_they_are_told(self) -> None:
        [path] = FILES.glob("12-*")
        told = {each.server.name: each.lan for each in findings(read(path))}
        self.assertEqual(
            told,
            {
                "Home Assistant": ("homeassistant.local",),
                "n8n-mcp": ("192.168.178.107",),
                "address-book": ("192.168.1.50",),
                "wazuh": ("wazuh.lan",),
                "ollama": ("192.168.1.60",),
                "proxmox": ("10.0.0.2",),
            },
        )

    def test_files_of_authorities(self) -> None:
        named = {}
        for number in ("09", "19", "05"):
            [path] = FILES.glob(f"{number}-*")
            named.update({each.server.name: authorities(each) for each in findings(read(path))})
        self.assertEqual(
            {name: files for name, files in named.items() if files},
            {"homelab-ok": ("/Users/user/caddy-root.crt",), "nas": ("${userHome}/certs/nas-root.crt",)},
        )

    def test_without_node_a_url_in_claude_desktop_is_left(self) -> None:
        [path] = FILES.glob("11-*")
        [finding] = findings(read(path), npx=False)
        self.assertEqual((finding.reason, finding.works), ("client_unsupported", False))

    def test_a_broken_file_has_a_place(self) -> None:
        [path] = FILES.glob("91-*")
        error = self.assertRaises(Broken, read, path)
        self.assertEqual((error.line, error.column), (7, 38))

    def test_the_mark_at_the_beginning_is_kept(self) -> None:
        adopted = (FILES / "adopted" / "90-bom-and-tabs.json").read_bytes()
        self.assertTrue(adopted.startswith(codecs.BOM_UTF8))
        self.assertEqual(adopted.count(b"\n"), adopted.count(b"\r\n"))
