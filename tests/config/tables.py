"""Every table of keys that the loader has, found by walking its modules."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

import lanrelay.config
from lanrelay.config.kinds import KINDS
from lanrelay.config.listeners import reader
from lanrelay.config.place import Table

BY_KIND = {kind.word: reader(kind).table for kind in KINDS}


def _tables() -> list[Table]:
    found = list(BY_KIND.values())
    for module in iter_modules(lanrelay.config.__path__, "lanrelay.config."):
        found += [value for value in vars(import_module(module.name)).values() if isinstance(value, Table)]
    return list({id(table): table for table in found}.values())


TABLES = _tables()
