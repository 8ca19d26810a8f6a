"""Programs that carry MCP to a URL, in all the ways in which they are started."""

from __future__ import annotations

import shlex

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.clients.bridges import BRIDGES, Spelling, spelling

URL = "http://192.168.1.5:8080/mcp"

# The bridge, and how it is started.
BRIDGED = [
    ("mcp-remote", f"npx mcp-remote {URL}"),
    ("mcp-remote", f"npx -y mcp-remote@latest {URL} 3334 --allow-http"),
    ("mcp-remote", f"npx --yes -q mcp-remote@0.1.29 {URL} --header 'A: b'"),
    ("mcp-remote", f"npx -p mcp-remote@latest mcp-remote {URL}"),
    ("mcp-remote", f"npx --package=mcp-remote -y mcp-remote {URL}"),
    ("mcp-remote", f"npx -y mcp-remote --allow-http --transport http-only {URL}"),
    ("mcp-remote", f"npx -y mcp-remote --header 'X: http://10.0.0.1' {URL}"),
    ("mcp-remote", f"/opt/homebrew/bin/npx mcp-remote {URL}"),
    ("mcp-remote", f"npm exec -- mcp-remote {URL}"),
    ("mcp-remote", f"npm exec mcp-remote@latest -- {URL}"),
    ("mcp-remote", f"bunx mcp-remote {URL}"),
    ("mcp-remote", f"bun x mcp-remote {URL}"),
    ("mcp-remote", f"pnpm dlx mcp-remote {URL}"),
    ("mcp-remote", f"pnpx mcp-remote {URL}"),
    ("mcp-remote", f"yarn dlx mcp-remote {URL}"),
    ("mcp-remote", f"deno run -A npm:mcp-remote@latest {URL}"),
    ("mcp-remote", f"mcp-remote {URL}"),
    ("mcp-remote", f"/usr/local/bin/mcp-remote {URL}"),
    ("mcp-remote", f"node /opt/lib/node_modules/mcp-remote/dist/proxy.js {URL}"),
    ("mcp-remote", f"node --use-system-ca --require ./x.js /o/mcp-remote/dist/proxy.js {URL}"),
    ("mcp-remote", f"cmd /c npx -y mcp-remote {URL}"),
    ("mcp-remote", f"cmd.exe /d /C npx mcp-remote {URL}"),
    ("mcp-remote", f"'C:\\PROGRA~1\\nodejs\\npx.cmd' -y mcp-remote {URL}"),
    ("mcp-remote", f"env NODE_OPTIONS=--use-system-ca npx mcp-remote {URL}"),
    ("mcp-remote", f"/usr/bin/env npx mcp-remote {URL}"),
    ("mcp-proxy", f"mcp-proxy {URL}"),
    ("mcp-proxy", f"uvx mcp-proxy --transport streamablehttp {URL}"),
    ("mcp-proxy", f"uvx --with 'mcp<2' --native-tls mcp-proxy@0.8 -H Authorization 'Bearer x' {URL}"),
    ("mcp-proxy", f"uvx --from mcp-proxy mcp-proxy {URL}"),
    ("mcp-proxy", f"uv tool run mcp-proxy {URL}"),
    ("mcp-proxy", f"uv run --directory /x mcp-proxy {URL}"),
    ("mcp-proxy", f"pipx run --spec mcp-proxy==0.8 mcp-proxy {URL}"),
    ("mcp-proxy", f"python3.12 -m mcp_proxy {URL}"),
    ("mcp-proxy", f"mcp-proxy --transport=streamablehttp --stateless {URL}"),
    ("mcp-proxy", f"mcp-proxy --verify-ssl {URL}"),
    ("mcp-proxy", f"mcp-proxy --verify-ssl /x/ca.pem {URL}"),
    ("fastmcp-remote", f"uvx fastmcp-remote --header 'A: b' {URL}"),
    ("fastmcp-remote", f"uvx fastmcp-remote {URL} --verify false"),
    ("mcp-stdio", f"uvx mcp-stdio --bearer-token x {URL}"),
    ("supergateway", f"npx -y supergateway --sse {URL}"),
    ("supergateway", f"npx -y supergateway --streamableHttp={URL} --header 'A: b'"),
]

OTHERS = [
    ("program", "npx -y @modelcontextprotocol/server-filesystem /home"),
    ("program", "uvx ha-mcp@latest"),
    ("program", "/Users/user/run.sh"),
    ("program", f"my-program --url {URL}"),
    ("program", "mcp-proxy --port 8080 uvx mcp-server-fetch"),
    ("program", "npx -y supergateway --stdio 'uvx mcp-server-fetch' --port 8000"),
    ("program", "bash /x/run.sh"),
    ("program", "node /x/index.js"),
    ("program", ""),
    ("shell_string", f"bash -lc 'npx mcp-remote {URL}'"),
    ("shell_string", f"/bin/sh -c 'mcp-remote {URL}'"),
    ("shell_string", f"cmd /c 'npx mcp-remote {URL}'"),
    ("shell_string", f"powershell -NoProfile -Command 'npx mcp-remote {URL}'"),
    ("shell_string", f"'npx mcp-remote {URL}'"),
    ("shell_string", f"npx -c 'mcp-remote {URL}'"),
    ("ssh", "ssh -T user@host mcp"),
    ("ssh", "/usr/bin/ssh host"),
    ("container", f"docker run -i --rm image mcp-remote {URL}"),
    ("container", "podman run image"),
]


class SpellingTests(SynchronousTestCase):
    def spelled(self, command: str, **environment: str) -> Spelling:
        return spelling(shlex.split(command), environment)

    def test_bridges(self) -> None:
        for name, command in BRIDGED:
            found = self.spelled(command)
            self.assertEqual((found.kind, found.bridge), ("bridge", BRIDGES[name]), command)
            assert found.url is not None, command
            index, at = found.url
            self.assertEqual(shlex.split(command)[index][at:], URL, command)

    def test_what_is_no_bridge(self) -> None:
        for kind, command in OTHERS:
            self.assertEqual(self.spelled(command).kind, kind, command)

    def test_the_url_in_the_environment(self) -> None:
        found = self.spelled("mcp-proxy", SSE_URL=URL)
        self.assertEqual((found.kind, found.variable, found.url), ("bridge", "SSE_URL", None))

    def test_a_url_in_the_wrong_place(self) -> None:
        late = self.spelled(f"npx -y mcp-remote --header a:b --allow-http --transport http-only {URL}")
        self.assertEqual(late.front, 5)
        for right in (f"npx mcp-remote --header a:b {URL} --debug", f"uvx mcp-proxy --stateless {URL}"):
            self.assertIsNone(self.spelled(right).front, right)

    def test_options_with_their_values(self) -> None:
        found = self.spelled(f"mcp-proxy -H A 'b c' --transport=sse {URL}")
        header, transport = found.options
        self.assertEqual((header.name, header.values, header.at, header.words), ("-H", ("A", "b c"), 1, 3))
        self.assertEqual((transport.name, transport.values, transport.words), ("--transport", ("sse",), 1))
