"""What each server's entry leads to, and whether it is to lead through the relay."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

from lanrelay.clients import judge
from lanrelay.clients.bridges import OURS, Spelling, spelling
from lanrelay.clients.judge import Leads, Resolve, Url
from lanrelay.clients.servers import Server, texts
from lanrelay.edit.formats.tree import Path, Scalar, Table

Where = Literal["loopback", "lan", "public", "program", "relay", "unknown"]

Reason = Literal[
    "public",
    "loopback",
    "already_relayed",
    "program",
    "container",
    "shell_string",
    "ssh",
    "placeholder",
    "unresolved_variable",
    "oauth",
    "managed",
    "disabled",
    "client_unsupported",
    "not_understood",
    "file_broken",
]


class FoundUrl(NamedTuple):
    """
    A URL of an entry.

    @ivar path: of the text it stands in, which may have more before it.
    @ivar offset: where in that text it begins.
    """

    path: Path
    offset: int
    url: Url


class Finding(NamedTuple):
    """
    One entry, judged.

    @ivar listener: of the relay, where the entry leads to it.
    @ivar works: as it stands; C{None} where only a look at the server could tell.
    @ivar reason: why the entry is left alone; C{None} for one that is to lead through the relay.
    @ivar said: that in a sentence; it holds no secret.
    @ivar targets: its URLs on the LAN, which are to change, or those that lead to this machine.
    @ivar spelling: of the words that start a program.
    @ivar lan: addresses of the LAN that a program is given.
    @ivar bridged: the client cannot use a URL, so the entry gets a bridge.
    """

    server: Server
    leads_to: Where
    said: str
    reason: Reason | None = None
    listener: str | None = None
    works: bool | None = None
    targets: tuple[FoundUrl, ...] = ()
    spelling: Spelling | None = None
    lan: tuple[str, ...] = ()
    bridged: bool = False

    @property
    def adopt(self) -> bool:
        """Whether it is to lead through the relay."""
        return self.reason is None


class _Seen(NamedTuple):
    """An entry before its hosts are judged."""

    server: Server
    spelling: Spelling | None
    targets: tuple[FoundUrl, ...]
    refused: str  # why a text is no URL, or the name of a listener behind a colon
    hosts: tuple[str, ...]  # of a program


def judged(
    servers: Iterable[Server],
    *,
    relays: Mapping[int, str],
    resolve: Resolve = judge.resolve,
    npx: bool = True,
) -> list[Finding]:
    """
    Judge all entries; names are looked up together.

    @param relays: ports of the relay on loopback, and the listener of each.
    @param npx: whether an entry can get C{npx mcp-remote}.
    """
    seen = [_look(server) for server in servers]
    hosts = [target.url.host for each in seen for target in each.targets]
    hosts += [host for each in seen for host in each.hosts]
    leads = judge.judge(hosts, resolve)
    return [_judge(each, leads, relays, npx) for each in seen]


# --- what it is ---------------------------------------------------------------------------------------


def _look(server: Server) -> _Seen:
    if server.urls and not server.words:
        found = [(word.path, 0, judge.parse(word.text)) for word in server.urls]
        if server.urls[0].text.startswith(("unix:", "pipe:")):
            return _Seen(server, None, (), "here", ())
        refused = next((url for _, _, url in found if isinstance(url, str)), "")
        targets = tuple(FoundUrl(path, at, url) for path, at, url in found if not isinstance(url, str))
        return _Seen(server, None, targets, refused, ())
    if server.unread is not None:
        unread = judge.parse(server.unread.text)
        if not isinstance(unread, str):
            return _Seen(server, None, (FoundUrl(server.unread.path, 0, unread),), "", ())
    words = [word.text for word in server.words]
    spelled = spelling(words, server.environment)
    if spelled.kind == "program":
        return _Seen(server, spelled, (), "", tuple(_hosts(server)))
    if spelled.kind != "bridge":
        return _Seen(server, spelled, (), "", ())
    text, path, at = "", None, 0
    if spelled.url is not None:
        index, at = spelled.url
        text, path = words[index][at:], server.words[index].path
    elif spelled.variable and server.environment_path is not None:
        text = server.environment[spelled.variable]
        path = (*server.environment_path, spelled.variable)
    else:
        if spelled.bridge is OURS and spelled.plain and ":" not in spelled.plain[0]:
            return _Seen(server, spelled, (), f":{spelled.plain[0].partition('/')[0]}", ())
        left = " ".join(spelled.plain)
        return _Seen(server, spelled, (), "variable" if judge.is_variable(left) else "not_a_url", ())
    url = judge.parse(text)
    if isinstance(url, str):
        return _Seen(server, spelled, (), url, ())
    assert path is not None
    return _Seen(server, spelled, (FoundUrl(path, at, url),), "", ())


_TELLS_A_HOST = re.compile(r"(?:HOST|URL|URI|ADDR|ADDRESS|SERVER|ENDPOINT|BASE|API)$", re.IGNORECASE)
_HOST = re.compile(r"\[?([0-9A-Za-z.:_-]+?)\]?(?::[0-9]+)?/?")


def _hosts(server: Server) -> Iterator[str]:
    """Hosts that a program is told."""
    told = [(key, value) for key, value in server.environment.items()]
    arguments = [word.text for word in server.words[1:]]
    for before, word in zip(("", *arguments), arguments, strict=False):
        name, equals, value = word.partition("=")
        told.append((name, value) if equals else (before if before.startswith("-") else "", word))
    for key, value in told:
        url = judge.parse(value)
        if not isinstance(url, str):
            yield url.host
        elif _TELLS_A_HOST.search(key) and (found := _HOST.fullmatch(value)) and "." in found[1]:
            yield found[1].lower()


# --- what becomes of it -------------------------------------------------------------------------------

_REFUSED: dict[str, tuple[Where, Reason, str]] = {
    "variable": (
        "unknown",
        "unresolved_variable",
        "Its URL has a variable whose value only the client knows; set that one to the relay's URL.",
    ),
    "placeholder": ("unknown", "placeholder", "Its URL is an example that was never filled in."),
    "not_a_url": ("unknown", "not_understood", "It has no URL that begins with http:// or https://."),
    "here": ("loopback", "loopback", "It is a socket of this machine."),
}

_KINDS: dict[str, tuple[Where, Reason, str]] = {
    "container": (
        "program",
        "container",
        "It runs in a container, where 127.0.0.1 is the container itself; the host is "
        "host.docker.internal there.",
    ),
    "shell_string": ("unknown", "shell_string", "A shell reads its command; change the URL in it by hand."),
    "ssh": ("program", "ssh", "It runs on another machine, by ssh; a tcp-forward can carry that."),
}


def _judge(seen: _Seen, leads: Mapping[str, Leads], relays: Mapping[int, str], npx: bool) -> Finding:
    server, spelled = seen.server, seen.spelling
    if spelled is not None and spelled.kind in _KINDS:
        where, reason, said = _KINDS[spelled.kind]
        return Finding(server, where, said, reason, spelling=spelled)
    if spelled is not None and spelled.kind == "program":
        return _program(seen, leads)
    if seen.refused.startswith(":"):
        return _named(server, spelled, seen.refused[1:], relays)
    if seen.refused:
        where, reason, said = _REFUSED[seen.refused]
        works = False if reason in ("placeholder", "not_understood") else None
        return Finding(server, where, said, reason, works=works, spelling=spelled)
    found = {leads[target.url.host] for target in seen.targets}
    first = seen.targets[0].url
    if "lan" not in found:
        return _elsewhere(seen, found, first, relays)
    finding = Finding(
        server,
        "lan",
        f"It leads to {first.origin}.",
        works=_works(seen, first),
        targets=tuple(target for target in seen.targets if leads[target.url.host] == "lan"),
        spelling=spelled,
    )
    left, said = _left_alone(server, spelled)
    if left == "client_unsupported" and server.client.takes == ("stdio",) and npx and not spelled:
        return finding._replace(
            works=False,
            bridged=True,
            said=f"{server.client.called} does not use URLs, so this never worked; it gets a bridge.",
        )
    if left is not None:
        return finding._replace(
            reason=left, said=said, works=False if left == "client_unsupported" else finding.works
        )
    return finding


def _named(server: Server, spelled: Spelling | None, name: str, relays: Mapping[int, str]) -> Finding:
    """C{lanrelay stdio NAME}."""
    if name in relays.values():
        said = f"It leads to the relay's listener {name}."
        return Finding(server, "relay", said, "already_relayed", name, works=True, spelling=spelled)
    said = f"It names the listener {name}, which the configuration does not have."
    works = False if relays else None
    return Finding(server, "unknown", said, "not_understood", works=works, spelling=spelled)


def _elsewhere(seen: _Seen, found: set[Leads], first: Url, relays: Mapping[int, str]) -> Finding:
    server, spelled = seen.server, seen.spelling
    if "public" in found:
        return Finding(server, "public", f"{first.host} is not on the LAN.", "public", spelling=spelled)
    if "container" in found:
        said = f"{first.host} is this machine as a container sees it."
        return Finding(server, "loopback", said, "container", spelling=spelled)
    listener = relays.get(first.port)
    if listener is not None:
        said = f"It leads to the relay's listener {listener}."
        return Finding(
            *(server, "relay", said, "already_relayed", listener),
            works=True,
            targets=seen.targets,
            spelling=spelled,
        )
    said = "It leads to this machine."
    return Finding(server, "loopback", said, "loopback", targets=seen.targets, spelling=spelled)


def _left_alone(server: Server, spelled: Spelling | None) -> tuple[Reason | None, str]:
    client = server.client
    if server.scope == "container":
        return "container", (
            f"{client.called} runs in a container here, where 127.0.0.1 is the container itself; "
            "the host is host.docker.internal there."
        )
    if server.scope == "managed":
        return "managed", "The file belongs to an administrator or a plugin, and is not edited."
    if server.unread is not None:
        return "client_unsupported", f'{client.called} does not heed the key "{server.unread.path[-1]}".'
    if spelled is None and server.type.lower() in client.dead:
        return "client_unsupported", f'{client.called} no longer knows the type "{server.type}".'
    if spelled is None and (server.transport is None or server.transport not in client.takes):
        return "client_unsupported", f"{client.called} cannot use such an entry."
    if _logs_in(server, spelled):
        return "oauth", "It logs in by OAuth at this URL; with another one the login would be lost."
    if server.disabled:
        return "disabled", "It is switched off in the client; --server with its name adopts it all the same."
    return None, ""


def _works(seen: _Seen, url: Url) -> bool | None:
    """C{False} for an entry that cannot work on any network."""
    spelled = seen.spelling
    if spelled is None or spelled.bridge is None:
        return False if seen.server.client.typed and not seen.server.type else None
    allows = spelled.bridge.allows_http
    if spelled.front is not None or (allows and url.scheme == "http" and spelled.option(allows) is None):
        return False
    return None


_LOGIN_KEYS = frozenset(
    (
        "clientid",
        "client_id",
        "clientsecret",
        "client_secret",
        "tokens",
        "accesstoken",
        "access_token",
        "scopes",
    )
)


def _logs_in(server: Server, spelled: Spelling | None) -> bool:
    if spelled is not None and spelled.bridge is not None:
        auth = spelled.option("--auth")
        return spelled.option(*spelled.bridge.login) is not None or (
            auth is not None and auth.values[:1] == ("oauth",)
        )
    for key in ("oauth", "auth"):
        node = server.table.get(key)
        if isinstance(node, Table) and any(entry.key.lower() in _LOGIN_KEYS for entry in node.entries):
            return True
        if isinstance(node, Scalar) and (node.value is True or node.value == "oauth"):
            return True
    return False


def _program(seen: _Seen, leads: Mapping[str, Leads]) -> Finding:
    lan = tuple(dict.fromkeys(host for host in seen.hosts if leads[host] == "lan"))
    said = "It is a program of its own."
    if lan:
        said = (
            f"It is a program that is told {', '.join(lan)}; `--as proxy` gives it the relay's forward proxy."
        )
    return Finding(seen.server, "program", said, "program", spelling=seen.spelling, lan=lan)


def authorities(finding: Finding) -> tuple[str, ...]:
    """Files of CAs that the entry trusts, as it names them."""
    server = finding.server
    files = [server.environment.get("NODE_EXTRA_CA_CERTS", "")]
    if finding.spelling is not None and finding.spelling.bridge is not None:
        for option in finding.spelling.options:
            if option.name in finding.spelling.bridge.ca:
                files += option.values[:1]
    options = server.table.get("requestOptions")
    if isinstance(options, Table):
        files.append(texts(options).get("caBundlePath", ""))
    return tuple(each for each in dict.fromkeys(files) if each and each.lower() not in ("true", "false"))
