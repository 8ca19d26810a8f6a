"""Each module has a test file of its name, or C{docs/testing.md} says where it is tested."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import lanrelay
from tests.test_imports import imported

PACKAGE = Path(lanrelay.__file__).parent
CHECKOUT = PACKAGE.parent
PAGE = CHECKOUT / "docs" / "testing.md"

# They start the program or run commands by their names, so their imports do not tell what they test.
PROGRAMS = ("tests.live.", "tests.process.", "tests.cli.")


def modules() -> Iterator[str]:
    """C{config/place} and all others, as the page names them."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name != "__init__.py":
            yield str(path.relative_to(PACKAGE).with_suffix(""))


def has_own_test(module: str) -> bool:
    room, _, name = module.rpartition("/")
    return (CHECKOUT / "tests" / room / f"test_{name}.py").is_file()


def told() -> list[tuple[str, str]]:
    """Each module that the page tells of, with the test that it names."""
    rows = re.findall(r"^\| `(tests\.[\w.]+)` \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    return [(module, test) for test, cell in rows for module in re.findall(r"`([\w/]+)`", cell)]


@cache
def needs(path: Path) -> frozenset[Path]:
    """The files of ours that one imports, at once or later, or names in a text as C{lanrelay.ROOM.NAME}."""
    named = set(imported(path)) | set(re.findall(r'"(lanrelay(?:\.\w+)+)', path.read_text()))
    found = {_file(name) for name in named if name.split(".")[0] in ("lanrelay", "tests")}
    return frozenset(each for each in found if each is not None)


def _file(name: str) -> Path | None:
    path = CHECKOUT.joinpath(*name.split(".")).with_suffix(".py")
    return path if path.is_file() else None


def reached(test: Path) -> set[Path]:
    found: set[Path] = set()
    ahead = [test]
    while ahead:
        for each in needs(ahead.pop()) - found:
            found.add(each)
            ahead.append(each)
    return found


class TestingTests(SynchronousTestCase):
    def test_the_page_tells_of_each_module_without_a_test_of_its_name_once(self) -> None:
        found = [module for module, _ in told()]
        self.assertEqual(len(found), len(set(found)))
        self.assertEqual(set(found), {module for module in modules() if not has_own_test(module)})

    def test_the_tests_that_it_names_reach_the_modules(self) -> None:
        for module, test in told():
            path = _file(test)
            assert path is not None, test
            if not test.startswith(PROGRAMS):
                self.assertIn((PACKAGE / module).with_suffix(".py"), reached(path), test)
