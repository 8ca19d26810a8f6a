"""The direction of imports: who may know whom (only leftwards)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import lanrelay

PACKAGE = Path(lanrelay.__file__).parent

# A room may import itself and what stands on a lower step.
STEPS: dict[str, float] = {
    "errors": 0,
    "addresses": 0,
    "commands": 0,
    "config": 1,
    "edit": 1,
    "wire": 1,
    "observe": 2,
    "passage": 2,
    "policy": 2,
    "transport": 3,
    "upstream": 4,
    "listeners": 5,
    "admin": 6,
    "notify": 7,
    "process": 7,
    "reload": 7,
    "service": 8,
    "tap": 9,
}
STEPS["examine"] = STEPS["listeners"] + 0.5  # under admin, which makes the same examination for others
STEPS["setup"] = STEPS["admin"]
STEPS["clients"] = STEPS["setup"]
STEPS["mcp"] = STEPS["upstream"]
STEPS["bridge"] = (
    STEPS["wire"] + 0.5
)  # and the standard library: it starts in the time that Twisted's import takes
STEPS["cli"] = STEPS["notify"]  # it starts services only as a twistd process

# The rooms that help people stand aside: nobody knows them, but the one the other.
ASIDE = ("cli", "setup", "clients")
ALLOWED = {("cli", "setup"), ("cli", "clients"), ("setup", "clients")}

# Upstream is handed permit(address), so that the address judged is the address dialed.
FORBIDDEN = {("upstream", "policy")}

WITHOUT_TWISTED = ("errors", "addresses", "config", "wire", "passage", "edit", "bridge", "mcp")


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts != ("__init__",):
            yield parts[0], path


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


class ImportTests(SynchronousTestCase):
    def test_imports_go_leftwards_only(self) -> None:
        wrong = []
        for room, path in modules():
            for name in imported(path):
                parts = name.split(".")
                if parts[0] != "lanrelay" or len(parts) < 2 or parts[1] == room:
                    continue
                other = parts[1]
                leftwards = other in STEPS and other not in ASIDE and STEPS[other] < STEPS[room]
                if (room, other) in FORBIDDEN or not (leftwards or (room, other) in ALLOWED):
                    wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
        self.assertEqual(wrong, [])

    def test_meaning_is_free_of_twisted(self) -> None:
        wrong = [
            f"{path.relative_to(PACKAGE)} imports {name}"
            for room, path in modules()
            if room in WITHOUT_TWISTED
            for name in imported(path)
            if name.split(".")[0] in ("twisted", "zope", "OpenSSL")
        ]
        self.assertEqual(wrong, [])

    def test_the_reactor_is_imported_by_nobody_but_tap(self) -> None:
        wrong = [
            f"{path.relative_to(PACKAGE)}"
            for room, path in modules()
            if room not in ("tap", "cli") and "twisted.internet.reactor" in set(imported(path))
        ]
        self.assertEqual(wrong, [])

    def test_packages_hold_a_docstring_and_nothing_else(self) -> None:
        wrong = [
            str(path)
            for path in PACKAGE.rglob("__init__.py")
            if any(not isinstance(node, ast.Expr) for node in ast.parse(path.read_text()).body)
        ]
        self.assertEqual(wrong, [])
