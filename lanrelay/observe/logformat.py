"""
How a log event becomes a line: as text for people, or as JSON for programs.

Text is one line for each event, C{2026-11-20T08:50:34.123+01:00 [info] message}. Events that are not ours
have their namespace before the message. A traceback follows on lines that begin with a tab. JSON is one
object for each event and nothing else: C{time}, C{level}, C{logger}, C{message}, C{traceback} where there is
one, and in place of the message the fields of what was logged as a L{Record}. Control characters never reach
the file as they are, so no peer can forge a line.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import IO, Literal

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from twisted.python.failure import Failure
from zope.interface import implementer

ACCESS_NAMESPACE = "lanrelay.access"

Level = Literal["debug", "info", "warn", "error"]
Format = Literal["text", "json"]


class Record:
    """
    A record is logged whole, as the field C{record} of an event: C{str} is its text, C{fields} its JSON.
    """

    __slots__ = ()

    def fields(self) -> Mapping[str, object]:
        """Names and values for C{json.dumps}."""
        raise NotImplementedError


@implementer(ILogObserver)
class LineObserver:
    """
    Writes events of C{level} and above to C{file}, which takes text, as lines.

    Lines of the access log pass at any level, because the access log has a switch of its own. (Twisted's own
    observers do the same in three layers; with an access line for each request the difference is worth
    having.)
    """

    def __init__(self, file: IO[str], *, format: Format, level: Level) -> None:
        self._file = file
        self.configure(format=format, level=level)

    def write_to(self, file: IO[str]) -> None:
        """From now on to another file; the caller closes the old one."""
        self._file = file

    def configure(self, *, format: Format, level: Level) -> None:
        """From now on in another way."""
        self._as_line: Callable[[LogEvent], str] = as_json if format == "json" else as_text
        threshold = LogLevel.levelWithName(level)
        self._levels = frozenset(one for one in LogLevel.iterconstants() if one >= threshold)

    def __call__(self, event: LogEvent) -> None:
        if event.get("log_level") not in self._levels and event.get("log_namespace") != ACCESS_NAMESPACE:
            return
        line = self._as_line(event)
        try:
            self._file.write(line)
        except UnicodeEncodeError:  # a terminal of another time
            self._file.write(line.encode("ascii", "backslashreplace").decode("ascii"))
        self._file.flush()


# --- text -----------------------------------------------------------------------------------------------


def as_text(event: LogEvent) -> str:
    """One line, and a line more for each line of a traceback."""
    namespace = event.get("log_namespace") or "-"
    if namespace == ACCESS_NAMESPACE:
        place = "[access] "
    elif namespace.startswith("lanrelay"):
        place = f"[{_level(event)}] "
    else:
        place = f"[{_level(event)}] {printable(namespace)}: "
    text = f"{_moment(event)} {place}{printable(_message(event))}\n"
    for line in _traceback(event).splitlines():
        text += f"\t{printable(line)}\n"
    return text


_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def printable(text: str) -> str:
    """
    C{text} without anything that would end a line or speak to a terminal.

    Lone surrogates are what undecodable bytes of a file name become; they cannot be written as UTF-8.
    """
    if text.isascii() and text.isprintable():  # nearly always
        return text
    return _UNPRINTABLE.sub(lambda found: _escape(found.group()), text)


def _escape(letter: str) -> str:
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(letter)
    code = ord(letter)
    return short or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


# --- JSON -----------------------------------------------------------------------------------------------


def as_json(event: LogEvent) -> str:
    """One object on one line."""
    import json  # not needed by a relay that logs text

    line: dict[str, object] = {
        "time": _moment(event),
        "level": _level(event),
        "logger": event.get("log_namespace") or "-",
    }
    record = event.get("record")
    if isinstance(record, Record):
        line.update(record.fields())
    else:
        line["message"] = _message(event)
    traceback = _traceback(event)
    if traceback:
        line["traceback"] = traceback
    return json.dumps(line, default=str) + "\n"  # ASCII, so neither U+2028 nor a lone surrogate gets out


# --- both -----------------------------------------------------------------------------------------------


def _level(event: LogEvent) -> str:
    level = event.get("log_level")
    return str(level.name) if level is not None else "info"


def _message(event: LogEvent) -> str:
    record = event.get("record")
    if isinstance(record, Record):
        return str(record)
    message = formatEvent(event)
    failure = event.get("log_failure")
    if not message and isinstance(failure, Failure):
        return f"{failure.type.__name__ if failure.type else 'Failure'}: {failure.getErrorMessage()}"
    return message


def _traceback(event: LogEvent) -> str:
    failure = event.get("log_failure")
    if failure is None:
        return ""
    try:
        return str(failure.getTraceback()).rstrip("\n")
    except Exception as error:  # an exception whose own text raises must not silence the log
        return f"(no traceback: {type(error).__name__})"


def _moment(event: LogEvent) -> str:
    return moment(event.get("log_time") or time.time())


def moment(seconds: float) -> str:
    """Wall-clock seconds in ISO 8601 with milliseconds, in local time with its offset."""
    whole, rest = divmod(int(seconds * 1000 + 0.5), 1000)
    date, offset = _second(whole)
    return f"{date}.{rest:03d}{offset}"


@lru_cache(maxsize=4)  # a busy log asks for the same second again and again
def _second(whole: int) -> tuple[str, str]:
    local = time.localtime(whole)
    minutes = local.tm_gmtoff // 60
    sign = "-" if minutes < 0 else "+"
    return (
        time.strftime("%Y-%m-%dT%H:%M:%S", local),
        f"{sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}",
    )
