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
    "version": 0,
    "proxy_variables": 0,
    "edit": 0.5,
    "config": 1,
    "wire": 1,
    "mcp": 2,
    "observe": 2,
    "passage": 2,
    "policy": 2,
    "trust": 3,
    "transport": 4,
    "upstream": 5,
    "http": 6,
    "listeners": 7,
    "admin": 8,
    "notify": 9,
    "process": 9,
    "reload": 9,
    "service": 10,
    "tap": 11,
}
STEPS["examine"] = STEPS["listeners"] + 0.5  # under admin, which makes the same examination for others
STEPS["setup"] = STEPS["admin"]
STEPS["clients"] = STEPS["setup"]
STEPS["bridge"] = (
    STEPS["wire"] + 0.5
)  # and the standard library: it starts in the time that Twisted's import takes
STEPS["cli"] = STEPS["notify"]  # it starts services only as a twistd process

# The rooms that help people stand aside: nobody knows them, but the one the other.
ASIDE = ("cli", "setup", "clients")
ALLOWED = {("cli", "setup"), ("cli", "clients"), ("setup", "clients"), ("cli", "tap")}

# Upstream is handed permit(address), so that the address judged is the address dialed.
FORBIDDEN = {("upstream", "policy")}

# Circles that are closed by an import inside a function. Another one is a module that nobody can read alone.
CIRCLES = (
    {"lanrelay.config.control", "lanrelay.config.document", "lanrelay.config.load"},
    {"lanrelay.bridge.dial", "lanrelay.bridge.via"},
)

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


def dotted(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def needed(tree: ast.AST) -> Iterator[str]:
    """What is imported to run, in functions too; what is only for annotations closes no circle."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            yield from needed(node)


def circles(known: dict[str, set[str]]) -> list[set[str]]:
    """Sets of modules each of which needs, in the end, all of its set."""
    reached = {module: set(others) for module, others in known.items()}
    grown = True
    while grown:
        grown = False
        for others in reached.values():
            more = set().union(*(reached[other] for other in others)) - others
            others |= more
            grown = grown or bool(more)
    found: list[set[str]] = []
    for module, others in reached.items():
        circle = {other for other in others if module in reached[other]}
        if circle and circle not in found:
            found.append(circle)
    return found


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

    def test_modules_need_one_another_in_no_circle(self) -> None:
        paths = {dotted(path): path for path in PACKAGE.rglob("*.py")}
        known = {
            module: {other for other in needed(ast.parse(path.read_text())) if other in paths} - {module}
            for module, path in paths.items()
        }
        # A package holds a docstring and nothing else, so that to import it needs nothing.
        self.assertCountEqual(circles(known), CIRCLES)

    def test_a_circle_is_found(self) -> None:
        known = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a", "d2"}, "d2": set[str]()}
        self.assertEqual(circles(known), [{"b", "c"}])

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
