"""L{lanrelay.passage.oauth}"""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.passage.oauth import (
    authorize_target,
    callback_to_relay,
    challenge_to_relay,
    changed_document,
    document_kind,
    document_to_relay,
    response_to_relay,
    split_well_known,
    url_to_relay,
    url_to_upstream,
    with_parameter,
)
from lanrelay.passage.places import Places
from lanrelay.wire.headers import Headers
from tests.passage.test_places import places

RESOURCE = b"/.well-known/oauth-protected-resource"
SERVER = b"/.well-known/oauth-authorization-server"
OPENID = b"/.well-known/openid-configuration"
RELAY = b"http://localhost:8080"

STRIPPED = places(at=b"/nas")
PREFIXED = places(under=b"/up")
BOTH = places(under=b"/up", at=b"/nas")


class WellKnownTests(SynchronousTestCase):
    def test_split(self) -> None:
        for path, expected in (
            (RESOURCE, (RESOURCE, b"")),
            (RESOURCE + b"/", (RESOURCE, b"/")),
            (SERVER + b"/a/b", (SERVER, b"/a/b")),
            (OPENID + b"/a", (OPENID, b"/a")),
            (RESOURCE + b"s", None),
            (b"/.well-known/security.txt", None),
            (b"/a" + RESOURCE, None),
            (b"/", None),
            (b"*", None),
        ):
            self.assertEqual(split_well_known(path), expected, path)

    def test_kind(self) -> None:
        for path, expected in (
            (RESOURCE + b"/mcp", b"oauth-protected-resource"),
            (b"/tenant" + OPENID, b"openid-configuration"),
            (b"/tenant" + OPENID + b"x", b""),
            (b"/mcp", b""),
        ):
            self.assertEqual(document_kind(path), expected, path)

    def test_whole_urls(self) -> None:
        up = b"https://lan-host"
        for where, url, expected in (
            (places(), up + b"/mcp", RELAY + b"/mcp"),
            (places(), up, RELAY),
            (places(), up + b"/", RELAY + b"/"),
            (places(), up + RESOURCE, RELAY + RESOURCE),
            (places(), up + RESOURCE + b"/mcp?x", RELAY + RESOURCE + b"/mcp?x"),
            (STRIPPED, up + b"/mcp", RELAY + b"/nas/mcp"),
            (STRIPPED, up, RELAY + b"/nas"),
            (STRIPPED, up + RESOURCE, RELAY + RESOURCE + b"/nas"),
            (STRIPPED, up + RESOURCE + b"/mcp", RELAY + RESOURCE + b"/nas/mcp"),
            (PREFIXED, up + b"/up/mcp", RELAY + b"/mcp"),
            (PREFIXED, up + RESOURCE + b"/up/mcp", RELAY + RESOURCE + b"/mcp"),
            (PREFIXED, up + RESOURCE + b"/up", RELAY + RESOURCE),
            (PREFIXED, up + RESOURCE + b"/other", up + RESOURCE + b"/other"),
            (PREFIXED, up + RESOURCE, up + RESOURCE),
            (PREFIXED, up + b"/mcp", up + b"/mcp"),
            (BOTH, up + RESOURCE + b"/up/mcp", RELAY + RESOURCE + b"/nas/mcp"),
            (places(), b"https://other/mcp", b"https://other/mcp"),
            (places(), b"/mcp", b"/mcp"),
            (STRIPPED, b"/mcp", b"/mcp"),
            (places(), b"//lan-host/mcp", b"//lan-host/mcp"),
            (places(), b"urn:x", b"urn:x"),
        ):
            self.assertEqual(url_to_relay(url, where), expected, (url, where))

    def test_and_back(self) -> None:
        up = b"https://lan-host"
        for where, url, expected in (
            (places(), RELAY + b"/mcp", up + b"/mcp"),
            (places(), RELAY, up),
            (places(), RELAY + b"/", up + b"/"),
            (places(), b"http://localhost:8081/mcp", b"http://localhost:8081/mcp"),
            (places(), b"http://127.0.0.1:8080/mcp", b"http://127.0.0.1:8080/mcp"),
            (places(), up + b"/mcp", up + b"/mcp"),
            (STRIPPED, RELAY + b"/nas/mcp", up + b"/mcp"),
            (STRIPPED, RELAY + b"/nas", up + b"/"),
            (STRIPPED, RELAY + b"/nasty", RELAY + b"/nasty"),
            (PREFIXED, RELAY + b"/mcp", up + b"/up/mcp"),
            (PREFIXED, RELAY + b"/", up + b"/up"),
            (PREFIXED, RELAY, up + b"/up"),
            (BOTH, RELAY + b"/nas", up + b"/up"),
            (BOTH, RELAY + b"/nas/x", up + b"/up/x"),
        ):
            self.assertEqual(url_to_upstream(url, where), expected, (url, where))


class ChallengeTests(SynchronousTestCase):
    def test_resource_metadata(self) -> None:
        up, relay = b"https://lan-host" + RESOURCE + b"/mcp", RELAY + RESOURCE + b"/mcp"
        for before in (
            b'Bearer resource_metadata="%b"',
            b'Bearer error="invalid_token", error_description="no", resource_metadata="%b", scope="a b"',
            b'Bearer realm="x",resource_metadata = "%b"',
            b'Bearer Resource_Metadata="%b"',
            b"Bearer resource_metadata=%b, scope=a",
            b'Basic realm="a, b", Bearer resource_metadata="%b"',
            b'Bearer realm="q\\"", resource_metadata="%b"',
        ):
            self.assertEqual(challenge_to_relay(before % up, places()), before % relay)

    def test_what_is_not_it_is_byte_identical(self) -> None:
        up = b"https://lan-host" + RESOURCE
        for value in (
            b'Bearer resource_metadata="https://other' + RESOURCE + b'"',
            b'Bearer realm="resource_metadata=' + up + b'"',
            b'Bearer realm="\\"resource_metadata=\\"' + up + b'\\""',
            b'Bearer x-resource_metadata="' + up + b'"',
            b'Bearer resource_metadata_x="' + up + b'"',
            b'Bearer realm="' + up + b'"',
            b'Bearer resource_metadata=""',
            b"Bearer resource_metadata=",
            b'Bearer realm="unended, resource_metadata=' + up,
            b"Bearer",
            b"",
        ):
            self.assertEqual(challenge_to_relay(value, places()), value)


class CallbackTests(SynchronousTestCase):
    ISS = b"iss=https%3A%2F%2Flan-host"
    NEW = b"iss=http%3A%2F%2Flocalhost%3A8080"

    def test_the_issuer_follows(self) -> None:
        for before in (
            b"http://127.0.0.1:33418/callback?code=a%2Bb&state=s&%b",
            b"http://127.0.0.1:33418/callback?%b&code=x",
            b"cursor://anysphere/oauth?code=x&%b#end",
            b"com.example.app:/cb?error=access_denied&%b",
            b"https://app.example/cb#id_token=x&%b",
            b"http://localhost:8080/cb?code=x&redirect=https://lan-host/&%b",
        ):
            before = before.replace(b"%2B", b"%%2B")
            self.assertEqual(callback_to_relay(before % self.ISS, places()), before % self.NEW)

    def test_it_keeps_its_path(self) -> None:
        for issuer, where, expected in (
            (b"https://lan-host/", places(), RELAY + b"/"),
            (b"https://lan-host/tenant", places(), RELAY + b"/tenant"),
            (b"https://lan-host", STRIPPED, RELAY + b"/nas"),
            (b"https://lan-host/up", PREFIXED, RELAY + b"/"),
        ):
            new = callback_to_relay(b"http://127.0.0.1:1/cb?code=x&iss=" + issuer, where)
            plain = with_parameter(new.partition(b"?")[2], b"iss", lambda found: found)
            self.assertIn(expected.replace(b":", b"%3A").replace(b"/", b"%2F"), plain)
            self.assertEqual(url_to_relay(issuer, where), expected)

    def test_what_is_not_it_is_byte_identical(self) -> None:
        for location in (
            b"http://127.0.0.1:33418/callback?code=x&iss=https://other",
            b"http://127.0.0.1:33418/callback?state=s&" + self.ISS,
            b"http://127.0.0.1:33418/callback?code=x&siss=https://lan-host",
            b"http://127.0.0.1:33418/iss=https://lan-host/?code=x",
            b"https://lan-host/cb?code=x&" + self.ISS,
            b"/cb?code=x&" + self.ISS,
            b"//lan-host/cb?code=x&" + self.ISS,
            b"cb?code=x&" + self.ISS,
        ):
            self.assertEqual(callback_to_relay(location, places()), location)

    def test_fields(self) -> None:
        given = Headers(
            [
                (b"location", b"x:/?code=1&" + self.ISS),
                (b"Content-Location", b"x:/?code=1&" + self.ISS),
                (b"WWW-Authenticate", b"Basic"),
                (b"WWW-Authenticate", b'Bearer resource_metadata="https://lan-host/m"'),
            ]
        )
        expected = [
            (b"location", b"x:/?code=1&" + self.NEW),
            (b"Content-Location", b"x:/?code=1&" + self.ISS),
            (b"WWW-Authenticate", b"Basic"),
            (b"WWW-Authenticate", b'Bearer resource_metadata="http://localhost:8080/m"'),
        ]
        self.assertEqual(list(response_to_relay(given, places())), expected)
        plain = Headers([(b"Date", b"x")])
        self.assertIs(response_to_relay(plain, places()), plain)


class ParameterTests(SynchronousTestCase):
    def test_values(self) -> None:
        def moved(url: bytes) -> bytes:
            return url_to_upstream(url, places())

        new = b"resource=https%3A%2F%2Flan-host%2Fmcp"
        for before, after in (
            (b"resource=http%3A%2F%2Flocalhost%3A8080%2Fmcp", new),
            (b"resource=http://localhost:8080/mcp", new),
            (b"resource=HTTP://LocalHost:8080/mcp", new),
            (b"a=b+c&resource=http://localhost:8080/mcp&d=%65", b"a=b+c&" + new + b"&d=%65"),
            (b"resource=http://localhost:8080/mcp&resource=http://localhost:8080/mcp", new + b"&" + new),
            (b"resource=http://localhost:8080/a+b%C3%BC", b"resource=https%3A%2F%2Flan-host%2Fa%20b%C3%BC"),
        ):
            self.assertEqual(with_parameter(before, b"resource", moved), after)
        for same in (
            b"",
            b"resource",
            b"resource=",
            b"resource=https%3a%2f%2fother",
            b"xresource=http://localhost:8080/mcp",
            b"Resource=http://localhost:8080/mcp",
            b"redirect_uri=http://localhost:8080/cb&resource=x",
            b"resource=%zz&&=&",
            b"resource=http://localhost:80800/mcp",
        ):
            self.assertEqual(with_parameter(same, b"resource", moved), same)

    def test_only_an_authorization_request(self) -> None:
        def moved(url: bytes) -> bytes:
            return b"new"

        for target, expected in (
            (b"/authorize?client_id=x&resource=old", b"/authorize?client_id=x&resource=new"),
            (b"/oauth/auth?resource=old&client_id=x", b"/oauth/auth?resource=new&client_id=x"),
            (b"/search?resource=old", b"/search?resource=old"),
            (b"/client_id=/resource=old", b"/client_id=/resource=old"),
            (b"/client_id=/a?resource=old", b"/client_id=/a?resource=old"),
        ):
            self.assertEqual(authorize_target(target, moved), expected)


class DocumentTests(SynchronousTestCase):
    def of_resource(self, text: str, where: Places | None = None) -> str:
        kind = b"oauth-protected-resource"
        return document_to_relay(text.encode(), kind, where or places()).decode()

    def of_server(self, text: str, where: Places | None = None) -> str:
        kind = b"oauth-authorization-server"
        return document_to_relay(text.encode(), kind, where or places()).decode()

    def test_a_protected_resource(self) -> None:
        before = """{
            "resource" : "https://lan-host/mcp",
            "authorization_servers":["https://lan-host", "https://login.lan/", "https:\\/\\/lan-host\\/as"],
            "resource_documentation": "https://lan-host/docs",
            "jwks_uri": "https://lan-host/jwks",
            "x": {"resource": "https://lan-host/mcp"}, "gr\u00fcn": "\\u00e4\\"", "n": 1.50
        }"""
        after = (
            before.replace('"https://lan-host/mcp",', '"http://localhost:8080/mcp",')
            .replace('["https://lan-host"', '["http://localhost:8080"')
            .replace('"https:\\/\\/lan-host\\/as"', '"http://localhost:8080/as"')
        )
        self.assertNotEqual(before, after)
        self.assertEqual(self.of_resource(before), after)

    def test_a_server(self) -> None:
        before = (
            '{"issuer":"https://lan-host","authorization_endpoint":"https://lan-host/authorize",'
            '"token_endpoint":"https://lan-host:443/token","registration_endpoint":"http://lan-host/register",'
            '"jwks_uri":"https://lan-host/jwks","userinfo_endpoint":"https://other/u",'
            '"op_policy_uri":"https://lan-host/policy","scopes_supported":["https://lan-host"],'
            '"mtls_endpoint_aliases":{"token_endpoint":"https://lan-host/m","x":"https://lan-host"},'
            '"endpoint":"https://lan-host/","resource":"https://lan-host/"}'
        )
        found = json.loads(self.of_server(before))
        expected = json.loads(before)
        expected.update(
            issuer="http://localhost:8080",
            authorization_endpoint="http://localhost:8080/authorize",
            token_endpoint="http://localhost:8080/token",
            registration_endpoint="http://localhost:8080/register",
            jwks_uri="http://localhost:8080/jwks",
        )
        expected["mtls_endpoint_aliases"]["token_endpoint"] = "http://localhost:8080/m"
        self.assertEqual(found, expected)

    def test_under_prefixes(self) -> None:
        for where, before, after in (
            (STRIPPED, "https://lan-host", "http://localhost:8080/nas"),
            (STRIPPED, "https://lan-host/t", "http://localhost:8080/nas/t"),
            (PREFIXED, "https://lan-host/up/t", "http://localhost:8080/t"),
            (PREFIXED, "https://lan-host/t", "https://lan-host/t"),
        ):
            self.assertEqual(self.of_server(f'{{"issuer":"{before}"}}', where), f'{{"issuer":"{after}"}}')

    def test_what_is_not_it_is_byte_identical(self) -> None:
        for text in (
            '{"resource":"https://other/mcp"}',
            '{"resource":["https://lan-host"]}',
            '{"resource":null,"authorization_servers":"https://lan-host"}',
            '{"authorization_servers":{"a":"https://lan-host"}}',
            '{"authorization_servers":[["https://lan-host"]]}',
            '{"a":"resource","b":"https://lan-host"}',
            '{"resource":"/mcp"}',
            '["https://lan-host"]',
            '"https://lan-host"',
            '{"resource":"https://lan-host"',
            '{"resource":"https://lan-host"} x',
            "\ufeff" + '{"resource":"https://lan-host"}',
            "[" * 100_000,
            "",
            "{}",
        ):
            self.assertEqual(self.of_resource(text), text)
        for raw in (b'{"resource":"https://lan-host", "x": "\xff"}', b"\xff\xfe{\x00}\x00"):
            self.assertEqual(document_to_relay(raw, b"oauth-protected-resource", places()), raw)

    def test_what_was_escaped_stays_one_value(self) -> None:
        changed = self.of_resource('{"resource":"https://lan-host/\\"\\\\\\u0022,\\ud800"}')
        found = json.loads(changed)
        self.assertEqual(found, {"resource": 'http://localhost:8080/"\\",\ud800'})

    def test_fields_of_a_changed_document(self) -> None:
        headers = Headers(
            [
                (b"ETag", b'"x"'),
                (b"Content-Length", b"5"),
                (b"Content-Digest", b"x"),
                (b"Repr-Digest", b"x"),
                (b"Cache-Control", b"max-age=60"),
            ]
        )
        expected = [(b"ETag", b'W/"x"'), (b"Content-Length", b"7"), (b"Cache-Control", b"max-age=60")]
        self.assertEqual(list(changed_document(headers, 7)), expected)
        weak = Headers([(b"ETag", b'W/"x"')])
        self.assertEqual(list(changed_document(weak, 7)), [(b"ETag", b'W/"x"')])
