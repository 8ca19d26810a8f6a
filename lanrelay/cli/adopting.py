"""
Has entries of clients' files lead through the relay. If a step fails, those before are undone.

The order makes it safe: listeners are written and checked, the relay is reloaded, the call of each client is
made through it, and only then is the client's file written.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lanrelay.clients import sent
from lanrelay.clients.by_stdio import through_stdio
from lanrelay.clients.by_url import through_url
from lanrelay.clients.call import Called, call
from lanrelay.clients.finding import Finding
from lanrelay.clients.locking import locked
from lanrelay.clients.moving import Moved
from lanrelay.clients.plan import LOOPBACK, Planned, through_listeners, through_proxy
from lanrelay.clients.record import Adopted, Record, digest, meaning
from lanrelay.edit import replace
from lanrelay.edit.formats.edit import apply, spans
from lanrelay.edit.formats.tree import NotEdited, at
from lanrelay.errors import StartError
from lanrelay.setup.relay_file import RelayFile

if TYPE_CHECKING:
    pass


@dataclass(slots=True)
class Entry:
    """
    One that is to change.

    @ivar origins: that it leads to; none for the forward proxy.
    @ivar speaks: how the client will speak to it; C{None} where it tries.
    """

    finding: Finding
    planned: Planned
    origins: tuple[str, ...] = ()
    url: str = ""
    speaks: Literal["http", "sse"] | None = None
    moved: Moved = Moved()  # noqa: RUF009  # a named tuple
    called: Called | None = None

    @property
    def name(self) -> str:
        """For people."""
        server = self.finding.server
        return f"{server.name} ({server.client.called})"


@dataclass(slots=True)
class FileEdit:
    """
    A client's file with the entries in it that are to change.

    @ivar original: as it was read for writing; its bytes are those that were judged.
    """

    original: replace.Original
    entries: list[Entry] = field(default_factory=list)

    def content(self, entries: Iterable[Entry]) -> bytes:
        """
        The file with the changes of these entries.

        @raise NotEdited: one cannot be made.
        """
        read = self.entries[0].finding.server.read
        text = read.text
        for entry in entries:
            text = apply(read.found.format, text, entry.planned.changes)
        return read.mark + text.encode()


class Adoption:
    """
    From the plan to the record.

    @ivar files: what is to change.
    @ivar left: what is left alone, and why, as sentences.
    @ivar backups: of the files that were written.
    """

    def __init__(
        self,
        relay: RelayFile,
        *,
        state: Path,
        reload: Callable[[Path], None],
        force: bool = False,
        caller: Callable[..., Called] = call,
    ) -> None:
        """
        @param state: the folder of backups and of the record.
        @param force: a call that does not come through is no reason to leave an entry alone.
        """
        self.relay = relay
        self.files: list[FileEdit] = []
        self.left: list[str] = []
        self.backups: list[Path] = []
        self.done: list[Entry] = []
        self._state = state
        self._reload = reload
        self._force = force
        self._call = caller
        self._written: replace.Original | None = None  # the configuration as we left it

    # --- the plan ---

    def add(
        self,
        finding: Finding,
        authorities: Collection[Path] = (),
        moved: Moved | None = None,
        *,
        program: str = "",
        native: bool = False,
    ) -> None:
        """
        Plan an entry to lead through listeners; one that cannot be changed is left alone.

        @param moved: credentials that the listener is to send instead.
        @param native: the client is to do without its bridge.
        @param program: the C{lanrelay} that the client is to start as its bridge.
        """
        moved = moved or Moved()
        try:
            ports = {
                target.url.origin: self.relay.serve(target.url, authorities).port
                for target in finding.targets
            }
            first = finding.targets[0].url
            url = f"http://{LOOPBACK}:{ports[first.origin]}{first.rest.partition('#')[0]}"
            names = {name.lower() for name, _ in moved.fields}
            speaks = sent.transport(finding)
            if program:
                planned = through_stdio(finding, ports, program, without=names)
            elif native:
                planned, speaks = through_url(finding, ports, without=names)
            else:
                planned = through_listeners(finding, ports)
                planned = planned._replace(changes=(*planned.changes, *moved.changes))
            self._plan(Entry(finding, planned, tuple(ports), url, speaks, moved))
            if moved.fields:
                self.relay.keep_secret(first.origin, moved.fields)
        except NotEdited as error:
            self._leave(finding, f"it cannot be changed ({error})")

    def add_proxy(self, finding: Finding, port: int) -> None:
        """Plan the program of an entry to use the forward proxy."""
        try:
            self._plan(Entry(finding, through_proxy(finding, port)))
        except NotEdited as error:
            self._leave(finding, f"it cannot be changed ({error})")

    def _plan(self, entry: Entry) -> None:
        read = entry.finding.server.read
        edit = next((each for each in self.files if each.original.path == read.found.path), None)
        if edit is None:
            original = replace.read(read.found.path)
            if original.content != read.content:
                raise NotEdited("the file has been changed by another program just now")
            edit = FileEdit(original)
        edit.entries.append(entry)
        try:
            edit.content(edit.entries)
        except NotEdited:
            edit.entries.pop()
            raise
        if edit not in self.files:
            self.files.append(edit)

    def _leave(self, finding: Finding, why: str) -> None:
        server = finding.server
        self.left.append(f"{server.name} ({server.client.called}) is left alone: {why}.")

    def entries(self) -> Iterator[Entry]:
        """All that are to change."""
        for edit in self.files:
            yield from edit.entries

    def origins(self, entries: Iterable[Entry]) -> list[str]:
        """Those that entries lead to, each once."""
        return list(dict.fromkeys(origin for entry in entries for origin in entry.origins))

    # --- carrying it out ---

    def carry_out(self, *, say: Callable[[str], None]) -> None:
        """
        Do it all; on return C{done} and C{left} say what came of it.

        A part that fails is undone: listeners that nothing needs go again, whatever ended this.

        @raise StartError: a file could not be written, or the relay refused the configuration.
        """
        try:
            self._configure(self.origins(self.entries()), backup=True)
            good = [entry for entry in self.entries() if self._reached(entry, say)]
            for edit in self.files:
                entries = [entry for entry in edit.entries if entry in good]
                if entries:
                    self._write(edit, entries)
        finally:
            self._configure(self.origins(self.done), backup=False)

    def _configure(self, origins: Collection[str], *, backup: bool) -> None:
        """
        Give the configuration, and the relay, what these origins need, and take away the rest that this made.
        """
        try:
            if backup:  # the first time: what the configuration names must be there
                self.relay.write_secrets(origins)
            content = self.relay.content(origins)
        except NotEdited as error:
            raise StartError(str(error)) from None
        before = self._written or self.relay.original
        if content == before.content:
            self.relay.write_secrets(origins)
            return
        if content is None:
            replace.remove(before)
        else:
            if before.content is None:
                replace.private_folder(before.real.parent)
            kept = replace.replace(before, content, backups=self._state / "backups" if backup else None)
            self.backups += [kept] if kept is not None else []
        self._written = replace.read(self.relay.file)
        self.relay.write_secrets(origins)
        if self.relay.runs and content is not None:
            self._reload(self.relay.file)

    def _reached(self, entry: Entry, say: Callable[[str], None]) -> bool:
        if not self.relay.runs or not entry.url:
            return True
        moved = {name.lower() for name, _ in entry.moved.fields}
        fields = {
            name: value for name, value in sent.headers(entry.finding).items() if name.lower() not in moved
        }
        entry.called = self._call(entry.url, headers=fields, transport=entry.speaks)
        if not entry.called.good and not self._force:
            self._leave(entry.finding, f"through the relay it does not work. {entry.called.said}".rstrip("."))
            return False
        say(f"{entry.name}: {entry.called.said}")
        return True

    def _write(self, edit: FileEdit, entries: list[Entry]) -> None:
        client = entries[0].finding.server.client
        record = Record(self._state / "adopted.json")
        before = record.adopted
        try:
            content = edit.content(entries)
            lock = locked(edit.original.path) if client.locked else nullcontext()
            with lock:
                # The record comes first: an entry of it about a file that was not written does no harm.
                record.write(record.added(self._recorded(edit, entry, content) for entry in entries))
                try:
                    kept = replace.replace(edit.original, content, backups=self._state / "backups")
                except BaseException:
                    record.write(before)
                    raise
        except (StartError, NotEdited) as error:
            for entry in entries:
                self._leave(entry.finding, str(error).rstrip("."))
            return
        self.backups += [kept] if kept is not None else []
        self.done += entries

    def _recorded(self, edit: FileEdit, entry: Entry, content: bytes) -> Adopted:
        server = entry.finding.server
        read = server.read
        form = read.found.format
        after = content[len(read.mark) :].decode()
        node = at(form.parse(after, [server.path]), server.path)
        assert node is not None
        listeners = [(origin, self.relay.serve(target.url).name) for origin, target in _targets(entry)]
        return Adopted(
            client=server.client.name,
            file=str(read.found.path),
            format=form.name,
            server=server.name,
            path=server.path,
            at=time.time(),
            before=tuple(spans(form, read.text, server.path)),
            after=tuple(spans(form, after, server.path)),
            value=meaning(node),
            whole=digest(read.content),
            listeners=tuple(dict.fromkeys(listeners)),
            made=self.relay.made(entry.origins),
        )


def _targets(entry: Entry) -> Iterator[tuple[str, Any]]:
    for target in entry.finding.targets:
        if entry.origins:
            yield target.url.origin, target


def in_git(path: Path) -> bool:
    """Whether a file lies in somebody's repository, from where others may get it."""
    return any((folder / ".git").exists() for folder in Path(os.path.realpath(path)).parents)


def authorities(files: Iterable[str], *, home: Path | None = None) -> tuple[list[Path], list[str]]:
    """
    Files of CAs as an entry names them: those that are there, and those that are not to be found.
    """
    own = str(home or Path.home())
    found, missing = [], []
    for text in files:
        path = text
        for name in ("${userHome}", "${HOME}", "${env:HOME}", "$HOME"):
            path = path.replace(name, own)
        path = own + path[1:] if path.startswith("~/") else path
        if os.path.isabs(path) and os.path.isfile(path):
            found.append(Path(path))
        else:
            missing.append(text)
    return found, missing


def reload(file: Path) -> None:
    """
    Have the running relay take its configuration.

    @raise StartError: it does not.
    """
    from lanrelay.cli.asking import NotAsked, result

    try:
        outcome = result(file, {"method": "reload"}, timeout=60.0)
    except NotAsked as error:
        raise StartError(f"the relay was not reloaded: {error}") from None
    if not outcome["ok"]:
        raise StartError("the relay refused the configuration: " + "; ".join(map(str, outcome["errors"])))


def runs(file: Path) -> str:
    """Empty where a relay runs with this file, else a sentence."""
    from lanrelay.cli.asking import NotAsked, connect

    try:
        connect(file).close()
    except NotAsked as error:
        return str(error)
    return ""
