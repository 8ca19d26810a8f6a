"""What the commands that change the configuration have in common: the file, the writing, the reload."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lanrelay.cli.conversation import Conversation
    from lanrelay.edit.several import Planned


def file_to_write(given: Path | None) -> Path:
    """
    The configuration that a command changes: as everywhere, else the user's own, existing or not.

    @raise NotFound: C{$LANRELAY_CONFIG} names a file that is not there.
    """
    from lanrelay.config.default_path import NotFound, find, users_own

    try:
        return find(given)
    except NotFound:
        if os.environ.get("LANRELAY_CONFIG"):
            raise
        return users_own()


def show(talk: Conversation, plan: Sequence[Planned]) -> None:
    """The difference of each file."""
    for original, content in plan:
        talk.diff(original.path, original.content, content)


def write(talk: Conversation, plan: Sequence[Planned]) -> None:
    """
    Write all of them, and say where their old content is kept.

    @raise StartError: one cannot be written; nothing has changed.
    """
    from lanrelay.config.default_path import state_folder
    from lanrelay.edit import several

    kept = several.write(plan, backups=state_folder() / "backups")
    talk.wrote = True
    for path, backup in kept:
        talk.tell(f"What {path} held before is kept as {backup}.")


def reload_running(talk: Conversation, file: Path) -> bool:
    """
    Have a relay that runs with the file read it anew. If none runs, say so, unless this is a step of a
    greater command.

    @return: C{False}: one runs, and has refused.
    """
    from lanrelay.cli.asking import NotAsked, result

    if not file.exists():
        return True  # there can be none
    try:
        outcome = result(file, {"method": "reload"}, timeout=60.0)
    except NotAsked as error:
        if not talk.part:
            talk.tell(f"Nothing was reloaded: {error}")
        return True
    if outcome["ok"]:
        talk.tell("The running relay was reloaded.")
        return True
    for complaint in outcome["errors"]:
        talk.complain(str(complaint))
    talk.complain("the running relay goes on as it was")
    return False
