"""Gives every Python of a test-run kqueue, and its reactor as Twisted's default; see kqueue_on_linux."""

from __future__ import annotations

import os
import sys
from typing import Any

_shim = os.environ.get("KQUEUE_ON_LINUX")
if _shim:
    import importlib.util

    _spec = importlib.util.spec_from_file_location("kqueue_on_linux", _shim)
    assert _spec is not None
    assert _spec.loader is not None
    _module = importlib.util.module_from_spec(_spec)
    sys.modules["kqueue_on_linux"] = _module
    _spec.loader.exec_module(_module)
    _module.install()
    if os.environ.get("KQUEUE_AS_DEFAULT", "1") == "1":

        class _Default:
            """Puts the kqueue reactor where Twisted chooses one, once somebody asks it to."""

            def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
                if name != "twisted.internet.default":
                    return None
                sys.meta_path.remove(self)
                spec: Any = importlib.util.find_spec(name)
                execute = spec.loader.exec_module

                def exec_module(module: Any) -> None:
                    execute(module)
                    from twisted.internet import kqreactor

                    module.install = kqreactor.install

                spec.loader.exec_module = exec_module
                return spec

        sys.meta_path.insert(0, _Default())
