"""systemd's unit files, as text."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lanrelay.errors import StartError


def user_unit(command: str) -> str:
    """
    The user unit.

    @param command: the line of C{ExecStart}, as L{command_line} makes it.
    """
    return f"""\
{_begin(command)}NoNewPrivileges=yes
UMask=0077

[Install]
WantedBy=default.target
"""


def _begin(command: str, *, more: str = "") -> str:
    """
    The beginning that both units have.

    @param more: stands behind the description, with its line end before it.
    """
    return f"""\
[Unit]
Description=lanrelay, from loopback to the LAN{more}
# With status 1 it ends when its configuration is wrong or a port is taken. It is tried again for as long as
# it takes, so that what is mended later is in force then.
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart={command}
# A wrong configuration changes nothing; the journal says what is wrong with it.
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=5
# What is under way has timeouts.drain (3s by default) to end; a longer one is announced to systemd.
TimeoutStopSec=15
# A relay that does not turn for so long is started anew.
WatchdogSec=30
"""


def system_unit(command: str) -> str:
    """
    The system unit, with all the locks that the relay bears.

    @param command: the line of C{ExecStart}, as L{command_line} makes it.
    """
    begin = _begin(command, more="\nAfter=network.target")
    return f"""\
{begin}
# A user that exists only while it runs. It may write to /run/lanrelay (the control socket, unix: listeners)
# and to /var/log/lanrelay (log.file), and must be able to read the configuration and what that names.
DynamicUser=yes
RuntimeDirectory=lanrelay
RuntimeDirectoryMode=0755
LogsDirectory=lanrelay
LogsDirectoryMode=0750
UMask=0077

# Secrets stay readable for root only. For each of them a line like this one, and in the configuration
# "${{file:/run/credentials/lanrelay.service/nas-token}}":
#LoadCredential=nas-token:/etc/lanrelay/nas-token

NoNewPrivileges=yes
# Ports below 1024 are opened by a .socket unit, see lanrelay.socket.
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateUsers=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProcSubset=pid
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
# AF_NETLINK is for the look-up of names: it asks which address families this machine has.
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
LockPersonality=yes
RemoveIPC=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
# Not MemoryDenyWriteExecute: the callbacks of Python's OpenSSL need memory that is both, and TLS would fail.

[Install]
WantedBy=multi-user.target
"""


def command_line(words: Sequence[str]) -> str:
    """
    Words as C{ExecStart} wants them: quoted, and nothing in them taken for a specifier or a variable.

    @raise StartError: a word holds what no unit file can.
    """
    program, *arguments = words
    if any(letter in program for letter in "\"'\\"):
        raise StartError(
            f"systemd starts no program with quotes or backslashes in its path, as in {program}",
            remedy="install lanrelay elsewhere",
        )
    # Of the program specifiers are expanded and variables are not (systemd.service(5)).
    return " ".join([_word(program), *(_word(word.replace("$", "$$")) for word in arguments)])


def _word(word: str) -> str:
    if any(ord(letter) < 0x20 or ord(letter) == 0x7F for letter in word):
        raise StartError(f"{word!r} cannot stand in a unit file", remedy="choose another path")
    word = word.replace("%", "%%")
    if re.fullmatch(r"[\w@%$+=:,./-]+", word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
