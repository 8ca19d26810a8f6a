"""
Types what the status page gives Claude Code into a shell, and reads what that has written.

Claude Code comes from npm (240 MB), has a home of its own, and no network; it needs no account for this.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from lanrelay.admin.usage import snippets
from tests.support.npm import installed
from tests.support.status_play import document

PACKAGE = ("@anthropic-ai/claude-code", "2.1.197")


def main() -> int:
    """0 if the server that it has written down is the listener."""
    program = installed(*PACKAGE) / "cli-wrapper.cjs"
    home = Path(tempfile.mkdtemp(prefix="lanrelay-claude-"))
    (home / "claude").write_text(f'#!/bin/sh\nexec node "{program}" "$@"\n')
    (home / "claude").chmod(0o755)
    expected: dict[str, Any] = {}
    for kind, path in (("http", "/mcp"), ("sse", "/sse")):
        listener: dict[str, Any] = document(1, down=())["listeners"][0]
        url = f"http://localhost:28082{path}"
        listener.update(name=f"home_{kind}-1", mcp=path, url=url)
        expected[listener["name"]] = {"type": kind, "url": url}
        (line,) = (each.text for each in snippets(listener, []) if each.client == "Claude Code")
        print(f"$ {line}", flush=True)
        alone = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]
        environ = {"HOME": str(home), "PATH": f"{home}:/usr/local/bin:/usr/bin:/bin"}
        subprocess.run([*alone, "sh", "-c", line], cwd=home, env=environ, check=True, timeout=120)
    written = json.loads((home / ".claude.json").read_text())["projects"][str(home)]["mcpServers"]
    print(json.dumps(written))
    return int(written != expected)


if __name__ == "__main__":
    sys.exit(main())
