"""The way to one address of a target, step by step: TCP, the parent proxy, TLS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from lanrelay import commands
from lanrelay.addresses import IPAddress
from lanrelay.config import model
from lanrelay.errors import DialError, DialTimeout, ParentTimeout
from lanrelay.examine.routes import Route, route_to
from lanrelay.transport.stream import Stream
from lanrelay.upstream.dial import Target
from lanrelay.upstream.parent import Parent
from lanrelay.upstream.race import Connect, SocketAddress, connect_once
from lanrelay.upstream.resolve import Resolver

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """
    What an examination needs of its surroundings.

    @ivar run: runs the system's commands; called in a thread.
    @ivar platform: as C{sys.platform}.
    """

    reactor: Any
    resolver: Resolver
    platform: str
    run: commands.Runner = commands.run
    connect: Connect = connect_once

    async def route(self, address: IPAddress) -> Route | None:
        """As L{route_to}."""
        return await route_to(address, self.run, reactor=self.reactor, platform=self.platform)

    def bounded(self, waiting: Deferred[T], seconds: float, late: Callable[[], DialError]) -> Deferred[T]:
        """The result that comes within C{seconds}; else the work is cancelled, and C{late()} is raised."""

        def too_late(result: T | Failure, _: float) -> T | Failure:
            if isinstance(result, Failure) and isinstance(result.value, CancelledError):
                raise late()
            return result

        return waiting.addTimeout(max(seconds, 0.001), self.reactor, too_late)

    async def pause(self, seconds: float) -> None:
        """Let time pass."""
        waiting: Deferred[None] = Deferred()
        call = self.reactor.callLater(seconds, waiting.callback, None)
        try:
            await waiting
        finally:
            if call.active():
                call.cancel()


class Opener:
    """
    Opens connections to one address of an upstream, as the relay would.

    @param address: of the target, or of the parent proxy where there is one.
    @param timeout: seconds for each of the steps.
    @param tls: a L{lanrelay.examine.handshake.Shown}, or C{None} without TLS.
    """

    def __init__(
        self, means: Means, upstream: model.Upstream, address: SocketAddress, timeout: float, tls: Any = None
    ) -> None:
        self._means = means
        self._timeout = timeout
        self.upstream = upstream
        self.address = address
        self.tls = tls
        self.target = target_of(upstream)
        self.parent = None if upstream.via is None else Parent(upstream.via)

    async def open(self) -> Stream:
        """
        All steps.

        @return: parked and paused; whoever gets it owns it.
        @raise DialError: with C{target}, C{address} and C{elapsed}.
        """
        stream = await self.connect()
        if self.parent is not None:
            stream = await self.pass_parent(stream)
        return await self.secure(stream) if self.tls is not None else self.greeted(stream)

    async def connect(self) -> Stream:
        """TCP alone; raises as L{open}."""
        target = self.target if self.parent is None else Target(self.parent.host, self.parent.port)
        try:
            return await connect_to(self._means, self.address, str(target), self._timeout)
        except DialError as error:
            error.parent = "" if self.parent is None else self.parent.name
            raise

    async def pass_parent(self, stream: Stream) -> Stream:
        """
        Have the parent proxy open the way.

        @param stream: to the parent; taken over.
        """
        parent, means = self.parent, self._means
        assert parent is not None
        began = means.reactor.seconds()
        late = partial(ParentTimeout, f"it did not open the way to {self.target} within {self._timeout:g} s")
        try:
            return await means.bounded(
                parent.open(stream, self.target.host, self.target.port), self._timeout, late
            )
        except DialError as error:
            error.parent, error.address, error.target = parent.name, str(self.address), str(self.target)
            error.elapsed = means.reactor.seconds() - began
            raise

    async def secure(self, stream: Stream) -> Stream:
        """
        The PROXY header if one is wanted, and TLS.

        @param stream: taken over.
        """
        from lanrelay.transport.tls import secure_client

        began = self._means.reactor.seconds()
        try:
            return await secure_client(
                self._means.reactor, self.greeted(stream), self.tls, timeout=self._timeout
            )
        except DialError as error:
            error.target, error.address = self.label, str(self.address)
            error.elapsed = self._means.reactor.seconds() - began
            raise

    def greeted(self, stream: Stream) -> Stream:
        """The same stream, with the PROXY header sent if the upstream is configured to get one."""
        if self.upstream.send_proxy is not None:
            from lanrelay.wire.proxy_header import build

            stream.write(build(self.upstream.send_proxy, None))
        return stream

    @property
    def label(self) -> str:
        """The upstream's own host and port."""
        url = self.upstream.url
        return str(Target(url.host, url.port, url.unix_path))


def target_of(upstream: model.Upstream) -> Target:
    """What is dialed: C{address} where it is set."""
    url = upstream.url
    if upstream.address is not None:
        return Target(upstream.address.host, upstream.address.port)
    return Target(url.host, url.port, url.unix_path)


async def connect_to(means: Means, address: SocketAddress, target: str, timeout: float) -> Stream:
    """
    Connect to one address.

    @raise DialError: with C{target}, C{address} and C{elapsed}.
    """
    began = means.reactor.seconds()
    try:
        return await means.bounded(
            means.connect(means.reactor, address),
            timeout,
            lambda: DialTimeout(f"no answer within {timeout:g} s"),
        )
    except DialError as error:
        error.target, error.address = target, str(address)
        error.elapsed = means.reactor.seconds() - began
        raise
