from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address, ip_network
from pathlib import Path

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config import hosts, model
from lanrelay.config.values import Unfit
from tests.support.properties import given


def _path_of(text: str) -> Path:
    if not text:
        raise Unfit("expected a path")
    return Path("/etc/lanrelay", text)


def _listen(text: str) -> model.ListenAddress:
    return hosts.listen_address(text, _path_of)


def _forward(text: str) -> model.UpstreamUrl:
    return hosts.upstream_url(text, hosts.FORWARD_SCHEMES, _path_of)


def _http(text: str) -> model.UpstreamUrl:
    return hosts.upstream_url(text, hosts.HTTP_SCHEMES, _path_of)


class TableTests(SynchronousTestCase):
    """Each kind of address: what is taken, as what, and what is refused."""

    def takes(self, convert: Callable[[str], object], table: dict[str, object]) -> None:
        for text, expected in table.items():
            self.assertEqual(convert(text), expected, text)

    def refuses(self, convert: Callable[[str], object], *texts: str) -> None:
        for text in texts:
            error = self.assertRaises(Unfit, convert, text)
            self.assertTrue(str(error).startswith("expected "), str(error))

    def test_listen_address(self) -> None:
        self.takes(
            _listen,
            {
                "8080": model.LocalhostAddress(port=8080),
                "08080": model.LocalhostAddress(port=8080),
                "0": model.LocalhostAddress(port=0),
                "localhost:8080": model.LocalhostAddress(port=8080),
                "LocalHost:0": model.LocalhostAddress(port=0),
                "127.0.0.1:80": model.TcpAddress(host=ip_address("127.0.0.1"), port=80),
                "0.0.0.0:80": model.TcpAddress(host=ip_address("0.0.0.0"), port=80),
                "[::1]:65535": model.TcpAddress(host=ip_address("::1"), port=65535),
                "[::]:1": model.TcpAddress(host=ip_address("::"), port=1),
                "unix:/run/x": model.UnixAddress(path=Path("/run/x")),
                "unix:///run/x": model.UnixAddress(path=Path("/run/x")),
                "unix:x.sock": model.UnixAddress(path=Path("/etc/lanrelay/x.sock")),
                "systemd:http": model.SystemdSocket(name="http"),
                "systemd:0": model.SystemdSocket(name="0"),
                "launchd:Listeners": model.LaunchdSocket(name="Listeners"),
            },
        )
        self.refuses(_listen, "", ":80", "*:80", "nas.lan:80", "127.0.0.1", "::1", "::1:80", "[::1]", "22:22")
        self.refuses(
            _listen, "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:http", "127.0.0.1:", "65536", "[::1]80"
        )
        self.refuses(
            _listen, "127.1:80", "[fe80::1%eth0]:80", "[127.0.0.1]:80", "unix:", "unix://run/x", "systemd:"
        )
        self.refuses(
            _listen, "tcp://127.0.0.1:80", "1.2", "off", "127.0.0.1:80 ", "127.0.0.1:８０", "systemd:a b"
        )

    def test_a_unix_path_must_fit_into_the_kernels_structure(self) -> None:
        self.assertEqual(hosts.unix_path("/" + "x" * 102, Path), Path("/" + "x" * 102))
        self.refuses(_listen, "unix:/" + "x" * 107, "unix:/" + "ä" * 54)

    def test_destination_rule(self) -> None:
        rule = model.DestinationRule
        self.takes(
            hosts.destination_rule,
            {
                "nas.lan": rule(name="nas.lan"),
                "NAS.lan.": rule(name="nas.lan"),
                "my_nas": rule(name="my_nas"),
                "*.lan": rule(name="lan", below=True),
                "*.lan:443": rule(name="lan", below=True, ports=(443, 443)),
                "nas.lan:1-65535": rule(name="nas.lan", ports=(1, 65535)),
                "10.0.0.1": rule(network=ip_network("10.0.0.1")),
                "10.0.0.0/8:80": rule(network=ip_network("10.0.0.0/8"), ports=(80, 80)),
                "fd00::/8": rule(network=ip_network("fd00::/8")),
                "[fd00::/8]:443": rule(network=ip_network("fd00::/8"), ports=(443, 443)),
                "[fd00::1]": rule(network=ip_network("fd00::1")),
                "private": rule(word="private"),
                "Loopback": rule(word="loopback"),
                "link-local": rule(word="link-local"),
                "public:443": rule(word="public", ports=(443, 443)),
                "any:8000-8999": rule(word="any", ports=(8000, 8999)),
            },
        )
        self.refuses(
            hosts.destination_rule, "", "*", "*:80", "*.", "*x.lan", "a.*.b", "*.*.lan", "nas.lan:", "a:0"
        )
        self.refuses(
            hosts.destination_rule, "a:65536", "a:9-8", "a:1-", "a:-1", "a:x", "10.0.0.1/8", "10.0.0.0/33"
        )
        self.refuses(
            hosts.destination_rule, "10.0.0.0/255.0.0.0", "127.1", "2130706433", "0x7f.1", "[10.0.0.1]:80"
        )
        self.refuses(
            hosts.destination_rule,
            "fe80::1%eth0",
            "http://a",
            "a/b",
            "a b",
            "off",
            "none",
            "[fd00::]x",
            "1.2.3",
        )

    def test_a_network_with_a_host_part_is_told_what_was_meant(self) -> None:
        error = self.assertRaises(Unfit, hosts.client_rule, "192.168.1.5/24")
        self.assertIn("192.168.1.0/24", str(error))

    def test_client_rule(self) -> None:
        rule = model.ClientRule
        self.takes(
            hosts.client_rule,
            {
                "any": rule(word="any"),
                "PRIVATE": rule(word="private"),
                "loopback": rule(word="loopback"),
                "192.168.1.0/24": rule(network=ip_network("192.168.1.0/24")),
                "192.168.1.7": rule(network=ip_network("192.168.1.7/32")),
                "fd00::/8": rule(network=ip_network("fd00::/8")),
                "[::1]": rule(network=ip_network("::1/128")),
                "::ffff:10.0.0.0/104": rule(network=ip_network("10.0.0.0/8")),
            },
        )
        self.refuses(
            hosts.client_rule, "", "public", "nas.lan", "localhost", "10.0.0.0/8:80", "off", "10.0", "127.1"
        )

    def test_forward_url(self) -> None:
        url = model.UpstreamUrl
        self.takes(
            _forward,
            {
                "tcp://nas.lan:22": url(scheme="tcp", host="nas.lan", port=22),
                "TLS://NAS.lan.:22": url(scheme="tls", host="nas.lan", port=22),
                "tcp://[FD00::1]:22": url(scheme="tcp", host="fd00::1", port=22),
                "unix:/run/x": url(scheme="unix", unix_path=Path("/run/x")),
                "unix:x": url(scheme="unix", unix_path=Path("/etc/lanrelay/x")),
            },
        )
        self.refuses(
            _forward, "", "nas.lan:22", "tcp:nas.lan:22", "tcp://nas.lan", "tcp://nas.lan:", "tcp://nas.lan:0"
        )
        self.refuses(
            _forward, "tcp://nas.lan:22/", "tcp://u@nas.lan:22", "http://nas.lan", "tcp://:22", "tcp://a b:1"
        )
        self.refuses(
            _forward, "tcp://fd00::1:22", "tcp://127.1:22", "tcp://nas.lan:22?x", "unix:", "ftp://x", "tcp://"
        )

    def test_http_url(self) -> None:
        url = model.UpstreamUrl
        self.takes(
            _http,
            {
                "http://h": url(scheme="http", host="h", port=80),
                "https://h": url(scheme="https", host="h", port=443),
                "https://h:8443/": url(scheme="https", host="h", port=8443),
                "https://h/a/b": url(scheme="https", host="h", port=443, path="/a/b"),
                "https://h/a/b/": url(scheme="https", host="h", port=443, path="/a/b", slash=True),
                "https://[::1]:1/%C3%A4": url(scheme="https", host="::1", port=1, path="/%C3%A4"),
                "http+unix:/run/x": url(scheme="http", unix_path=Path("/run/x")),
                "https://straße.lan": url(scheme="https", host="xn--strae-oqa.lan", port=443),
                "https://bücher.example": url(scheme="https", host="xn--bcher-kva.example", port=443),
            },
        )
        self.refuses(
            _http,
            "",
            "lan-host",
            "https:h",
            "https://",
            "https://h:",
            "https://h?q=1",
            "https://h/#f",
            "tcp://h:1",
        )
        self.refuses(
            _http,
            "https://u:p@h",
            "https://h/a//b",
            "https://h/../x",
            "https://h/ä",
            "https://h/a b",
            "https:///x",
        )

    def test_what_an_upstream_url_may_not_have_is_refused_with_a_remedy(self) -> None:
        for text, remedy in (
            ("https://u:p@h", "headers.request.set"),
            ("https://h/?q", "query"),
            ("https://h/#f", "fragment"),
        ):
            self.assertIn(remedy, str(self.assertRaises(Unfit, _http, text)))

    def test_target_address(self) -> None:
        def convert(text: str) -> model.TargetAddress:
            return hosts.target_address(text, 443)

        self.takes(
            convert,
            {
                "192.168.1.20:8443": model.TargetAddress(host="192.168.1.20", port=8443),
                "192.168.1.20": model.TargetAddress(host="192.168.1.20", port=443),
                "[fd00::1]:1": model.TargetAddress(host="fd00::1", port=1),
                "vpn.lan:1": model.TargetAddress(host="vpn.lan", port=1),
            },
        )
        self.refuses(convert, "", ":443", "a:", "a:0", "https://a", "a b")

    def test_parent_proxy(self) -> None:
        parent = model.ParentProxy
        self.takes(
            hosts.parent_proxy,
            {
                "http://proxy:3128": parent(scheme="http", host="proxy", port=3128),
                "SOCKS5://[::1]:1080/": parent(scheme="socks5", host="::1", port=1080),
                "http://u:p%40%3A@proxy:1": parent(
                    scheme="http", host="proxy", port=1, username="u", password=model.Secret("p@:")
                ),
                "http://u@proxy:1": parent(scheme="http", host="proxy", port=1, username="u"),
            },
        )
        self.refuses(
            hosts.parent_proxy, "", "proxy:3128", "https://p:1", "http://p", "http://p:0", "http://p:1/x"
        )
        self.refuses(
            hosts.parent_proxy, "http://:p@h:1", "http://u:%00@h:1", "http://u:%ff@h:1", "http://@h:1"
        )
        self.refuses(hosts.parent_proxy, "http://h:1?q", "socks4://h:1", f"http://{'u' * 256}@h:1")

    def test_guard_host(self) -> None:
        table: dict[str, object] = {"NAS.lan.": "nas.lan", "nas": "nas", "192.168.1.2": "192.168.1.2"}
        self.takes(hosts.guard_host, {**table, "[FD00::1]": "fd00::1", "fd00::1": "fd00::1"})
        self.refuses(hosts.guard_host, "", "nas:80", "*.lan", "*", "http://nas", "off", "a/b")

    def test_guard_origin(self) -> None:
        self.takes(
            hosts.guard_origin,
            {
                "null": "null",
                "HTTPS://App.Example": "https://app.example",
                "https://app.example:443": "https://app.example",
                "http://app.example:443": "http://app.example:443",
                "http://[FD00::1]:80": "http://[fd00::1]",
                "chrome-extension://abcdefghijklmnopabcdefghijklmnop": (
                    "chrome-extension://abcdefghijklmnopabcdefghijklmnop"
                ),
            },
        )
        self.refuses(
            hosts.guard_origin,
            "",
            "app.example",
            "https://a/",
            "https://a?x",
            "https://u@a",
            "*",
            "https://*.a",
        )

    def test_sent_host(self) -> None:
        table: dict[str, object] = {"upstream": "upstream", "preserve": "preserve", "NAS.lan": "nas.lan"}
        self.takes(hosts.sent_host, {**table, "nas.lan:8443": "nas.lan:8443", "[::1]:1": "[::1]:1"})
        self.refuses(hosts.sent_host, "", "a b", "a:0", "a\r\nb", "off", "::1", "http://a")

    def test_route_path(self) -> None:
        self.takes(hosts.route_path, {"/": "/", "/a": "/a", "/a/b/": "/a/b", "/a%20b": "/a%20b"})
        self.refuses(
            hosts.route_path,
            "",
            "a",
            "//",
            "/a//b",
            "/a/../b",
            "/.",
            "/a?x",
            "/a#x",
            "/a b",
            "/ä",
            "/%zz",
            "*",
        )

    @given(st.text() | st.text(alphabet="[]:/.*%@-0123456789abcdef"))
    def test_random_text_is_refused_or_taken(self, text: str) -> None:
        for convert in (
            _listen,
            _forward,
            _http,
            hosts.destination_rule,
            hosts.client_rule,
            hosts.parent_proxy,
            hosts.guard_host,
            hosts.guard_origin,
            hosts.sent_host,
            hosts.route_path,
            hosts.ip,
        ):
            try:
                convert(text)
            except Unfit:
                pass
            try:
                convert(f"http://{text}")
            except Unfit:
                pass
