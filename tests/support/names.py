"""Names for a process of its own: what its C{getaddrinfo} answers, or that it hangs."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.servers import CHECKOUT

HANGS = "hangs"

# Python imports it at its start. Names that are not in the table are not there; addresses are the system's.
_PROGRAM = """
import json, os, socket, threading
from fnmatch import fnmatchcase

_real = socket.getaddrinfo
_never = threading.Event()

def _answer(host, port, family=0, type=0, proto=0, flags=0):
    try:
        return _real(host, port, family, type, proto, flags | socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass
    with open(os.path.join(os.path.dirname(__file__), "table")) as file:
        table = json.load(file)
    for pattern, addresses in table.items():
        if fnmatchcase(host, pattern):
            if addresses == "hangs":
                _never.wait()
            return [
                row for address in addresses
                for row in _real(address, port, family, type, proto, flags | socket.AI_NUMERICHOST)
            ]
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

socket.getaddrinfo = _answer
"""


class Names:
    """
    A table of names.

    @ivar environ: for the process.
    """

    def __init__(self, table: Mapping[str, Sequence[str] | str]) -> None:
        """@param table: addresses, or L{HANGS}, by names or patterns; the first that fits is taken."""
        self._temporary = tempfile.TemporaryDirectory(prefix="lanrelay-names-")
        folder = Path(self._temporary.name)
        (folder / "sitecustomize.py").write_text(_PROGRAM)
        (folder / "table").write_text(json.dumps(table))
        self.environ = {"PYTHONPATH": f"{folder}:{CHECKOUT}"}
        self.remove = self._temporary.cleanup
