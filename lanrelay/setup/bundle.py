"""
An app bundle of the relay's own, C{lanrelay.app}: what is in it. Not seen on a Mac yet.

macOS asks about, and lists in its settings, the app that is responsible for a program. So that this is the
relay itself, the program of the bundle is a copy of the Python interpreter, signed as the bundle's; its
launcher finds what is installed in the virtual environment.
"""

from __future__ import annotations

import json
import plistlib
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lanrelay.commands import Runner
from lanrelay.errors import StartError
from lanrelay.setup.files import File

IDENTIFIER = "lanrelay.app"

QUESTION = "lanrelay leads programs on this Mac to devices on your network, as its configuration says."
"""What stands in macOS' question."""

# What a Python says of itself: the interpreter to be copied, where its own library is, and the folders
# of what is installed. The program in a framework's `bin` only starts the one in its Python.app.
_ASK = """
import json, os, site, sys
own = os.path.join(sys.base_prefix, "Resources", "Python.app", "Contents", "MacOS", "Python")
program = own if os.path.exists(own) else os.path.realpath(getattr(sys, "_base_executable", sys.executable))
folders = site.getsitepackages() + ([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])
print(json.dumps([program, sys.base_prefix, [one for one in folders if os.path.isdir(one)]]))
"""


@dataclass(frozen=True, slots=True)
class Python:
    """
    The Python that the relay is installed in.

    @ivar path: with which one calls it.
    @ivar program: the interpreter itself, no link and no virtual environment's.
    @ivar prefix: where its own library is.
    @ivar folders: of what is installed.
    """

    path: str
    program: str
    prefix: str
    folders: tuple[str, ...]


def ask_python(path: Path, run: Runner) -> Python:
    """
    @raise StartError: it does not say.
    """
    answer = run(("env", "-u", "PYTHONPATH", "-u", "PYTHONHOME", str(path), "-c", _ASK))
    try:
        program, prefix, folders = json.loads(answer.output)
    except ValueError:
        raise StartError(f"{path} does not say where its library is: {answer.reason}") from None
    return Python(str(path), program, prefix, tuple(folders))


def try_copy(python: Python, run: Runner) -> None:
    """
    Before anything is changed: whether the interpreter runs from another place than its own.

    @raise StartError: it does not.
    """
    with tempfile.TemporaryDirectory(prefix="lanrelay-") as folder:
        copy = Path(folder) / "lanrelay"
        try:
            shutil.copy(python.program, copy)
        except OSError as error:
            raise StartError(f"{python.program} cannot be copied: {error.strerror}") from error
        answer = run(("env", f"PYTHONHOME={python.prefix}", str(copy), "-S", "-c", "import site, ssl"))
    if not answer.good:
        raise StartError(
            f"{python.program} does not run from a copy: {answer.reason}", remedy="take another mode"
        )


def bundle_files(folder: Path, python: Python, marker: Path, version: str) -> list[File]:
    """
    The files of the bundle. They are made here, and hold nobody's own work, so no copy of them is kept.

    @param marker: as in L{lanrelay.setup.first_touch.touch_once}.
    @raise StartError: the interpreter cannot be read.
    """
    try:
        interpreter = Path(python.program).read_bytes()
    except OSError as error:
        raise StartError(f"{python.program} cannot be read: {error.strerror}") from error
    return [
        File(
            path=folder / "Contents/Info.plist",
            content=plistlib.dumps(_info(version), sort_keys=False),
            made=True,
        ),
        File(
            path=program_of(folder),
            content=interpreter,
            mode=0o755,
            made=True,
            copy_of=Path(python.program),
        ),
        File(path=launcher_of(folder), content=_launcher(python, marker).encode(), made=True),
    ]


def program_of(folder: Path) -> Path:
    """The bundle's program: the interpreter."""
    return folder / "Contents/MacOS/lanrelay"


def launcher_of(folder: Path) -> Path:
    """What the interpreter runs."""
    return folder / "Contents/Resources/launcher.py"


def command_of(folder: Path, arguments: Sequence[str]) -> list[str]:
    """
    What starts the relay in the bundle; C{PYTHONHOME} must be the interpreter's prefix.

    C{-S}, because else packages beside the interpreter would hide those of the virtual environment.
    """
    return [str(program_of(folder)), "-S", str(launcher_of(folder)), *arguments]


def is_ours(folder: Path) -> bool:
    """Whether a bundle is one that was made here."""
    try:
        with open(folder / "Contents/Info.plist", "rb") as file:
            return bool(plistlib.load(file).get("CFBundleIdentifier") == IDENTIFIER)
    except (OSError, ValueError, AttributeError):
        return False


def _info(version: str) -> dict[str, object]:
    return {
        "CFBundleIdentifier": IDENTIFIER,
        "CFBundleName": "lanrelay",
        "CFBundleExecutable": "lanrelay",
        "CFBundlePackageType": "APPL",
        "CFBundleInfoDictionaryVersion": "6.0",
        "CFBundleVersion": version,
        "CFBundleShortVersionString": version,
        "LSUIElement": True,  # no icon in the Dock
        "NSLocalNetworkUsageDescription": QUESTION,
    }


def _launcher(python: Python, marker: Path) -> str:
    return f'''\
"""Becomes the relay, in the interpreter of this bundle. Written by `lanrelay service install --mode app`."""

import os
import site
import sys

os.environ.pop("PYTHONHOME", None)  # this interpreter's, and of no program that the relay starts
sys.executable = {python.path!r}
for folder in {list(python.folders)!r}:
    site.addsitedir(folder)

if sys.argv[1:] == ["--check"]:
    import lanrelay.tap
else:
    if sys.platform == "darwin":
        from lanrelay.setup.first_touch import touch_once

        touch_once({str(marker)!r})
    from twisted.scripts.twistd import run

    sys.argv[0] = "twistd"
    run()
'''
