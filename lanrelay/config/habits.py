"""Words that people write from habit, and what they are called here."""

from __future__ import annotations

from lanrelay.config.kinds import KINDS

_TLS = {
    "ca": (
        *("ca", "cacert", "cacerts", "cafile", "capath", "cabundle", "cacertificate", "certificateauthority"),
        *("rootca", "rootcas", "rootcert", "rootcertificate", "sslrootcert", "trustedca", "sslca", "tlsca"),
    ),
    "verify": (
        *(
            "verify",
            "insecure",
            "insecureskipverify",
            "skipverify",
            "tlsskipverify",
            "noverify",
            "sslnoverify",
        ),
        *(
            "rejectunauthorized",
            "sslverify",
            "verifyssl",
            "tlsverify",
            "verifytls",
            "strictssl",
            "allowinsecure",
        ),
        *("verification", "verifycertificate", "checkcertificate"),
    ),
    "server_name": ("servername", "sni", "tlsservername", "sslservername", "snihost", "tlsname"),
    "pin": ("pin", "fingerprint", "pinnedpubkey", "pinnedkey", "spki"),
    "min_version": ("minversion", "mintls", "tlsminversion", "minimumversion", "sslversion", "tlsversion"),
}
_CERTIFICATE = {
    "cert": ("cert", "certificate", "certfile", "crt", "sslcert", "clientcert", "pem"),
    "key": ("key", "keyfile", "privatekey", "sslkey", "certkey", "clientkey"),
    "passphrase": ("passphrase", "password", "keypassword", "sslpassword"),
}
_UPSTREAM = {
    "url": (
        "url",
        "target",
        "backend",
        "to",
        "dest",
        "destination",
        "proxypass",
        "server",
        "uri",
        "endpoint",
    ),
    "address": ("address", "host", "ip", "hostaddr", "ipaddress", "connectto", "resolve"),
    "via": ("via", "proxy", "proxyurl", "httpproxy", "httpsproxy", "socksproxy", "upstreamproxy"),
}
_LISTEN = ("bind", "listenon", "listenaddress", "listenport", "bindaddress", "localport", "local")
_CLIENTS = ("allowfrom", "allowclients", "allowedclients", "whitelist", "allowlist", "sources")

_LISTENERS = [kind.word for kind in KINDS]
_LEADING = ("route", *(kind.word for kind in KINDS if kind.schemes))
_PROXIES = [kind.word for kind in KINDS if kind.proxy]

_WHAT_VERIFY_IS = "; verify: false believes whoever answers, and a `ca` or a `pin` makes it unnecessary"


def meant_key(table: str, word: str) -> str:
    """
    What somebody means who writes C{word} as a key of a table that has no such key.

    @param table: its name.
    @return: the way to the key, in quotes, and what else helps; empty for no habit.
    """
    plain = _plain(word)
    if plain in ("port", "ports"):
        if table == "upstream":
            return '"url"; the port is part of it, as in http://nas.lan:8080'
        if table != "upstream-tls":
            return '"listen"; the port is part of it, as in listen: localhost:8080'
    listener = table in (*_LISTENERS, "listener", "admin")
    if listener and plain in _LISTEN:
        return '"listen"'
    if listener and plain in _CLIENTS:
        return '"clients"'
    if table in _PROXIES:
        return '"parent"' if plain in _UPSTREAM["via"] else ""
    if table == "tls":
        if plain in _TLS["ca"]:
            return '"client_ca", of which clients have to show a certificate'
        return _among(plain, {**_CERTIFICATE, "min_version": _TLS["min_version"]}, "")
    before = {"upstream-tls": "", "upstream": "tls.", **dict.fromkeys(_LEADING, "upstream.tls.")}.get(table)
    if before is None:
        return ""
    if table != "upstream-tls":
        found = _among(plain, _UPSTREAM, "" if table == "upstream" else "upstream.")
        if found == '"upstream.url"' and plain != "url":
            return '"upstream"'
        if found:
            return found
    found = _among(plain, {**_TLS, **_CERTIFICATE}, before)
    return found + _WHAT_VERIFY_IS if found.endswith('verify"') else found


def meant_type(word: str) -> str:
    """The type of a listener that is meant; empty for no habit."""
    return next((kind.word for kind in KINDS if _plain(word) in kind.habits), "")


def _among(plain: str, habits: dict[str, tuple[str, ...]], before: str) -> str:
    return next((f'"{before}{key}"' for key, words in habits.items() if plain in words), "")


def _plain(word: str) -> str:
    return word.lower().replace("-", "").replace("_", "").replace(" ", "")
