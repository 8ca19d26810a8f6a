"""The relay's configuration with the listeners that are to come, and the files of their secrets."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lanrelay.config import model
from lanrelay.config.kinds import kind_for
from lanrelay.edit import replace
from lanrelay.edit.formats.tree import Broken, NotEdited
from lanrelay.edit.masking import url as masked_url
from lanrelay.errors import StartError
from lanrelay.setup import configuration
from lanrelay.setup.adding import Taken, stored_tls
from lanrelay.setup.in_force import says_anything

if TYPE_CHECKING:
    from lanrelay.clients.judge import Url


@dataclass(frozen=True, slots=True)
class New:
    """A listener that is to come."""

    name: str
    port: int
    body: Mapping[str, Any]


class RelayFile:
    """
    The relay's configuration, as it is and as it will be.

    @ivar config: C{None} where there is no file yet, or one that says nothing.
    @ivar runs: a relay runs with it.
    """

    def __init__(self, file: Path, *, runs: bool) -> None:
        """
        @raise StartError: the file cannot be read, or is no text.
        @raise ConfigErrors: it is not right.
        """
        self.file = file
        self.runs = runs
        self.original = replace.read(file)
        try:
            self._text, self._mark = configuration.text_of(self.original.content)
        except Broken as error:
            raise StartError(f"{file} is no text in UTF-8: {error}") from None
        self.config: model.Config | None = None
        if self.original.content is not None and says_anything(self.original.content):
            self.config = configuration.checked(file, self.original.content)
        self._new: dict[str, New] = {}
        self._secrets: dict[str, dict[Path, str]] = {}  # by origin
        self._served: dict[str, configuration.Serving] = {}

    def serve(self, url: Url, authorities: Collection[Path] = ()) -> configuration.Serving:
        """
        The listener for a URL's origin: the one that is there, or one that is to come.

        @raise NotEdited: no port is free.
        """
        origin = url.origin
        found = self._served.get(origin)
        if found is None and self.config is not None:
            found = configuration.serving(self.config, origin)
        if found is None:
            names = {one.name for one in self.config.listeners} if self.config is not None else set()
            names |= {new.name for new in self._new.values()}
            name = configuration.name_for(url.host, names)
            own = configuration.ports_of(self.config) if self.config is not None else set()
            port = configuration.port_for(origin, Taken(own | {new.port for new in self._new.values()}))
            self._new[origin] = New(name, port, self._body(url, port, authorities))
            found = configuration.Serving(name, port)
        self._served[origin] = found
        return found

    def made(self, origins: Iterable[str]) -> tuple[str, ...]:
        """Names of the listeners that come for these origins."""
        return tuple(self._new[origin].name for origin in origins if origin in self._new)

    def is_there(self, origin: str) -> bool:
        """Whether a listener leads to an origin already."""
        return self.config is not None and configuration.serving(self.config, origin) is not None

    def keep_secret(self, origin: str, fields: Iterable[tuple[str, str]]) -> None:
        """Have the listener that comes for an origin send these fields, from files of their own."""
        new = self._new[origin]
        files: dict[Path, str] = {}
        rules: dict[str, str] = {}
        for name, value in fields:
            path = _free_name(self.file.parent / "secrets" / f"{new.name}-{name.lower()}")
            files[path] = value
            rules[name] = f"${{file:secrets/{path.name}}}"
        if rules:
            self._secrets[origin] = files
            body = {**new.body, "headers": {"request": {"set": rules}}}
            self._new[origin] = New(new.name, new.port, body)

    def write_secrets(self, origins: Collection[str]) -> None:
        """
        Have the files of these origins be there, and those of others of ours not.

        @raise StartError: one cannot be written.
        """
        for origin, files in self._secrets.items():
            for path, value in files.items():
                original = replace.read(path)
                if origin not in origins:
                    replace.remove(original)
                elif original.content is None:
                    replace.private_folder(path.parent)
                    replace.replace(original, value.encode(), backups=None)

    def content(self, origins: Collection[str], *, check: bool = True) -> bytes | None:
        """
        The file with the listeners that these origins need; C{None} for no file.

        @param check: whether it is read as the relay reads it, for which secrets must be there.
        @raise ConfigErrors: it would be wrong.
        @raise NotEdited: it cannot be changed by range.
        """
        text = self._text
        wanted = [new for origin, new in self._new.items() if origin in origins]
        if not wanted:
            return self.original.content
        for new in wanted:
            try:
                text = configuration.add_listener(text, new.name, new.body)
            except Broken as error:
                raise NotEdited(f"{self.file} cannot be read: {error}") from None
        content = self._mark + text.encode()
        if check:
            configuration.checked(self.file, content)
        return content

    def _body(self, url: Url, port: int, authorities: Collection[Path]) -> dict[str, Any]:
        kind = kind_for(url.scheme)
        assert kind is not None, url.scheme
        body: dict[str, Any] = {"type": kind.word, "listen": f"localhost:{port}"}
        tls = stored_tls(self.file, url.host, url.port, authorities) if url.scheme == "https" else {}
        body["upstream"] = {"url": url.origin, "tls": tls} if tls else url.origin
        if url.path not in ("", "/") and masked_url(url.origin + url.path) == url.origin + url.path:
            body["mcp"] = url.path
        return body


def _free_name(path: Path) -> Path:
    """The path, or one with a number, where nothing else is."""
    number, candidate = 1, path
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate
