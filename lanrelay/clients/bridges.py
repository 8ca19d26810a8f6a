"""Recognises a program that carries MCP to a URL, however it is started."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

Kind = Literal["bridge", "program", "container", "shell_string", "ssh"]


class Bridge(NamedTuple):
    """
    What is known of a bridge.

    @ivar values: options that take words, and how many.
    @ivar urls: options whose value is the URL.
    @ivar headers: options for a header field, as C{Name: value}, or as two words.
    @ivar login: options that say that it logs in by OAuth.
    @ivar variables: of the environment: that of the URL, and that of a bearer token.
    @ivar ca: options that name the CA's file.
    @ivar first: only its first argument may be the URL.
    @ivar allows_http: the option without which it refuses C{http} to a name that is not this machine's.
    """

    name: str
    values: Mapping[str, int]
    urls: tuple[str, ...] = ()
    headers: tuple[str, ...] = ("--header",)
    login: tuple[str, ...] = ()
    variables: tuple[str, str] = ("", "")
    ca: tuple[str, ...] = ()
    first: bool = False
    allows_http: str = ""


def _one(*names: str) -> dict[str, int]:
    return dict.fromkeys(names, 1)


BRIDGES: dict[str, Bridge] = {
    each.name: each
    for each in (
        Bridge(
            "mcp-remote",
            _one(
                *("--header", "--header-file", "--transport", "--protocol", "--host", "--callback-path"),
                *("--auth-success-url", "--auth-timeout", "--connect-timeout", "--headers-timeout"),
                *("--body-timeout", "--ping-interval", "--ignore-tool", "--resource", "--authorize-param"),
                *("--static-oauth-client-metadata", "--static-oauth-client-info", "--client-metadata-url"),
                "--token-endpoint",
            ),
            login=(
                *("--resource", "--authorize-param", "--static-oauth-client-metadata", "--use-id-token"),
                *("--static-oauth-client-info", "--client-metadata-url", "--device-code"),
                *("--client-credentials", "--token-endpoint"),
            ),
            first=True,
            allows_http="--allow-http",
        ),
        Bridge(
            "mcp-proxy",
            {
                **_one("--transport", "--client-id", "--client-secret", "--token-url", "--username"),
                **_one("--password", "--digest", "--verify-ssl", "--log-level", "--cwd", "--port", "--host"),
                "-H": 2,
                "--headers": 2,
                "--env": 2,
                "-e": 2,
            },
            headers=("-H", "--headers"),
            login=("--client-id", "--client-secret", "--token-url"),
            variables=("SSE_URL", "API_ACCESS_TOKEN"),
            ca=("--verify-ssl",),
        ),
        Bridge(
            "fastmcp-remote",
            _one(
                "--transport",
                "--header",
                "--auth",
                "--resource",
                "--host",
                "--auth-timeout",
                "--ignore-tool",
                "--verify",
            ),
            login=("--resource",),
            ca=("--verify",),
        ),
        Bridge(
            "mcp-stdio",
            _one(
                *("--bearer-token", "-H", "--header", "--transport", "--timeout-connect", "--timeout-read"),
                *("--sse-read-timeout", "--protocol-era", "--max-message-size", "--oauth-client-id"),
            ),
            headers=("-H", "--header"),
            login=("--oauth", "--oauth-client-id"),
            variables=("", "MCP_BEARER_TOKEN"),
        ),
        Bridge(
            "supergateway",
            _one(
                *(
                    "--sse",
                    "--streamableHttp",
                    "--header",
                    "--oauth2Bearer",
                    "--logLevel",
                    "--protocolVersion",
                ),
                *("--stdio", "--port", "--outputTransport", "--baseUrl", "--ssePath", "--messagePath"),
            ),
            urls=("--sse", "--streamableHttp"),
        ),
    )
}

OURS = Bridge(
    "lanrelay",
    _one(
        *("--transport", "--header", "--header-file", "--ca", "--pin", "--cert", "--key", "--via"),
        *("--ignore-tool", "--only-tool", "--client-id", "--client-secret", "--callback-port", "--hold"),
        *("--log", "-c", "--config"),
    ),
    login=("--client-id", "--client-secret"),
    ca=("--ca",),
)
"""C{lanrelay stdio}, whose target may also be the name of a listener."""

_MODULES = {"mcp_proxy": "mcp-proxy", "fastmcp_remote": "fastmcp-remote", "mcp_stdio": "mcp-stdio"}

_SHELLS = ("sh", "bash", "zsh", "fish", "dash", "ksh", "powershell", "pwsh")
_CONTAINERS = ("docker", "podman", "nerdctl", "docker-compose", "wsl", "distrobox")
_REMOTE = ("ssh", "mosh", "autossh", "sshpass")

# Options of the launchers that take a word.
_NPX = ("-p", "--package", "--registry", "--cache", "-w", "--workspace", "--node-options", "--prefix")
_UVX = (
    *("--with", "--from", "--python", "-p", "--index", "--index-url", "-i", "--default-index", "--directory"),
    *("--extra-index-url", "--find-links", "-f", "--with-editable", "--with-requirements", "--env-file"),
    *("--cache-dir", "--config-file", "--project", "--spec", "--pip-args", "--index-strategy", "-c"),
)

_URL = re.compile(r"https?:/", re.IGNORECASE)


class Option(NamedTuple):
    """An option of a bridge: its words begin at C{at}."""

    name: str
    values: tuple[str, ...]
    at: int
    words: int


class Spelling(NamedTuple):
    """
    What the words of an entry start.

    @ivar bridge: where it is one.
    @ivar url: which word is, or ends in, the URL, and where in it that begins.
    @ivar variable: the variable of the environment that has the URL.
    @ivar options: of the bridge.
    @ivar plain: the bridge's words that are neither options nor the URL.
    @ivar front: the word in whose place the bridge looks for the URL, where that stands further behind.
    """

    kind: Kind
    bridge: Bridge | None = None
    url: tuple[int, int] | None = None
    variable: str = ""
    options: tuple[Option, ...] = ()
    plain: tuple[str, ...] = ()
    front: int | None = None

    def option(self, *names: str) -> Option | None:
        """The first option of one of these names."""
        return next((each for each in self.options if each.name in names), None)


def spelling(words: Sequence[str], environment: Mapping[str, str]) -> Spelling:
    """
    @param words: the command with its arguments.
    @param environment: what the entry sets.
    """
    at = _launched(words)
    if not isinstance(at, tuple):
        return Spelling(at)
    bridge, begin = at
    return _bridge(bridge, words, begin, environment)


def base(word: str) -> str:
    """The name of a program, without its folder and the ends that Windows gives."""
    name = re.split(r"[/\\]", word)[-1].lower()
    return re.sub(r"\.(?:exe|cmd|bat|ps1)$", "", name)


def _launched(words: Sequence[str]) -> tuple[Bridge, int] | Kind:
    """The bridge and its first argument, or what else it is."""
    at = 0
    while at < len(words):
        word, name = words[at], base(words[at])
        at += 1
        if name in BRIDGES:
            return BRIDGES[name], at
        if name == "lanrelay":
            return (OURS, at + 1) if words[at : at + 1] == ["stdio"] else "program"
        if name in _REMOTE:
            return "ssh"
        if name in _CONTAINERS:
            return "container"
        if name in _SHELLS:
            flags = [each for each in words[at:] if each.startswith(("-", "/"))]
            said = any(re.fullmatch(r"-[a-z]*c|-command|/c", each.lower()) for each in flags)
            return "shell_string" if said else "program"
        if name == "cmd":
            while at < len(words) and words[at].startswith("/"):
                at += 1
            if len(words) == at + 1 and " " in words[at]:
                return "shell_string"
            continue
        if name == "env":
            while at < len(words) and (words[at].startswith("-") or "=" in words[at]):
                if words[at] in ("-S", "--split-string"):
                    return "shell_string"
                at += 1
            continue
        package = _package(words, at, name)
        if package is not None:
            found, at = package
            if found == "shell_string":
                return "shell_string"
            bridge = BRIDGES.get(found)
            return (bridge, at) if bridge is not None else "program"
        return "program" if " http" not in word or " " not in word else "shell_string"
    return "program"


def _package(words: Sequence[str], at: int, launcher: str) -> tuple[str, int] | None:
    """What a launcher of packages starts, and where its arguments begin; C{None} for another program."""
    following = words[at] if at < len(words) else ""
    takes: tuple[str, ...] = _NPX
    if launcher in ("npx", "bunx", "pnpx"):
        pass
    elif (launcher, following) in (
        *(("npm", "exec"), ("npm", "x"), ("bun", "x"), ("pnpm", "dlx"), ("pnpm", "exec")),
        *(("yarn", "dlx"), ("deno", "run")),
    ):
        at += 1
    elif launcher == "uvx":
        takes = _UVX
    elif (launcher, following) in (("pipx", "run"), ("uv", "run")):
        takes, at = _UVX, at + 1
    elif (launcher, following) == ("uv", "tool") and words[at + 1 : at + 2] == ["run"]:
        takes, at = _UVX, at + 2
    elif launcher in ("node", "bun", "deno", "tsx") or re.fullmatch(r"python[0-9.]*", launcher):
        return _script(words, at)
    else:
        return None
    while at < len(words) and words[at].startswith("-"):
        if words[at] in ("-c", "--call") and takes is _NPX:
            return "shell_string", at
        at += 2 if words[at] in takes else 1
    return (_package_name(words[at]), at + 1) if at < len(words) else ("", at)


def _script(words: Sequence[str], at: int) -> tuple[str, int]:
    """What an interpreter runs."""
    while at < len(words) and words[at].startswith("-"):
        if words[at] == "-m" and at + 1 < len(words):
            return _MODULES.get(words[at + 1].partition(".")[0], ""), at + 2
        at += 2 if words[at] in ("-r", "--require", "--import", "-W", "-X") else 1
    if at >= len(words):
        return "", at
    parts = re.split(r"[/\\]", words[at])
    found = next((name for name in parts if name in BRIDGES), "")
    return found, at + 1


def _package_name(word: str) -> str:
    word = word.removeprefix("npm:")
    return re.split(r"(?<!^)@|[=<>~!\[]", word)[0] if not re.search(r"[/\\]", word) else base(word)


def _bridge(bridge: Bridge, words: Sequence[str], begin: int, environment: Mapping[str, str]) -> Spelling:
    if bridge is OURS and "--" in words[begin:]:
        return Spelling("program")  # for whose calls it answers
    options: list[Option] = []
    plain: list[tuple[int, str]] = []
    url: tuple[int, int] | None = None
    front: int | None = None
    at = begin
    while at < len(words):
        word = words[at]
        if not word.startswith("-") or word == "--":
            if word != "--":
                plain.append((at, word))
            at += 1
            continue
        name, equals, value = word.partition("=")
        count = 0 if equals else bridge.values.get(name, 0)
        values = [value] if equals else list(words[at + 1 : at + 1 + count])
        if (
            bridge.name == "mcp-proxy"
            and name == "--verify-ssl"
            and values
            and (values[0].startswith("-") or _URL.match(values[0]))
        ):
            values, count = [], 0  # its value may be left out
        options.append(Option(name, tuple(values), at, 1 + count))
        if name in bridge.urls and values:
            url = (at, len(name) + 1) if equals else (at + 1, 0)
        at += 1 + count
    if url is None and not bridge.urls:
        found = next((index for index, word in plain if _URL.match(word)), None)
        if found is not None:
            url = (found, 0)
            if bridge.first:
                before = [index for index, _ in plain]
                before += [each.at for each in options if each.name not in ("--header", "--header-file")]
                front = min((index for index in before if index < found), default=None)
    variable = bridge.variables[0]
    if url is None and variable in environment:
        return Spelling("bridge", bridge, None, variable, tuple(options), tuple(each for _, each in plain))
    left = tuple(word for index, word in plain if url is None or index != url[0])
    if url is None and (bridge.urls or bridge.name == "mcp-proxy") and not any(":/" in each for each in left):
        return Spelling("program")  # the other way round: a program that it offers over HTTP
    return Spelling("bridge", bridge, url, "", tuple(options), left, front)
