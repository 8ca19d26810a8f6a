"""
A browser for logins: goes where it is sent, and on to where that leads.

Its words: a folder and a URL. C{windows} in the folder gets the URL, a line each; a FIFO C{gate} there holds
it up before it goes; C{page} gets what it shows at last.
"""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from pathlib import Path

if __name__ == "__main__":
    folder, url = Path(sys.argv[1]), sys.argv[2]
    with (folder / "windows").open("a") as file:
        file.write(f"{url}\n")
    if (folder / "gate").exists():
        (folder / "gate").read_text()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=60) as answer:
            page = answer.read()
    except urllib.error.HTTPError as error:
        page = error.read()
    (folder / "page").write_bytes(page)
