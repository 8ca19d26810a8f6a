"""C{python -m tests.fuzz}: see docs/testing.md."""

from __future__ import annotations

import argparse
import secrets
import sys
import time

from tests.fuzz.live import LiveRelay
from tests.fuzz.run import Failure, run, try_case
from tests.fuzz.targets import targets


def main() -> int:
    known = targets()
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="Random input, for as long as you like."
    )
    parser.add_argument("--seconds", type=float, default=60, help="how long (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="of a run to be repeated (default: a new one)")
    parser.add_argument("--case", type=int, help="only this one, of one target")
    parser.add_argument(
        "--target", action="append", choices=[*known, "live"], help="only these (default: all)"
    )
    parser.add_argument("--list", action="store_true", help="name the targets and end")
    options = parser.parse_args()
    if options.list:
        print("\n".join([*known, "live"]))
        return 0
    names: list[str] = options.target or [*known, "live"]
    if options.case is not None and (len(names) != 1 or options.seed is None):
        parser.error("--case wants one --target and a --seed")
    seed: int = secrets.randbelow(10**9) if options.seed is None else options.seed
    chosen = {name: known[name] for name in names if name in known}
    live = LiveRelay() if "live" in names else None
    try:
        if live is not None:
            chosen["live"] = live.target()
        if options.case is not None:
            failure = try_case(names[0], chosen[names[0]], seed, options.case)
            print(failure or "nothing is wrong with it")
            return 0 if failure is None else 1
        print(f"seed {seed}, {options.seconds:g} s, {', '.join(chosen)}", flush=True)
        began, failures = time.monotonic(), 0
        for found in run(chosen, seed=seed, seconds=options.seconds):
            if isinstance(found, Failure):
                failures += 1
                print(f"\n{found}\n", flush=True)
            else:
                print(f"{found[0]}: {found[1]} cases", flush=True)
        print(f"{failures} failures in {time.monotonic() - began:.0f} s")
        return 1 if failures else 0
    finally:
        if live is not None:
            live.stop()


if __name__ == "__main__":
    sys.exit(main())
