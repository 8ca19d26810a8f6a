"""
An MCP server that wants an OAuth login, and its authorization server, in a thread. It checks all that a
client must do, as strictly as the specifications allow.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlencode, urlsplit

from lanrelay.cli.authority import Issued

Json = dict[str, Any]


class Authority:
    """
    Its maker adds C{close} as a cleanup, and changes what is to be different before the first request.

    @ivar calls: of tools, that have run.
    @ivar asked: method and path of each request, in their order.
    @ivar faults: what a client did wrong.
    @ivar registrations: clients that have registered.
    @ivar grants: the kinds of grants for which there were tokens.
    @ivar access: valid access tokens.
    """

    def __init__(self, tls: Issued | None = None) -> None:
        self.calls: list[str] = []
        self.asked: list[tuple[str, str]] = []
        self.faults: list[str] = []
        self.registrations: list[Json] = []
        self.grants: list[str] = []
        self.access: set[str] = set()
        self.clients: dict[str, Json] = {}
        self.scopes: dict[str, str] = {}
        self.secrets_seen: set[str] = set()
        # What may be different:
        self.points_to_metadata = True
        self.has_metadata = True
        self.tenant = ""
        self.openid = False
        self.registers = True
        self.methods = ["S256"]
        self.resource: str | None = None
        self.life: int | None = 3600
        self.refuses = False
        self.says_iss: str | None = "own"
        self.wanted_scope = ""
        self.takes_tokens = True
        self.grants_all = True
        self._codes: dict[str, Json] = {}
        self.refused = 0  # requests of MCP without a valid token
        self._refresh: dict[str, Json] = {}
        self._spent: set[str] = set()
        self.lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.port: int = self._server.server_address[1]
        self.origin = f"{'http' if tls is None else 'https'}://127.0.0.1:{self.port}"
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls.cert, tls.key)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"{self.origin}/mcp"

    @property
    def issuer(self) -> str:
        return f"{self.origin}{self.tenant}"

    def fault(self, text: str) -> None:
        self.faults.append(text)

    # --- documents ---

    def document(self, path: str) -> Json | None:
        if path == "/.well-known/oauth-protected-resource/mcp" and self.has_metadata:
            found = {"resource": self.resource or self.url, "authorization_servers": [self.issuer]}
            return {**found, "scopes_supported": ["tools"]}
        wanted = f"/.well-known/oauth-authorization-server{self.tenant}"
        if self.openid:
            wanted = f"{self.tenant}/.well-known/openid-configuration"
        if path != wanted:
            return None
        known: Json = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.origin}/authorize",
            "token_endpoint": f"{self.origin}/token",
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": self.methods,
            "token_endpoint_auth_methods_supported": ["none", "client_secret_basic"],
            "authorization_response_iss_parameter_supported": self.says_iss is not None,
        }
        if self.registers:
            known["registration_endpoint"] = f"{self.origin}/register"
        return known

    # --- the login ---

    def register(self, wanted: Json) -> Json:
        client = f"client-{len(self.registrations) + 1}"
        self.registrations.append(wanted)
        if wanted.get("application_type") != "native":
            self.fault("a web application may not come back to this machine (OpenID Registration section 2)")
        self.clients[client] = {"redirect": wanted["redirect_uris"][0], "secret": ""}
        return {**wanted, "client_id": client}

    def authorize(self, query: dict[str, str]) -> str:
        """Where the browser goes next."""
        client = self.clients.get(query.get("client_id", ""))
        if client is None or query.get("redirect_uri") != client["redirect"]:
            self.fault("the client or its redirect is unknown")
            return "/"
        if query.get("code_challenge_method") != "S256" or query.get("response_type") != "code":
            self.fault("no PKCE")
        if query.get("resource") != (self.resource or self.url):
            self.fault(f"the resource is {query.get('resource')}")
        answer = {"state": query["state"]}
        if self.says_iss is not None:
            answer["iss"] = self.issuer if self.says_iss == "own" else self.says_iss
        if self.refuses:
            answer["error"] = "access_denied"
        else:
            code = secrets.token_hex(16)
            self.secrets_seen |= {code}
            self._codes[code] = {**query}
            answer["code"] = code
        return f"{query['redirect_uri']}?{urlencode(answer)}"

    def token(self, form: dict[str, str], authorization: str) -> tuple[int, Json]:
        if authorization:
            both = base64.b64decode(authorization.partition(" ")[2]).decode().partition(":")
            id, secret = unquote_plus(both[0]), unquote_plus(both[2])  # RFC 6749 section 2.3.1
        else:
            id, secret = form.get("client_id", ""), form.get("client_secret", "")
        client = self.clients.get(id)
        if client is None or client["secret"] != secret:
            self.fault("the client did not prove itself")
            return 401, {"error": "invalid_client"}
        self.secrets_seen |= {form.get("code_verifier", ""), secret}
        if form.get("resource") != (self.resource or self.url):
            self.fault(f"the resource is {form.get('resource')}")
        if form.get("grant_type") == "authorization_code":
            granted = self._codes.pop(form.get("code", ""), None)
            if granted is None:
                self.fault("no such code")
                return 400, {"error": "invalid_grant"}
            digest = hashlib.sha256(form["code_verifier"].encode()).digest()
            if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != granted["code_challenge"]:
                self.fault("the verifier is wrong")
            if form.get("redirect_uri") != granted["redirect_uri"]:
                self.fault("the redirect differs")
        else:
            old = form.get("refresh_token", "")
            if old in self._spent:
                self.fault("a refresh token was used twice")
            granted = self._refresh.pop(old, None)
            self._spent.add(old)
            if granted is None:
                return 400, {"error": "invalid_grant"}
        self.grants.append(form["grant_type"])
        access, refresh = secrets.token_hex(16), secrets.token_hex(16)
        self.access.add(access)
        self.scopes[access] = granted.get("scope", "") if self.grants_all else ""
        self._refresh[refresh] = granted
        self.secrets_seen |= {access, refresh}
        answer: Json = {"access_token": access, "token_type": "Bearer", "refresh_token": refresh}
        if self.life is not None:
            answer["expires_in"] = self.life
        return 200, answer

    def forget_refresh_tokens(self) -> None:
        self._refresh.clear()

    # --- MCP ---

    def answer(self, message: Json) -> Json:
        method = message["method"]
        if method == "initialize":
            server = {"name": "authority", "version": "1"}
            result: Json = {
                "protocolVersion": message["params"]["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": server,
            }
        elif method == "tools/list":
            result = {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]}
        elif method == "tools/call":
            self.calls.append(message["params"]["name"])
            result = {"content": [{"type": "text", "text": "done"}]}
        elif method == "ping":
            result = {}
        else:
            error = {"code": -32601, "message": "unknown"}
            return {"jsonrpc": "2.0", "id": message["id"], "error": error}
        return {"jsonrpc": "2.0", "id": message["id"], "result": result}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """
        Log nothing: clients that are killed reset their connections, and some do not trust the certificate.
        """
        if not isinstance(sys.exc_info()[1], (ConnectionError, ssl.SSLError)):
            super().handle_error(request, client_address)


def _handler(authority: Authority) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            with authority.lock:
                self._get()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            with authority.lock:
                self._post(body)

        do_DELETE = do_GET

        def _get(self) -> None:
            url = urlsplit(self.path)
            authority.asked.append((self.command, url.path))
            if url.path == "/authorize":
                query = {name: values[0] for name, values in parse_qs(url.query).items()}
                self._say(302, None, Location=authority.authorize(query))
                return
            found = authority.document(url.path)
            if found is not None:
                self._say(200, found)
            else:
                self._say(405 if url.path == "/mcp" else 404, None)

        def _post(self, body: bytes) -> None:
            path = urlsplit(self.path).path
            authority.asked.append((self.command, path))
            if path == "/register":
                self._say(201, authority.register(json.loads(body)))
            elif path == "/token":
                form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
                self._say(*authority.token(form, self.headers.get("Authorization", "")))
            elif path == "/mcp":
                self._mcp(json.loads(body))
            else:
                self._say(404, None)

        def _mcp(self, message: Json) -> None:
            kind, _, token = self.headers.get("Authorization", "").partition(" ")
            metadata = f"{authority.origin}/.well-known/oauth-protected-resource/mcp"
            pointer = f'resource_metadata="{metadata}"' if authority.points_to_metadata else 'realm="mcp"'
            if kind != "Bearer" or token not in authority.access or not authority.takes_tokens:
                authority.refused += 1
                self._say(401, None, **{"WWW-Authenticate": f"Bearer {pointer}"})
            elif authority.wanted_scope not in authority.scopes[token] and message["method"] == "tools/call":
                more = f'error="insufficient_scope", scope="{authority.wanted_scope}", {pointer}'
                self._say(403, None, **{"WWW-Authenticate": f"Bearer {more}"})
            elif "id" not in message:
                self._say(202, None)
            else:
                self._say(200, authority.answer(message))

        def _say(self, status: int, content: Json | None, **fields: str) -> None:
            data = b"" if content is None else json.dumps(content).encode()
            self.send_response(status)
            for name, value in fields.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *arguments: Any) -> None: ...

    return Handler
