"""Listens to what an MCP server tells its clients about itself, while the answer passes."""

from __future__ import annotations

from collections.abc import Callable

from lanrelay.http.route import BodyFilter
from lanrelay.mcp.known import LONGEST, McpServer
from lanrelay.wire.events import ResponseHead
from lanrelay.wire.sse import messages


def listening(
    server: McpServer, method: str, head: ResponseHead, inner: BodyFilter | None, *, first: bool
) -> BodyFilter:
    """
    For the answer to a request for C{method}.

    @param inner: another filter that the answer passes.
    @param first: the request was for the beginning of a list.
    """
    kind = (head.headers.get(b"content-type") or b"").partition(b";")[0].strip().lower()
    events = kind == b"text/event-stream"

    def tell(content: bytes) -> None:
        server.answered(method, messages(content) if events else [content], first=first)

    return _Listening(tell, inner)


class _Listening(BodyFilter):
    """Passes all as it comes, and at the end reads a copy of it, if that is not too long."""

    __slots__ = ("_came", "_inner", "_size", "_tell")

    def __init__(self, tell: Callable[[bytes], None], inner: BodyFilter | None) -> None:
        self._tell = tell
        self._inner = inner
        self._came: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> bytes:
        self._size += len(data)
        if self._size <= LONGEST:
            self._came.append(data)
        else:
            self._came.clear()
        return data if self._inner is None else self._inner.feed(data)

    def finish(self) -> bytes:
        if self._size <= LONGEST:
            self._tell(b"".join(self._came))
        return b"" if self._inner is None else self._inner.finish()

    def pause(self) -> None:
        if self._inner is not None:
            self._inner.pause()

    def resume(self) -> None:
        if self._inner is not None:
            self._inner.resume()

    def stop(self) -> None:
        if self._inner is not None:
            self._inner.stop()
