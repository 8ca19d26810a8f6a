"""Walks the nodes of a file by tables of keys, and collects every complaint on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, Union

from lanrelay.config import expand, model, nodes, values
from lanrelay.config.complaints import Complaint, excerpt, printable
from lanrelay.config.values import Unfit
from lanrelay.config.whereabouts import NamedFile

T = TypeVar("T")

Shown = Union[str, Sequence["Shown"], Mapping[str, "Shown"]]  # noqa: UP007  # names itself
"""What C{lanrelay check} prints of a value: as it was written, secrets masked, defaults filled in."""

# difflib takes about a millisecond a key; a file full of nonsense is to be answered in time.
_SUGGESTIONS = 20


class Broken(Exception):
    """A value could not be read, and a complaint about it is already made."""


class Context:
    """
    What all places of one file share.

    @ivar file: its name as the user gave it.
    @ivar folder: where it lies, absolute; relative paths start there.
    @ivar given: names of the keys (C{upstream.url}) that the file has, for the test of the reference.
    @ivar lines: where each listener is, by its name and C{""}, and each of its upstreams, by the name and
        the URL.
    @ivar listening: the places and values of C{listen}, of what shall be started.
    """

    def __init__(self, *, file: str, folder: Path, environment: Mapping[str, str]) -> None:
        self.file = file
        self.folder = folder
        self.environment = environment
        self.complaints: list[Complaint] = []
        self.warnings: list[str] = []
        self.given: set[str] = set()
        self.named_files: list[NamedFile] = []
        self.lines: dict[tuple[str, str], int] = {}
        self.listening: list[tuple[Place, tuple[model.ListenAddress, ...]]] = []
        self._suggestions = _SUGGESTIONS
        self._contents: dict[str, str] = {}

    def complain(self, line: int, column: int, key_path: str, message: str) -> None:
        self.complaints.append(
            Complaint(file=self.file, line=line, column=column, key_path=key_path, message=message)
        )

    def warn(self, message: str) -> None:
        if message not in self.warnings:
            self.warnings.append(message)

    def path(self, text: str) -> Path:
        home = self.environment.get("HOME") or str(Path.home())
        return values.path(text, folder=self.folder, home=home)

    def note_file(self, path: Path, place: Place) -> None:
        """Remember a path that the file names, so that whoever opens it later can say where that is."""
        line, column = place.node.line, place.node.column
        self.named_files.append(
            NamedFile(path=path, file=self.file, line=line, column=column, key_path=place.path)
        )

    def note_line(self, place: Place, url: str = "") -> None:
        """Remember the line of a listener, or of its upstream with C{url}."""
        listener = place.path.split(".")[1]  # a name has no dot
        at = place.node if url or place.key is None else place.key
        self.lines.setdefault((listener, url), at.line)

    def file_content(self, name: str) -> str:
        """What C{${file:NAME}} stands for, the same at each mention."""
        if name not in self._contents:
            from lanrelay.config import secrets  # few files have one

            self._contents[name] = secrets.content(self.path(name), warn=self.warn)
        return self._contents[name]

    @property
    def included(self) -> tuple[Path, ...]:
        """The files that L{file_content} has read."""
        return tuple(self.path(name) for name in self._contents)

    def suggestion(self, word: str, known: Sequence[str]) -> str:
        """The nearest of the known words; empty if none is near."""
        if self._suggestions == 0:
            return ""
        self._suggestions -= 1
        import difflib  # only after a mistake

        near = difflib.get_close_matches(word.lower(), known, n=1)
        return near[0] if near else ""


class Key:
    """
    One key that a table knows.

    @ivar name: C{TABLE.KEY}; the table gives it.
    @ivar default: what C{check} prints where the file has nothing; a L{Table} for all of its defaults,
        C{None} where the default depends on other keys (or there is none).
    @ivar field: the field of the record, where it is not called as the key is.
    @ivar mask: makes a text showable that may hold a secret; where the value has no table of its own, also
        what is inside of it.
    """

    __slots__ = ("default", "field", "mask", "name", "read", "required")

    def __init__(
        self,
        read: Callable[[Place], object],
        default: Shown | Table | None = None,
        *,
        field: str = "",
        required: bool = False,
        mask: Callable[[str], str] | None = None,
    ) -> None:
        self.name = ""
        self.read = read
        self.default = default
        self.field = field
        self.required = required
        self.mask = mask


class Table:
    """
    The keys of one kind of map, in the order in which C{check} prints them.

    @ivar siblings: tables of the kinds that this one is easily mistaken for, itself among them.
    """

    def __init__(self, name: str, keys: dict[str, Key], *, extends: Table | None = None) -> None:
        self.name = name
        self.siblings: Callable[[], Sequence[Table]] = tuple if extends is None else extends.siblings
        self.keys: dict[str, Key] = {**(extends.keys if extends is not None else {}), **keys}
        for word, key in keys.items():
            key.name = key.name or f"{name}.{word}"  # a key that came with another table keeps its name

    def defaults(self) -> Shown:
        return {word: _default(key.default) for word, key in self.keys.items() if key.default is not None}


def _default(default: Shown | Table) -> Shown:
    return default.defaults() if isinstance(default, Table) else default


class Place:
    """
    A value in the file, and the path of keys that leads to it.

    @ivar disabled: of a listener that is not enabled: others may listen where it would.
    @ivar expanded: the text was not taken as it is written, so it must be shown as it is written.
    @ivar shows: what C{check} prints of it, if that is not what is written; worked out when C{check} asks.
    """

    def __init__(
        self, context: Context, node: nodes.Node, path: str, *, key: nodes.Node | None = None
    ) -> None:
        self.context = context
        self.node = node
        self.path = path
        self.key = key
        self.disabled = False
        self.expanded = False
        self.mask: Callable[[str], str] = as_it_is
        self.shows: Callable[[], Shown] | None = None
        self._text: str | None = None
        self._entries: list[tuple[str, Place]] | None = None

    @property
    def line(self) -> int:
        return self.node.line

    @property
    def shown(self) -> Shown:
        """What C{check} prints of it."""
        return self.written() if self.shows is None else self.shows()

    def written(self) -> Shown:
        """As it stands in the file, masked."""
        return _written(self.node, self.mask)

    def child(self, node: nodes.Node, suffix: str, *, key: nodes.Node | None = None) -> Place:
        place = Place(
            self.context, node, f"{self.path}{suffix}" if self.path else suffix.lstrip("."), key=key
        )
        place.mask = self.mask
        return place

    # --- complaints -----------------------------------------------------------------------------------

    def found(self) -> str:
        """What stands there, as it is written."""
        if isinstance(self.node, nodes.Mapping):
            return "a map" if self.node.entries else "an empty map"
        if isinstance(self.node, nodes.Sequence):
            return "a list" if self.node.items else "an empty list"
        assert isinstance(self.node, nodes.Scalar)
        if not self.node.text and self.node.plain:
            return "nothing"
        shown = self.mask(self.node.text)
        return excerpt(expand.mask_url(shown) if "://" in shown else shown)  # a URL may stand at any key

    def complain(self, expected: str) -> None:
        """Complain of the value: C{expected} begins with that word."""
        self.context.complain(
            self.node.line, self.node.column, self.path, f"found {self.found()}, {expected}"
        )

    def complain_of_key(self, message: str, suffix: str = "") -> None:
        """Complain at the key, not at its value: for something that is missing under it."""
        node = self.key or self.node
        self.context.complain(node.line, node.column, f"{self.path}{suffix}".lstrip("."), message)

    def read(self, reader: Callable[[Place], T]) -> T:
        """
        @raise Broken: the reader refused the value; the complaint is made.
        """
        try:
            return reader(self)
        except Unfit as error:
            self.complain(str(error))
            raise Broken from None

    # --- what stands there ----------------------------------------------------------------------------

    def text(self) -> str:
        """The scalar's text, expanded; empty for anything else."""
        if not isinstance(self.node, nodes.Scalar):
            return ""
        if self._text is None:
            raw = self.node.text
            text = expand.expand(raw, self.context.environment, self.context.file_content)
            self.expanded = text != raw
            if not text.isascii():
                try:
                    text.encode()
                except UnicodeEncodeError:  # "\ud800" in quotes, or a variable that is no UTF-8
                    raise Unfit("expected text in UTF-8") from None
            self._text = text
        return self._text

    def is_scalar(self) -> bool:
        return isinstance(self.node, nodes.Scalar)

    def is_nothing(self) -> bool:
        return isinstance(self.node, nodes.Scalar) and self.node.plain and not self.node.text

    def is_off(self) -> bool:
        if isinstance(self.node, nodes.Scalar):
            return values.is_off(self.text())
        return isinstance(self.node, nodes.Sequence) and not self.node.items

    def items(self) -> list[Place]:
        """The entries of a list; one value stands for a list of one."""
        if not isinstance(self.node, nodes.Sequence):
            item = self.child(self.node, "", key=self.key)
            return [item]
        return [self.child(node, f"[{index}]") for index, node in enumerate(self.node.items)]

    def entries(self) -> list[tuple[str, Place]]:
        """
        The entries of a map, each key once; complains of keys that are there twice.

        @raise Unfit: it is no map.
        """
        if not isinstance(self.node, nodes.Mapping):
            raise Unfit("expected a map")
        if self._entries is None:
            self._entries = self._unique(self.node)
        return self._entries

    def _unique(self, node: nodes.Mapping) -> list[tuple[str, Place]]:
        found: dict[str, Place] = {}
        for key, value in node.entries:
            if key.text in found:
                first = found[key.text].key or key
                self.context.complain(
                    key.line,
                    key.column,
                    f"{self.path}.{key.text}".lstrip("."),
                    f"found the key a second time, expected it once (first in line {first.line})",
                )
            else:
                found[key.text] = self.child(value, f".{key.text}", key=key)
        return list(found.items())

    def fields(self, table: Table) -> Fields:
        """
        Read a map by its table.

        @raise Unfit: it is no map.
        """
        if not isinstance(self.node, nodes.Mapping):
            raise Unfit(f"expected a map with {_listed(table)}")
        return Fields(self, table)


class Fields:
    """
    The keys of one map, read by a table.

    @ivar values: of the keys that are there and right, by key.
    @ivar given: the places of the keys that are there, right or not.
    @ivar broken: something was complained of, so there can be no record.
    @ivar shows: what C{check} prints of a key instead of what the file and the table say; C{None} leaves the
        key out.
    """

    def __init__(self, place: Place, table: Table) -> None:
        self.place = place
        self.table = table
        self.values: dict[str, Any] = {}
        self.given: dict[str, Place] = {}
        self.broken = False
        self.shows: dict[str, Callable[[], Shown] | None] = {}
        empty = ""  # the key above, if there is nothing under it
        for word, child in place.entries():
            key = table.keys.get(word)
            if key is None:
                self._unknown(word, child, empty)
            else:
                self._read(word, key, child)
                empty = word if child.is_nothing() else ""
        for word, key in table.keys.items():
            if key.required and word not in self.given:
                self.missing(f'expected the key "{word}"', word)

    def _read(self, word: str, key: Key, child: Place) -> None:
        self.given[word] = child
        self.place.context.given.add(key.name)
        child.mask = key.mask or as_it_is
        try:
            self.values[word] = child.read(key.read)
        except Broken:
            self.broken = True

    def _unknown(self, word: str, child: Place, empty: str) -> None:
        self.broken = True
        if empty:
            child.complain_of_key(
                f'found an unknown key beside "{empty}", under which there is nothing: this is indentation; '
                "expected it further to the right, if it belongs to that"
            )
            return
        if word == "<<":
            child.complain_of_key(
                'found the merge key "<<", which is not supported; an alias can stand for a value'
            )
            return
        from lanrelay.config.habits import meant_key  # for what is wrong only

        others = [table.name for table in self.table.siblings() if word in table.keys]
        key, _, more = meant_key(self.table.name, word).partition("; ")
        meant = f"did you mean {key}?{f' ({more})' if more else ''}" if key else ""
        if meant and not others:
            child.complain_of_key(f"found an unknown key, {meant}")
            return
        if others:
            child.complain_of_key(
                f"found a key of {' and '.join(others)}, which a {self.table.name} does not have"
                f"{meant and '; '}{meant}"
            )
            return
        near = self.place.context.suggestion(word, list(self.table.keys))
        expected = f'did you mean "{near}"?' if near else f"expected {_listed(self.table)}"
        child.complain_of_key(f"found an unknown key, {expected}")

    def complain(self, word: str, expected: str) -> None:
        """Complain of a value that is there, or of the map."""
        self.broken = True
        self.given.get(word, self.place).complain(expected)

    def missing(self, expected: str, word: str) -> None:
        """Complain of a key that is not there: C{expected} begins with that word."""
        self.broken = True
        self.place.complain_of_key(f"found nothing, {expected}", f".{word}")

    def get(self, word: str, default: object = None) -> Any:
        """The value of a key, or this where it is not there or not right."""
        return self.values.get(word, default)

    def absent(self, word: str) -> bool:
        """Whether a key that can be off is not there, or is off. One with a wrong value is there."""
        return word not in self.given or (word in self.values and self.values[word] is None)

    def build(self, make: Callable[..., T], *, without: Sequence[str] = (), **more: object) -> T:
        """
        Make the record from all values, and what C{check} shows of it.

        @param without: keys that the record has no field for; C{more} has what became of them.
        @raise Broken: there was something wrong.
        """
        self.place.shows = self._shown
        if self.broken:
            raise Broken
        arguments: dict[str, object] = {
            self.table.keys[word].field or word: value
            for word, value in self.values.items()
            if word not in without
        }
        return make(**{**arguments, **more})

    def _shown(self) -> Shown:
        shown: dict[str, Shown] = {}
        for word, key in self.table.keys.items():
            if word in self.shows:
                instead = self.shows[word]
                if instead is not None:
                    shown[word] = instead()
            elif word in self.given:
                shown[word] = self.given[word].shown
            elif key.default is not None:
                shown[word] = _default(key.default)
        return shown


# --- helpers ------------------------------------------------------------------------------------------


def as_it_is(text: str) -> str:
    """The mask of what is no secret."""
    return text


def _written(node: nodes.Node, mask: Callable[[str], str]) -> Shown:
    if isinstance(node, nodes.Mapping):
        return {key.text: _written(value, mask) for key, value in node.entries}
    if isinstance(node, nodes.Sequence):
        return [_written(item, mask) for item in node.items]
    assert isinstance(node, nodes.Scalar)
    return mask(node.text)


def _listed(table: Table) -> str:
    words = list(table.keys)
    return f"the keys {', '.join(map(printable, words))}" if len(words) > 1 else f'the key "{words[0]}"'
