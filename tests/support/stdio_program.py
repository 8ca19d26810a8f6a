"""
An MCP server on standard input and output, the standard library alone, for live tests.

It gets a folder: C{gate} there, a FIFO, holds it up at its beginning; C{tools} there names its tools; it
writes its process id into C{pids} and each call that it has run into C{calls}.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

folder = Path(sys.argv[1])
manners = sys.argv[2:]


def note(name: str, text: str) -> None:
    with (folder / name).open("a") as file:
        file.write(f"{text}\n")


def say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def answer(message: dict[str, Any]) -> dict[str, Any] | None:
    method, params = message["method"], message.get("params", {})
    if method == "initialize":
        capabilities = {"tools": {"listChanged": True}}
        server = {"name": "program", "version": "1"}
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": capabilities,
            "serverInfo": server,
        }
    if method == "ping":
        return {}
    if method == "tools/list":
        names = (folder / "tools").read_text().split() if (folder / "tools").exists() else ["echo"]
        return {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in names]}
    if method != "tools/call":
        return None
    name, arguments = params["name"], params.get("arguments", {})
    note("calls", name)
    if name == "die":
        print("about to die", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "ask":
        say({"id": "question", "method": "roots/list"})
        reply = json.loads(sys.stdin.readline())
        return {"content": [{"type": "text", "text": json.dumps(reply["result"])}]}
    if name == "progress":
        token = params["_meta"]["progressToken"]
        say({"method": "notifications/progress", "params": {"progressToken": token, "progress": 1}})
    return {"content": [{"type": "text", "text": arguments.get("text", "done")}]}


def main() -> None:
    note("pids", str(os.getpid()))
    if "deaf" in manners:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "child" in manners:
        child = subprocess.Popen(["sleep", "1000"], stdin=subprocess.DEVNULL)
        note("pids", str(child.pid))
    if (folder / "gate").exists():
        (folder / "gate").read_text()
    if "banner" in manners:
        print("Welcome!", flush=True)
    for line in sys.stdin:
        message = json.loads(line)
        if "method" not in message or "id" not in message:
            continue
        result = answer(message)
        if result is None:
            say({"id": message["id"], "error": {"code": -32601, "message": "unknown"}})
        else:
            say({"id": message["id"], "result": result})
    while "deaf" in manners:
        signal.pause()


if __name__ == "__main__":
    main()
