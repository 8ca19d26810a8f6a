"""C{lanrelay trust}: shows what a server shows, and trusts it when the person has compared it."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lanrelay.cli.home import home

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from lanrelay.cli.conversation import Conversation
    from lanrelay.config import model
    from lanrelay.edit.several import Planned
    from lanrelay.errors import RelayError
    from lanrelay.setup.trust_folder import Entry
    from lanrelay.setup.trust_plan import Server
    from lanrelay.setup.trusting import Fetched, Proposal
    from lanrelay.trust.certificate import Certificate

_EXAMPLES = """
  lanrelay trust nas                                   the server behind the listener nas
  lanrelay trust https://nas.lan:8443 --ca root.crt    what the file proves
  lanrelay trust https://printer.lan --pin             this very key
  lanrelay trust https://nas.lan --fingerprint 5A:0B…  without a question, if it is that one
  lanrelay trust https://nas.lan --print               only the lines for the configuration
  lanrelay trust --list                                what was trusted, and when
  lanrelay trust --remove nas.lan                      trust it no more
"""


def parser() -> ArgumentParser:
    """The command line."""
    from lanrelay.cli import options

    made = options.parser(
        "trust",
        "Show which certificates a server shows, without sending it anything, and trust its authority or its "
        "key for the upstreams that lead there. Only lanrelay's own files are changed.",
        examples=_EXAMPLES,
    )
    made.add_argument("target", metavar="URL|LISTENER", nargs="?", help="the server")
    made.add_argument("--ca", metavar="FILE", type=Path, help="the authority's certificate (PEM)")
    made.add_argument("--pin", action="store_true", help="trust the server's key alone")
    made.add_argument("--fingerprint", metavar="HEX", help="SHA-256, as the owner has read it")
    made.add_argument("--print", dest="prints", action="store_true", help="print YAML and write nothing")
    made.add_argument("--yes", action="store_true", help="no question: only what --ca FILE proves")
    made.add_argument("--dry-run", action="store_true", help="show what would be written")
    made.add_argument("--list", dest="lists", action="store_true", help="what was trusted")
    made.add_argument("--remove", metavar="HOST", help="trust a host (or HOST:PORT) no more")
    options.add_config(made)
    return made


def run(arguments: list[str]) -> int:
    """0 where it is trusted, 1 where it is not, 2 for a wrong command line."""
    from lanrelay.cli.conversation import Conversation

    chosen = parser().parse_args(arguments)
    return trust(chosen, Conversation("trust", yes=chosen.yes, dry_run=chosen.dry_run))


def trust(chosen: Namespace, talk: Conversation) -> int:
    """
    Carry it out.

    @param chosen: what L{parser} makes.
    @return: the exit status.
    """
    # late: the help does without OpenSSL
    from lanrelay.setup.trusting import fingerprint

    digits = None if chosen.fingerprint is None else fingerprint(chosen.fingerprint)
    if chosen.fingerprint is not None and digits is None:
        print("lanrelay trust: --fingerprint takes the 64 hexadecimal digits of SHA-256.", file=sys.stderr)
        return 2
    if [chosen.target is not None, chosen.lists, chosen.remove is not None].count(True) != 1:
        print("lanrelay trust: name a server, or say --list or --remove HOST.", file=sys.stderr)
        return 2
    return _carried_out(chosen, talk, digits)


def _carried_out(chosen: Namespace, talk: Conversation, digits: str | None) -> int:
    from lanrelay.cli.conversation import Refused
    from lanrelay.config.complaints import ConfigErrors
    from lanrelay.config.default_path import NotFound
    from lanrelay.edit.formats.tree import NotEdited
    from lanrelay.errors import StartError
    from lanrelay.setup.trusting import Untrustable

    try:
        trusting = _Trust(chosen, talk, digits)
        if chosen.lists:
            return trusting.list_all()
        return trusting.remove() if chosen.remove is not None else trusting.trust()
    except Untrustable as error:
        talk.complain(str(error))
        if error.remedy:
            talk.tell(f"To do: {error.remedy}")
    except (Refused, NotFound, StartError) as error:
        talk.complain(str(error))
    except ConfigErrors as error:
        talk.complain(f"the configuration is not right, so nothing was written.\n{error}")
    except NotEdited as error:
        talk.complain(f"the configuration cannot be changed by itself, for {error}; nothing was written.")
        talk.tell("`--print` gives the lines to write by hand.")
    return 1


class _Trust:
    def __init__(self, options: Namespace, talk: Conversation, digits: str | None) -> None:
        from lanrelay.cli.writing import file_to_write

        self._options = options
        self._talk = talk
        self._digits = digits
        self._now = datetime.now(timezone.utc)
        self._file = file_to_write(options.config)

    def _config(self) -> model.Config | None:
        from lanrelay.config.load import load

        return load(self._file) if self._file.exists() else None

    # --- trusting ---

    def trust(self) -> int:
        """Every server that the target leads to."""
        from lanrelay.cli.in_reactor import in_reactor
        from lanrelay.examine.subject import Unknown

        config = self._config()
        try:
            servers = self._servers(config)
        except Unknown as error:
            self._talk.complain(str(error))
            return 1
        if not servers:
            self._talk.complain(f"{self._options.target} is not reached over TLS: there is nothing to trust.")
            return 1

        async def fetch(reactor: Any) -> list[list[Fetched | RelayError]]:
            from lanrelay.examine.opener import Means
            from lanrelay.upstream.resolve import Resolver

            means = Means(reactor=reactor, resolver=Resolver(reactor), platform=sys.platform)
            return [await _fetched(means, server) for server in servers]

        with self._talk.waiting("Looking at what the server shows"):
            found = in_reactor(fetch)
        return max(self._judge(server, fetched) for server, fetched in zip(servers, found, strict=True))

    def _servers(self, config: model.Config | None) -> list[Server]:
        from lanrelay.examine.subject import subjects
        from lanrelay.setup.trust_plan import server_of

        word: str = self._options.target
        names = set() if config is None else {one.name for one in config.listeners}
        if "://" not in word and word not in names and ":" in word:
            word = f"tls://{word}"
        found = [one.upstream for one in subjects(word, config, file=self._file)]
        servers = [server_of(upstream, config) for upstream in found if upstream.url.tls]
        return list({one.origin: one for one in servers}.values())

    def _judge(self, server: Server, found: Sequence[Fetched | RelayError]) -> int:
        from lanrelay.errors import RelayError
        from lanrelay.setup.trust_plan import is_pinned, trusted_before
        from lanrelay.setup.trusting import Untrustable, is_about_trust, propose
        from lanrelay.upstream.explain import explain

        for one in found:
            if isinstance(one, RelayError):
                raise Untrustable(*explain(one))
        fetched = [one for one in found if not isinstance(one, RelayError)]
        wanting = [one for one in fetched if one.error is not None]
        first = (wanting or fetched)[0]
        if not wanting:
            if not all(member.trust.verify for member in server.members):
                return self._verify(server)
            if not self._options.pin or all(is_pinned(one.upstream, first.chain[0]) for one in fetched):
                self._talk.say(f"{server} is trusted already: {_said(first.chain[0])}.")
                return 0
        elif not self._options.pin and not all(is_about_trust(one.error) for one in wanting):
            other = next(one.error for one in wanting if not is_about_trust(one.error))
            assert other is not None
            raise Untrustable(*explain(other))
        proposal = propose(
            first,
            authorities=self._authorities(),
            pin=self._options.pin,
            command=f"lanrelay trust {self._options.target}",
            now=self._now,
        )
        before = trusted_before(self._file, server, first) if wanting else []
        if self._options.prints:
            self._show(server, first, proposal, before)
            self._print(first, proposal)
            return 0
        return self._go_on(server, first, proposal, before)

    def _authorities(self) -> list[Certificate] | None:
        from lanrelay.trust.pem import read_authorities

        if self._options.ca is None:
            return None
        return read_authorities(self._options.ca, "--ca")

    def _show(self, server: Server, fetched: Fetched, proposal: Proposal, before: Sequence[str]) -> None:
        from lanrelay.setup.trusting import known_authority

        self._tell(f"{server} shows:")
        for one in fetched.chain:
            self._tell(_said(one), "  ")
            self._tell_fingerprint(one)
        self._tell()
        if before:
            self._tell("THIS IS NOT WHAT WAS TRUSTED BEFORE. That was:", "!!! ")
            for line in before:
                self._tell(line, "!!!   ")
            self._tell(
                "Its owner may have renewed it; or somebody else answers in its place. Ask the owner.", "!!! "
            )
            self._tell()
        what = "the key of its certificate" if proposal.kind == "pin" else "the authority"
        self._tell(f"To be trusted for {server} from now on: {what} {proposal.certificate.subject}")
        self._tell_fingerprint(proposal.certificate)
        if proposal.kind == "pin":
            self._tell(f"key     {proposal.pin}", "      ")
        if proposal.beside:
            self._tell(proposal.beside)
        known = known_authority(fetched) if proposal.kind == "authority" else None
        self._tell("The owner of the server reads the same there, with:")
        self._talk.tell(
            "  openssl x509 -noout -fingerprint -sha256 -in FILE" if known is None else f"  {known.compare}"
        )
        self._tell()

    def _tell(self, text: str = "", indent: str = "") -> None:
        """As wide as the terminal; where there is none, lines stay whole."""
        if sys.stderr.isatty():
            further = indent + " " * 4
            width = max(shutil.get_terminal_size().columns - 1, 40)
            text = textwrap.fill(
                text,
                width,
                initial_indent=indent,
                subsequent_indent=further,
                break_long_words=False,
                break_on_hyphens=False,
            )
        else:
            text = indent + text
        self._talk.tell(text)

    def _tell_fingerprint(self, certificate: Certificate) -> None:
        from lanrelay.setup.trusting import shown_fingerprint

        text = shown_fingerprint(certificate)
        if sys.stderr.isatty() and shutil.get_terminal_size().columns < len(text) + 15:
            half = len(text) // 2 + 1
            self._talk.tell(f"      SHA-256 {text[:half]}\n              {text[half:]}")
        else:
            self._talk.tell(f"      SHA-256 {text}")

    def _print(self, fetched: Fetched, proposal: Proposal) -> None:
        from lanrelay.edit.formats.yaml_text import written
        from lanrelay.edit.masking import url

        if proposal.kind == "pin":
            tls: dict[str, Any] = {"pin": proposal.pin}
        elif self._options.ca is not None:
            tls = {"ca": ["system", str(self._options.ca.absolute())]}
        else:
            tls = {"pin": proposal.certificate.pin}  # of an authority that is sent along: no file is needed
        self._talk.say("upstream:")
        self._talk.say(f"  url: {written(url(str(fetched.upstream.url)))}")
        self._talk.say(f"  tls: {written(tls)}  # {proposal.certificate.subject}")

    def _go_on(self, server: Server, fetched: Fetched, proposal: Proposal, before: Sequence[str]) -> int:
        from lanrelay.cli import writing
        from lanrelay.setup.trust_plan import trusting

        plan = trusting(self._file, server, fetched, proposal, now=self._now)
        writing.show(self._talk, plan)
        self._tell()
        self._show(server, fetched, proposal, before)  # last, for it is what is compared
        agreed = self._agreed(proposal, bool(before))
        return self._write(plan, agreed, f"{server} is trusted from now on, by {_by(proposal)}.")

    def _verify(self, server: Server) -> int:
        """What is good already, and only was not looked at."""
        from lanrelay.cli import writing
        from lanrelay.setup.trust_plan import verifying

        plan = verifying(self._file, server)
        writing.show(self._talk, plan)
        self._tell(f"The certificate of {server} is good by what is trusted already.")
        return self._write(plan, self._talk.agree("Verify it?"), f"{server} is verified from now on.")

    def _write(self, plan: Sequence[Planned], agreed: bool, said: str) -> int:
        from lanrelay.cli import writing

        if not agreed:
            if not self._options.dry_run:
                self._talk.tell("Nothing was written.")
            return 0 if self._options.dry_run else 1
        writing.write(self._talk, plan)
        self._talk.say(said)
        return 0 if writing.reload_running(self._talk, self._file) else 1

    def _agreed(self, proposal: Proposal, changed: bool) -> bool:
        from lanrelay.cli.conversation import Refused
        from lanrelay.setup.trusting import Untrustable, fingerprint, has, shown_fingerprint

        def compared(digits: str) -> bool:
            if has(proposal, digits):
                return True
            raise Untrustable(
                "The fingerprints differ, so nothing was written. Wanted: "
                f"{':'.join(digits[at : at + 2] for at in range(0, 64, 2)).upper()}; "
                f"shown: {shown_fingerprint(proposal.certificate)} ({proposal.certificate.subject})."
            )

        if self._digits is not None:
            return compared(self._digits) and not self._options.dry_run
        if self._options.dry_run:
            return False
        if self._options.yes:
            if changed:
                raise Refused(
                    "What was trusted before is another one, and --yes never takes that, so nothing was "
                    "written: --fingerprint HEX does, with what the owner of the server has read."
                )
            if self._options.ca is None:
                raise Refused(
                    "Nobody has compared anything, so --yes alone trusts nothing, and nothing was written: "
                    "--ca FILE proves it, or --fingerprint HEX, with what the owner of the server has read."
                )
            return True
        while True:
            answer = self._talk.ask(
                "Trust it? Type yes, or the fingerprint as its owner has read it: ",
                option="--fingerprint HEX",
            ).strip()
            if answer.lower() in ("y", "yes"):
                return True
            if answer.lower() in ("", "n", "no"):
                return False
            digits = fingerprint(answer)
            if digits is not None:
                return compared(digits)
            self._talk.tell("That is neither yes nor no, nor the 64 hexadecimal digits of SHA-256.")

    # --- the list ---

    def list_all(self) -> int:
        """All of the folder."""
        from lanrelay.setup.trust_folder import entries
        from lanrelay.setup.trusting import shown_fingerprint

        found = entries(self._file)
        if not found:
            self._talk.say(f"Nothing was trusted yet with {home(self._file)}.")
        for entry in found:
            self._talk.say(f"{_host_of(entry)}  since {entry.since:%Y-%m-%d}  ({home(entry.path)})")
            if entry.pin:
                self._talk.say(f"  the key {entry.pin}")
            for one in entry.certificates:
                self._talk.say(f"  {_said(one)}")
                self._talk.say(f"      SHA-256 {shown_fingerprint(one)}")
        return 0

    def remove(self) -> int:
        """Trust a host no more."""
        from lanrelay.cli import writing
        from lanrelay.setup.trust_folder import of_host
        from lanrelay.setup.trust_plan import forgetting
        from lanrelay.setup.trusting import Untrustable

        host, port = _host_and_port(self._options.remove)
        found = of_host(self._file, host, port)
        if not found:
            raise Untrustable(f"Nothing was trusted for {self._options.remove}.", "lanrelay trust --list")
        self._config()  # one that is not right is not changed
        plan = forgetting(self._file, host, found)
        writing.show(self._talk, plan)
        agreed = self._talk.agree(f"Trust {self._options.remove} no more?")
        return self._write(plan, agreed, f"What was trusted for {self._options.remove} is trusted no more.")


async def _fetched(means: Any, server: Server) -> list[Fetched | RelayError]:
    """For each server to which the target leads: what it showed, or why it showed nothing."""
    from lanrelay.errors import RelayError
    from lanrelay.setup.trusting import fetch

    found: list[Fetched | RelayError] = []
    for upstream in server.members:
        try:
            found.append(await fetch(means, upstream))
        except RelayError as error:
            found.append(error)
    return found


def _said(certificate: Certificate) -> str:
    info = certificate.info()
    if info is None:
        return certificate.subject
    names = f" for {', '.join(info.names[:5])}" if info.names else ""
    issuer = "itself" if info.issuer == info.subject else info.issuer
    return (
        f"{info.subject}{names}, issued by {issuer}, "
        f"valid from {info.not_before:%Y-%m-%d} to {info.not_after:%Y-%m-%d}"
    )


def _by(proposal: Proposal) -> str:
    return (
        f"its key {proposal.pin}"
        if proposal.kind == "pin"
        else f"the authority {proposal.certificate.subject}"
    )


def _host_of(entry: Entry) -> str:
    host, _, port = entry.stem.rpartition("_")
    return f"{host}:{port}"


def _host_and_port(text: str) -> tuple[str, int | None]:
    from lanrelay.config.hosts import host, port
    from lanrelay.config.values import Unfit
    from lanrelay.setup.trusting import Untrustable

    name, colon, digits = text.rpartition(":")
    if not colon or not digits.isdigit() or (":" in name and not name.startswith("[")):
        name, digits = text, ""
    try:
        return host(name), port(digits) if digits else None
    except Unfit as unfit:
        raise Untrustable(f"{text} is no host: {unfit}.") from None
