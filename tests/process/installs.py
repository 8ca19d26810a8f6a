"""The ways in which a relay gets onto a machine: checkout, editable install, wheel, source, uv."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tests.support.progress import PATIENCE

CHECKOUT = Path(__file__).parents[2]

_TWISTD = """\
#!{python}
import sys
from twisted.scripts.twistd import run
if __name__ == "__main__":
    sys.exit(run())
"""


@dataclass(frozen=True)
class Install:
    """
    An interpreter that finds lanrelay.

    @ivar python: its path; C{twistd} lies beside.
    @ivar environment: what must be set for it.
    """

    python: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def twistd(self) -> list[str]:
        return [str(self.python.parent / "twistd")]

    @property
    def twist(self) -> list[str]:
        return [str(self.python), "-m", "twisted"]

    @property
    def lanrelay(self) -> list[str]:
        script = self.python.with_name("lanrelay")
        return [str(script)] if script.exists() else [str(self.python), "-m", "lanrelay.cli.main"]

    def variables(self) -> dict[str, str]:
        """
        The whole environment of a process; of the test's own PYTHONPATH only what plays kqueue gets in.
        """
        own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV_"))}
        all_of_it = {**own, **self.environment}
        if "KQUEUE_ON_LINUX" in own:
            played = Path(own["KQUEUE_ON_LINUX"]).with_name("kqueue_site")
            all_of_it["PYTHONPATH"] = os.pathsep.join([str(played), all_of_it.get("PYTHONPATH", "")])
        return all_of_it


@cache
def checkout() -> Install:
    """Nothing is installed but what lanrelay needs; the checkout is on C{PYTHONPATH}."""
    return Install(_venv("checkout"), {"PYTHONPATH": str(CHECKOUT)})


@cache
def editable() -> Install:
    """C{pip install -e .}"""
    python = _venv("editable")
    _pip(python, "install", "-e", str(_source()))
    return Install(python)


@cache
def wheel() -> Install:
    """C{pip install WHEEL}"""
    python = _venv("wheel")
    _pip(python, "install", str(built()[0]))
    return Install(python)


@cache
def sdist() -> Install:
    """C{pip install SOURCE}, the archive that goes to the package index."""
    python = _venv("sdist")
    _pip(python, "install", str(built()[1]))
    return Install(python)


@cache
def by_uv() -> Install:
    """C{uv pip install WHEEL}, which is what C{uv tool} does; nothing is compiled."""
    python = _venv("uv")
    words = ["pip", "install", "--quiet", "--offline", "--no-deps", "--python", str(python), str(built()[0])]
    _run([_program("uv"), *words], UV_CACHE_DIR=str(_folder() / "uv-cache"))
    return Install(python)


def other_pythons() -> dict[str, Path]:
    """The interpreters of this machine that the wheel is made for, but this one; by C{3.13} and the like."""
    roots = [Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"]
    found = {}
    for minor in range(10, 15):
        name = f"python3.{minor}"
        candidates = [Path(one) for one in [shutil.which(name)] if one]
        candidates += [one for root in roots for one in sorted(root.glob(f"3.{minor}.*/bin/{name}"))]
        for candidate in candidates:
            done = subprocess.run(
                [candidate, "-c", "import ssl, venv"], capture_output=True, timeout=PATIENCE
            )
            if done.returncode == 0 and minor != sys.version_info.minor:
                found[f"3.{minor}"] = candidate
                break
    return found


def by_uv_with(python: Path) -> Install:
    """
    C{uv tool install WHEEL}, with what it needs from the index.

    @param python: the interpreter that it shall have.
    @raise Unreachable: the index cannot be reached.
    """
    home = _folder() / f"uv-{python.name}"
    _run([_program("uv"), "venv", "--quiet", "--python", str(python), str(home)])
    install = Install(home / "bin" / "python")
    try:
        _run([_program("uv"), "pip", "install", "--quiet", "--python", str(install.python), str(built()[0])])
    except RuntimeError as error:
        if any(sign in str(error) for sign in ("Failed to fetch", "dns error", "Could not connect")):
            raise Unreachable(str(error)) from None
        raise
    return install


class Unreachable(Exception):
    """There is no way to the package index."""


@cache
def built() -> tuple[Path, Path]:
    """The wheel and the source distribution of this checkout."""
    folder = _folder() / "built"
    isolation = ["--no-isolation"] if _has_setuptools() else []
    # The wheel is built from the source distribution, so that it has what that has.
    _run([sys.executable, "-m", "build", *isolation, "--outdir", str(folder), str(_source())])
    (archive,) = folder.glob("lanrelayd-*.whl")
    (source,) = folder.glob("lanrelayd-*.tar.gz")
    return archive, source


INSTALLS: dict[str, Callable[[], Install]] = {"checkout": checkout, "editable": editable, "wheel": wheel}


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="lanrelay-installs-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def _source() -> Path:
    """A copy, for building leaves traces in the source."""
    copy = _folder() / "source"
    ignored = shutil.ignore_patterns(
        ".*",
        "build",
        "dist",
        "*.egg-info",
        "__pycache__",
        "_trial_temp*",
        "dropin.cache",
        "tests",
        "benchmarks",
    )
    shutil.copytree(CHECKOUT, copy, ignore=ignored)
    return copy


def _venv(name: str) -> Path:
    """
    A virtual environment with all that the tests' own has, except lanrelay; nothing is downloaded.

    Twisted is copied, for what is installed beside it writes into its plugins folder; the rest are links.
    """
    home = _folder() / name
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(home)], check=True, stdin=subprocess.DEVNULL
    )
    python = home / "bin" / "python"
    theirs = Path(sysconfig.get_path("purelib"))
    ours = next((home / "lib").glob("python*/site-packages"))
    for entry in theirs.iterdir():
        target = ours / entry.name
        if entry.name == "twisted":
            shutil.copytree(entry, target, ignore=shutil.ignore_patterns("test", "dropin.cache", "lanrelay*"))
        elif "lanrelay" not in entry.name.lower() and entry.name != "__pycache__":
            target.symlink_to(entry, target_is_directory=entry.is_dir())
    twistd = home / "bin" / "twistd"
    twistd.write_text(_TWISTD.format(python=python))
    twistd.chmod(0o755)
    return python


def _pip(python: Path, command: str, *arguments: str) -> None:
    quietly = ["--quiet", "--no-input", "--disable-pip-version-check", "--no-deps"]
    # Without a recent setuptools here (Python 3.12 and later bring none) pip gets it from the index.
    isolation = ["--no-build-isolation"] if _has_setuptools() else []
    _run([sys.executable, "-m", "pip", "--python", str(python), command, *quietly, *isolation, *arguments])


def _program(name: str) -> str:
    """One that was installed beside the interpreter, else one on C{PATH}."""
    found = shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if found is None:
        raise RuntimeError(f"{name} is not here")
    return found


def _run(command: list[str], **variables: str) -> None:
    done = subprocess.run(
        command,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def _has_setuptools() -> bool:
    """Whether there is one that makes wheels by itself."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        major, minor = version("setuptools").split(".")[:2]
    except PackageNotFoundError:
        return False
    return (int(major), int(minor)) >= (70, 1)
