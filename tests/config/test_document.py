from __future__ import annotations

from lanrelay.config import model
from lanrelay.config.control import default_paths
from tests.config.support import ConfigCase, listener_text


def _listening(**addresses: str) -> str:
    """Forwards with these addresses, each in a line of its own from line 2 on."""
    lines = [
        f"  {name}: {{type: tcp-forward, clients: any, upstream: 'tcp://h:1', listen: {address}}}\n"
        for name, address in addresses.items()
    ]
    return "listeners:\n" + "".join(lines)


class DocumentTests(ConfigCase):
    def test_log(self) -> None:
        config = self.load("log: {level: debug, format: json, access: false}\n" + listener_text(""))
        self.assertEqual(config.log, model.Log(level="debug", format="json", access=False))

    def test_log_refusals(self) -> None:
        for body, key in (
            ("level: trace", "level"),
            ("format: xml", "format"),
            ("keep: -1", "keep"),
            ("rotate: 0", "rotate"),
        ):
            self.assertIn(f"1:7: log.{key}"[3:], self.complaint(f"log: {{{body}}}\n{listener_text('')}"))

    def test_admin(self) -> None:
        config = self.load(
            "admin: {listen: [0.0.0.0:1, unix:a], clients: private, hosts: [nas.lan]}\n" + listener_text("")
        )
        assert config.admin is not None
        self.assertEqual(config.admin.clients, (model.ClientRule(word="private"),))
        self.assertEqual(config.admin.hosts, ("nas.lan",))
        self.assertEqual(len(config.admin.listen), 2)
        self.assertEqual(self.load("admin: off\n" + listener_text("")).admin, None)

    def test_admin_refusals(self) -> None:
        for body, words in (
            ("admin: {}", '1:1: admin.listen: found nothing, expected the key "listen"'),
            (
                "admin: {listen: 0.0.0.0:1}",
                'admin.listen: found "0.0.0.0:1", expected "clients" to be set as well',
            ),
            ("admin: 28081", 'admin: found "28081", expected a map with the keys listen, clients, hosts'),
            ("admin: {listen: 1, hosts: 'a:1'}", "admin.hosts: "),
            ("admin:", "admin: found nothing, expected a map"),
        ):
            self.assertIn(words, self.complaint(f"{body}\n{listener_text('')}"))

    def test_the_control_socket_is_where_the_file_says_or_in_one_of_the_usual_places(self) -> None:
        self.assertEqual(self.load("control: off\n" + listener_text("")).control, None)
        named = self.load("control: unix:here.sock\n" + listener_text("")).control
        self.assertEqual(named, model.Control(paths=(self.file.parent / "here.sock",), named=True))
        default = self.load(listener_text("")).control
        assert default is not None
        self.assertFalse(default.named)
        self.assertEqual(default.paths, default_paths(self.file, environment={}))

    def test_the_files_that_are_included_are_named(self) -> None:
        (self.file.parent / "level").write_text("warn\n")
        config = self.load("log: {level: '${file:level}'}\n" + listener_text(""))
        self.assertEqual(config.included, (self.file.parent / "level",))

    def test_listeners_are_required(self) -> None:
        self.assertIn(
            '1:1: listeners: found nothing, expected the key "listeners"', self.complaint("log: {}\n")
        )
        self.assertIn("found an empty map, expected at least one listener", self.complaint("listeners: {}\n"))
        self.assertIn("found nothing, expected a map", self.complaint("listeners:\n"))
        self.assertIn("found a list, expected a map", self.complaint("listeners: [a]\n"))

    def test_listeners_keep_the_files_order(self) -> None:
        config = self.load(_listening(z="1", a="2", m="3"))
        self.assertEqual([listener.name for listener in config.listeners], ["z", "a", "m"])

    def test_an_alias_shares_a_value(self) -> None:
        config = self.load(
            "listeners:\n"
            "  a: {type: tcp-forward, listen: 1, upstream: 'tcp://h:1', timeouts: &t {connect: 1}}\n"
            "  b: {type: tcp-forward, listen: 2, upstream: 'tcp://h:1', timeouts: *t}\n"
        )
        self.assertEqual([listener.timeouts.connect for listener in config.listeners], [1, 1])


class OneListenerEachTests(ConfigCase):
    def test_an_address_twice_names_both(self) -> None:
        found = self.complaint(_listening(a="localhost:80", b="'127.0.0.1:80'"))
        self.assertEqual(
            found,
            '3:71: listeners.b.listen: found "127.0.0.1:80", expected an address of its own; '
            "listeners.a.listen (line 2) listens there too",
        )

    def test_addresses_that_clash(self) -> None:
        for one, other in (
            ("80", "localhost:80"),
            ("80", "127.0.0.1:80"),
            ("80", "'[::1]:80'"),
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("80", "0.0.0.0:80"),
            ("80", "'[::]:80'"),
            ("10.0.0.1:80", "0.0.0.0:80"),
            ("unix:a", "unix:./a"),
            ("'[::1]:80'", "'[0:0::1]:80'"),
        ):
            self.assertIn("an address of its own", self.complaint(_listening(a=one, b=other)), (one, other))
            self.assertIn(
                "an address of its own", self.complaint(_listening(a=f"[{one}, {other}]")), (one, other)
            )

    def test_addresses_that_do_not(self) -> None:
        for one, other in (
            ("80", "81"),
            ("80", "10.0.0.1:80"),
            ("127.0.0.1:80", "'[::1]:80'"),
            ("127.0.0.1:80", "127.0.0.2:80"),
            ("0.0.0.0:80", "'[::]:80'"),
            ("0", "0"),
            ("127.0.0.1:0", "0"),
            ("unix:a", "unix:b"),
        ):
            self.load(_listening(a=one, b=other))

    def test_the_admin_page_counts(self) -> None:
        found = self.complaint(_listening(a="28081") + "admin: {listen: localhost:28081}\n")
        self.assertIn("3:17: admin.listen: ", found)
        self.assertIn("listeners.a.listen (line 2)", found)

    def test_a_listener_that_is_not_enabled_does_not(self) -> None:
        text = _listening(a="80", b="80").replace("type:", "enabled: false, type:", 1)
        self.assertEqual(len(self.load(text).listeners), 2)

    def test_it_is_said_beside_other_complaints(self) -> None:
        found = self.complaints(_listening(a="80", b="80").replace("clients: any", "clients: all"))
        self.assertEqual(len(found), 3)

    def test_the_expansion_is_not_shown(self) -> None:
        found = self.complaint(_listening(a="'${P}'", b="'${P}'"), P="4711")
        self.assertIn('found "${P}"', found)
        self.assertNotIn("4711", found)
