"""Carries out a Dockerfile without Docker: each of its stages is a folder, the root of its programs."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

OF_THE_MACHINE = ("bin", "dev", "lib", "lib64", "proc", "sbin", "usr")
"""What the image's base has, and what the kernel gives; here it is this machine's."""

LIBRARIES = "/libraries"
"""Where the packages are that an index would give."""

# The first word is the root; where it has what of the machine is told on standard input. All of it is
# there for the command alone, which is made of the other words.
_ENTER = """\
while read -r from to; do mount --rbind "$from" "$1$to" || exit 125; done <"$1.mounts"
exec chroot "${@:2}"
"""


class Instruction(NamedTuple):
    """One of a Dockerfile's, its lines joined."""

    word: str
    rest: str


def instructions(dockerfile: Path) -> list[Instruction]:
    lines = [line for line in dockerfile.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [Instruction(*line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


class Stage:
    """
    What one C{FROM} leads to.

    @ivar root: the folder.
    @ivar environ: what its programs have.
    @ivar user: as whom they run.
    """

    def __init__(self, root: Path, context: Path) -> None:
        self.root, self._context = root, context
        self._work = Path("/")
        self.user = "0:0"
        self.environ = {
            "PATH": "/base:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            # Nothing comes from an index: what it would give is here already.
            "PYTHONPATH": LIBRARIES,
            "PIP_NO_INDEX": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # pip reads it the wrong way round
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }
        self._base()

    def _base(self) -> None:
        """What the base image has: a system with users, and an interpreter that is called C{python}."""
        for name in ("tmp", "etc", "base", "root", LIBRARIES.strip("/")):
            (self.root / name).mkdir(parents=True)
        (self.root / "tmp").chmod(0o1777)
        mounts = {LIBRARIES: Path(sysconfig.get_path("purelib"))}
        for name in OF_THE_MACHINE:
            there = Path("/", name)
            if there.is_symlink():
                (self.root / name).symlink_to(os.readlink(there))
            elif there.is_dir():
                mounts[f"/{name}"] = there
        base = Path(sys.base_prefix).resolve()
        if not base.is_relative_to("/usr"):
            mounts[str(base)] = base
        for place in mounts:
            (self.root / place.strip("/")).mkdir(parents=True, exist_ok=True)
        self.root.with_name(f"{self.root.name}.mounts").write_text(
            "".join(f"{from_} {to}\n" for to, from_ in mounts.items())
        )
        etc = self.root / "etc"
        (etc / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        (etc / "group").write_text("root:x:0:\n")
        for name in ("ld.so.cache", "login.defs"):
            if Path("/etc", name).exists():
                shutil.copy(f"/etc/{name}", etc / name)
        python = self.root / "base" / "python"
        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        python.write_text(f'#!/bin/sh\nexec "{base / "bin" / version}" "$@"\n')
        python.chmod(0o755)

    def carry_out(self, one: Instruction, stages: dict[str, Stage]) -> None:
        """@param stages: the earlier ones, by name."""
        if one.word == "WORKDIR":
            self._work = self._work / one.rest
            self._at(one.rest).mkdir(parents=True, exist_ok=True)
        elif one.word == "ENV":
            for name, _, value in (each.partition("=") for each in shlex.split(one.rest)):
                self.environ[name] = value.replace("$PATH", self.environ["PATH"])
        elif one.word == "USER":
            self.user = one.rest
        elif one.word == "RUN":
            done = subprocess.run(
                self.within("sh", "-c", f'cd "{self._work}" && {one.rest}'),
                env=self.environ,
                capture_output=True,
                text=True,
                timeout=120,
                stdin=subprocess.DEVNULL,
            )
            assert done.returncode == 0, f"{one.rest}: {done.stdout}{done.stderr}"
        elif one.word == "COPY":
            words = one.rest.split()
            source = self._context
            if words[0].startswith("--from="):
                source = stages[words.pop(0).partition("=")[2]].root
            *names, target = words
            for name in names:
                self._copy(source / name.lstrip("/"), target)

    def _copy(self, source: Path, target: str) -> None:
        place = self._at(target)
        if source.is_dir():
            kept = shutil.ignore_patterns("__pycache__", "dropin.cache")  # as .dockerignore says
            shutil.copytree(source, place, symlinks=True, ignore=kept, dirs_exist_ok=True)
        else:
            place = place / source.name if target.endswith("/") else place
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, place)

    def _at(self, name: str) -> Path:
        """A path of the image's as one of the machine's; a slash at the end is lost."""
        return self.root / str(self._work / name).lstrip("/")

    def within(self, *command: str) -> list[str]:
        """The command that runs another one there, as its user."""
        enter = [str(shutil.which("unshare")), "--mount", "bash", "-c", _ENTER, "enter", str(self.root)]
        return [*enter, f"--userspec={self.user}", str(self.root), *command]


def built(dockerfile: Path, context: Path, folder: Path) -> Stage:
    """
    The last stage.

    @param folder: an empty one, where all of them are made.
    """
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for number, one in enumerate(instructions(dockerfile)):
        if one.word == "FROM":
            name = one.rest.partition(" AS ")[2] or str(number)
            stage = stages[name] = Stage(folder / name, context)
        else:
            assert stage is not None
            stage.carry_out(one, stages)
    assert stage is not None
    return stage


def lacking() -> Sequence[str]:
    """The programs that this takes and that are not here."""
    return [name for name in ("bash", "chroot", "mount", "unshare", "useradd") if shutil.which(name) is None]
