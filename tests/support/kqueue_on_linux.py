"""
C{select.kqueue} for Linux, which behaves as on macOS, so that C{twisted.internet.kqreactor} can be tested
there.

    python tests/support/kqueue_on_linux.py trial tests.transport     # on the kqueue reactor
    python tests/support/kqueue_on_linux.py twistd -n lanrelay -c relay.yaml
    python tests/support/kqueue_on_linux.py MODULE [ARGUMENT...]      # as `python -m MODULE`

C{install()} puts C{kqueue}, C{kevent} and the constants into C{select}, as CPython documents them, and takes
C{epoll} out, as on macOS; call it before anything imports C{twisted.internet.kqreactor} or C{selectors}.
Programs that a test starts get it, too, where C{KQUEUE_ON_LINUX} is set and the folder of C{sitecustomize.py}
is on C{PYTHONPATH}; C{main} sees to both.

It stands on epoll, in two sets (a filter each, as kqueue has a knote for each) below a third that waits. What
differs from epoll, and is kept:

 - a change is of one filter: a socket that is ready for both comes twice in one list;
 - a knote goes with its descriptor, not with the open file;
 - EV_EOF stands beside what is still to be read, with the count of that in C{data} and the pending error of
   the socket in C{fflags}; a writer is told of a reset as EV_EOF as well;
 - C{data} of a filter for writing is the room in the buffer, of a listening socket the length of the queue;
 - deleting what is not there is ENOENT, adding a closed descriptor EBADF;
 - a forked child has no kqueue.

What Linux does not tell: the number of a pending error (asking clears it), so C{fflags} is ECONNRESET where
there is one. Filters other than for reading and writing are refused with EINVAL, and so are regular files.
KQUEUE_ORDER=read|write|alternate and KQUEUE_PORTION=N vary what kqueue leaves open, see L{Manners}.
"""

from __future__ import annotations

import errno
import fcntl
import importlib
import os
import select
import socket
import stat
import struct
import sys
import termios
import time
import weakref
from collections.abc import Iterable
from typing import Any

CONSTANTS = {
    "KQ_FILTER_READ": -1,
    "KQ_FILTER_WRITE": -2,
    "KQ_FILTER_AIO": -3,
    "KQ_FILTER_VNODE": -4,
    "KQ_FILTER_PROC": -5,
    "KQ_FILTER_SIGNAL": -6,
    "KQ_FILTER_TIMER": -7,
    "KQ_EV_ADD": 0x0001,
    "KQ_EV_DELETE": 0x0002,
    "KQ_EV_ENABLE": 0x0004,
    "KQ_EV_DISABLE": 0x0008,
    "KQ_EV_ONESHOT": 0x0010,
    "KQ_EV_CLEAR": 0x0020,
    "KQ_EV_SYSFLAGS": 0xF000,
    "KQ_EV_FLAG1": 0x2000,
    "KQ_EV_ERROR": 0x4000,
    "KQ_EV_EOF": 0x8000,
    "KQ_NOTE_LOWAT": 0x00000001,
    "KQ_NOTE_DELETE": 0x00000001,
    "KQ_NOTE_WRITE": 0x00000002,
    "KQ_NOTE_EXTEND": 0x00000004,
    "KQ_NOTE_ATTRIB": 0x00000008,
    "KQ_NOTE_LINK": 0x00000010,
    "KQ_NOTE_RENAME": 0x00000020,
    "KQ_NOTE_REVOKE": 0x00000040,
    "KQ_NOTE_EXIT": 0x80000000,
    "KQ_NOTE_FORK": 0x40000000,
    "KQ_NOTE_EXEC": 0x20000000,
    "KQ_NOTE_PCTRLMASK": 0xFFF00000,
    "KQ_NOTE_PDATAMASK": 0x000FFFFF,
    "KQ_NOTE_TRACK": 0x00000001,
    "KQ_NOTE_CHILD": 0x00000004,
    "KQ_NOTE_TRACKERR": 0x00000002,
}

# Taken before `install` hides them, for macOS has none.
_epoll = select.epoll
_IN, _OUT, _RDHUP, _HUP, _ERR, _EDGE = (
    select.EPOLLIN,
    select.EPOLLOUT,
    select.EPOLLRDHUP,
    select.EPOLLHUP,
    select.EPOLLERR,
    select.EPOLLET,
)

READ, WRITE = -1, -2
_ADD, _DELETE, _ENABLE, _DISABLE, _ONESHOT, _CLEAR = 0x1, 0x2, 0x4, 0x8, 0x10, 0x20
_ERROR, _EOF = 0x4000, 0x8000
_INTEREST = {READ: _IN | _RDHUP, WRITE: _OUT}
_SIOCOUTQ = 0x5411


class kevent:
    """One event or change; ordered and compared by all of its fields, as CPython's."""

    __slots__ = ("data", "fflags", "filter", "flags", "ident", "udata")
    __hash__ = None  # type: ignore[assignment]

    def __init__(
        self,
        ident: Any,
        filter: int = READ,
        flags: int = _ADD,
        fflags: int = 0,
        data: int = 0,
        udata: int = 0,
    ) -> None:
        self.ident = ident if isinstance(ident, int) else ident.fileno()
        if not isinstance(self.ident, int):
            raise TypeError("argument must be an int, or have a fileno() method.")
        for value, lowest, most in (
            (self.ident, -(1 << 63), (1 << 64) - 1),
            (filter, -(1 << 15), (1 << 15) - 1),
            (flags, 0, (1 << 16) - 1),
            (fflags, 0, (1 << 32) - 1),
            (data, -(1 << 63), (1 << 63) - 1),
            (udata, 0, (1 << 64) - 1),
        ):
            if not lowest <= value <= most:
                raise OverflowError("Python int too large to convert to C type")
        self.filter, self.flags, self.fflags, self.data, self.udata = filter, flags, fflags, data, udata

    def _all(self) -> tuple[int, ...]:
        return (self.ident, self.filter, self.flags, self.fflags, self.data, self.udata)

    def __eq__(self, other: object) -> Any:
        return self._all() == other._all() if isinstance(other, kevent) else NotImplemented

    def __ne__(self, other: object) -> Any:
        return self._all() != other._all() if isinstance(other, kevent) else NotImplemented

    def __lt__(self, other: object) -> Any:
        return self._all() < other._all() if isinstance(other, kevent) else NotImplemented

    def __le__(self, other: object) -> Any:
        return self._all() <= other._all() if isinstance(other, kevent) else NotImplemented

    def __gt__(self, other: object) -> Any:
        return self._all() > other._all() if isinstance(other, kevent) else NotImplemented

    def __ge__(self, other: object) -> Any:
        return self._all() >= other._all() if isinstance(other, kevent) else NotImplemented

    def __repr__(self) -> str:
        return (
            f"<select.kevent ident={self.ident} filter={self.filter} flags=0x{self.flags:x} "
            f"fflags=0x{self.fflags:x} data=0x{self.data:x} udata=0x{self.udata:x}>"
        )


class _Knote:
    """What is registered for one descriptor and filter."""

    __slots__ = ("enabled", "flags", "kind", "udata")

    def __init__(self, descriptor: int, flags: int, udata: int) -> None:
        self.kind = _kind(descriptor)
        self.flags = flags & (_ONESHOT | _CLEAR)
        self.udata = udata
        self.enabled = not flags & _DISABLE


def _kind(descriptor: int) -> str:
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISSOCK(mode):
        return "pipe" if stat.S_ISFIFO(mode) else "other"
    sock = socket.socket(fileno=descriptor)
    try:
        if sock.type == socket.SOCK_STREAM and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return "listening"
        return "unix" if sock.family == socket.AF_UNIX else "inet"
    finally:
        sock.detach()


class Manners:
    """
    In which of several allowed orders, and how many at a time, events come. Set before the reactor runs.

    @cvar order: C{"alternate"}, C{"read"} or C{"write"}: which filter's events come first in a list.
    @cvar portion: at most so many events a call, whatever was asked for; kqueue need not give all of them.
    """

    order = os.environ.get("KQUEUE_ORDER", "alternate")
    portion = int(os.environ.get("KQUEUE_PORTION", "0"))


class kqueue:
    """A queue of events, as C{select.kqueue} is on macOS."""

    def __init__(self) -> None:
        self._sets = {READ: _epoll(), WRITE: _epoll()}
        self._both = _epoll()
        for one in self._sets.values():
            self._both.register(one.fileno(), _IN)
        self._knotes: dict[int, dict[int, _Knote]] = {READ: {}, WRITE: {}}
        self._turn = 0
        self._owner = os.getpid()
        _living.add(self)

    @classmethod
    def fromfd(cls, fd: int) -> kqueue:
        """None can be made from a number here."""
        raise OSError(errno.ENOSYS, "kqueue.fromfd")

    @property
    def closed(self) -> bool:
        return self._both.closed

    def fileno(self) -> int:
        return self._both.fileno()

    def close(self) -> None:
        for one in (*self._sets.values(), self._both):
            one.close()

    def control(
        self, changelist: Iterable[kevent] | None, max_events: int, timeout: float | None = None, /
    ) -> list[kevent]:
        """Make the changes, then wait for up to C{max_events} events, C{timeout} seconds or for ever."""
        if self.closed:
            raise ValueError("I/O operation on closed kqueue object")
        if max_events < 0:
            raise ValueError(f"Length of eventlist must be 0 or positive, got {max_events}")
        if timeout is not None and timeout < 0:
            raise ValueError("timeout must be positive or None")
        failures: list[kevent] = []
        for change in changelist or ():
            if not isinstance(change, kevent):
                raise TypeError("changelist must be an iterable of select.kevent objects")
            try:
                self._change(change)
            except OSError as error:
                if len(failures) >= max_events:
                    raise
                failures.append(
                    kevent(change.ident, change.filter, _ERROR, 0, error.errno or 0, change.udata)
                )
        if failures or max_events == 0:
            return failures
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            events = self._collect(max_events)
            if events or deadline == 0:
                return events
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return []
            # epoll's clock ticks in milliseconds: never shorter than was asked for
            if not self._both.poll(None if left is None else max(left, 0.001)) and left is not None:
                deadline = 0

    # changes -------------------------------------------------------------------------------------------

    def _change(self, change: kevent) -> None:
        if change.filter not in self._sets:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fd, which = change.ident, change.filter
        try:
            os.fstat(fd)
        except (OSError, OverflowError):
            self._knotes[which].pop(fd, None)  # it went with its descriptor
            raise OSError(errno.EBADF, os.strerror(errno.EBADF)) from None
        knote = self._living(fd, which)
        if change.flags & _DELETE:
            if knote is None:
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
            del self._knotes[which][fd]
            self._sets[which].unregister(fd)
            return
        if knote is None:
            if not change.flags & _ADD:
                raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
            knote = _Knote(fd, change.flags, change.udata)
            try:
                self._sets[which].register(fd, self._mask(which, knote))
            except PermissionError:  # a regular file: kqueue takes it, and has it always ready
                raise OSError(errno.EINVAL, "kqueue_on_linux has no regular files") from None
            self._knotes[which][fd] = knote
            return
        if change.flags & _ADD:
            knote.flags, knote.udata = change.flags & (_ONESHOT | _CLEAR), change.udata
        if change.flags & _DISABLE:
            knote.enabled = False
        elif change.flags & (_ENABLE | _ADD):
            knote.enabled = True
        self._sets[which].modify(fd, self._mask(which, knote))

    def _living(self, fd: int, which: int) -> _Knote | None:
        """The knote, if its descriptor was not closed meanwhile and its number given to another file."""
        knote = self._knotes[which].get(fd)
        if knote is not None:
            try:
                self._sets[which].modify(fd, self._mask(which, knote))
            except FileNotFoundError:
                del self._knotes[which][fd]
                return None
        return knote

    @staticmethod
    def _mask(which: int, knote: _Knote) -> int:
        if not knote.enabled:
            return _EDGE  # errors come once, and are thrown away
        return _INTEREST[which] | (_EDGE if knote.flags & _CLEAR else 0)

    # events --------------------------------------------------------------------------------------------

    def _collect(self, most: int) -> list[kevent]:
        if Manners.portion:
            most = min(most, Manners.portion)
        self._turn += 1
        first = {"read": READ, "write": WRITE}.get(Manners.order, READ if self._turn % 2 else WRITE)
        events: list[kevent] = []
        for which in (first, READ + WRITE - first):
            if len(events) == most:
                break
            for fd, mask in self._sets[which].poll(0, most - len(events)):
                knote = self._knotes[which].get(fd)
                if knote is None or not knote.enabled:
                    continue
                event = self._event(fd, which, mask, knote)
                if event is None:
                    continue
                events.append(event)
                if knote.flags & _ONESHOT:
                    del self._knotes[which][fd]
                    self._sets[which].unregister(fd)
        return events

    def _event(self, fd: int, which: int, mask: int, knote: _Knote) -> kevent | None:
        flags, fflags = _ADD | knote.flags, 0
        try:
            if which == READ:
                data = self._readable(fd, knote)
                over = mask & (_RDHUP | _HUP)
            else:
                data = self._room(fd, knote)
                over = mask & (_HUP | _ERR)
        except OSError:
            return None  # closed by another thread, between the two calls
        if over and knote.kind != "listening":
            flags |= _EOF
            if mask & _ERR and knote.kind == "inet":
                fflags = errno.ECONNRESET
        return kevent(fd, which, flags, fflags, data, knote.udata)

    @staticmethod
    def _readable(fd: int, knote: _Knote) -> int:
        if knote.kind == "listening":
            return 1
        try:
            return int(struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"\0" * 4))[0])
        except OSError as error:
            if error.errno == errno.EBADF:
                raise
            return 1  # a descriptor that does not count

    @staticmethod
    def _room(fd: int, knote: _Knote) -> int:
        if knote.kind not in ("inet", "unix"):
            return 512  # PIPE_BUF of macOS
        sock = socket.socket(fileno=fd)
        try:
            room = sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
            waiting = struct.unpack("i", fcntl.ioctl(fd, _SIOCOUTQ, b"\0" * 4))[0]
            return max(int(room - waiting), 1)
        finally:
            sock.detach()


_living: weakref.WeakSet[kqueue] = weakref.WeakSet()


def _forked() -> None:
    for one in list(_living):
        one.close()


def install() -> None:
    """Put all of this into C{select}."""
    if hasattr(select, "kqueue"):
        return
    kevent.__module__ = kqueue.__module__ = "select"
    for name, value in CONSTANTS.items():
        setattr(select, name, value)
    select.kqueue, select.kevent = kqueue, kevent  # type: ignore[attr-defined]
    for name in [name for name in vars(select) if name.lower().startswith("epoll")]:
        delattr(select, name)  # macOS has none; programs that look for it then do without
    if "selectors" in sys.modules:  # `socket` has imported it
        importlib.reload(sys.modules["selectors"])
    os.register_at_fork(after_in_child=_forked)


def make_default() -> None:
    """Let C{from twisted.internet import reactor} and C{twistd} take the kqueue reactor."""
    from twisted.internet import default, kqreactor

    default.install = kqreactor.install


def _spread() -> None:
    """Have Pythons that are started from here do the same."""
    here = os.path.dirname(os.path.abspath(__file__))
    customized = os.path.join(here, "kqueue_site")
    paths = [customized, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    os.environ["KQUEUE_ON_LINUX"] = os.path.abspath(__file__)


def run_trial(arguments: list[str]) -> None:
    """Run trial on the kqueue reactor, with the turn that the relay and its commands give it."""
    from twisted.internet import kqreactor

    kqreactor.install()
    from twisted.internet import reactor
    from twisted.scripts.trial import run

    from lanrelay.transport.reactor_turn import quicken

    quicken(reactor)
    sys.argv = ["trial", *arguments]
    run()


def main(arguments: list[str]) -> None:
    import runpy

    if not arguments:
        sys.exit(__doc__)
    install()
    _spread()
    name = arguments[0]
    sys.argv = arguments
    sys.path[0] = os.getcwd()
    if name == "trial":
        run_trial(arguments[1:])
    elif name == "twistd":
        from twisted.internet import kqreactor
        from twisted.scripts.twistd import run

        kqreactor.install()
        run()
    else:
        make_default()
        runpy.run_module(name, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
