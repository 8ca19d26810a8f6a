"""No secret is shown, and what is none is."""

from __future__ import annotations

import signal

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.edit.masking import mask, url

SECRET = "a1b2c3d4e5f6a7b8c9d0"

HIDDEN = (
    f'"Authorization": "Bearer {SECRET}"',
    f'"Authorization": "{SECRET}"',
    f'"X-Api-Key":"{SECRET}"',
    f'"N8N_API_KEY": "{SECRET}",',
    f'"clientSecret": "{SECRET}"',
    f'"--header", "Authorization: Bearer {SECRET}"',
    f'"--header", "X-Auth-Token:{SECRET}"',
    f'"--header", "X-Auth-Token: {SECRET}"',
    f'"-H", "X-Api-Key", "{SECRET}"',
    f'+  "--token",\n+  "{SECRET}",',
    f'"--api-key={SECRET}"',
    f'"API_ACCESS_TOKEN": "eyJ{SECRET}.{SECRET}.{SECRET}"',
    f"  api_key: {SECRET}",
    f"  password: '{SECRET}'",
    f"api_token = '{SECRET}'",
    f'bearer_token = "{SECRET}"',
    f'"url": "http://user:{SECRET}@nas.lan/mcp"',
    f'"url": "http://nas.lan/private_{SECRET}/mcp"',
    f'"url": "http://nas.lan/mcp?access_token={SECRET}&space=1"',
    f'"url": "http://nas.lan/mcp?x={SECRET}"',
    f'"url": "http://n8n.lan/mcp/8c4f7b1e-93a2-4c71-bb42-{SECRET[:12]}/sse"',
    f'["x", "sk-{SECRET}"]',
    f'"Cookie": "sid={SECRET}; other=2"',
    f'"Authorization": "Basic {SECRET}=="',
    f"set: {{Authorization: Bearer {SECRET}}}",
    f'"ENCRYPTION_KEY": "{SECRET}"',
    f"export FOO_KEY={SECRET}",
    f'"DB_PASS": "{SECRET}"',
    f'"HA_PWD": "{SECRET}"',
    '"LLAT": "a1b2c3D4e5f6a7b8c9d0"',
    '"--header", "X-Of-Ours: a1b2c3D4e5f6a7b8c9d0"',
    "  Authorization: >-\n    a1b2c3D4e5f6a7b8c9d0",
    f'-    "HASS_TOKEN": "{SECRET}"\n+    "HASS_TOKEN": "{SECRET}"',
)

SHOWN = (
    '"command": "npx"',
    '"args": ["-y", "mcp-remote", "http://192.168.1.20:8123/mcp", "--allow-http"]',
    '"url": "http://nas.lan:8080/api/mcp?page=2"',
    '"Authorization": "Bearer ${HA_TOKEN}"',
    '"Authorization": "Bearer ${file:token}"',
    "      pin: sha256//n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=",
    "      ca: home-ca.crt",
    "  listen: localhost:28082",
    '"path": "/usr/local/bin/lanrelay"',
    '"autoApprove": ["list_tools"]',
    '"KEYBOARD": "de-latin1", "compass": "north", "bypass": "yes"',
    "  monkey: banana",
    '"model": "claude-3-5-sonnet-20241022"',
    "kept as ~/.local/state/lanrelay/backups/relay.yaml.a663d08d5c32.20261201T000342.728071.",
    "      SHA-256 EE:9B:E3:98:96:FC:42:1A:C4:AD:B8:B7:B3:B2:64:6D",
    "--- /home/me/.config/lanrelay/relay.yaml",
)


class MaskingTests(SynchronousTestCase):
    def test_secrets_are_hidden(self) -> None:
        for text in HIDDEN:
            told = mask(text)
            self.assertNotIn(SECRET[:12], told, text)
            self.assertEqual(told.count("\n"), text.count("\n"), text)

    def test_masking_twice_changes_nothing_more(self) -> None:
        for text in HIDDEN:
            self.assertEqual(mask(mask(text)), mask(text))

    def test_what_is_no_secret_is_shown(self) -> None:
        for text in SHOWN:
            self.assertEqual(mask(text), text)

    def test_what_follows_the_query_of_a_url_is_no_part_of_it(self) -> None:
        told = mask(f"http://nas.lan/x?token={SECRET} is nothing that can be examined: no user information.")
        self.assertEqual(
            told, "http://nas.lan/x?token=*** is nothing that can be examined: no user information."
        )

    def test_names_and_hosts_of_a_url_are_shown(self) -> None:
        self.assertEqual(
            url(f"https://u:p@n8n.lan:5678/mcp/{SECRET}/sse?token=x&page=2"),
            "https://***@n8n.lan:5678/mcp/***/sse?token=***&page=2",
        )

    def test_a_long_line_does_not_take_the_square_of_its_length(self) -> None:
        """A pattern that begins anew at every letter takes minutes; the alarm ends it after half of one."""

        def late(number: int, frame: object) -> None:
            raise AssertionError("a long line takes too long")

        before = signal.signal(signal.SIGALRM, late)
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        self.addCleanup(signal.alarm, 0)
        for piece in ("a-", "token", '"token', "x_token:", "http://a/b/", '"', "{,"):
            signal.alarm(30)
            mask(piece * (300_000 // len(piece)))
