"""The servers that C{lanrelay setup} is about: who names them, and how they are."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lanrelay.cli.home import home

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Sequence

    from lanrelay.cli.conversation import Conversation
    from lanrelay.clients.finding import Finding
    from lanrelay.examine.checks import Examined
    from lanrelay.setup.adding import Wanted
    from lanrelay.setup.relay_file import RelayFile


@dataclass(slots=True, eq=False)
class Server:
    """
    What is to be reached.

    @ivar url: with path and query; as the person or the client's file has it.
    @ivar findings: the entries of clients' files that lead there; none for what only the person named.
    @ivar fields: header fields that such an entry sends.
    @ivar authorities: files of CAs that such an entry names.
    """

    wanted: Wanted
    url: str
    named: bool = False
    findings: list[Finding] = field(default_factory=list)
    fields: tuple[tuple[str, str], ...] = ()
    authorities: tuple[Path, ...] = ()
    examined: Examined | str = ""

    @property
    def origin(self) -> str:
        return self.wanted.origin

    @property
    def is_well(self) -> bool:
        return not isinstance(self.examined, str) and self.examined.ok

    @property
    def lacks_trust_alone(self) -> bool:
        return not isinstance(self.examined, str) and self.examined.only_trust_is_missing


class Servers:
    """
    Those of one run.

    @ivar all: that are to be reached; those that are left out go from it.
    @ivar wrong: whether something was complained of.
    @param relay: the configuration as it is now.
    """

    def __init__(
        self, named: list[Server], chosen: Namespace, talk: Conversation, relay: Callable[[], RelayFile]
    ) -> None:
        self.all = named
        self.wrong = False
        self._chosen = chosen
        self._talk = talk
        self._relay = relay

    def findings(self) -> list[Finding]:
        """The entries that lead to them, each once."""
        return list({id(one): one for server in self.all for one in server.findings}.values())

    # --- finding ---

    def find(self) -> bool:
        """
        Those that clients name, beside or among those that the person named.

        @return: whether an entry leads through the relay already.
        """
        from lanrelay.cli import looking

        relay = self._relay()
        listeners = (
            looking.Listeners(None, {}, {}) if relay.config is None else looking.of_config(relay.config)
        )
        seen = looking.look(self._chosen, listeners, self._talk)
        for broken in seen.broken:
            self._talk.complain(f"{home(broken.found.path)} is left alone: {broken.said}.")
            self.wrong = True
        if self.all:
            origins = {server.origin for server in self.all}
            findings = [one for one in seen.findings if one.adopt and _origins(one) & origins]
        else:
            findings = [one for one in seen.findings if one.adopt]
        for finding in findings:
            self._add(finding)
        relayed = [one for one in seen.findings if one.reason == "already_relayed"]
        for one in relayed:
            self._talk.say(f"{called(one)} leads through the relay already ({one.listener}).")
        for one in seen.findings:
            if not one.adopt and one.reason != "already_relayed" and (one.leads_to == "lan" or one.lan):
                self._talk.tell(f"{called(one)} is left alone: {one.reason}. {one.said}")
        return bool(relayed)

    def _add(self, finding: Finding) -> None:
        from lanrelay.cli import adopting
        from lanrelay.clients import sent
        from lanrelay.clients.finding import authorities
        from lanrelay.setup.adding import wanted

        files, missing = adopting.authorities(authorities(finding))
        for name in missing:
            self._talk.tell(f"{called(finding)}: the CA's file {name} was not found here.")
        fields = tuple((name, value) for name, value in sent.headers(finding).items() if "$" not in value)
        for target in finding.targets:
            known = next((one for one in self.all if one.origin == target.url.origin), None)
            if known is None:
                url = f"{target.url.origin}{target.url.rest.partition('#')[0]}"
                known = Server(wanted(url), url, fields=fields)
                self.all.append(known)
            known.findings.append(finding)
            known.fields = known.fields or fields
            known.authorities = tuple(dict.fromkeys((*known.authorities, *files)))

    # --- looking ---

    def look(self) -> None:
        """The doctor's word on each, in two lines at the most."""
        self.examine(self.all)
        for server in self.all:
            self.tell_of(server)

    def examine(self, servers: Sequence[Server]) -> None:
        """Look at these (anew)."""
        from dataclasses import replace

        from lanrelay.cli.in_reactor import in_reactor
        from lanrelay.examine.subject import Subject, Unknown, subjects

        relay = self._relay()
        config = relay.config
        asked: list[tuple[Server, Subject]] = []
        for server in servers:
            try:
                http = server.wanted.is_http
                [subject, *_] = subjects(
                    server.url, config, file=relay.file, expect_mcp=bool(server.findings) and http
                )
            except Unknown as error:
                server.examined = str(error)
                continue
            upstream = subject.upstream
            if server.authorities and subject.listener is None:
                trust = upstream.trust
                ca: tuple[Any, ...] = (*trust.ca, *server.authorities)
                upstream = upstream._replace(trust=trust._replace(ca=ca))
            fields = (*subject.fields, *server.fields)
            asked.append((server, replace(subject, upstream=upstream, fields=fields)))

        async def look(reactor: Any) -> list[Examined]:
            from lanrelay.examine.opener import Means
            from lanrelay.examine.target import examine_all
            from lanrelay.upstream.resolve import Resolver

            means = Means(reactor=reactor, resolver=Resolver(reactor), platform=sys.platform)
            return await examine_all(means, [subject for _, subject in asked])

        if asked:
            with self._talk.waiting("Looking at the servers"):
                found = in_reactor(look)
            for (server, _), examined in zip(asked, found, strict=True):
                server.examined = examined

    def tell_of(self, server: Server) -> None:
        """What was found."""
        from lanrelay.edit.masking import mask, url

        names = ", ".join(dict.fromkeys(called(one) for one in server.findings))
        title = url(server.url) + (f", which {names} leads to" if names else "")
        if isinstance(server.examined, str):
            self._talk.tell(f"{title}: {mask(server.examined)}")
            return
        failed = next((check for check in server.examined.checks if check.state == "failed"), None)
        if failed is None:
            last = server.examined.checks[-1]
            self._talk.tell(f"{title}: {mask(last.said)}")
        elif server.lacks_trust_alone:
            self._talk.tell(f"{title}: it can be reached; its certificate is not trusted yet.")
        else:
            remedy = f"\n  To do: {mask(failed.remedy)}" if failed.remedy else ""
            self._talk.tell(f"{title}: {mask(failed.said)}{remedy}")


def called(finding: Finding) -> str:
    """For people."""
    return f"{finding.server.name} ({finding.server.client.called})"


def _origins(finding: Finding) -> set[str]:
    return {target.url.origin for target in finding.targets}
