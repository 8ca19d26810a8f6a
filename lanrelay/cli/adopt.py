"""C{lanrelay adopt}: has the entries of clients' files that lead to the LAN lead through the relay."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lanrelay.cli.home import home

if TYPE_CHECKING:
    import argparse
    from argparse import Namespace
    from collections.abc import Iterable, Mapping, Sequence

    from lanrelay.cli.adopting import Adoption
    from lanrelay.cli.conversation import Conversation
    from lanrelay.cli.looking import Listeners
    from lanrelay.clients.finding import Finding
    from lanrelay.clients.moving import Moved
    from lanrelay.clients.row import Client
    from lanrelay.examine.checks import Examined
    from lanrelay.setup.relay_file import RelayFile


def parser() -> argparse.ArgumentParser:
    """The command line."""
    from lanrelay.cli import looking, options

    made = options.parser(
        "adopt",
        "Have the entries of clients' files that lead to the LAN lead through the relay. Each change is "
        "shown and asked for; `lanrelay unadopt` puts back the very bytes.",
        examples="""
            lanrelay adopt  all entries of all clients that lead to the LAN
            lanrelay adopt --dry-run  only show what would change
            lanrelay adopt --client cursor --yes  one client's, without a question
            lanrelay adopt --server nas --force  one entry, though its server is down
            lanrelay adopt --file x.json --format zed  a file that is somewhere else
            lanrelay adopt --server n8n --as proxy  a program gets the relay's forward proxy
        """,
    )
    looking.options(made)
    made.add_argument(
        "--as",
        dest="manner",
        choices=("url", "stdio", "proxy"),
        help="have a URL for a bridge, where the client takes one; or `lanrelay stdio` (the default for "
        "Claude Desktop); or give programs the relay's forward proxy. Else only the URL changes",
    )
    made.add_argument(
        "--move-secrets",
        action="store_true",
        help="credentials go from the entries to files beside the configuration, and the listener sends them",
    )
    made.add_argument(
        "--force", action="store_true", help="also what is not reached, not trusted, or open in its client"
    )
    made.add_argument("--yes", action="store_true", help="answer the question with yes")
    made.add_argument("--dry-run", action="store_true", help="show what would change, and write nothing")
    return made


def run(arguments: list[str]) -> int:
    """0 where all is well, 1 where something was left alone that should not, 2 for a wrong command line."""
    from lanrelay.cli import looking
    from lanrelay.cli.conversation import Conversation

    chosen = parser().parse_args(arguments)
    wrong = looking.wrong_usage(chosen)
    if wrong:
        print(f"lanrelay adopt: {wrong}.", file=sys.stderr)
        return 2
    return adopt(chosen, Conversation("adopt", yes=chosen.yes, dry_run=chosen.dry_run))


def adopt(chosen: Namespace, talk: Conversation) -> int:
    """
    Carry it out.

    @param chosen: what L{parser} makes.
    @return: the exit status.
    """
    from lanrelay.cli.conversation import Refused
    from lanrelay.config.default_path import NotFound
    from lanrelay.errors import RelayError

    try:
        return _Command(chosen, talk).run()
    except (Refused, RelayError, NotFound, FileNotFoundError) as error:
        talk.complain(str(error))
        return 1


def _this_program() -> str:
    """The absolute path of C{lanrelay}, for a client whose PATH is another."""
    import os
    import shutil

    own = os.path.join(os.path.dirname(sys.executable), "lanrelay")
    called = sys.argv[0] if os.path.basename(sys.argv[0]) == "lanrelay" else ""
    for candidate in (called, own, shutil.which("lanrelay") or ""):
        if candidate and os.access(candidate, os.X_OK):
            return os.path.abspath(candidate)
    return ""


def restarts(clients: Iterable[Client]) -> str:
    """What is to be done so that they read their files, as sentences."""
    each = dict.fromkeys(client.restart for client in clients)
    return " ".join(f"{text[0].upper()}{text[1:]}." for text in each)


class _Command:
    """One run."""

    def __init__(self, chosen: Namespace, talk: Conversation) -> None:
        self._chosen = chosen
        self._talk = talk
        self._status = 0

    def run(self) -> int:
        from lanrelay.cli import looking

        if self._chosen.manner == "stdio" and not self._has_stdio():
            self._wrong(
                "`lanrelay stdio` is not part of this version. Without --as stdio the bridge stays, and only "
                "its URL changes."
            )
            return 1
        relay = self._relay()
        listeners = (
            looking.of_config(relay.config) if relay.config is not None else looking.Listeners(None, {}, {})
        )
        seen = looking.look(self._chosen, listeners, self._talk)
        for broken in seen.broken:
            sentence = f"{home(broken.found.path)} is left alone: {broken.said}."
            if broken.reason == "file_broken":
                self._wrong(sentence)
            else:
                self._talk.tell(sentence)
        wanted = [each for each in seen.findings if self._is_wanted(each)]
        if self._chosen.server and not seen.findings:
            self._wrong(f"No entry is called {' or '.join(self._chosen.server)}.")
        if not wanted:
            self._nothing(seen.findings)
            return self._status
        if not relay.runs and not self._chosen.force and not self._chosen.dry_run:
            self._wrong(
                f"{self._not_running} `lanrelay service install` has the system start one; `lanrelay adopt "
                "--force` changes the clients' files all the same."
            )
            return 1
        wanted = self._not_open(wanted)
        adoption = self._plan(relay, listeners, wanted)
        for sentence in adoption.left:
            self._wrong(sentence)
        adoption.left.clear()
        if not adoption.files:
            return self._status
        if self._show(adoption):
            self._carry_out(adoption)
        return self._status

    def _wrong(self, sentence: str) -> None:
        self._talk.complain(sentence)
        self._status = 1

    def _relay(self) -> RelayFile:
        from lanrelay.cli import adopting
        from lanrelay.cli.writing import file_to_write
        from lanrelay.setup.relay_file import RelayFile

        file = file_to_write(self._chosen.config)
        if self._chosen.config is None:
            self._talk.tell(f"The relay's configuration is {home(file)}.")
        self._not_running = adopting.runs(file)
        return RelayFile(file, runs=not self._not_running)

    def _is_wanted(self, finding: Finding) -> bool:
        if self._chosen.manner == "proxy":
            return finding.reason == "program" and bool(finding.lan)
        # A person who names an entry means it, even if it is switched off in the client.
        named = finding.server.name in self._chosen.server
        return finding.adopt or (named and finding.reason == "disabled")

    def _nothing(self, findings: Sequence[Finding]) -> None:
        self._talk.say("No entry leads to the LAN in a way that can be changed.")
        for finding in findings:
            if finding.leads_to == "lan" or finding.lan or finding.server.name in self._chosen.server:
                server = finding.server
                self._talk.say(f"{server.name} ({server.client.called}): {finding.reason}. {finding.said}")

    # --- what is in the way ---

    def _not_open(self, wanted: list[Finding]) -> list[Finding]:
        """Without the entries that their client has in memory and would write back."""
        from lanrelay.clients.processes import running

        left = []
        told: dict[str, bool] = {}
        for finding in wanted:
            client = finding.server.client
            if finding.server.read.found.files.kept and not self._chosen.dry_run:
                if client.name not in told:
                    told[client.name] = bool(running(client.processes))
                    if told[client.name] and not self._chosen.force:
                        self._wrong(
                            f"{client.called} is running; it keeps its file in memory and would write the "
                            "old one back. Quit it completely and run this again, or add --force."
                        )
                if told[client.name] and not self._chosen.force:
                    continue
            left.append(finding)
        return left

    def _plan(self, relay: RelayFile, listeners: Listeners, wanted: list[Finding]) -> Adoption:
        from lanrelay.cli import adopting
        from lanrelay.clients.finding import authorities
        from lanrelay.config.default_path import state_folder

        adoption = adopting.Adoption(
            relay, state=state_folder(), reload=adopting.reload, force=self._chosen.force
        )
        if self._chosen.manner == "proxy":
            if not listeners.proxies:
                self._wrong("The configuration has no forward proxy: `lanrelay add proxy` adds one.")
                return adoption
            for finding in wanted:
                adoption.add_proxy(finding, next(iter(listeners.proxies)))
            return adoption
        files = {}
        for finding in wanted:
            found, missing = adopting.authorities(authorities(finding))
            files[id(finding)] = found
            for name in missing:
                self._talk.tell(f"{finding.server.name}: the CA's file {name} was not found here.")
        examined = self._examined(relay, wanted, files)
        well = [finding for finding in wanted if self._is_well(finding, examined[id(finding)])]
        from lanrelay.clients.by_url import can as can_use_a_url

        moved = self._moved(relay, well) if self._chosen.move_secrets else {}
        for finding in well:
            if not self._chosen.move_secrets or id(finding) in moved:
                program = self._program(finding)
                native = self._chosen.manner == "url" and can_use_a_url(finding)
                adoption.add(
                    finding, files[id(finding)], moved.get(id(finding)), program=program, native=native
                )
        return adoption

    def _program(self, finding: Finding) -> str:
        """The bridge that the client is to start: this program, or none for the one that is there."""
        from lanrelay.clients.bridges import OURS

        if not self._has_stdio() or self._chosen.manner == "url":
            return ""
        if finding.spelling is None and not finding.bridged:
            return ""  # a URL stays one
        if finding.spelling is not None and finding.spelling.bridge is OURS:
            return ""
        wanted = self._chosen.manner == "stdio" or finding.server.client.takes == ("stdio",)
        return _this_program() if wanted else ""

    @staticmethod
    def _has_stdio() -> bool:
        from lanrelay.cli.main import COMMANDS

        return "stdio" in COMMANDS

    def _moved(self, relay: RelayFile, wanted: list[Finding]) -> dict[int, Moved]:
        """The credentials of the entries that can lose theirs; says of the others why they cannot."""
        from lanrelay.clients.moving import credentials
        from lanrelay.edit.formats.tree import NotEdited

        found: dict[int, Moved] = {}
        by_origin: dict[str, list[Finding]] = {}
        for finding in wanted:
            name = f"{finding.server.name} ({finding.server.client.called})"
            origins = {target.url.origin for target in finding.targets}
            try:
                found[id(finding)] = credentials(finding)
            except NotEdited as error:
                self._wrong(f"{name} is left alone: {error}. Without --move-secrets it stays where it is.")
                continue
            for origin in origins:
                by_origin.setdefault(origin, []).append(finding)
        for origin, findings in by_origin.items():
            keys = {found[id(each)].key for each in findings if id(each) in found}
            why = ""
            if len(keys) > 1:
                why = "have different credentials, or one has none, and a listener sends the same for all"
            elif keys != {frozenset()} and relay.is_there(origin):
                why = "have credentials, and the listener that is there already would send them for all"
            if why:
                names = " and ".join(finding.server.name for finding in findings)
                self._wrong(f"{names} are left alone: the entries for {origin} {why}.")
                for finding in findings:
                    found.pop(id(finding), None)
        return found

    def _examined(
        self, relay: RelayFile, wanted: list[Finding], files: Mapping[int, Sequence[Path]]
    ) -> dict[int, Examined | str]:
        """What the doctor says of each target, or why it says nothing."""
        from dataclasses import replace

        from lanrelay.cli.in_reactor import in_reactor
        from lanrelay.clients import sent
        from lanrelay.clients.judge import is_variable
        from lanrelay.examine.subject import Subject, Unknown, subjects

        found: dict[int, Examined | str] = {}
        asked: dict[int, Subject] = {}
        for finding in wanted:
            url = finding.targets[0].url
            try:
                [subject, *_] = subjects(
                    f"{url.origin}{url.rest.partition('#')[0]}",
                    relay.config,
                    file=relay.file,
                    expect_mcp=True,
                )
            except Unknown as error:
                found[id(finding)] = str(error)
                continue
            fields = [
                (name, value) for name, value in sent.headers(finding).items() if not is_variable(value)
            ]
            upstream = subject.upstream
            if files[id(finding)] and subject.listener is None:
                trust = upstream.trust
                ca: tuple[Any, ...] = (*trust.ca, *files[id(finding)])
                upstream = upstream._replace(trust=trust._replace(ca=ca or trust.ca))
            asked[id(finding)] = replace(subject, upstream=upstream, fields=(*subject.fields, *fields))

        async def look(reactor: Any) -> list[Examined]:
            from lanrelay.examine.opener import Means
            from lanrelay.examine.target import examine_all
            from lanrelay.upstream.resolve import Resolver

            means = Means(reactor=reactor, resolver=Resolver(reactor), platform=sys.platform)
            return await examine_all(means, list(asked.values()))

        if asked:
            with self._talk.waiting("looking at the servers"):
                found.update(zip(asked, in_reactor(look), strict=True))
        return found

    def _is_well(self, finding: Finding, examined: Examined | str) -> bool:
        from lanrelay.clients import sent
        from lanrelay.edit.masking import mask

        server = finding.server
        name = f"{server.name} ({server.client.called})"
        if isinstance(examined, str):
            self._wrong(f"{name} is left alone: {examined}")
            return False
        failed = [check for check in examined.checks if check.state == "failed"]
        login = any(check.cause == "login_wanted" for check in examined.checks)
        if login and not sent.headers(finding) and not self._chosen.force:
            self._wrong(
                f"{name} is left alone: oauth. The server wants a login, which belongs to the URL and would "
                "be lost; --force adopts it all the same."
            )
            return False
        if not failed:
            return True
        first = failed[0]
        if self._chosen.force:
            self._talk.tell(f"{name}: {mask(first.said)}")
            return True
        remedy = f" {first.remedy}" if first.remedy else ""
        self._wrong(f"{name} is left alone: {mask(f'{first.said}{remedy}')}")
        return False

    # --- showing and doing ---

    def _show(self, adoption: Adoption) -> bool:
        from lanrelay.cli import adopting
        from lanrelay.edit.formats.tree import NotEdited

        talk = self._talk
        relay = adoption.relay
        try:
            content = relay.content(adoption.origins(adoption.entries()), check=False)
        except NotEdited as error:
            self._wrong(f"{relay.file} is left alone: {error}.")
            return False
        if content != relay.original.content:
            talk.diff(relay.file, relay.original.content, content)
        for edit in adoption.files:
            talk.diff(edit.original.path, edit.original.content, edit.content(edit.entries))
        for entry in adoption.entries():
            for note in entry.planned.notes:
                talk.tell(f"{entry.name}: {note}")
        for edit in adoption.files:
            found = edit.entries[0].finding.server.read.found
            path = home(found.path)
            if adopting.in_git(found.path):
                talk.tell(f"{path} lies in a git repository: whoever gets it from there needs a relay, too.")
            if found.files.synced:
                talk.tell(
                    f"{path} may be carried to other machines by a settings sync; they need a relay, too."
                )
        count = len(list(adoption.entries()))
        if talk.dry_run:
            return False
        what = "this entry" if count == 1 else f"these {count} entries"
        agreed = talk.agree(f"Have {what} lead through the relay?")
        if not agreed:
            talk.tell("Nothing was changed.")
            self._status = 1
        return agreed

    def _carry_out(self, adoption: Adoption) -> None:

        talk = self._talk
        try:
            with talk.waiting("making the clients' calls through the relay"):
                adoption.carry_out(say=talk.say)
        finally:
            for sentence in adoption.left:
                self._wrong(sentence)
            for entry in adoption.done:
                where = f"http://127.0.0.1:{entry.url.split('/')[2].rpartition(':')[2]}" if entry.url else ""
                talk.say(f"{entry.name} leads through the relay now{': ' + where if where else ''}.")
            for backup in adoption.backups:
                talk.tell(f"What was there before is kept as {home(backup)}.")
        if not adoption.done:
            return
        clients = {entry.finding.server.client.name: entry.finding.server for entry in adoption.done}
        for server in clients.values():
            if server.read.found.files.kept and self._chosen.force:
                talk.tell(
                    f"If {server.client.called} was running, look at it again after its next start: "
                    f"`lanrelay clients --client {server.client.name}`."
                )
        if not talk.part:
            talk.tell("`lanrelay unadopt` puts it all back.")
        talk.say(restarts(server.client for server in clients.values()))
