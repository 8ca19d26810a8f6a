"""
How a log event becomes a line: as text for people, or as JSON for programs.

Text is one line for each event, C{2026-11-20T08:50:34.123+01:00 [info] message}; what is not ours carries its
namespace before the message, and a traceback follows on lines that begin with a tab. JSON is one object for
each event and nothing else: C{time}, C{level}, C{logger}, C{message}, C{traceback} where there is one, and
in place of the message the fields of what was logged as L{Fields}. Control characters never reach the
file as they are, so no peer can forge a line.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import IO, Any, Literal, Protocol, runtime_checkable

from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
)
from twisted.python.failure import Failure

ACCESS_NAMESPACE = "lanrelay.access"

Level = Literal["debug", "info", "warn", "error"]
Format = Literal["text", "json"]


@runtime_checkable
class Fields(Protocol):
    """A record that is logged whole: C{str} is its text line, C{fields} its JSON."""

    def fields(self) -> Mapping[str, object]: ...


def observer(file: IO[Any], *, format: Format, level: Level) -> ILogObserver:
    """
    Write events of C{level} and above to C{file}.

    The access log is let through at any level: it has a switch of its own.
    """
    threshold = LogLevelFilterPredicate(LogLevel.levelWithName(level))
    threshold.setLogLevelForNamespace(ACCESS_NAMESPACE, LogLevel.info)
    writes: Callable[[LogEvent], str] = as_json if format == "json" else as_text
    return FilteringLogObserver(FileLogObserver(file, writes), [threshold])


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
    if isinstance(record, Fields):
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
    if isinstance(record, Fields):
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
    milliseconds = int(seconds * 1000 + 0.5)
    whole, rest = divmod(milliseconds, 1000)
    local = time.localtime(whole)
    offset = local.tm_gmtoff // 60
    sign = "-" if offset < 0 else "+"
    hours, minutes = divmod(abs(offset), 60)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{rest:03d}{sign}{hours:02d}:{minutes:02d}"
