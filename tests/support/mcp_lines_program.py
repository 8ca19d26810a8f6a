"""A small program that speaks MCP in lines, starts at once, and can misbehave."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any


def say(**members: Any) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **members}) + "\n")
    sys.stdout.flush()


def log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    asked: Any = None
    slow: tuple[Any, Any] = (None, None)
    for line in sys.stdin:
        message = json.loads(line)
        method, identity, params = message.get("method"), message.get("id"), message.get("params", {})
        log(f"heard {method or 'an answer'}")
        if method == "initialize":
            say(
                id=identity,
                result={
                    "protocolVersion": params.get("protocolVersion"),
                    "capabilities": {},
                    "serverInfo": {"name": "lines", "version": str(os.getpid())},
                },
            )
        elif method == "echo":
            say(id=identity, result=params)
        elif method == "ask":  # asks the client, and answers with its answer
            asked = identity
            say(id="question", method="roots/list")
        elif method is None and identity == "question":
            say(id=asked, result=message["result"])
        elif method == "slow":  # tells of progress, and goes on when it is told to
            slow = identity, params["_meta"]["progressToken"]
            say(method="notifications/progress", params={"progressToken": slow[1], "progress": 1})
        elif method == "notifications/go":
            say(method="notifications/progress", params={"progressToken": slow[1], "progress": 2})
            say(id=slow[0], result={"done": True})
        elif method == "notifications/cancelled":
            log(f"cancelled {params['requestId']!r}")
        elif method == "notifications/tell":
            for number in range(params.get("times", 1)):
                say(
                    method="notifications/message",
                    params={"level": "info", "data": params["data"], "n": number},
                )
        elif method == "garbage":
            print("this is no JSON\n{\n[]\n\xff")
            say(id=identity, result={})
        elif method == "big":
            say(id=identity, result={"big": "x" * params["size"]})
        elif method == "wait":  # for somebody who writes there
            with open(params["path"]) as file:
                say(id=identity, result={"read": file.read()})
        elif method == "notifications/stop-reading":
            time.sleep(1000)
        elif method == "die":
            os._exit(params["status"])


if __name__ == "__main__":
    main()
