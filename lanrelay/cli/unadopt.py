"""C{lanrelay unadopt}: puts entries of clients' files back as they were before C{lanrelay adopt}."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lanrelay.cli.home import home

if TYPE_CHECKING:
    import argparse
    from argparse import Namespace

    from lanrelay.cli.conversation import Conversation
    from lanrelay.clients.record import Adopted, Record


def parser() -> argparse.ArgumentParser:
    """The command line."""
    from lanrelay.cli import options

    made = options.parser(
        "unadopt",
        "Put entries of clients' files back as they were before `lanrelay adopt`: the very bytes where "
        "nothing else has changed since, else the very entry.",
        examples="""
            lanrelay unadopt  all entries that were adopted
            lanrelay unadopt --client cursor  those of one client
            lanrelay unadopt --server nas --yes  one entry, without a question
            lanrelay unadopt --dry-run  only show what would change
        """,
    )
    made.add_argument(
        "--client", metavar="NAME", action="extend", nargs="+", default=[], help="only this client's"
    )
    made.add_argument(
        "--server", metavar="NAME", action="extend", nargs="+", default=[], help="only of this name"
    )
    options.add_config(made)
    made.add_argument("--force", action="store_true", help="also where the client is running")
    made.add_argument("--yes", action="store_true", help="answer all questions with yes")
    made.add_argument("--dry-run", action="store_true", help="show what would change, and write nothing")
    return made


def run(arguments: list[str]) -> int:
    """0 where all is as it was, 1 where something could not be put back, 2 for a wrong command line."""
    from lanrelay.cli.conversation import Conversation, Refused
    from lanrelay.cli.looking import unknown_client
    from lanrelay.clients.table import OTHER
    from lanrelay.errors import RelayError

    chosen = parser().parse_args(arguments)
    wrong = unknown_client([name for name in chosen.client if name != OTHER.name])
    if wrong:
        print(f"lanrelay unadopt: {wrong}.", file=sys.stderr)
        return 2
    talk = Conversation("unadopt", yes=chosen.yes, dry_run=chosen.dry_run)
    try:
        return _Command(chosen, talk).run()
    except (Refused, RelayError) as error:
        talk.complain(str(error))
        return 1


class _Command:
    """One run."""

    def __init__(self, chosen: Namespace, talk: Conversation) -> None:
        self._chosen = chosen
        self._talk = talk
        self._status = 0

    def run(self) -> int:
        from lanrelay.clients.record import Record
        from lanrelay.config.default_path import state_folder

        record = Record(state_folder() / "adopted.json")
        wanted = [
            each
            for each in record.adopted
            if (not self._chosen.client or each.client in self._chosen.client)
            and (not self._chosen.server or each.server in self._chosen.server)
        ]
        if not wanted:
            self._talk.say("Nothing that was adopted is left to put back.")
            return 0
        back: list[Adopted] = []
        for file in dict.fromkeys(each.file for each in wanted):
            back += self._file(record, Path(file), [each for each in wanted if each.file == file])
        self._tell_of_listeners(record, back)
        return self._status

    def _wrong(self, sentence: str) -> None:
        self._talk.complain(sentence)
        self._status = 1

    def _file(self, record: Record, path: Path, wanted: list[Adopted]) -> list[Adopted]:
        """Put the entries of one file back; those that are dealt with leave the record."""
        from contextlib import nullcontext

        from lanrelay.cli.adopt import restarts
        from lanrelay.clients.locking import locked
        from lanrelay.clients.record import digest
        from lanrelay.clients.table import named
        from lanrelay.config.default_path import state_folder
        from lanrelay.edit import replace
        from lanrelay.edit.formats.edit import decode
        from lanrelay.edit.formats.tree import Broken
        from lanrelay.errors import StartError

        talk = self._talk
        client = named(wanted[0].client)
        if client is not None and not talk.dry_run and self._is_open(client.name, path):
            return []
        try:
            original = replace.read(path)
            if original.content is None:
                self._wrong(f"{home(path)} is not there any more.")
                return self._forget(record, wanted)
            text, mark = decode(original.content)
            after, done = self._text(text, wanted)
        except (Broken, StartError) as error:
            self._wrong(f"{home(path)} is left alone: {error}.")
            return []
        content = mark + after.encode()
        if content != original.content:
            talk.diff(path, original.content, content)
            if not talk.agree(f"Put back what {home(path)} had?"):
                if not talk.dry_run:
                    self._wrong("Nothing was changed.")
                return []
            with locked(path) if client is not None and client.locked else nullcontext():
                kept = replace.replace(original, content, backups=state_folder() / "backups")
            talk.wrote = True
            same = digest(content) in {each.whole for each in done}
            talk.say(
                f"{home(path)} has the very bytes of before."
                if same
                else f"{home(path)} has its entries back."
            )
            if kept is not None:
                talk.tell(f"What was there before is kept as {home(kept)}.")
            if client is not None:
                talk.say(restarts([client]))
        return [] if talk.dry_run else self._forget(record, done)

    def _text(self, text: str, wanted: list[Adopted]) -> tuple[str, list[Adopted]]:
        """
        The text with the entries as they were, and those that are dealt with.

        @raise Broken: the file is not in its format.
        """
        from lanrelay.clients.record import Undoing
        from lanrelay.edit.formats.tree import Broken, NotEdited

        done = []
        for adopted in reversed(wanted):
            undoing = Undoing(adopted, text)
            if undoing.state in ("gone", "back"):
                what = "is not there any more" if undoing.state == "gone" else "is as it was already"
                self._talk.tell(f"{adopted.server} {what}.")
                done.append(adopted)
                continue
            if undoing.state == "changed":
                self._talk.tell(f"{adopted.server} was changed by somebody since it was adopted.")
                if not self._talk.agree(f"Put {adopted.server} back all the same, without that change?"):
                    continue
            try:
                text = undoing.undone()
            except (NotEdited, Broken) as error:
                self._wrong(f"{adopted.server} cannot be put back: {error}.")
                continue
            done.append(adopted)
        return text, done

    def _is_open(self, name: str, path: Path) -> bool:
        """Whether a client runs that would write its file back."""
        from lanrelay.clients.places import find
        from lanrelay.clients.processes import running
        from lanrelay.clients.table import named

        client = named(name)
        if client is None or self._chosen.force:
            return False
        kept = [each.path for each in find(folder=Path.cwd(), clients=[client]) if each.files.kept]
        if path not in kept or not running(client.processes):
            return False
        self._wrong(
            f"{client.called} is running; it keeps its file in memory and would write this one back. Quit it "
            "completely and run this again, or add --force."
        )
        return True

    @staticmethod
    def _forget(record: Record, done: list[Adopted]) -> list[Adopted]:
        record.write(record.without(done))
        return done

    def _tell_of_listeners(self, record: Record, back: list[Adopted]) -> None:
        """Name the listeners that were made for clients and that none needs any more."""
        from lanrelay.cli import looking
        from lanrelay.cli.conversation import Conversation

        names = dict.fromkeys(name for each in back for name in each.made)
        if not names:
            return
        still = {name for each in record.adopted for _, name in each.listeners}
        quiet = Conversation("unadopt", as_json=True, stdout=sys.stderr)
        listeners = looking.listeners(self._chosen.config, quiet)
        from argparse import Namespace

        everything = Namespace(file=None, client=[], server=[], format=None)
        used = {finding.listener for finding in looking.look(everything, listeners, quiet).findings}
        for name in names:
            if name in listeners.relays.values() and name not in still | used:
                self._talk.say(
                    f"The listener {name} is not used by a client any more: lanrelay remove {name}"
                )
