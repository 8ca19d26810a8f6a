"""What C{docs/architecture.md} says of the code is there: its modules, the names in them, its rooms."""

from __future__ import annotations

import ast
import re
from itertools import pairwise
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import lanrelay
from tests.test_imports import STEPS

PACKAGE = Path(lanrelay.__file__).parent
PAGE = PACKAGE.parent / "docs" / "architecture.md"

_MODULE = re.compile(r"`([a-z_]+(?:/[a-z0-9_]+)*\.py)`(?:\s+`(\w+)`(?:\s+or\s+`(\w+)`)?)?")


def defined(path: Path) -> set[str]:
    """What a module has by name, in its classes, too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


class ArchitectureTests(SynchronousTestCase):
    def test_every_module_and_name_is_there(self) -> None:
        found = _MODULE.findall(PAGE.read_text())
        self.assertGreater(len(found), 30)
        for module, *names in found:
            path = PACKAGE / module
            if module == "__init__.py":
                continue
            self.assertTrue(path.is_file(), module)
            for name in filter(None, names):
                self.assertIn(name, defined(path), module)

    def test_the_floors_are_those_that_the_imports_keep(self) -> None:
        floors = re.search(r"```\n(errors.*?)```", PAGE.read_text(), re.DOTALL)
        assert floors is not None
        steps = [[STEPS[room] for room in re.findall(r"\w+", part)] for part in floors[1].split("<")]
        for lower, higher in pairwise(steps):
            self.assertLess(max(lower), min(higher))

    def test_every_room_is_named(self) -> None:
        text = PAGE.read_text()
        for room in PACKAGE.iterdir():
            if (room / "__init__.py").is_file():
                self.assertRegex(text, rf"\b{room.name}\b", room.name)
