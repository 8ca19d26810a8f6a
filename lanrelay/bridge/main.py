"""Puts the pieces of C{lanrelay stdio} together; what takes long to import is imported where it is needed."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from lanrelay.bridge import log, options, target
from lanrelay.bridge.messages import Failure
from lanrelay.bridge.options import Options, Wrong

if TYPE_CHECKING:
    from pathlib import Path

    from lanrelay.bridge.bridge import Carries
    from lanrelay.bridge.carrier import Carrier
    from lanrelay.bridge.loop import Loop
    from lanrelay.bridge.names import Listener
    from lanrelay.bridge.program import Program
    from lanrelay.bridge.seams import CarrierSink
    from lanrelay.bridge.secure import Secure
    from lanrelay.bridge.store import Store
    from lanrelay.bridge.target import HttpTarget, Url


Carried = Callable[["Loop", "CarrierSink"], "Carrier"]
"""Makes the carrier to the target."""


class Outside(Protocol):
    """The functions that need the rest of lanrelay; each imports it when it is called."""

    def explain(self, error: Exception, ran: bool, url: str) -> Failure:
        """The doctor's word and sentences."""

    def listeners(self, config: str | None) -> list[Listener]:
        """The places on which the running relay listens. Raises L{lanrelay.bridge.names.NotThere}."""

    def is_pipe(self, config: str | None, name: str) -> bool:
        """Whether the file says that this listener is a byte pipe; asked where no relay can tell."""

    def check(self, options: Options) -> int:
        """C{--check}."""

    def complain(self, sentence: str) -> None:
        """Write to the person at the terminal."""


def run(words: Sequence[str], outside: Outside) -> int:
    """
    @return: the exit status.
    """
    try:
        found = options.parse(words)
    except Wrong as wrong:
        outside.complain(str(wrong))
        return 2
    try:
        where = target.url(found.target) if found.target else None
        if found.check:
            _secure(found)
            if found.via is not None:
                target.parent(found.via)
            gc.enable()
            return outside.check(found)
        try:
            told = log.opened(found.log, verbose=found.verbose)
        except OSError as error:
            raise Wrong(f"The log {found.log} cannot be written: {error.strerror}.") from None
        for sentence in found.warnings:
            told.warn(sentence)
        if found.program is not None:
            return _program(found, found.program, told)
        return _carry(found, where, told, outside)
    except Wrong as wrong:
        outside.complain(str(wrong))
        return 1


def _carry(found: Options, where: Url | None, told: log.Log, outside: Outside) -> int:
    reached = _target(found, where, told, outside)
    name = str(where) if where is not None else found.target

    def explain(error: Exception, ran: bool) -> Failure:
        return outside.explain(error, ran, name)

    if reached.url.is_pipe:
        from lanrelay.bridge.pipe import Pipe

        pipe = Pipe(reached, explain, told.note)
        _has_begun()
        return pipe.run()
    import time

    from lanrelay.bridge.bridge import Bridge
    from lanrelay.bridge.carrier import Carrier
    from lanrelay.bridge.conversation import Settings
    from lanrelay.bridge.dialogue import Dialogue

    settings = Settings(
        transport=found.transport,
        ignore_tools=tuple(found.ignore_tools),
        only_tools=tuple(found.only_tools),
        hold=options.seconds(found.hold),
        remembered=None if found.no_cache else _store(found, reached, name),
        path=reached.url.path,
        origin=reached.url.origin,
    )

    login = _login(found, reached, name, told, outside)

    def carried(loop: Loop, sink: CarrierSink) -> Carrier:
        return Carrier(loop, reached, sink, explain)

    def carrier(loop: Loop, sink: CarrierSink) -> Carries:
        return carried(loop, sink) if login is None else login(loop, sink, carried)

    bridge = Bridge(Dialogue(settings=settings, now=time.monotonic()), carrier, told.note)
    _has_begun()
    bridge.run()
    return 0


def _has_begun() -> None:
    """What there is now stays, so the garbage collector never looks at it; only at what is made later."""
    gc.freeze()
    gc.enable()


def _login(
    found: Options, reached: HttpTarget, name: str, told: log.Log, outside: Outside
) -> Callable[[Loop, CarrierSink, Carried], Carries] | None:
    """The carrier that logs in if the server wants a login; C{None} where the options leave it no part."""
    port = found.callback_port or "0"
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise Wrong("--callback-port is a port.")
    if found.client_secret is not None and found.client_id is None:
        raise Wrong("--client-secret needs --client-id.")
    if found.no_login or any(each.lower() == "authorization" for each, _ in reached.own):
        return None
    secret = options.expanded(found.client_secret or "", "--client-secret", os.curdir, told.warn)
    via = target.parent(found.via) if found.via is not None else None
    # Pins, and the certificate that we show, are the server's own.
    near = _secure(found)
    far = target.secure_by(ca=tuple(found.ca), pins=(), cert=None, key=None, config=lambda: _config(found))

    def elsewhere(loop: Loop, text: str, sink: CarrierSink) -> Carrier:
        from lanrelay.bridge.carrier import Carrier

        where = target.url(text)
        assert where is not None  # the caller has looked
        secure = near if where.host_port == reached.url.host_port else far
        there = target.HttpTarget(where, own=(), via=via, secure=secure)
        return Carrier(loop, there, sink, lambda error, ran: outside.explain(error, ran, str(where)))

    def login(loop: Loop, sink: CarrierSink, carried: Carried) -> Carries:
        from lanrelay.bridge.login.carrier import LoginCarrier
        from lanrelay.bridge.login.messages import Client
        from lanrelay.bridge.login.tokens import Keeper

        return LoginCarrier(
            loop,
            sink,
            url=lambda: str(reached.url),
            client=Client(found.client_id or "", secret, int(port)),
            keeper=Keeper(_logins_folder, (name, reached.url.path, found.client_id or "")),
            carried=carried,
            elsewhere=elsewhere,
            note=told.note,
        )

    return login


def _program(found: Options, words: list[str], told: log.Log) -> int:
    import time

    from lanrelay.bridge.bridge import Bridge
    from lanrelay.bridge.conversation import Settings
    from lanrelay.bridge.dialogue import Dialogue
    from lanrelay.bridge.program import Program
    from lanrelay.bridge.store import Store

    # In another folder the same words may mean another program.
    store = Store(_store_folder, ("--", os.getcwd(), *words))
    settings = Settings(
        transport="http",
        ignore_tools=tuple(found.ignore_tools),
        only_tools=tuple(found.only_tools),
        hold=options.seconds(found.hold),
        remembered=None if found.no_cache else store,
    )

    def carrier(loop: Loop, sink: CarrierSink) -> Program:
        return Program(loop, words, sink, told.note)

    bridge = Bridge(Dialogue(settings=settings, now=time.monotonic()), carrier, told.note)
    _has_begun()
    bridge.run()
    return 0


def _target(found: Options, where: Url | None, told: log.Log, outside: Outside) -> HttpTarget:
    own = options.headers(found, told.warn)
    secure = _secure(found)
    if where is not None:
        via = target.parent(found.via) if found.via is not None else None
        return target.HttpTarget(where, own=own, via=via, secure=secure)
    from lanrelay.bridge import names

    name, _, path = found.target.partition("/")
    if not name or not all(letter.isalnum() or letter in "-_." for letter in name):
        raise Wrong("A target is a URL, or the name of a listener.")
    if found.via is not None:
        raise Wrong("--via is for a URL; a listener has its own way.")
    made = names.NamedTarget(
        name, f"/{path}" if path else "", lambda: outside.listeners(found.config), own=own, secure=secure
    )
    try:
        made.knows(names.place_of(name, made.asked, outside.listeners(found.config)))
    except names.NotThere as error:
        told.warn(str(error))  # the bridge waits for it, as for any target that is down
        if outside.is_pipe(found.config, name):
            made.is_a_pipe()
    return made


def _secure(found: Options) -> Callable[[Url], Secure]:
    for text in found.pins:
        from lanrelay.bridge.secure import pin

        try:
            pin(text)
        except ValueError as error:
            raise Wrong(f"--pin: {error}.") from None
    for file in (*found.ca, found.cert, found.key):
        if file is not None and file != "system" and not os.path.exists(file):
            raise Wrong(f"There is no file {file}.")
    return target.secure_by(
        ca=tuple(found.ca),
        pins=tuple(found.pins),
        cert=found.cert,
        key=found.key,
        config=lambda: _config(found),
    )


def _config(found: Options) -> Path:
    """The configuration file, beside which C{trust/} is; it need not exist."""
    from pathlib import Path

    from lanrelay.config.default_path import NotFound, find, users_own

    try:
        return find(Path(found.config) if found.config is not None else None)
    except NotFound:
        return users_own()


def _store(found: Options, reached: HttpTarget, name: str) -> Store:
    """The store, made at its first use: finding its folder takes imports, and the start has to be quick."""
    from lanrelay.bridge.store import Store

    login = "" if found.no_login else found.client_id or ""
    return Store(
        _store_folder,
        (
            name,
            reached.url.path,
            found.transport,
            *(f"{name}: {value}" for name, value in reached.own),
            "--",
            found.cert or "",
            found.via or "",
            login,
        ),
    )


def _store_folder() -> str:
    from lanrelay.config.default_path import state_folder

    return str(state_folder() / "stdio")


def _logins_folder() -> str:
    from lanrelay.config.default_path import state_folder

    return str(state_folder() / "logins")
