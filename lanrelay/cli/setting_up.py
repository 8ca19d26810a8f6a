"""The steps of C{lanrelay setup}, each of which is a command that can be given alone."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lanrelay.cli.home import home, shown
from lanrelay.cli.setup_servers import Server, Servers, called

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

    from lanrelay.cli.conversation import Conversation
    from lanrelay.clients.finding import Finding
    from lanrelay.examine.checks import Examined
    from lanrelay.setup.configuration import Serving
    from lanrelay.setup.relay_file import RelayFile

Step = list[str]
"""A command and its arguments, as a person could give it."""


class Stopped(Exception):
    """A step that all need could not be done; the text is a sentence."""


class Setup:
    """One run."""

    def __init__(self, chosen: Namespace, talk: Conversation, named: list[Server]) -> None:
        self._chosen = chosen
        self._talk = talk
        self._servers = Servers(named, chosen, talk, self._relay)
        self._status = 0
        self._done: list[str] = []  # what is in force, as sentences
        self._undo: list[Step] = []
        self._as_if_trusted: list[Server] = []  # under --dry-run

    def run(self) -> int:
        """
        All steps, one after another.

        @raise Stopped: one that all need could not be done.
        """
        self._as_the_right_user()
        self._file = self._configuration()
        self._talk.tell(f"The relay's configuration is {home(self._file)}.")
        if not self._find():
            return self._status
        self._servers.look()
        for server in self._servers.all:
            if server.lacks_trust_alone:
                self._trust(server)
        self._leave_out()
        if not self._agree():
            return self._status
        self._listen()
        self._serve()
        self._adopt()
        self._call()
        self._tell_the_end()
        return self._status

    def _wrong(self, sentence: str) -> None:
        self._talk.complain(sentence)
        self._status = 1

    # --- who and where ---

    def _as_the_right_user(self) -> None:
        user = os.environ.get("SUDO_USER", "")
        if os.geteuid() == 0 and user not in ("", "root") and not self._chosen.system:
            raise Stopped(
                f"This runs as root by way of sudo, but the clients' files are {user}'s: run it without "
                "sudo, as that user, or add --system for a service of the whole machine."
            )
        if self._chosen.system and os.geteuid() != 0:
            raise Stopped(
                "--system is for the whole machine and needs root: "
                '`sudo "$(command -v lanrelay)" setup --system`.'  # sudo has a PATH of its own
            )

    def _configuration(self) -> Path:
        from lanrelay.cli.writing import file_to_write
        from lanrelay.config.default_path import SYSTEM

        given: Path | None = self._chosen.config
        if given is None and self._chosen.system and not os.environ.get("LANRELAY_CONFIG"):
            return SYSTEM
        return file_to_write(given)

    # --- finding ---

    def _find(self) -> bool:
        """Whether there is a server to set up."""
        relayed = self._servers.find()
        self._status = max(self._status, int(self._servers.wrong))
        if self._servers.all:
            return True
        if relayed and not self._status:
            self._serve_what_is_there(self._relay().runs)
            return False
        self._wrong(
            "No client's file names a server on the LAN. Say which one you want to reach: "
            "`lanrelay setup https://HOST/mcp`."
        )
        return False

    def _relay(self) -> RelayFile:
        from lanrelay.cli import adopting
        from lanrelay.setup.relay_file import RelayFile

        return RelayFile(self._file, runs=not adopting.runs(self._file))

    # --- trusting ---

    def _trust(self, server: Server) -> None:
        from lanrelay.cli.conversation import Conversation
        from lanrelay.cli.trust import parser, trust

        words: Step = [server.origin, "-c", str(self._file)]
        if self._chosen.ca is not None:
            words += ["--ca", str(self._chosen.ca)]
        if self._chosen.fingerprint is not None:
            words += ["--fingerprint", self._chosen.fingerprint]
        if self._chosen.yes:
            words += ["--yes"]
        if self._chosen.dry_run:
            words += ["--dry-run"]
        self._talk.tell()
        talk = Conversation("trust", yes=self._chosen.yes, dry_run=self._chosen.dry_run, part=True)
        status = trust(parser().parse_args(words), talk)
        if self._chosen.dry_run:
            if status == 0:
                server.examined = _as_if_trusted(server.examined)
                self._as_if_trusted.append(server)
            return
        if status == 0:
            self._did(f"{server.origin} is trusted.", ["trust", "--remove", _host(server)])
            self._servers.examine([server])
            if not server.is_well:
                self._servers.tell_of(server)

    def _leave_out(self) -> None:
        """
        Go on with the servers that are well, if that is wanted.

        @raise Stopped: there is none.
        """
        from lanrelay.edit.masking import url

        bad = [server for server in self._servers.all if not server.is_well]
        self._servers.all = [server for server in self._servers.all if server.is_well]
        if not self._servers.all:
            raise Stopped("None of the servers can be used as it stands, so nothing else was done.")
        if not bad:
            return
        self._status = 1
        names = " and ".join(url(server.url) for server in bad)
        if not self._chosen.dry_run and not self._talk.agree(f"Go on without {names}?"):
            raise Stopped("Nothing else was done.")
        self._talk.complain(f"{names} {'is' if len(bad) == 1 else 'are'} left out.")

    # --- the one question ---

    def _agree(self) -> bool:
        """Show what will be done; whether it is to be."""
        talk = self._talk
        steps = self._planned()
        findings = self._servers.findings()
        talk.tell()
        if findings:
            self._show_adoption(findings)
        if not steps:
            if talk.dry_run:
                talk.say("All of it is done already.")
            return not talk.dry_run
        (talk.say if talk.dry_run else talk.tell)("\n".join(["What will be done:", *steps]))
        if talk.dry_run:
            return False
        if not talk.agree("Do it?"):
            raise Stopped("Nothing else was done.")
        return True

    def _planned(self) -> list[str]:
        """A line for each step that is not done already."""
        relay = self._relay()
        missing = [server for server in self._servers.all if not self._is_served(relay, server)]
        lines = []
        if missing:
            names = ", ".join(server.origin for server in missing)
            lines.append(f"  {home(self._file)} gets listeners for {names}")
        if relay.runs and missing:
            lines.append("  the running relay is reloaded")
        elif not relay.runs and not self._chosen.no_service:
            lines.append(f"  {_shown(self._service_words())}")
        lines += [f"  {called(finding)} leads through the relay" for finding in self._servers.findings()]
        return lines

    @staticmethod
    def _is_served(relay: RelayFile, server: Server) -> bool:
        from lanrelay.setup.adding import serving

        return relay.config is not None and serving(relay.config, server.wanted) is not None

    # --- the listeners and the service ---

    def _listen(self) -> None:
        """
        A listener for each server; what the clients name is never made a prefix.

        @raise Stopped: one cannot be added.
        """
        for server in self._servers.all:
            if self._is_served(self._relay(), server):
                continue
            if self._add_listener(server) != 0:
                raise Stopped(f"No listener for {server.origin} could be added.")
            name = self._served_by(server).name
            self._did(f"The listener {name} leads to {server.origin}.", ["remove", name, *self._where()])

    def _add_listener(self, server: Server) -> int:
        from lanrelay.cli.add import add, parser
        from lanrelay.cli.conversation import Conversation

        shown_before = bool(server.findings)
        talk = Conversation("setup", yes=True, shown=shown_before, part=True, stdout=sys.stderr)
        return add(parser().parse_args(self._add_words(server)), talk)

    def _add_words(self, server: Server) -> Step:
        words = ["--no-probe", "--yes", "-c", str(self._file)]
        path = server.wanted.path
        found = None if isinstance(server.examined, str) else server.examined.mcp_path
        if server.findings or (found is not None and path in ("", found)):
            words.append(server.origin)
            if found and _masked(found) == found:  # a path that is a secret is the client's alone
                words += ["--set", f"mcp={found}"]
        else:
            words.append(server.url)
        if server.authorities:
            ca = ", ".join(_quoted(str(one)) for one in server.authorities)
            words += ["--set", f"tls.ca=[system, {ca}]"]
        return words

    def _served_by(self, server: Server) -> Serving:
        from lanrelay.setup.adding import serving

        config = self._relay().config
        found = None if config is None else serving(config, server.wanted)
        if found is None:
            raise Stopped(f"The listener for {server.origin} is not there any more.")
        return found

    def _serve(self) -> None:
        """
        Have a relay run with the configuration; one that does was reloaded when listeners were added.

        @raise Stopped: none does.
        """
        if self._relay().runs:
            self._talk.tell("The relay runs.")
            return
        if self._chosen.no_service:
            raise Stopped(
                f"No relay runs with {self._file}, and --no-service installs none: start it with "
                f"`{_shown(['run', *self._where()])}`, and run the same `lanrelay setup` again."
            )
        words = self._service_words()
        from lanrelay.cli import service
        from lanrelay.cli.around import modes_here

        try:
            if service.run(words[1:]) != 0 and not self._relay().runs:
                raise Stopped(
                    f"The service could not be started: `{_shown(words)}` is this step alone. Without a "
                    f"service, start the relay with `{_shown(['run', *self._where()])}`, and run the "
                    "same `lanrelay setup` again."
                )
        finally:  # Ctrl-C, too, while it waits for the relay
            if any(mode.installed for mode in modes_here()):
                self._did("The service is installed.", ["service", "uninstall"])

    def _serve_what_is_there(self, runs: bool) -> None:
        if runs:
            self._talk.say("The relay runs. There is nothing to do.")
            return
        self._serve()
        self._tell_the_end()

    def _service_words(self) -> Step:
        mode = self._chosen.mode or ("systemd" if self._chosen.system and sys.platform != "darwin" else None)
        return ["service", "install", "-c", str(self._file), *(["--mode", mode] if mode else [])]

    # --- the clients ---

    def _adopt_words(self, findings: Sequence[Finding]) -> Step:
        words: Step = ["adopt", "-c", str(self._file)]
        for name in dict.fromkeys(one.server.client.name for one in findings):
            words += ["--client", name]
        for name in dict.fromkeys(one.server.name for one in findings):
            words += ["--server", name]
        return words

    def _show_adoption(self, findings: Sequence[Finding]) -> None:
        """The differences of all files, before the one question."""
        if self._as_if_trusted:  # adopting asks the servers, and what is not trusted yet is left alone
            names = " and ".join(server.origin for server in self._as_if_trusted)
            self._talk.say(f"Once {names} can be asked, the differences of all files are shown here.")
            return
        from lanrelay.cli.adopt import adopt, parser
        from lanrelay.cli.conversation import Conversation

        out = sys.stdout if self._talk.dry_run else sys.stderr
        talk = Conversation("setup", dry_run=True, part=True, stdout=out)
        adopt(parser().parse_args([*self._adopt_words(findings)[1:], "--dry-run"]), talk)

    def _adopt(self) -> None:
        from lanrelay.cli.adopt import adopt, parser
        from lanrelay.cli.conversation import Conversation
        from lanrelay.clients.record import Record
        from lanrelay.config.default_path import state_folder

        findings = self._servers.findings()
        if not findings:
            return
        talk = Conversation("setup", yes=True, shown=True, part=True)
        try:
            status = adopt(parser().parse_args([*self._adopt_words(findings)[1:], "--yes"]), talk)
            self._status = max(self._status, status)
        finally:
            if Record(state_folder() / "adopted.json").adopted:
                self._did("Entries of clients lead through the relay.", ["unadopt"])

    def _call(self) -> None:
        """For a server that no client names yet: its URL, and the call that a client would make."""
        from lanrelay.clients.call import call
        from lanrelay.edit.masking import url as shown_url

        for server in self._servers.all:
            if server.findings:
                continue
            made = self._served_by(server)
            if not server.wanted.is_http:
                self._talk.say(f"{server.origin} is at localhost:{made.port} now.")
                continue
            path = None if isinstance(server.examined, str) else server.examined.mcp_path
            if path is None:
                self._talk.say(f"{server.origin} is at http://127.0.0.1:{made.port}/ now.")
                continue
            url = f"http://127.0.0.1:{made.port}{path}{server.wanted.query}"
            with self._talk.waiting("Making the call of a client"):
                called = call(url)
            self._talk.say(f"{server.origin}, through the relay: {called.said}")
            if not called.good:
                self._status = 1
            self._talk.say(f"The URL for a client: {shown_url(url)}")
            self._talk.say(f"  claude mcp add --transport http {made.name} {shown_url(url)}")

    # --- telling ---

    def _did(self, sentence: str, undo: Step) -> None:
        if sentence not in self._done:
            self._done.append(sentence)
            self._undo.insert(0, undo)

    def _where(self) -> Step:
        from lanrelay.config.default_path import users_own

        return [] if self._file == users_own() else ["-c", str(self._file)]

    def tell_what_is_in_force(self) -> None:
        """After something went wrong, or Ctrl-C."""
        if self._done:
            self._talk.tell("In force so far: " + " ".join(self._done))
            self._tell_undo()
        else:
            self._talk.tell("Nothing was changed.")

    def _tell_the_end(self) -> None:
        if self._done:
            self._tell_undo()
        else:
            self._talk.say("All of it was done already; nothing was changed.")

    def _tell_undo(self) -> None:
        self._talk.tell("To undo it:")
        for words in self._undo:
            self._talk.tell(f"  {_shown(words)}")


def _shown(words: Step) -> str:
    return shown(["lanrelay", *words])


def _host(server: Server) -> str:
    return server.origin.partition("://")[2]


def _masked(path: str) -> str:
    from lanrelay.edit.masking import url

    return url(f"http://x{path}").removeprefix("http://x")


def _quoted(text: str) -> str:
    from lanrelay.edit.formats.yaml_text import written

    return str(written(text))


def _as_if_trusted(examined: Examined | str) -> Examined | str:
    """What C{--dry-run} goes on with."""
    from dataclasses import replace

    if isinstance(examined, str):
        return examined
    return replace(examined, checks=tuple(one for one in examined.checks if one.state != "failed"))
