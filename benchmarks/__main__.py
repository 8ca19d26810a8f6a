"""C{python -m benchmarks}: sets the peers up, runs each workload beside them, and writes RESULTS.md."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import environment

HERE = Path(__file__).resolve().parent


def main() -> int:
    options = _options()
    if sys.platform != "linux":
        print(
            "The programs are pinned, and their CPU time read, in ways that only Linux has.", file=sys.stderr
        )
        return 1
    environment.from_debian(options.install)
    environment.itself(options.environment, "benchmarks")
    environment.compile_the_relay()
    # From here on what the relay needs is importable.
    from benchmarks import bridges, machine, measure, profile, report, rounds
    from benchmarks.origins import Missing, Origins
    from benchmarks.rows import WORKLOADS

    chosen = [one for one in WORKLOADS if options.only.lower() in one.name.lower()]
    if options.list or not chosen:
        print("\n".join(workload.name for workload in WORKLOADS))
        return not chosen
    peers = environment.Environment(options.peers and options.peers.absolute() / "bin" / "python")
    if options.peers is None:
        peers = environment.peers(options.environment)
    began, rows = time.monotonic(), []
    ended_by_signals()
    os.sched_setaffinity(0, {measure.LOAD_CORE})
    with tempfile.TemporaryDirectory(prefix="lanrelay-bench-", ignore_cleanup_errors=True) as made:
        Path(made).chmod(0o755)
        try:
            origins = Origins(Path(made) / "origins", peers)
            if options.profile:
                text = profile.page(
                    chosen, origins, Path(made), options.share, lambda text: print(text, flush=True)
                )
                (HERE / "PROFILE.md").write_text(text)
                print(f"written to {HERE / 'PROFILE.md'}")
                return 0
            for number, workload in enumerate(chosen):
                print(workload.name, flush=True)
                row = rounds.run(
                    workload,
                    origins,
                    Path(made) / str(number),
                    rounds=options.rounds,
                    share=options.share,
                    without=[name.strip() for name in options.without.split(",")],
                    say=lambda text: print(text, flush=True),
                )
                rows.append(row)
                print(f"  {report.line(row)}", flush=True)
        except Missing as error:
            print(error, file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("interrupted; nothing is written", file=sys.stderr)
            return 130
        finally:
            measure.stop_all()
    settings = machine.described(peers, options.rounds, options.share)
    settings.append(f"took {(time.monotonic() - began) / 60:.0f} minutes")
    text = report.page(rows, settings)
    if options.only or options.without:
        print(text)
    else:
        results = HERE / "RESULTS.md"
        results.write_text(bridges.put(text, bridges.section(results.read_text())))
        print(f"written to {results}")
    return 0


def ended_by_signals() -> None:
    """SIGTERM and SIGHUP end us as Ctrl-C does, so that what was started is stopped."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGHUP, interrupt)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of each workload, interleaved (5)")
    parser.add_argument("--share", type=float, default=1.0, help="of the usual length of a run (1.0)")
    parser.add_argument("--only", default="", help="workloads with this in their name; writes no file")
    parser.add_argument(
        "--without", default="", help="programs to leave out, with commas between; writes no file"
    )
    parser.add_argument(
        "--profile", action="store_true", help="instead write PROFILE.md: where the relay's time goes"
    )
    parser.add_argument("--install", action="store_true", help="what Debian has and is missing, as root")
    parser.add_argument("--list", action="store_true", help="the workloads")
    folder = environment.CHECKOUT / ".venv-benchmarks"
    parser.add_argument("--environment", type=Path, default=folder, help="where Python environments are made")
    parser.add_argument(
        "--peers", type=Path, help=f"an environment that has {', '.join(environment.FROM_PYPI)}"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
