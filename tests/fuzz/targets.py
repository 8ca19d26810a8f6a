"""What is fuzzed, and what must hold whatever comes."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import h11

from lanrelay.config.load import ConfigErrors, load
from lanrelay.errors import GreetingError, RemoteProtocolError
from lanrelay.passage.intermediary import request_to_forward, response_to_forward
from lanrelay.passage.places import Places, Site, cookie_to_relay
from lanrelay.wire import heads, proxy_header, socks5
from lanrelay.wire.authority import parse_authority
from lanrelay.wire.events import BodyPart, ConnectionClosed, EndOfMessage, Event, RequestHead, ResponseHead
from lanrelay.wire.framing import ChunkedReader
from lanrelay.wire.headers import Headers
from lanrelay.wire.http1 import Http1Client, Http1Server
from lanrelay.wire.limits import LIMITS
from lanrelay.wire.sse import EndpointRewriter, EventBoundary
from lanrelay.wire.target import parse_target
from tests.fuzz import inputs
from tests.fuzz.inputs import Make, cut
from tests.support.servers import CHECKOUT
from tests.wire.feeding import Outcome, feed

Check = Callable[[bytes, Random], None]


class Wrong(AssertionError):
    """Something that must hold does not."""


@dataclass(frozen=True)
class Target:
    """
    @ivar make: an input out of randomness.
    @ivar check: raises, whatever it may be, if something is wrong.
    """

    make: Make
    check: Check


def must(holds: bool, *what: object) -> None:
    if not holds:
        raise Wrong(" ".join(str(part) for part in what))


# --- requests -----------------------------------------------------------------------------------------


def check_requests(data: bytes, random: Random) -> None:
    """The pieces do not matter, and what we send on is to h11 the one request that we meant."""
    whole = feed(Http1Server(), [data] if data else [], eof=True)
    pieces = feed(Http1Server(), cut(random, data), eof=True)
    must(like(whole) == like(pieces), "in pieces it means", pieces, "and whole", whole)
    server = Http1Server()
    try:
        events = server.receive(data)
        while events:
            if not server.request_complete or (server.request and server.request.method == b"CONNECT"):
                return
            forwarded(events)
            server.send(ResponseHead(status=204))
            server.send(EndOfMessage())
            events = server.start_next_cycle() if server.ready_for_next else []
    except RemoteProtocolError:
        return


def like(outcome: Outcome) -> object:
    """Of two faults that one input has, the pieces may decide which is found first."""
    return outcome.events, outcome.error is None, outcome.unread


def forwarded(events: list[Event]) -> None:
    head = events[0]
    assert isinstance(head, RequestHead)
    body = b"".join(event.data for event in events if isinstance(event, BodyPart))
    target = parse_target(head.method, head.target)
    client = Http1Client()
    headers = request_to_forward(head).replaced(b"Host", b"origin")
    out = client.send(RequestHead(method=head.method, target=target.path, headers=headers))
    for event in events[1:]:
        assert isinstance(event, BodyPart | EndOfMessage)
        out += client.send(event)
    if any(byte > 127 for byte in target.path):
        return  # h11 refuses what browsers and curl send
    judge = h11.Connection(h11.SERVER, max_incomplete_event_size=200_000)
    judge.receive_data(out)
    meant = b""
    seen: h11.Request | None = None
    while not isinstance(said := judge.next_event(), h11.EndOfMessage):
        if isinstance(said, h11.Request):
            seen = said
        elif isinstance(said, h11.Data):
            meant += bytes(said.data)
        else:
            raise Wrong(f"h11 says {said} to {out!r}")
    assert seen is not None
    must((seen.method, seen.target, meant) == (head.method, target.path, body), "h11 read", seen, meant)
    must(not judge.trailing_data[0], "h11 sees a second request in", out)


# --- responses ----------------------------------------------------------------------------------------


def asking(method: bytes) -> Http1Client:
    client = Http1Client()
    fields = Headers([(b"Upgrade", b"x")])
    client.send(RequestHead(method=method, target=b"/", headers=fields))
    client.send(EndOfMessage())
    return client


def check_responses(data: bytes, random: Random) -> None:
    """The pieces do not matter, and what a client is sent is to h11 the one answer that we read."""
    method = random.choice((b"GET", b"GET", b"HEAD", b"POST"))
    whole = feed(asking(method), [data] if data else [], eof=True)
    pieces = feed(asking(method), cut(random, data), eof=True)
    must(like(whole) == like(pieces), "in pieces it means", pieces, "and whole", whole)
    origin = asking(method)
    try:
        events = origin.receive(data) if data else []
        if not (origin.response_complete or origin.switched):
            events += origin.receive_eof()
    except RemoteProtocolError:
        return
    final = any(isinstance(event, ResponseHead) and event.status >= 200 for event in events)
    if origin.switched or not final:
        return
    answered(method, events)


def answered(method: bytes, events: list[Event]) -> None:
    server = Http1Server()
    server.receive(method + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
    out, body, status = b"", b"", 0
    for event in events:
        if isinstance(event, ResponseHead):
            status = event.status
            event = ResponseHead(status=status, reason=event.reason, headers=response_to_forward(event))
        elif isinstance(event, BodyPart):
            body += event.data
        elif isinstance(event, ConnectionClosed):
            continue
        assert not isinstance(event, RequestHead)
        out += server.send(event)
    judge = h11.Connection(h11.CLIENT, max_incomplete_event_size=200_000)
    judge.send(h11.Request(method=method, target=b"/", headers=[(b"Host", b"a")]))
    judge.send(h11.EndOfMessage())
    judge.receive_data(out)
    meant, final = b"", 0
    while not isinstance(answer := judge.next_event(), h11.EndOfMessage):
        if isinstance(answer, h11.Response):
            final = answer.status_code
        elif isinstance(answer, h11.Data):
            meant += bytes(answer.data)
        elif not isinstance(answer, h11.InformationalResponse):
            raise Wrong(f"h11 says {answer} to {out!r}")
    must((final, meant) == (status, body), "h11 read", final, meant, "of", out)
    must(not judge.trailing_data[0], "h11 sees a second answer in", out)


# --- chunks -------------------------------------------------------------------------------------------

_CHUNK = re.compile(rb"0*([0-9A-Fa-f]{1,15})(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n")


def plainly(data: bytes) -> tuple[bytes, int] | None:
    """RFC 9112 section 7.1 in ten lines: content and where the trailers begin, C{None} if it is not whole."""
    content, position = b"", 0
    while True:
        match = _CHUNK.match(data, position)
        if match is None:
            return None
        position, size = match.end(), int(match[1], 16)
        if not size:
            return content, position
        content += data[position : position + size]
        if data[position + size : position + size + 2] != b"\r\n":
            return None
        position += size + 2


def check_chunks(data: bytes, random: Random) -> None:
    """Whoever reads it plainly reads the same."""
    whole, error = read_chunks([data])
    pieces, pieces_error = read_chunks(cut(random, data))
    must(
        (whole, error) == (pieces, pieces_error), "in pieces", pieces, pieces_error, "and whole", whole, error
    )
    content, complete, rest, trailers = whole
    plain = plainly(data)
    if complete:
        must(plain is not None and plain[0] == content, "plainly it is", plain, "and not", content)
        assert plain is not None
        end = len(data) - len(rest)
        must(
            data[plain[1] : end].endswith(b"\r\n"), "the end is not where it should be", data[plain[1] : end]
        )
        must(b"content-length" not in trailers and b"host" not in trailers, "trailers", trailers)


def read_chunks(parts: list[bytes]) -> tuple[tuple[bytes, bool, bytes, Headers], str]:
    reader, content = ChunkedReader(LIMITS), b""
    for number, part in enumerate(parts):
        try:
            content += b"".join(reader.feed(part))
        except RemoteProtocolError as error:
            content += b"".join(reader.content_so_far)
            return (content, False, b"", Headers()), str(error.http_status)
        if reader.complete:
            return (content, True, reader.rest + b"".join(parts[number + 1 :]), reader.trailers), ""
    return (content, False, b"", Headers()), ""


# --- heads, and what is kept of them --------------------------------------------------------------------


def check_heads(data: bytes, random: Random) -> None:
    """What is known from before changes nothing, and does not grow."""
    del random
    block = data.partition(b"\r\n\r\n")[0]
    warm = judged(block)
    must(judged(block) == warm, "the second time it is", judged(block), "and not", warm)
    heads._judged.clear()
    heads._hosts.clear()
    must(judged(block) == warm, "fresh it is", judged(block), "and not", warm)
    must(len(heads._judged) <= heads._CACHE_LINES and len(heads._hosts) <= heads._CACHE_LINES, "they grow")


def judged(block: bytes) -> object:
    try:
        return heads.parse_request_head(block, LIMITS)
    except RemoteProtocolError as error:
        return error.http_status, error.detail


# --- event streams, names, values ------------------------------------------------------------------------


def check_events(data: bytes, random: Random) -> None:
    """Rewritten to itself a stream is the same, and the pieces matter neither to that nor to its ends."""
    parts = cut(random, data)
    for rewrite in (lambda url: url, lambda url: b"http://relay" + url):
        whole, piecewise = EndpointRewriter(rewrite), EndpointRewriter(rewrite)
        one = whole.feed(data) + whole.finish()
        many = b"".join(piecewise.feed(part) for part in parts) + piecewise.finish()
        must(one == many, "in pieces it is", many, "and whole", one)
        if rewrite(b"") == b"":
            must(one == data, "it became", one)
    first, second = EventBoundary(), EventBoundary()
    first.feed(data)
    for part in parts:
        second.feed(part)
    must(first.at_boundary == second.at_boundary, "its end depends on the pieces")


def check_authority(data: bytes, random: Random) -> None:
    del random
    try:
        parsed = parse_authority(data)
    except ValueError:
        pass
    else:
        must(parse_authority(str(parsed)) == parsed, "it is not itself again:", parsed)
    for method in (b"GET", b"OPTIONS", b"CONNECT"):
        try:
            parse_target(method, data)
        except RemoteProtocolError:
            pass


_PLACES = Places(
    upstream=Site.at("https", "lan-host", b"/v1"), relay=Site.at("http", "localhost:8080", b"/p")
)


def check_values(data: bytes, random: Random) -> None:
    """What is made of a value can be sent as one."""
    del random
    value = bytes(byte for byte in data if byte == 9 or (byte >= 32 and byte != 127)).strip(b" \t")
    for result in (cookie_to_relay(value, _PLACES), _PLACES.to_relay(value), _PLACES.to_upstream(value)):
        Headers([(b"X", result)])


def check_greetings(data: bytes, random: Random) -> None:
    """PROXY headers and SOCKS greetings: an error of theirs or nothing, and the pieces do not matter."""
    try:
        header = proxy_header.parse(data)
    except GreetingError:
        header = None
    if header is not None:
        must(proxy_header.parse(data[: header.length]) == header, "it is another without what follows")
    for login in (False, True):
        must(
            socks([data], login) == socks(cut(random, data), login),
            "in pieces", socks(cut(random, data), login), "and whole", socks([data], login),
        )  # fmt: skip


def socks(parts: list[bytes], login: bool) -> object:
    server, out, found = socks5.Socks5Server(login=login), b"", []
    try:
        for part in parts:
            while True:
                answer, what = server.receive(part)
                out += answer
                if what is None:
                    break
                found.append(what)
                part = b""
    except GreetingError:
        return found  # what was answered before depends on when it came
    return out, found


def check_config(data: bytes, random: Random) -> None:
    """A configuration, or complaints; nothing else comes of a file."""
    del random
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "relay.yaml"
        path.write_bytes(data)
        try:
            load(path, environment={"HOME": folder, "A": "a"})
        except ConfigErrors as errors:
            must(len(errors.complaints) > 0, "refused without a word")


_EVENTS = (
    b"event: endpoint", b"event:endpoint", b"data: /messages?id=1", b"data:", b"data", b": comment",
    b"id: 1", b"\n", b"\n", b"\r", b"\r\n", b"\n\n", b"\xef\xbb\xbf", b"data: {}", b"retry: 5",
    b"event: message", b" ",
)  # fmt: skip
_NAMES = (
    b"localhost", b"a", b".", b":", b"80", b"65535", b"65536", b"0", b"[", b"]", b"::1", b"[::1]",
    b"127.0.0.1", b"%41", b"%", b"@", b"/", b"?", b"#", b"http://", b"https://", b"*", b"-", b"\xc3\xbc",
    b"xn--", b"0x7f", b"_",
)  # fmt: skip
_VALUES = (
    b"https://lan-host/v1/a", b"//lan-host:443/v1", b"http://lan-host", b"/v1/b", b"; ", b";",
    b"Domain=lan-host", b"Path=/v1", b"Path=/", b"Secure", b"SameSite=None", b"__Host-a=b", b"a=b",
    b"HttpOnly", b"=", b" ", b"\t", b'"', b"?q=1", b"#f", b"..", b"%2e", b"\xff", b",",
)  # fmt: skip
_GREETINGS = (
    b"PROXY ", b"TCP4 ", b"TCP6 ", b"UNKNOWN", b"127.0.0.1 ", b"::1 ", b"80 ", b"443", b"\r\n",
    proxy_header.SIGNATURE, b"\x21\x11\x00\x0c", b"\x20\x00\x00\x00",
    b"\x7f\x00\x00\x01" * 2 + b"\x00\x50\x01\xbb", b"\x05\x01\x00", b"\x05\x02\x00\x02", b"\x01\x01a\x01b",
    b"\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50", b"\x05\x01\x00\x03\x01a\x00\x50", b"\x05\x02\x00",
    b"\x04\x01", b"x",
)  # fmt: skip
_YAML = (
    b"[", b"]", b"{", b"}", b"'", b'"', b"*", b"&", b"!", b"- ", b": ", b"#", b"\n", b"  ", b"\t", b"off",
    b"${A}", b"~", b"5s", b"-1", b"listeners:", b"type: exec", b"any", b"\xff", b"\x00", b"<<: ",
    b"99999999999999999999",
)  # fmt: skip


def targets() -> dict[str, Target]:
    """Each by its name."""
    from tests.fuzz import scenes  # which needs what is above

    request_lines = [line + b"\r\n" for data in inputs.requests() for line in data.split(b"\r\n") if line]
    examples = [path.read_bytes() for path in sorted((CHECKOUT / "conf").glob("*.yaml"))]
    return {
        "requests": Target(inputs.one_of(inputs.requests()), check_requests),
        "request-lines": Target(inputs.written((*request_lines, b"\r\n"), 8), check_requests),
        "responses": Target(inputs.one_of(inputs.responses()), check_responses),
        "chunks": Target(inputs.chunked, check_chunks),
        "heads": Target(inputs.one_of(inputs.requests()), check_heads),
        "events": Target(inputs.written(_EVENTS), check_events),
        "authority": Target(inputs.written(_NAMES, 7), check_authority),
        "values": Target(inputs.written(_VALUES, 9), check_values),
        "greetings": Target(inputs.written(_GREETINGS, 10), check_greetings),
        "plays": Target(scenes.make, scenes.check),
        "config": Target(inputs.one_of(examples, _YAML), check_config),
    }
