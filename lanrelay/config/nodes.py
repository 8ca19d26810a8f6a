"""Text -> a tree of YAML nodes with line and column, in which every scalar is still its text."""

from __future__ import annotations

import re

import yaml
from yaml.reader import Reader

from lanrelay.config.indentation import indentation

# Deeper than any configuration (routes, upstream, tls: 6), far from what Python's own recursion bears.
MAX_DEPTH = 24
# Nodes once every alias is written out: some hundred listeners need 5,000. Bounds the "billion laughs".
MAX_NODES = 50_000

# YAML 1.1 section 5.1. Taken from PyYAML, for it takes 5 ms to compile.
_NOT_TEXT: re.Pattern[str] = Reader.NON_PRINTABLE


class NotYaml(Exception):
    """
    The text is no YAML document of ours.

    @ivar line: from 1, as C{column}.
    """

    def __init__(self, line: int, column: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.column = column
        self.message = message


class Node:
    """What every node has: where it begins (from 1), and how many nodes it is with all that is in it."""

    __slots__ = ("column", "line", "weight")

    def __init__(self, line: int, column: int) -> None:
        self.line = line
        self.column = column
        self.weight = 1


class Scalar(Node):
    """
    Text.

    @ivar plain: not quoted; an empty plain scalar is nothing at all.
    """

    __slots__ = ("plain", "text")

    def __init__(self, line: int, column: int, text: str, plain: bool) -> None:
        super().__init__(line, column)
        self.text = text
        self.plain = plain


class Sequence(Node):
    """A list."""

    __slots__ = ("items",)

    def __init__(self, line: int, column: int) -> None:
        super().__init__(line, column)
        self.items: list[Node] = []


class Mapping(Node):
    """A map, in the file's order; duplicate keys are still in it."""

    __slots__ = ("entries",)

    def __init__(self, line: int, column: int) -> None:
        super().__init__(line, column)
        self.entries: list[tuple[Scalar, Node]] = []


def compose(text: str) -> Node:
    """
    Read one document.

    Works on the parser's events with a stack of its own, so that neither depth nor aliases can exhaust
    anything; no tag, and with it no constructor, is ever looked at.

    @raise NotYaml: with the first problem; after a syntax error the rest has no meaning.
    """
    stray = _NOT_TEXT.search(text)
    if stray is not None:
        line, column = _position(text, stray.start())
        raise NotYaml(line, column, f"found the character U+{ord(stray.group()):04X}, expected text")
    try:
        return _Composer().document(text)
    except yaml.YAMLError as error:
        raise _syntax_error(text, error) from None


class _Composer:
    """Turns events into nodes; used once."""

    def __init__(self) -> None:
        self._root: Node | None = None
        self._open: list[Sequence | Mapping] = []
        self._keys: list[Scalar | None] = []  # beside _open: the key of a mapping that waits for its value
        self._anchors: dict[str, Node] = {}
        self._count = 0

    def document(self, text: str) -> Node:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml is not in every build of PyYAML
        for event in yaml.parse(text, Loader=loader):
            mark = event.start_mark
            line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
            if isinstance(event, yaml.DocumentStartEvent) and self._root is not None:
                raise NotYaml(line, column, "found a second document, expected one document in a file")
            if isinstance(event, yaml.AliasEvent):
                self._add(self._aliased(event.anchor or "", line, column), line, column)
            elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
                self._end(line, column)
            elif isinstance(event, yaml.NodeEvent):
                self._begin(event, line, column)
        if self._root is None:
            raise NotYaml(1, 1, 'found an empty file, expected at least the key "listeners"')
        return self._root

    def _begin(self, event: yaml.NodeEvent, line: int, column: int) -> None:
        tag: str | None = getattr(event, "tag", None)
        if tag is not None:
            raise NotYaml(line, column, "found a YAML tag, expected none: every key knows its own type")
        self._grow(1, line, column)
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            node = Scalar(line, column, event.value, plain=event.style is None or event.style == "")
            self._add(node, line, column)
        else:
            node = (
                Sequence(line, column)
                if isinstance(event, yaml.SequenceStartEvent)
                else Mapping(line, column)
            )
            if self._open and isinstance(self._open[-1], Mapping) and self._keys[-1] is None:
                raise NotYaml(line, column, "found a list or a map as a key, expected text")
            if len(self._open) == MAX_DEPTH:
                raise NotYaml(line, column, _too_deep())
            self._open.append(node)
            self._keys.append(None)
        if event.anchor is not None:
            self._anchors[event.anchor] = node

    def _end(self, line: int, column: int) -> None:
        node = self._open.pop()
        self._keys.pop()
        self._add(node, line, column)

    def _add(self, node: Node, line: int, column: int) -> None:
        if not self._open:
            self._root = node
            return
        parent = self._open[-1]
        parent.weight += node.weight
        if isinstance(parent, Sequence):
            parent.items.append(node)
            return
        key = self._keys[-1]
        if key is not None:
            parent.entries.append((key, node))
            self._keys[-1] = None
        elif isinstance(node, Scalar):
            self._keys[-1] = node
        else:
            raise NotYaml(line, column, "found a list or a map as a key, expected text")

    def _aliased(self, name: str, line: int, column: int) -> Node:
        node = self._anchors.get(name)
        if node is None:
            raise NotYaml(
                line,
                column,
                # The message does not say which: an unquoted password may begin with a star.
                'found an alias, "*NAME", without its anchor, "&NAME", before it; '
                'a value that begins with "*" needs quotes',
            )
        if node in self._open:
            raise NotYaml(line, column, 'found an alias, "*NAME", inside of what it stands for')
        self._grow(node.weight, line, column)
        return node

    def _grow(self, weight: int, line: int, column: int) -> None:
        self._count += weight
        if self._count > MAX_NODES:
            raise NotYaml(line, column, f"found more than {MAX_NODES} values, expected fewer")


def _too_deep() -> str:
    return f"found more than {MAX_DEPTH} levels, expected fewer"


# --- syntax errors ------------------------------------------------------------------------------------

# How much of a line a hint looks at: to search it takes the square of its length.
_LINE = 500

_BRACKET = re.compile(r"[:\-,{\[]\s*\[[^\]\s]*\](?=:[0-9])|[:\-,{\[]\s*\[[0-9A-Fa-f:./]*::")
_REFERENCE = re.compile(r"[{\[].*\$\{")


def _syntax_error(text: str, error: yaml.YAMLError) -> NotYaml:
    """What PyYAML says in our words, with a hint where the mistake is a common one."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:
        return NotYaml(1, 1, "found something that is no YAML")
    problem = getattr(error, "problem", None) or "found something that is no YAML"
    if "nesting depth" in problem:  # libyaml's own limit, 1000, in newer versions; it reads ahead of us
        return NotYaml(mark.line + 1, mark.column + 1, _too_deep())
    lines = text.splitlines()
    line = min(mark.line, max(len(lines) - 1, 0))  # an early end is noticed behind the last line
    column = mark.column if line == mark.line else len(lines[line]) if lines else 0
    hint = indentation(lines, line, str(problem))
    hint = hint or _hint(lines[line] if lines else "", str(problem), str(getattr(error, "context", "")))
    return NotYaml(line + 1, column + 1, f"found a YAML syntax error: {problem}{hint}")


def _hint(line: str, problem: str, context: str) -> str:
    content = line[:_LINE].split(" #", 1)[0]
    if line.lstrip(" ").startswith("\t"):
        return "; this is indentation: lines are indented with spaces, not with tabs"
    if _BRACKET.search(content):
        return '; a value that begins with "[" needs quotes, as in listen: "[::1]:8080"'
    if "alias" in context:
        return '; a value that begins with "*" needs quotes, as in "*.lan"'
    if _REFERENCE.search(content):
        return '; "${...}" inside of "{...}" or "[...]" needs quotes, as in {url: "${URL}"}'
    if "mapping values" in problem:
        return '; a key is followed by ": ", and a value with ": " in it needs quotes'
    if "cannot start any token" in problem:
        return "; a value that begins with a special character needs quotes"
    return ""


def _position(text: str, offset: int) -> tuple[int, int]:
    before = text[:offset]
    return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1
