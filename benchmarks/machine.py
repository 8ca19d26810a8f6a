"""What a measurement was made on, and with which versions."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
import sysconfig
import timeit
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from benchmarks.environment import CHECKOUT, FROM_PYPI, Environment, program
from benchmarks.measure import LOAD_CORE, RELAY_CORE

_VERSIONS = (
    ("haproxy", "-v"),
    ("nginx", "-v"),
    ("squid", "-v"),
    ("tinyproxy", "-v"),
    ("socat", "-V"),
    ("caddy", "version"),
    ("wrk", "-v"),
    ("gcc", "--version"),
)


def described(environment: Environment, rounds: int, share: float) -> list[str]:
    lines = [
        f"{rounds} interleaved rounds" + (f", of {share:g} of the usual length" if share != 1 else ""),
        f"{_processor()}; relays on core {RELAY_CORE}, load and origins on core {LOAD_CORE}",
        f"{platform.system()} {platform.release()}, {_distribution()}",
        python(),
        _packages(sys.executable, ("twisted", "pyopenssl", "cryptography")),
        f"commit {_said(['git', '-C', str(CHECKOUT), 'describe', '--always', '--dirty'])}",
    ]
    for name, option in _VERSIONS:
        found = program(name)
        if found is not None:
            lines.append(version(_said([found, option])))
    if environment.peers is not None:
        lines.append(f"in an environment of their own: {_packages(str(environment.peers), FROM_PYPI)}")
    return lines


def python() -> str:
    """
    The Python that runs the relay and the scripts, and how it was built, which makes a difference of a fifth.
    """
    arguments = sysconfig.get_config_var("CONFIG_ARGS") or ""
    if "--enable-optimizations" in arguments:
        built = "built with profile-guided optimization"
    elif Path(sys.executable).resolve().parent == Path("/usr/bin"):
        built = "a distribution's, whose packages are built with profile-guided optimization"
    else:
        built = "built without profile-guided optimization (--enable-optimizations), some 20 % slower"
    took = min(timeit.repeat("for i in range(100000): f(i)", "def f(i): return i + 1", number=10, repeat=5))
    return (
        f"{platform.python_implementation()} {platform.python_version()}, {built}; "
        f"a million calls of a small function take it {took * 1e3:.0f} ms"
    )


def version(said: str) -> str:
    """The line of a program's own output that has its version."""
    for line in said.splitlines():
        if re.search(r"\d\.\d", line):
            return re.split(r" - | https?://", line)[0].strip()
    return said[:60]


def _packages(python: str, names: Sequence[str]) -> str:
    if python == sys.executable:
        return ", ".join(f"{name} {metadata.version(name)}" for name in names) + f", {_openssl()}"
    script = (
        "import sys; from importlib.metadata import version; "
        "print(', '.join(f'{name} {version(name)}' for name in sys.argv[1:]))"
    )
    return _said([python, "-c", script, *names])


def _openssl() -> str:
    from OpenSSL import SSL

    return SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode()


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    virtual = " (virtual)" if info.exists() and " hypervisor" in info.read_text() else ""
    return (found[1] if found else platform.machine()) + virtual


def _distribution() -> str:
    release = Path("/etc/os-release")
    found = re.search(r'PRETTY_NAME="(.*)"', release.read_text()) if release.exists() else None
    return found[1] if found else "unknown distribution"


def _said(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except OSError as error:
        return str(error)
    return (done.stdout + done.stderr).strip()
