"""The rules that judge or change heads; each names the fields that it looks at, and sees only those."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from lanrelay.wire.events import HTTP_1_1, NO_FIELDS, RequestHead, Version
from lanrelay.wire.headers import Field, Headers

if TYPE_CHECKING:
    from lanrelay.config.model import IPAddress
    from lanrelay.passage.places import Places

EVERYBODYS: Final = frozenset({b"host", b"via", b"date"})
"""Fields that a proxy reads or writes in every head; each rule sees them."""

_COMPILED_MAX: Final = 256
"""Combinations of looked-at fields that are remembered; the pages of one site have a handful."""

_new = object.__new__


class Undeclared(Exception):
    """
    A rule looks at a field that it does not name, which is a bug: the rule does not run on a head in which
    only that field concerns it.
    """


class View(Headers):
    """
    The fields of a head that one rule has named; methods that change them give another view.

    @ivar headers: all fields, for the caller that runs the rule.
    @raise Undeclared: by every method that is asked for another field, or for all of them.
    """

    __slots__ = ("_named", "headers")

    headers: Headers
    _named: frozenset[bytes]

    @staticmethod
    def through(rule: Rule, headers: Headers) -> View:
        """The view that C{rule} has of C{headers}."""
        view = _new(View)
        view.headers, view._named = headers, rule.named
        return view

    def __getattr__(self, name: str) -> Any:
        if name in ("fields", "index", "unique"):
            raise Undeclared("a rule looks at all fields of a head")
        raise AttributeError(name)

    def _check(self, names: Collection[bytes]) -> None:
        if not self._named.issuperset(names):
            name = next(name for name in names if name not in self._named)
            raise Undeclared(f"a rule looks at {name.decode('latin-1')} and does not name it")

    def _with(self, headers: Headers) -> View:
        if headers is self.headers:
            return self
        view = _new(View)
        view.headers, view._named = headers, self._named
        return view

    def get(self, name: bytes) -> bytes | None:
        if name not in self._named:
            self._check((name,))
        field = self.headers.index.get(name)
        return None if field is None else field[2]

    def all(self, name: bytes) -> list[bytes]:
        self._check((name,))
        return self.headers.all(name)

    def tokens(self, name: bytes) -> list[bytes]:
        self._check((name,))
        return self.headers.tokens(name)

    def __contains__(self, name: object) -> bool:
        assert isinstance(name, bytes)
        self._check((name,))
        return name in self.headers.index

    def without(self, names: Collection[bytes]) -> View:
        self._check(names)
        return self._with(self.headers.without(names))

    def replaced_by(self, new: Field) -> View:
        self._check((new[0],))
        return self._with(self.headers.replaced_by(new))

    def appended(self, fields: Iterable[Field]) -> View:
        fields = tuple(fields)
        self._check([new[0] for new in fields])
        return self._with(self.headers.appended(fields))

    def added(self, name: bytes, value: bytes) -> View:
        self._check((name.lower(),))
        return self._with(self.headers.added(name, value))

    def mapped(self, names: Collection[bytes], change: Callable[[Field], Field | None]) -> View:
        self._check(names)
        return self._with(self.headers.mapped(names, change))


class SessionNames(Protocol):
    """The ids by which the client and the upstream know the MCP session of a request."""

    def for_upstream(self, headers: Headers) -> Headers:
        """The fields of a request."""

    def for_client(self, headers: Headers) -> Headers:
        """The fields of an answer."""


@dataclass(slots=True, kw_only=True)
class Asked:
    """
    What rules know of an exchange beside the fields; what is not known where they run has its default.

    @ivar method: that of the request, also for an answer.
    @ivar target: the request's target as the client sent it.
    @ivar status: of the answer; 0 for a request.
    @ivar local: the address on which the client came in; C{None} for a unix socket.
    @ivar client: the client's own address.
    @ivar host: the Host that the client named the relay by; empty if none.
    @ivar page: the Origin of a page that was let in although it is not the relay's own.
    @ivar origin: the Origin field of a page of the upstream's own.
    @ivar places: what the relay and the upstream call the same thing; C{None} if there are no two names.
    @ivar names: the ids of the MCP session, which may differ between the two; C{None} if no session is known.
    """

    method: bytes
    target: bytes
    version: Version = HTTP_1_1
    status: int = 0
    local: IPAddress | None = None
    client: IPAddress | None = None
    host: bytes = b""
    page: bytes | None = None
    origin: Field | None = None
    places: Places | None = None
    names: SessionNames | None = None

    def head(self, view: View) -> RequestHead:
        """The request, with the fields that one rule sees."""
        return RequestHead(method=self.method, target=self.target, headers=view, version=self.version)


class Reply(NamedTuple):
    """An answer of the relay's own, with which a request goes no further."""

    status: int
    headers: Headers = NO_FIELDS
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """
    Judges or changes those heads of one direction that concern it.

    A head concerns it if it has a field of C{looks_at}, a piece of C{in_target} or a status of C{statuses},
    or if C{concerns} says so. A rule that neither judges nor changes only says which heads an exchange, or a
    wire, looks at itself.

    @ivar looks_at: lower-case names.
    @ivar sees: names of more fields that it sees; they alone do not concern it.
    @ivar concerns: is asked about a head that has all of C{sees}. It gets these fields, and the method of a
        request or the status of an answer, and must always give the same result for the same values.
    @ivar in_target: pieces of a request's target.
    @ivar statuses: of answers.
    @ivar beside: says whether a head concerns it because of what is known of the exchange beside the head. An
        exchange of which such a thing is known never goes the plain way.
    @ivar judges_host: a request with a Host that was not let in before concerns it, too.
    @ivar always: every head concerns it, so that none is plain.
    @ivar judge: raises a L{RelayError<lanrelay.errors.RelayError>}, or gives an answer, or lets it pass.
    @ivar change: gives the fields that go on instead.
    @ivar named: all fields that it sees.
    """

    looks_at: frozenset[bytes] = frozenset()
    sees: frozenset[bytes] = frozenset()
    concerns: Callable[[View, Any], bool] | None = None
    in_target: tuple[bytes, ...] = ()
    statuses: frozenset[int] = frozenset()
    beside: Callable[[Asked], bool] | None = None
    judges_host: bool = False
    always: bool = False
    judge: Callable[[View, Asked], Reply | None] | None = None
    change: Callable[[View, Asked], Headers] | None = None
    named: frozenset[bytes] = field(init=False)

    def __post_init__(self) -> None:
        assert self.sees or self.concerns is None, "there is nothing to weigh"
        object.__setattr__(self, "named", self.looks_at | self.sees | EVERYBODYS)

    @property
    def asks_for_more(self) -> bool:
        """Whether a head without any field of C{looks_at} can concern it."""
        return (
            self.always
            or self.judges_host
            or self.beside is not None
            or self.concerns is not None
            or bool(self.in_target or self.statuses)
        )

    @property
    def can_be_concerned(self) -> bool:
        """Whether any head can concern it."""
        return self.asks_for_more or bool(self.looks_at)

    def is_concerned(self, headers: Headers, start: bytes | int, target: bytes = b"") -> bool:
        """@param start: the method, or the status."""
        return (
            not self.looks_at.isdisjoint(headers.index)
            or self.always
            or start in self.statuses
            or (self.in_target != () and any(target.find(piece) >= 0 for piece in self.in_target))
            or (
                self.concerns is not None
                and self.sees <= headers.index.keys()
                and self.concerns(View.through(self, headers), start)
            )
        )


class Rules:
    """
    The rules for the heads of one direction, in the order in which they run.

    @ivar looked_at: the fields that concern any of the rules.
    @ivar weighed: the fields whose values may concern one.
    @ivar rare: one of these fields for each rule; a head without any of them is not weighed.
    @ivar statuses: the statuses that concern one.
    @ivar always: a rule concerns every head, so that none is plain.
    """

    def __init__(self, *rules: Rule) -> None:
        self.all = rules
        self.looked_at = _all_of(rule.looks_at for rule in rules)
        self.weighed = _all_of(rule.sees for rule in rules if rule.concerns) - self.looked_at
        self.statuses: frozenset[int] = frozenset().union(*(rule.statuses for rule in rules))
        self.always = any(rule.always for rule in rules)
        self._pieces = tuple({piece.decode("ascii") for rule in rules for piece in rule.in_target})
        self._weighing = _Weighing(rules)
        self.rare = self._weighing.rare
        # For the rules that judge or change.
        self._acting = [rule for rule in rules if (rule.judge or rule.change) and rule.can_be_concerned]
        self._acting_looked_at = _all_of(rule.looks_at for rule in self._acting)
        self._acting_pieces = tuple({piece for rule in self._acting for piece in rule.in_target})
        self._acting_weighing = _Weighing(self._acting)
        self._besides = [rule.beside for rule in self._acting if rule.beside is not None]
        self._any = any(rule.always or rule.statuses for rule in self._acting)
        # A head that has none of these fields need not be weighed, either.
        self._telling = self._acting_looked_at | self._acting_weighing.rare
        self._by_fields: dict[frozenset[bytes], list[tuple[Rule, bool]]] = {}

    def concerned(
        self,
        headers: Headers,
        start: bytes | int,
        target: bytes = b"",
        *,
        new_host: bool = False,
        asked: Asked | None = None,
    ) -> Sequence[Rule]:
        """
        The rules that judge or change such a head.

        @param start: the method, or the status.
        @param new_host: whether its Host has still to be judged.
        @param asked: what is known of the exchange beside the head, if anything.
        """
        index = headers.index
        if not (new_host or self._any) and (asked is None or not self._beside(asked)):
            for piece in self._acting_pieces:
                if target.find(piece) >= 0:
                    break
            else:  # nearly always
                if self._telling.isdisjoint(index):
                    return ()
                if self._acting_looked_at.isdisjoint(index):
                    weighing = self._acting_weighing
                    if weighing.rare.isdisjoint(index) or not weighing.concern(headers, start):
                        return ()
        there = self._acting_looked_at.intersection(index)
        return [
            rule
            for rule, looked_at in self._by_fields.get(there) or self._compile(there)
            if looked_at
            or (new_host and rule.judges_host)
            or (asked is not None and rule.beside is not None and rule.beside(asked))
            or rule.is_concerned(headers, start, target)
        ]

    def _compile(self, there: frozenset[bytes]) -> list[tuple[Rule, bool]]:
        """The rules that a head with these fields may concern, and whether the fields alone decide that."""
        found = [
            (rule, not rule.looks_at.isdisjoint(there))
            for rule in self._acting
            if rule.asks_for_more or not rule.looks_at.isdisjoint(there)
        ]
        if len(self._by_fields) >= _COMPILED_MAX:
            self._by_fields.clear()
        self._by_fields[there] = found
        return found

    def _beside(self, asked: Asked) -> bool:
        for concerns in self._besides:  # noqa: SIM110 - as in L{in_target}
            if concerns(asked):
                return True
        return False

    # The plain way asks the same in parts, one after the other.

    def weigh(self, noted: dict[bytes, Field], start: bytes | int) -> bool:
        """Whether a head with fields of L{weighed} concerns a rule by their values."""
        return not self.rare.isdisjoint(noted) and self._weighing.concern(Headers.of_index(noted), start)

    def in_target(self, target: str) -> bool:
        """Whether the target concerns a rule."""
        for piece in self._pieces:  # noqa: SIM110 - C{any} would make a generator for each request
            if piece in target:
                return True
        return False


class _Weighing:
    """
    The rules that look at values.

    @ivar rare: one name for each of them, of a field that it has to see.
    """

    __slots__ = ("_rules", "rare")

    def __init__(self, rules: Iterable[Rule]) -> None:
        # Of Accept and Accept-Encoding, the latter is rarer.
        self._rules = [(rule, sorted(rule.sees, reverse=True)) for rule in rules if rule.concerns]
        self.rare = frozenset(names[0] for _, names in self._rules)

    def concern(self, headers: Headers, start: bytes | int) -> bool:
        """Whether such a head concerns a rule."""
        index = headers.index
        for rule, names in self._rules:
            for name in names:
                if name not in index:
                    break
            else:
                assert rule.concerns is not None
                if rule.concerns(View.through(rule, headers), start):
                    return True
        return False


def _all_of(names: Iterable[frozenset[bytes]]) -> frozenset[bytes]:
    return frozenset().union(*names)


def judged(rules: Iterable[Rule], headers: Headers, asked: Asked) -> Reply | None:
    """
    Let each rule judge; gives the first answer.

    @raise RelayError: a rule refuses.
    """
    for rule in rules:
        if rule.judge is not None:
            reply = rule.judge(View.through(rule, headers), asked)
            if reply is not None:
                return reply
    return None


def changed(rules: Iterable[Rule], headers: Headers, asked: Asked) -> Headers:
    """Let each rule change the fields."""
    for rule in rules:
        if rule.change is not None:
            result = rule.change(View.through(rule, headers), asked)
            headers = result.headers if isinstance(result, View) else result
    return headers
