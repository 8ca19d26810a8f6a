"""
What the documentation links to beside its folder (C{../conf/relay.yaml}) comes with the site, so that the
same links lead somewhere in both.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, InclusionLevel

TOP = Path(__file__).resolve().parents[2]

_LINK = re.compile(r"\]\(\.\./([^)\s#]+)")


def on_files(files: Any, *, config: Any) -> Any:
    """Put in each file that some page links to; Markdown among them becomes pages."""
    wanted = {
        link
        for page in files.documentation_pages()
        for link in _LINK.findall(Path(page.abs_src_path).read_text("utf-8"))
    }
    for link in sorted(wanted):
        path = TOP / link
        if path.is_file():  # else the build complains of the link itself
            files.append(
                File.generated(
                    config, f"beside/{link}", content=_content(path), inclusion=InclusionLevel.NOT_IN_NAV
                )
            )
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Have the links lead to where the files are in the site."""
    inside = page.file.src_uri.startswith("beside/")
    return markdown if inside else _LINK.sub(r"](beside/\1", markdown)


def _content(path: Path) -> str:
    """What is Markdown has its own links as text, for what they lead to is not all here."""
    text = path.read_text("utf-8")
    return re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text) if path.suffix == ".md" else text
