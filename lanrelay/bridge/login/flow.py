"""From a refusal to tokens: the requests of OAuth, one after the other."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

from lanrelay.bridge.login import metadata
from lanrelay.bridge.login.browser import opened
from lanrelay.bridge.login.callback import Callback
from lanrelay.bridge.login.messages import Challenge, Client, Fetch, NoLogin
from lanrelay.bridge.login.metadata import Authority, Resource
from lanrelay.bridge.login.tokens import Tokens, lifetime
from lanrelay.bridge.loop import Loop, Steps, now
from lanrelay.bridge.messages import Failure, Fields, Note

PERSON = 300.0
"""Seconds that a person has for the login."""

FORM: Fields = (("Content-Type", "application/x-www-form-urlencoded"), ("Accept", "application/json"))
JSON: Fields = (("Content-Type", "application/json"), ("Accept", "application/json"))
READ: Fields = (("Accept", "application/json"),)


class Flow:
    """
    @param target: the URL that tokens are for.
    @param person: is called when the browser is open: it may take long from here.
    """

    def __init__(
        self,
        loop: Loop,
        target: str,
        client: Client,
        fetch: Fetch,
        note: Callable[[Note], None],
        person: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._target = metadata.canonical(target)
        self._client = client
        self._fetch = fetch
        self._note = note
        self._person = person
        self._loopback = metadata.is_loopback(urlsplit(target).hostname)
        if urlsplit(target).scheme != "https" and not self._loopback:
            raise NoLogin("The server wants a login, and none is safe over http://.", metadata.GIVE_TOKEN)
        metadata.checked(self._target, loopback=self._loopback, what="own address")

    # --- a new login ---

    def login(self, challenge: Challenge, old: Tokens | None) -> Steps[Tokens]:
        """
        @param old: of an earlier login, whose registration may still be good.
        @raise NoLogin: there will be no tokens.
        """
        resource = yield from self._resource(challenge)
        authority = yield from self._authority(resource)
        callback = self._listen(old, authority)
        try:
            client = yield from self._registered(authority, callback, old)
            scope = challenge.scope or resource.scope
            verifier = secrets.token_urlsafe(48)
            code = yield from self._asked(authority, resource, client, callback, scope, verifier)
        finally:
            callback.close()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": callback.url,
            "code_verifier": verifier,
            "resource": resource.name,
        }
        known = {
            "target": self._target,
            "resource": resource.name,
            "issuer": authority.issuer,
            "token_endpoint": authority.token,
            "port": callback.port,
            "scope": scope,
            **client,
        }
        return (yield from self._token(form, known))

    def refresh(self, old: Tokens) -> Steps[Tokens | None]:
        """
        New tokens for old ones; C{None} where the server does not take the old ones any more.

        @raise NoLogin: the server could not be asked; the old ones may still be good.
        """
        known = {name: value for name, value in old.value.items() if name not in _OF_ONE_ANSWER}
        known["refresh_token"] = old.refresh  # it stays good if the server gives no other
        form = {
            "grant_type": "refresh_token",
            "refresh_token": old.refresh,
            "resource": old.value["resource"],
        }
        try:
            return (yield from self._token(form, known))
        except _Refused:
            return None

    def _resource(self, challenge: Challenge) -> Steps[Resource]:
        named = challenge.metadata
        if named is not None:
            metadata.checked(named, loopback=self._loopback, what="resource metadata")
        for place in metadata.resource_places(self._target, named):
            found = yield from self._document(place)
            if found is not None:
                return metadata.resource(found, self._target, loopback=self._loopback)
        if named is not None:
            raise NoLogin("The server wants a login, and its metadata cannot be read.")
        return Resource(self._target, metadata.root(self._target), None)

    def _authority(self, resource: Resource) -> Steps[Authority]:
        for place in metadata.authority_places(resource.issuer):
            found = yield from self._document(place)
            if found is not None:
                return metadata.authority(found, resource.issuer, loopback=self._loopback)
        raise NoLogin(
            "The server wants a login, and does not say where it is done.",
            metadata.GIVE_TOKEN,
        )

    def _document(self, url: str) -> Steps[dict[str, Any] | None]:
        answer = yield from self._fetch("GET", url, READ, None)
        if isinstance(answer, Failure):
            raise NoLogin(f"The server wants a login. {answer.said}", answer.remedy)
        if answer.status >= 500:
            raise NoLogin(f"The server wants a login, and {_place(url)} answered {answer.status}.")
        return metadata.document(answer.body) if answer.status == 200 else None

    def _listen(self, old: Tokens | None, authority: Authority) -> Callback:
        """Listen at the port for which we are registered, if that is free."""
        wanted = self._client.port
        if not wanted and old is not None and old.value.get("issuer") == authority.issuer:
            try:
                return Callback(self._loop, int(old.value.get("port", 0)))
            except (OSError, OverflowError, ValueError):
                pass
        try:
            return Callback(self._loop, wanted)
        except OSError as error:
            raise NoLogin(f"Port {wanted} is wanted for the login: {error.strerror}.") from None

    def _registered(
        self, authority: Authority, callback: Callback, old: Tokens | None
    ) -> Steps[dict[str, str]]:
        """C{client_id}, C{client_secret} and the C{method} by which they are shown."""
        if self._client.id:
            return _client(self._client.id, self._client.secret, authority.methods)
        if old is not None and old.value.get("registered_as") == [authority.issuer, callback.port]:
            kept = ("client_id", "client_secret", "method", "registered_as")
            return {name: old.value[name] for name in kept}
        if authority.registration is None:
            raise NoLogin(
                f"{_place(authority.issuer)} registers no clients by itself.",
                "Register one there, and give its --client-id, and the --callback-port of its redirect.",
            )
        wanted = {
            "client_name": "lanrelay",
            # Else we are taken for a web application, which may not come back to loopback.
            "application_type": "native",
            "redirect_uris": [callback.url],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none"
            if "none" in authority.methods or "client_secret_post" not in authority.methods
            else "client_secret_post",
        }
        answer = yield from self._fetch("POST", authority.registration, JSON, json.dumps(wanted).encode())
        found = None if isinstance(answer, Failure) else metadata.document(answer.body)
        if found is None or "error" in found or not isinstance(found.get("client_id"), str):
            said = "" if found is None else str(found.get("error_description") or found.get("error") or "")
            raise NoLogin(
                f"{_place(authority.issuer)} did not register this program"
                f"{f': {metadata.printable(said)}' if said else ''}.",
                "Register it there, and give its --client-id.",
            )
        secret = found.get("client_secret")
        chosen = found.get("token_endpoint_auth_method")
        methods = (chosen,) if isinstance(chosen, str) else authority.methods
        made: dict[str, Any] = _client(found["client_id"], secret if isinstance(secret, str) else "", methods)
        made["registered_as"] = [authority.issuer, callback.port]
        return made

    def _asked(
        self,
        authority: Authority,
        resource: Resource,
        client: dict[str, str],
        callback: Callback,
        scope: str | None,
        verifier: str,
    ) -> Steps[str]:
        """The code, after the person has said yes."""
        state = secrets.token_urlsafe(24)
        digest = hashlib.sha256(verifier.encode()).digest()
        query = {
            "response_type": "code",
            "client_id": client["client_id"],
            "redirect_uri": callback.url,
            "state": state,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
            "resource": resource.name,
            **({"scope": scope} if scope else {}),
        }
        mark = "&" if urlsplit(authority.authorization).query else "?"
        url = f"{authority.authorization}{mark}{urlencode(query)}"
        place = _place(authority.authorization)
        if opened(url):
            self._note(Note(f"The server wants a login: the browser is open at {place}.", warning=True))
            self._person(f"The server wants a login: the browser is open at {place}.")
        else:
            self._note(
                Note(f"The server wants a login. Open this page in a browser here: {url}", warning=True)
            )
            self._person("The server wants a login, and no browser could be opened: the log has the address.")
        code = yield callback.code(
            state=state, issuer=authority.issuer, names_itself=authority.names_itself, until=now() + PERSON
        )
        if isinstance(code, TimeoutError):
            raise NoLogin("Nobody has logged in within 5 minutes.")
        if isinstance(code, NoLogin):
            raise code
        return str(code)

    def _token(self, form: dict[str, Any], known: dict[str, Any]) -> Steps[Tokens]:
        """
        @raise _Refused: what was shown for it is not good.
        """
        endpoint = metadata.checked(known["token_endpoint"], loopback=self._loopback, what="token endpoint")
        fields = FORM
        client_id, secret = str(known["client_id"]), str(known.get("client_secret") or "")
        if known.get("method") == "client_secret_basic" and secret:
            both = f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()
            fields = (*FORM, ("Authorization", f"Basic {base64.b64encode(both).decode()}"))
        else:
            form["client_id"] = client_id
            if secret:
                form["client_secret"] = secret
        answer = yield from self._fetch("POST", endpoint, fields, urlencode(form).encode())
        if isinstance(answer, Failure):
            raise NoLogin(answer.said, answer.remedy)
        found = metadata.document(answer.body)
        if 400 <= answer.status < 500 and answer.status not in (408, 429):
            error = metadata.printable(str((found or {}).get("error", answer.status)))
            raise _Refused(f"{_place(endpoint)} gave no token: {error}.")
        if answer.status != 200 or found is None:
            raise NoLogin(f"{_place(endpoint)} gave no token: it answered {answer.status}.")
        token = found.get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable() or " " in token:
            raise NoLogin(f"{_place(endpoint)} gave no token.")
        if str(found.get("token_type", "")).lower() != "bearer":
            raise NoLogin(f"{_place(endpoint)} gave a token that is no bearer token.")
        value = {**known, "access_token": token}
        for name in ("refresh_token", "scope"):
            if isinstance(found.get(name), str) and found[name]:
                value[name] = found[name]
        life = lifetime(found.get("expires_in"))
        if life is not None:
            value["expires_in"] = life
            value["expires_at"] = time.time() + life
        return Tokens(value)


_OF_ONE_ANSWER = ("access_token", "expires_in", "expires_at")


class _Refused(NoLogin):
    """The authorization server has judged, and says no."""


def _client(id: str, secret: str, methods: tuple[str, ...]) -> dict[str, Any]:
    if not secret:
        method = "none"
    elif "client_secret_post" in methods and "client_secret_basic" not in methods:
        method = "client_secret_post"
    else:
        method = "client_secret_basic"
    return {"client_id": id, "client_secret": secret, "method": method, "registered_as": None}


def _place(url: str) -> str:
    return metadata.printable(urlsplit(url).netloc)
