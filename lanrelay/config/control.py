"""
Where the control socket of a relay is, for the relay and for those who look for it alike.

This module is imported by commands that should answer at once: nothing but the standard library, until a file
names the socket itself.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

LONGEST = 103
"""Bytes of a unix socket's path: 104 with the final NUL on macOS and BSD, 108 on Linux."""


def default_paths(
    config: Path,
    *,
    environment: Mapping[str, str] = os.environ,
    platform: str = sys.platform,
    uid: int | None = None,
    home: Path | None = None,
) -> tuple[Path, ...]:
    """
    Where the socket of the relay with this configuration file may be; it is the first that can be had.

    A folder of the user's that is gone after the next boot: C{$RUNTIME_DIRECTORY} (a systemd unit's own),
    C{$XDG_RUNTIME_DIR}, C{/run/user/UID}; on macOS, where the user's temporary folder is swept of old files,
    C{~/Library/Application Support}. Last, C{/tmp/lanrelay-UID}. Different environments of one user (a unit,
    a login, cron) may begin the list differently, so a command that looks for a relay goes through all of it.

    @param config: absolute or relative to the working folder.
    @param uid: the user's, by default ours.
    @param home: of that user, by default as the user database has it, for C{HOME} may be anything.
    """
    uid = os.getuid() if uid is None else uid
    name = _name(config, platform=platform)
    folders = [
        Path(folder)
        for folder in environment.get("RUNTIME_DIRECTORY", "").split(":")[:1]
        if os.path.isabs(folder)
    ]
    if platform == "darwin":
        folders.append((home or _home(uid)) / "Library" / "Application Support" / "lanrelay")
    else:
        runtime = environment.get("XDG_RUNTIME_DIR", "")
        folders += [Path(runtime) / "lanrelay"] if os.path.isabs(runtime) else []
        folders.append(Path(f"/run/user/{uid}/lanrelay"))
    folders.append(Path(f"/tmp/lanrelay-{uid}"))
    paths = [folder / name for folder in dict.fromkeys(folders)]
    return tuple(path for path in paths if len(os.fsencode(path)) <= LONGEST)


def _name(config: Path, *, platform: str = sys.platform) -> str:
    """One for each configuration file, however the way to it is written."""
    from hashlib import sha256  # 3 ms

    folder, file = os.path.split(os.path.abspath(config))
    where = os.path.join(os.path.realpath(folder), file)
    if platform == "darwin":
        where = as_stored(where) or where
        file = os.path.basename(where)
    stem = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in Path(file).stem)
    return f"{stem[:16]}-{sha256(os.fsencode(where)).hexdigest()[:16]}.sock"


_O_SYMLINK, _F_GETPATH, _MAXPATHLEN = 0x200000, 50, 1024  # <sys/fcntl.h>, <sys/param.h> of macOS


def as_stored(path: str) -> str | None:
    """
    C{path} as macOS has it, whose file systems take C{Relay.yaml} for C{relay.yaml}, and an accent written as
    one letter for one written as two. C{None}: it cannot be opened. Not yet seen on a Mac.
    """
    import fcntl

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | _O_SYMLINK)
    except OSError:
        return None
    try:
        found = fcntl.fcntl(descriptor, _F_GETPATH, b"\0" * _MAXPATHLEN)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return os.fsdecode(found.partition(b"\0")[0]) or None


def _home(uid: int) -> Path:
    import pwd

    try:
        return Path(pwd.getpwuid(uid).pw_dir)
    except KeyError:
        return Path("/tmp") / f"lanrelay-{uid}"


def is_served(path: str | Path) -> bool:
    """
    Whether a program has the unix socket at C{path} open, even if its queue is full, or nobody accepts from
    it yet.

    To connect a socket for streams does not tell: macOS refuses it while the queue is full, as if nobody were
    there. A socket for datagrams is refused as one of the wrong kind if somebody is there.

    @raise OSError: it cannot be told.
    """
    import socket  # late: not every command comes here

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError as error:
            if error.errno != errno.EPROTOTYPE:
                raise
    return True


def is_believable(path: Path, *, config: Path | None = None) -> bool:
    """
    Whether the socket at C{path} is one that nobody but this user or root can have put there.

    To root the owner of the configuration file counts as this user, because root asks for that user's relay.
    So does the owner of a folder right below C{/run}, which only root can have made (C{RuntimeDirectory=}).
    """
    uid = os.geteuid()
    believed = {0, uid}
    try:
        found, folder = os.lstat(path), os.stat(path.parent)
        if uid == 0:
            if config is not None:
                believed.add(os.stat(config).st_uid)
            if os.path.dirname(os.path.realpath(path.parent)) in ("/run", "/run/private"):
                believed.add(folder.st_uid)
    except OSError:
        return False
    open_to_all = folder.st_mode & stat.S_IWOTH and not folder.st_mode & stat.S_ISVTX
    return (
        stat.S_ISSOCK(found.st_mode)
        and found.st_uid in believed
        and folder.st_uid in believed
        and not open_to_all
    )


def paths_of_file(config: Path, *, environment: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """
    Where the relay with this file has its socket, also when there is something wrong with the file.

    @return: empty where the file says C{off}.
    """
    try:
        with open(config, "rb") as file:
            text = file.read(1024 * 1024).decode("utf-8", "replace")
    except OSError:
        text = ""
    if "control" in text:
        from lanrelay.config.load import control_of  # YAML: 20 ms, for the few files that have the key

        named = control_of(config, text, environment=environment)
        if named is not None:
            return named
    paths = default_paths(config, environment=environment)
    units = Path("/run/lanrelay") / _name(config)  # RuntimeDirectory=lanrelay of a system unit
    others: tuple[Path, ...] = ()
    if os.getuid() == 0 and os.path.exists(config):  # root asks for somebody's relay
        others = default_paths(config, environment={}, uid=os.stat(config).st_uid)
    return tuple(dict.fromkeys((*paths, units, *others)))
