"""Opens the person's browser: with a list of arguments, never by a shell, and without our own output."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping

_WHERE_WINDOWS_ARE = ("DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME")


def opened(url: str, *, environment: Mapping[str, str] = os.environ) -> bool:
    """
    Whether a program took it.

    @param url: C{https://} or C{http://}; judged before.
    """
    for words in _candidates(url, environment):
        try:
            # Not Python's webbrowser: it lets some browsers write to our standard output.
            subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            continue
        return True
    return False


def _candidates(url: str, environment: Mapping[str, str]) -> list[list[str]]:
    found = []
    for one in environment.get("BROWSER", "").split(os.pathsep):
        try:
            words = shlex.split(one)
        except ValueError:
            continue
        if words:
            named = [word.replace("%s", url) for word in words]
            found.append(named if named != words else [*words, url])
    if found:
        return found
    if sys.platform == "darwin":
        return [["/usr/bin/open", url]]
    if not any(environment.get(name) for name in _WHERE_WINDOWS_ARE):
        return []
    programs = (("xdg-open",), ("wslview",), ("gio", "open"), ("sensible-browser",))
    return [[*words, url] for words in programs if shutil.which(words[0])]
