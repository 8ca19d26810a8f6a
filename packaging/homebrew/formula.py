"""
Makes the Homebrew formula of a release from its lock, which is pip's own report of what it would install.
The first report tells which distributions there are, the second has the sources of those:

    pip install --dry-run --ignore-installed --report found.json 'lanrelayd==0.1.0'
    python packaging/homebrew/formula.py found.json --names > names
    pip install --dry-run --ignore-installed --no-binary "$(cat names)" --report lock.json 'lanrelayd==0.1.0'
    python packaging/homebrew/formula.py lock.json --homepage URL > lanrelayd.rb

Nothing is asked of any network but by pip: each address and each SHA-256 stands in the lock. The formula is
made anew for each release and belongs to the tap; neither it nor the lock is kept here.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

OURS = "lanrelayd"

OF_HOMEBREW = ("cffi", "cryptography", "pycparser")
"""What Homebrew builds by itself: its formula C{cryptography}, and what that needs."""

DEPENDS_ON = ("cryptography", "libyaml", "python@3.13")


class Wrong(Exception):
    """A formula cannot be made of this lock; the text is a sentence."""


class Source(NamedTuple):
    """A source distribution."""

    name: str
    version: str
    url: str
    sha256: str
    summary: str
    licence: str


def names(report: dict[str, Any]) -> list[str]:
    """The names of those of a report that come with the formula; the rest is Homebrew's."""
    found = {_normal(one["metadata"]["name"]) for one in report["install"]}
    return sorted(found.difference(OF_HOMEBREW))


def sources(report: dict[str, Any]) -> list[Source]:
    """
    Those of a report, by name.

    @raise Wrong: one has no checksum, or is no source distribution.
    """
    found = []
    for one in report["install"]:
        metadata, download = one["metadata"], one["download_info"]
        name = _normal(metadata["name"])
        if name in OF_HOMEBREW:
            continue
        sha256 = download.get("archive_info", {}).get("hashes", {}).get("sha256", "")
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise Wrong(f"{name} has no SHA-256 in the lock.")
        if not download["url"].endswith((".tar.gz", ".zip")):
            raise Wrong(
                f"{name} is no source distribution ({download['url']}); pip takes --no-binary {name}."
            )
        found.append(
            Source(
                name,
                metadata["version"],
                download["url"],
                sha256,
                metadata.get("summary", ""),
                metadata.get("license_expression") or metadata.get("license") or "",
            )
        )
    return sorted(found)


def _normal(name: str) -> str:
    """As the index compares names (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def formula(report: dict[str, Any], homepage: str) -> str:
    """
    The text of C{lanrelayd.rb}.

    @raise Wrong: see L{sources}; or the lock is of something else.
    """
    every = sources(report)
    ours = next((one for one in every if one.name == OURS), None)
    if ours is None:
        raise Wrong(f"The lock has no {OURS}.")
    return "\n".join(_lines(ours, [one for one in every if one is not ours], homepage)) + "\n"


def _lines(ours: Source, others: list[Source], homepage: str) -> Iterator[str]:
    yield f"# Made by packaging/homebrew/formula.py from the lock of lanrelayd {ours.version}."
    yield "class Lanrelayd < Formula"
    yield "  include Language::Python::Virtualenv"
    yield ""
    yield f"  desc {_ruby(ours.summary)}"
    yield f"  homepage {_ruby(homepage)}"
    yield f"  url {_ruby(ours.url)}"
    yield f"  sha256 {_ruby(ours.sha256)}"
    yield f"  license {_ruby(ours.licence)}"
    yield ""
    for name in DEPENDS_ON:
        yield f"  depends_on {_ruby(name)}"
    for one in others:
        yield ""
        yield f"  resource {_ruby(one.name)} do"
        yield f"    url {_ruby(one.url)}"
        yield f"    sha256 {_ruby(one.sha256)}"
        yield "  end"
    yield _REST


_REST = """
  def install
    virtualenv_install_with_resources
    system bin/"lanrelay", "manual", man1
    generate_completions_from_executable(bin/"lanrelay", "completion", shells: [:bash, :zsh, :fish])
  end

  service do
    run [opt_bin/"lanrelay", "run", "-c", etc/"lanrelay/relay.yaml"]
    keep_alive crashed: true
    log_path var/"log/lanrelay.log"
    error_log_path var/"log/lanrelay.log"
  end

  def caveats
    <<~EOS
      On macOS 15 and later an agent in general has no access to the LAN. `lanrelay setup` installs the
      service in a way that has, and says so when macOS keeps it from the LAN all the same.
    EOS
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/lanrelay --version")
    system bin/"lanrelay", "demo", "--once"
  end
end"""


def _ruby(text: str) -> str:
    """A string of Ruby's, in which nothing is looked into."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("#", "\\#")
    return f'"{escaped}"'


def main() -> int:
    """0; 1 for a lock that is none."""
    parser = argparse.ArgumentParser(description="Make the Homebrew formula of a release from its lock.")
    parser.add_argument("lock", type=Path, help="pip's report")
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--homepage", metavar="URL", help="of the project, for the formula")
    wanted.add_argument("--names", action="store_true", help="only say what pip has to take as source")
    options = parser.parse_args()
    try:
        report = json.loads(options.lock.read_text("utf-8"))
        text = f"{','.join(names(report))}\n" if options.names else formula(report, options.homepage)
        print(text, end="")
    except (Wrong, ValueError, KeyError, OSError) as error:
        print(f"formula: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
