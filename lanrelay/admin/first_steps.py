"""What to do first, as long as the relay leads to no server that the user has named."""

from __future__ import annotations

from shlex import quote

from lanrelay.config import model
from lanrelay.config.kinds import kind_of

Step = dict[str, str]


def first_steps(config: model.Config) -> list[Step]:
    """
    Three steps, the most helpful first: C{title}, C{text} (a sentence) and C{command}, to be copied.

    There are none where a listener leads to a server or a program: the user has begun already.
    """
    proxies = [kind_of(listener).proxy for listener in config.listeners if listener.enabled]
    if not all(proxies):
        return []
    file = f"-c {quote(str(config.path))}"
    found = [
        {
            "title": "Lead to a server of yours",
            "text": "It finds the servers that MCP clients here name, or takes the URL of one, and "
            "asks before it changes anything.",
            "command": f"lanrelay setup {file}",
        }
    ]
    if "http" in proxies:
        found.append(
            {
                "title": "Let a program through",
                "text": "It gets the variables of the forward proxy; whatever follows the two dashes is run.",
                "command": f"lanrelay env {file} -- curl http://192.168.1.1/",
            }
        )
    else:
        found.append(
            {
                "title": "Look at the way",
                "text": "It says what keeps a client on this machine from a server, layer by layer.",
                "command": f"lanrelay doctor {file}",
            }
        )
    found.append(
        {
            "title": "Keep it running",
            "text": "The system starts the relay from then on, at login or at boot.",
            "command": f"lanrelay service install {file}",
        }
    )
    return found
