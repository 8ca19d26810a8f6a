"""
An MCP server that wants an OAuth login, for live tests: the official SDK's server and authorization server.

It knows itself only by C{https://LAN_NAME:PORT}: that is the name of its issuer, and of the resource for
which it takes tokens. The login page is a form; the redirect from it bears C{iss} (RFC 9207).
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from typing import Any

import uvicorn
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    AuthorizationParams,
    OAuthAuthorizationServerProvider,
    RefreshToken,
    construct_redirect_uri,
)
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from tests.support.program import run


class Provider(OAuthAuthorizationServerProvider[AuthorizationCode, RefreshToken, AccessToken]):
    """Everything in memory."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.clients: dict[str, OAuthClientInformationFull] = {}
        self.logins: dict[str, tuple[str, AuthorizationParams]] = {}
        self.codes: dict[str, AuthorizationCode] = {}
        self.tokens: dict[str, AccessToken] = {}

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        return self.clients.get(client_id)

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        assert client_info.client_id is not None
        self.clients[client_info.client_id] = client_info

    async def authorize(self, client: OAuthClientInformationFull, params: AuthorizationParams) -> str:
        login = secrets.token_hex(8)
        assert client.client_id is not None
        self.logins[login] = (client.client_id, params)
        return f"{self.issuer}/login?login={login}"

    async def page(self, request: Request) -> Response:
        """The form, and what follows when it was filled in."""
        if request.method == "GET":
            login = request.query_params["login"]
            return HTMLResponse(f'<form method=post><input name=login value="{login}"></form>')
        form = await request.form()
        client_id, params = self.logins.pop(str(form["login"]))
        code = secrets.token_hex(20)
        self.codes[code] = AuthorizationCode(
            code=code,
            scopes=params.scopes or [],
            expires_at=time.time() + 60,
            client_id=client_id,
            code_challenge=params.code_challenge,
            redirect_uri=params.redirect_uri,
            redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly,
            resource=params.resource,
        )
        callback = construct_redirect_uri(
            str(params.redirect_uri), code=code, state=params.state, iss=self.issuer
        )
        return RedirectResponse(callback, status_code=303)

    async def load_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: str
    ) -> AuthorizationCode | None:
        return self.codes.get(authorization_code)

    async def exchange_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: AuthorizationCode
    ) -> OAuthToken:
        del self.codes[authorization_code.code]
        token = secrets.token_hex(20)
        self.tokens[token] = AccessToken(
            token=token,
            client_id=authorization_code.client_id,
            scopes=authorization_code.scopes,
            resource=authorization_code.resource,
        )
        return OAuthToken(access_token=token, token_type="Bearer", expires_in=3600)

    async def load_access_token(self, token: str) -> AccessToken | None:
        return self.tokens.get(token)

    async def load_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: str
    ) -> RefreshToken | None:
        return None

    async def exchange_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: RefreshToken, scopes: list[str]
    ) -> OAuthToken:
        raise NotImplementedError

    async def revoke_token(self, token: AccessToken | RefreshToken) -> None:
        raise NotImplementedError


def make_server(issuer: str) -> MCPServer[Any]:
    provider = Provider(issuer)
    auth = AuthSettings.model_validate(  # which keeps the issuer without a slash at its end
        {
            "issuer_url": issuer,
            "resource_server_url": f"{issuer}/mcp",
            "client_registration_options": ClientRegistrationOptions(enabled=True),
            "validate_token_resource": True,
        }
    )
    mcp: MCPServer[Any] = MCPServer("login", auth_server_provider=provider, auth=auth)
    mcp.custom_route("/login", methods=["GET", "POST"])(provider.page)

    @mcp.tool()
    def resource() -> str:
        """The resource for which the caller's token is valid."""
        token = get_access_token()
        return "" if token is None else token.resource or ""

    return mcp


async def serve(options: dict[str, Any]) -> int:
    listening = socket.create_server(("127.0.0.1", options["port"]))
    port: int = listening.getsockname()[1]
    security = TransportSecuritySettings(
        enable_dns_rebinding_protection=True, allowed_hosts=[f"{options['name']}:*"]
    )
    app = make_server(f"https://{options['name']}:{port}").streamable_http_app(transport_security=security)
    cert, key = options["tls"]
    config = uvicorn.Config(
        app, ssl_certfile=cert, ssl_keyfile=key, lifespan="on", timeout_graceful_shutdown=1, log_config=None
    )
    server = uvicorn.Server(config)
    running.append(asyncio.create_task(server.serve([listening])))
    while not server.started:
        if running[0].done():
            running[0].result()
        await asyncio.sleep(0.01)
    return port


running: list[asyncio.Task[None]] = []

if __name__ == "__main__":
    run(serve)
