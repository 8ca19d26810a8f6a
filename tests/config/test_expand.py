from __future__ import annotations

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config import expand
from lanrelay.config.values import Unfit
from tests.support.properties import given

ENVIRONMENT = {"A": "apple", "EMPTY": "", "NEST": "${A}", "lower_1": "l"}


def _expand(text: str) -> str:
    return expand.expand(text, ENVIRONMENT, lambda name: f"<{name}>")


DRAWN = "Zx9kQ27LmTq8vR4bW1yN"
"""A piece of a path that looks drawn by lot, as a token does."""


class ExpandTests(SynchronousTestCase):
    def test_references(self) -> None:
        for text, expected in {
            "plain": "plain",
            "${A}": "apple",
            "x${A}y${lower_1}": "xappleyl",
            "${EMPTY}": "",
            "${NO:-b}": "b",
            "${NO:-}": "",
            "${EMPTY:-b}": "b",
            "${A:-b}": "apple",
            "${file:-b}": "b",
            "${NO:-a:-b}": "a:-b",
            "${file:a b/c}": "<a b/c>",
            "${NEST}": "${A}",
            "$${A}": "${A}",
            "$${": "${",
            "$$${A}": "$${A}",
            "$A $$ $": "$A $$ $",
            "}{": "}{",
        }.items():
            self.assertEqual(_expand(text), expected, text)

    def test_what_is_no_reference_is_refused(self) -> None:
        for text in (
            "${",
            "${A",
            "${}",
            "${A-b}",
            "${1A}",
            "${A B}",
            "${A:b}",
            "${A:-${A}}",
            "${ä}",
            "${A}${",
        ):
            self.assertRaises(Unfit, _expand, text)

    def test_an_unset_variable_is_named(self) -> None:
        self.assertIn("NOPE", str(self.assertRaises(Unfit, _expand, "x${NOPE}")))

    @given(st.text(alphabet="${}:-fileA "))
    def test_random_references(self, text: str) -> None:
        try:
            _expand(text)
        except Unfit:
            pass
        expand.mask(text)
        expand.mask_url(text)
        expand.mask_path(text)

    @given(st.text())
    def test_escaped_text_comes_back(self, text: str) -> None:
        self.assertEqual(_expand(expand.escape(text)), text)


class MaskTests(SynchronousTestCase):
    def test_secrets(self) -> None:
        for text, shown in {
            "": "",
            "hunter2": "***",
            "${PW}": "${PW}",
            "${file:pw}": "${file:pw}",
            "${PW:-hunter2}": "${PW:-***}",
            "Bearer ${file:token}": "Bearer ${file:token}",
            "Bearer hunter2": "***",
            "hunter2${PW}": "***${PW}",
            "${A}hunter2": "${A}***",
            "${A}Bearer ": "${A}***",
            "$${PW}": "***",
        }.items():
            self.assertEqual(expand.mask(text), shown, text)

    def test_urls(self) -> None:
        for text, shown in {
            "http://proxy:3128": "http://proxy:3128",
            "http://u:p@proxy:3128": "http://***:***@proxy:3128",
            "http://u:p@q@proxy": "http://***:***@proxy",
            "http://${U}:${P}@proxy": "http://${U}:${P}@proxy",
            "http://u:${P:-x}@proxy": "http://***:${P:-***}@proxy",
            "u:p@proxy": "***:***@proxy",
            "http://u:hunter2": "http://u:***",
            "http://u:${P}": "http://u:${P}",
            "http://${H:-nas.lan}": "http://${H:-nas.lan}",
            "http://nas.lan/a?token=hunter2": "http://nas.lan/a?***",
            "http://u:p@nas.lan?${QUERY}": "http://***:***@nas.lan?${QUERY}",
            "http://u:p?q@nas.lan": "http://***:***@nas.lan",
            "${URL}": "${URL}",
            f"http://nas.lan/mcp/{DRAWN}/sse": "http://nas.lan/mcp/***/sse",
            f"http://nas.lan:99999/private_{DRAWN}": "http://nas.lan:99999/***",
            f"htp:/nas.lan/{DRAWN}": "htp:/nas.lan/***",
            f"nas.lan/{DRAWN}": "nas.lan/***",
            f"http://u:p@nas.lan/{DRAWN}#{DRAWN}": "http://***:***@nas.lan/***#***",
            f"https://{DRAWN}.lan/mcp": f"https://{DRAWN}.lan/mcp",
            "http://nas.lan/${file:a/b}/mcp": "http://nas.lan/${file:a/b}/mcp",
            f"http://nas.lan/${{T}}{DRAWN}": "http://nas.lan/${T}***",
            f"http://nas.lan/${{T:-{DRAWN}}}": "http://nas.lan/${T:-***}",
            "http://nas.lan/${T:-mcp}": "http://nas.lan/${T:-mcp}",
            f"http+unix:/run/{DRAWN}.sock": f"http+unix:/run/{DRAWN}.sock",
        }.items():
            self.assertEqual(expand.mask_url(text), shown, text)
            self.assertEqual(expand.mask_url(shown), shown, text)

    def test_paths(self) -> None:
        for text, shown in {
            "/mcp": "/mcp",
            f"/{DRAWN}/sse": "/***/sse",
            f"{DRAWN}/sse": "***/sse",
            "/${file:a/b}/sse": "/${file:a/b}/sse",
            "/up?key=hunter2": "/up?***",
        }.items():
            self.assertEqual(expand.mask_path(text), shown, text)

    def test_names(self) -> None:
        for name in (
            "Authorization",
            "Cookie",
            "Set-Cookie",
            "X-Api-Key",
            "x-auth",
            "MY_TOKEN",
            "client-secret",
        ):
            self.assertTrue(expand.is_secret_name(name), name)
        for name in ("Accept", "X-Forwarded-For", "User-Agent"):
            self.assertFalse(expand.is_secret_name(name), name)
