"""Sees to it that the relay, its peers and the tools are here; knows the standard library only."""

from __future__ import annotations

import compileall
import configparser
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
FROM_PYPI = ("mitmproxy", "proxy.py", "pproxy", "py-spy")
PACKAGES = {
    "gcc": "gcc libc6-dev",
    "haproxy": "haproxy",
    "nginx": "nginx-light",
    "squid": "squid",
    "tinyproxy": "tinyproxy",
    "socat": "socat",
    "caddy": "caddy",
    "wrk": "wrk",
    "setpriv": "util-linux",
    "taskset": "util-linux",
}
"""The programs, and the packages of Debian that have them."""


@dataclass(frozen=True)
class Environment:
    """
    Where things are.

    @ivar peers: a Python whose environment has what is in L{FROM_PYPI}; C{None} if it could not be made.
    """

    peers: Path | None

    def of_pypi(self, name: str) -> Path | None:
        command = None if self.peers is None else self.peers.with_name(name)
        return command if command is not None and command.exists() else None


def program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def from_debian(install: bool) -> None:
    """Say which packages are missing, or install them."""
    missing = sorted(
        {word for name, words in PACKAGES.items() if not program(name) for word in words.split()}
    )
    if not missing:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    if not install:
        print(f"Not here; --install does it as root:\n  {' '.join(command)}", file=sys.stderr)
    elif os.geteuid() != 0 or program("apt-get") is None:
        print(f"Only root on Debian can do this:\n  {' '.join(command)}", file=sys.stderr)
    else:
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        # Debian starts the services that it installs. These are not needed, and would be in the way.
        policy = Path("/usr/sbin/policy-rc.d")
        ours = not policy.exists()
        if ours:
            policy.write_text("#!/bin/sh\nexit 101\n")
            policy.chmod(0o755)
        try:
            subprocess.run(["apt-get", "-qq", "update"], env=quiet, check=True)
            subprocess.run(command, env=quiet, check=True)
        finally:
            if ours:
                policy.unlink()


def itself(folder: Path, module: str) -> None:
    """Go on in an environment under C{folder} that has what the relay needs, unless this Python has it."""
    setup = configparser.ConfigParser()
    setup.read(CHECKOUT / "setup.cfg")
    needed = setup["options"]["install_requires"].split()
    lacking = [requirement for requirement in needed if not _satisfied(requirement)]
    if not lacking:
        return
    python = folder.resolve() / "relay" / "bin" / "python"
    if Path(sys.executable) == python:
        raise SystemExit(f"{python} lacks {', '.join(lacking)}; remove {folder} and try again")
    if not python.exists():
        _make(python, needed)
    os.execv(python, [str(python), "-m", module, *sys.argv[1:]])


def compile_the_relay() -> None:
    """
    Put the relay's bytecode where an installation has it.

    If C{PYTHONDONTWRITEBYTECODE} is set, each start from a checkout would compile all of it anew.
    """
    compileall.compile_dir(CHECKOUT / "lanrelay", quiet=1)


def _satisfied(requirement: str) -> bool:
    """Whether C{NAME>=VERSION} is installed for this Python."""
    name, _, least = requirement.partition(">=")
    try:
        return _numbers(metadata.version(name)) >= _numbers(least)
    except metadata.PackageNotFoundError:
        return False


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def peers(folder: Path) -> Environment:
    """
    The environment of the peers from PyPI; made if it is not there.

    They have one of their own, for mitmproxy wants older versions of what the relay needs, too.
    """
    python = folder.resolve() / "peers" / "bin" / "python"
    if not all(python.with_name(name).exists() for name in ("mitmdump", "proxy", "pproxy", "py-spy")):
        try:
            _make(python, FROM_PYPI)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"The peers from PyPI could not be installed: {error}", file=sys.stderr)
            return Environment(python if python.exists() else None)
    return Environment(python)


def _make(python: Path, requirements: list[str] | tuple[str, ...]) -> None:
    folder = python.parent.parent
    print(f"making {folder} with {', '.join(requirements)}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    command = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *requirements]
    subprocess.run(command, check=True)
