"""C{lanrelay remove}: takes a listener out of the configuration again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lanrelay.cli.home import home

if TYPE_CHECKING:
    from argparse import Namespace
    from pathlib import Path

    from lanrelay.cli.conversation import Conversation
    from lanrelay.config import model
    from lanrelay.edit.several import Planned

_EXAMPLES = """
  lanrelay remove nas            the listener nas goes
  lanrelay remove nas --dry-run  only show what would change
"""


def run(arguments: list[str]) -> int:
    """0 where it is gone, 1 where not, 2 for a wrong command line."""
    from lanrelay.cli import options
    from lanrelay.cli.conversation import Conversation, Refused
    from lanrelay.config.complaints import ConfigErrors
    from lanrelay.config.default_path import NotFound
    from lanrelay.edit.formats.tree import NotEdited
    from lanrelay.errors import StartError

    parser = options.parser(
        "remove", "Take a listener out of the configuration, with its lines.", examples=_EXAMPLES
    )
    parser.add_argument("name", metavar="NAME", help="the listener")
    parser.add_argument("--yes", action="store_true", help="answer every question with yes")
    parser.add_argument("--dry-run", action="store_true", help="show what would be written")
    options.add_config(parser)
    chosen = parser.parse_args(arguments)
    talk = Conversation("remove", yes=chosen.yes, dry_run=chosen.dry_run)
    try:
        return _remove(chosen, talk)
    except NotFound as error:
        talk.complain(f"{error} {error.advice}")
    except (Refused, StartError) as error:
        talk.complain(str(error))
    except ConfigErrors as error:
        talk.complain(f"the configuration is not right, or would not be, so nothing was written.\n{error}")
    except NotEdited as error:
        talk.complain(f"{error}; nothing was written.")
    return 1


def _remove(chosen: Namespace, talk: Conversation) -> int:
    from lanrelay.cli import writing
    from lanrelay.config.default_path import find
    from lanrelay.config.load import load

    file = find(chosen.config)
    config = load(file)
    names = [one.name for one in config.listeners]
    if chosen.name not in names:
        talk.complain(f"{file} has no listener {chosen.name}; there are: {', '.join(names)}.")
        return 1
    plan = _planned(file, config, chosen.name)
    talk.tell(f"The configuration is {file}.")
    writing.show(talk, plan)
    if not talk.agree(f"Remove {chosen.name}?"):
        if not chosen.dry_run:
            talk.tell("Nothing was written.")
        return 0 if chosen.dry_run else 1
    writing.write(talk, plan)
    talk.say(f"The listener {chosen.name} is gone.")
    if plan[0].content is None:
        talk.say(f"It was the only one, so {home(file)} is gone, too.")
        return 0
    return 0 if writing.reload_running(talk, file) else 1


def _planned(file: Path, config: model.Config, name: str) -> list[Planned]:
    """
    @raise NotEdited: it is the only listener of a file that says more, or with which a relay runs.
    """
    from lanrelay.edit.formats.edit import FORMATS, decode
    from lanrelay.edit.formats.tree import NotEdited, Table
    from lanrelay.edit.replace import read
    from lanrelay.edit.several import Planned
    from lanrelay.setup.in_force import removed

    original = read(file)
    content = original.content or b""
    if len(config.listeners) > 1:
        return [Planned(original, removed(file, content, name).content)]
    root = FORMATS["yaml"].parse(decode(content)[0])
    alone = isinstance(root, Table) and [entry.key for entry in root.entries] == ["listeners"]
    if not alone or _runs(file):
        raise NotEdited(
            f"{name} is the only listener of {file}, and a relay has one at least: stop it and delete "
            f"the file, or write `enabled: false` into {name}"
        )
    return [Planned(original, None)]


def _runs(file: Path) -> bool:
    from lanrelay.cli.asking import NotAsked, connect

    try:
        connect(file).close()
    except NotAsked:
        return False
    return True
