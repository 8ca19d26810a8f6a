"""Makes the description that a package index shows, of the README; all else is in setup.cfg."""

import re
from pathlib import Path

from setuptools import setup

README = Path(__file__).with_name("README.md").read_text("utf-8")

WHERE = "Files that are named here, such as docs/index.md, are in the source distribution."


def description(readme: str) -> str:
    """
    The README for a place where no other file is beside it: it names them, and has no link to them and no
    picture of theirs.
    """
    text = re.sub(r"!\[[^]]*\]\((?!https?:)[^)]*\)\n+", "", readme)
    text = re.sub(r"\[([^]]*)\]\((?!https?:)([^)#]*)[^)]*\)", _named, text)
    return f"{text.rstrip()} {WHERE}\n"


def _named(link: "re.Match[str]") -> str:
    text, file = link.groups()
    return file if text == file else f"{text}: {file}"


setup(long_description=description(README), long_description_content_type="text/markdown")
