"""How a file will change, as people read it: a unified difference, with its secrets masked."""

from __future__ import annotations

import binascii
import difflib
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from lanrelay.edit.masking import mask

_CONTEXT = 3

_AROUND = 100
"""Lines around a change that are masked with it: what makes a line a secret may stand above what is shown."""

_LONG, _KEPT = 400, 100
"""Columns of a line, and of what is kept around its change, for a file may be one line of megabytes."""

_PEM = re.compile(
    r"^-----BEGIN (?P<what>[A-Z0-9 ]+)-----\s(?P<base64>[A-Za-z0-9+/=\s]*)^-----END (?P=what)-----",
    re.MULTILINE,
)

_CUT = "\n\\ No newline at end of file"


def difference(path: Path | str, before: bytes | None, after: bytes | None) -> str:
    """A unified difference with secrets masked; C{/dev/null} is what is not there."""
    old, new = _lines(before), _lines(after)
    groups = list(difflib.SequenceMatcher(None, old, new).get_grouped_opcodes(_CONTEXT))
    if not groups:
        return ""
    found = [
        f"--- {'/dev/null' if before is None else path}",
        f"+++ {'/dev/null' if after is None else path}",
    ]
    for group in groups:
        _, old_begin, _, new_begin, _ = group[0]
        _, _, old_end, _, new_end = group[-1]
        found.append(f"@@ -{_range(old_begin, old_end)} +{_range(new_begin, new_end)} @@")
        shown_old, shown_new = _masked(old, old_begin, old_end), _masked(new, new_begin, new_end)
        for kind, first, last, first_new, last_new in group:
            gone = shown_old[first - old_begin : last - old_begin]
            come = shown_new[first_new - new_begin : last_new - new_begin]
            if kind == "equal":
                found += [f" {_cut(line, None)}" for line in gone]
                continue
            pairs = come if len(gone) == len(come) else [None] * len(gone)
            found += [f"-{_cut(line, pair)}" for line, pair in zip(gone, pairs, strict=True)]
            pairs = gone if len(gone) == len(come) else [None] * len(come)
            found += [f"+{_cut(line, pair)}" for line, pair in zip(come, pairs, strict=True)]
    return "\n".join(found)


def _lines(content: bytes | None) -> list[str]:
    if not content:
        return []
    lines = _PEM.sub(_pem, content.decode("utf-8", "replace")).split("\n")
    if lines[-1] == "":
        lines.pop()
    else:
        lines[-1] += _CUT
    return lines


def _pem(found: re.Match[str]) -> str:
    """A line in the place of a block of PEM, which nobody reads; it differs where the blocks do."""
    try:
        decoded = binascii.a2b_base64(found["base64"])
    except binascii.Error:
        return found[0]
    digest = hashlib.sha256(decoded).hexdigest().upper()
    if found["what"] == "CERTIFICATE":
        return f"(a certificate, SHA-256 {':'.join(digest[at : at + 2] for at in range(0, 64, 2))})"
    return f"({found['what'].lower()}, {len(decoded)} bytes, {digest[:8]})"


def _masked(lines: Sequence[str], begin: int, end: int) -> list[str]:
    """Some of the lines, masked among those around them."""
    first = max(begin - _AROUND, 0)
    text = "\n".join(line.removesuffix(_CUT) for line in lines[first : end + _AROUND])
    shown = mask(text).split("\n")[begin - first : end - first]
    return [
        line + (_CUT if raw.endswith(_CUT) else "") for line, raw in zip(shown, lines[begin:end], strict=True)
    ]


def _cut(line: str, pair: str | None) -> str:
    """A long line, cut around what is another in its pair."""
    if len(line) <= _LONG:
        return line
    if pair is None:
        return f"{line[:_KEPT]} ..."
    same = min(len(line), len(pair))
    begin = next((n for n in range(same) if line[n] != pair[n]), same)
    rest = next((n for n in range(same - begin) if line[-1 - n] != pair[-1 - n]), same - begin)
    begin, end = max(begin - _KEPT, 0), min(len(line) - rest + _KEPT, len(line))
    if end - begin > _LONG * 4:
        end = begin + _LONG * 4
    return ("... " if begin else "") + line[begin:end] + (" ..." if end < len(line) else "")


def _range(begin: int, end: int) -> str:
    count = end - begin
    if count == 1:
        return str(begin + 1)
    return f"{begin + 1 if count else begin},{count}"
