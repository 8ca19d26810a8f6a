"""Files of any content: each is read or refused, and what is adopted comes back byte for byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import yaml
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.clients import sent
from lanrelay.clients.finding import Reason, authorities, judged
from lanrelay.clients.moving import credentials
from lanrelay.clients.places import Found, of_content
from lanrelay.clients.plan import through_listeners, through_proxy
from lanrelay.clients.servers import servers
from lanrelay.clients.table import CLIENTS
from lanrelay.edit.formats.edit import FORMATS, apply, put_back, spans
from lanrelay.edit.formats.tree import Broken, NotEdited
from tests.support.properties import given, settings

_TEXTS = st.one_of(
    st.sampled_from(
        [
            *(
                "http://10.0.0.1/mcp",
                "https://nas.lan:8443/sse?a=b#c",
                "http://user:pw@10.0.0.2",
                "http://x.x/",
            ),
            *(
                "${URL:-http://10.0.0.3}/mcp",
                "http://$HOST/",
                "https://mcp.example.com",
                "http://127.0.0.1:1/x",
            ),
            *(
                "npx",
                "uvx",
                "mcp-remote",
                "mcp-proxy",
                "supergateway",
                "-y",
                "--allow-http",
                "--header",
                "-H",
            ),
            *(
                "--sse=http://10.0.0.4/sse",
                "--sse",
                "--verify",
                "Authorization: Bearer a",
                "cmd",
                "/c",
                "bash",
            ),
            *(
                "-lc",
                "node",
                "/x/mcp-remote/dist/proxy.js",
                "docker",
                "env",
                "A=b",
                "--",
                "-m",
                "sse",
                "http",
            ),
        ]
    ),
    st.text(max_size=5),
)
_KEYS = st.sampled_from(
    [
        *("url", "serverUrl", "httpUrl", "uri", "baseUrl", "command", "cmd", "args", "env", "envs", "type"),
        *("transport", "headers", "disabled", "enabled", "oauth", "auth", "name", "requestOptions"),
        *("sandboxEnabled", "sandbox", "network", "allowedDomains", "SSE_URL", "API_ACCESS_TOKEN"),
        *("NODE_TLS_REJECT_UNAUTHORIZED", "NODE_EXTRA_CA_CERTS", "HTTP_PROXY", "NO_PROXY", "Authorization"),
    ]
)
_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(_TEXTS, st.booleans(), st.none(), st.integers(0, 9)),
    lambda inner: st.one_of(st.lists(inner, max_size=6), st.dictionaries(_KEYS, inner, max_size=5)),
    max_leaves=12,
)
_LAN = st.sampled_from(["http://10.0.0.1/mcp", "https://nas.lan:8443/sse?a=b#c", "http://user:pw@10.0.0.2"])
_SERVERS = st.one_of(
    st.builds(lambda key, url: {key: url}, st.sampled_from(["url", "serverUrl", "httpUrl", "uri"]), _LAN),
    st.builds(
        lambda key, words, url, more: {key: "npx", "args": [*words, url, *more]},
        st.sampled_from(["command", "cmd"]),
        st.sampled_from([["mcp-remote"], ["mcp-remote", "--allow-http"], ["mcp-proxy", "-H", "A", "b"]]),
        _LAN,
        st.lists(_TEXTS, max_size=3),
    ),
    st.just({}),
)
_ENTRIES = st.builds(
    lambda more, server: {**more, **server}, st.dictionaries(_KEYS, _VALUES, max_size=5), _SERVERS
)


class AnyTextTests(SynchronousTestCase):
    @settings(max_examples=300)
    @given(st.text(alphabet="{}[]\",:'#=\\\n\r\t -/*ab.1&!|>%\x00\ufeff", max_size=30))
    def test_it_is_read_or_refused_with_a_place(self, text: str) -> None:
        for form in FORMATS.values():
            for keep in (None, [("a",)]):
                try:
                    form.parse(text, keep)
                except Broken as error:
                    self.assertGreaterEqual(min(error.line, error.column), 1)


class AnyEntryTests(SynchronousTestCase):
    @settings(max_examples=250)
    @given(
        client=st.sampled_from(CLIENTS),
        entries=st.dictionaries(_TEXTS, _ENTRIES, max_size=3),
        proxy=st.booleans(),
    )
    def test_it_is_judged_changed_and_put_back(
        self, client: Any, entries: dict[str, Any], proxy: bool
    ) -> None:
        form = client.form if client.form != "toml" else "json"
        client = client._replace(form=form)
        document: Any = entries
        for key in reversed(client.holders[0]):
            document = {("x" if key == "*" else key): document}
        text = yaml.safe_dump(document) if form == "yaml" else json.dumps(document, indent=2)
        read = of_content(
            Found(client, client.files[0]._replace(form="", holders=()), Path("f")), text.encode()
        )
        for finding in judged(servers(read), relays={1: "one"}, resolve=lambda _: {}):
            self.assertIn(finding.reason, (None, *get_args(Reason)))
            sent.headers(finding), sent.transport(finding), authorities(finding)
            try:
                credentials(finding)
            except NotEdited:
                pass
            if not finding.adopt:
                continue
            ports = {target.url.origin: 28100 for target in finding.targets}
            planned = through_proxy(finding, 28080) if proxy else through_listeners(finding, ports)
            path = finding.server.path
            try:
                after = apply(FORMATS[form], text, planned.changes)
            except NotEdited:
                continue
            self.assertEqual(put_back(FORMATS[form], after, path, spans(FORMATS[form], text, path)), text)
