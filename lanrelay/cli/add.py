"""C{lanrelay add}: looks at a server, and has the relay lead there."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from argparse import Namespace

    from lanrelay.cli.conversation import Conversation
    from lanrelay.config import model
    from lanrelay.examine.checks import Examined
    from lanrelay.setup.adding import Wanted
    from lanrelay.setup.in_force import Rewritten

_EXAMPLES = """
  lanrelay add https://nas.lan/mcp                       an MCP server; ends with the URL for its client
  lanrelay add http://printer.lan --name printer         a listener of this name
  lanrelay add tcp://db.lan:5432 --listen localhost:5432  a database, at the port that its clients know
  lanrelay add https://nas.lan --set tls.ca=root.crt     with any key of the configuration
  lanrelay add proxy                                     a forward proxy, for HTTP_PROXY
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    from lanrelay.cli import options

    made = options.parser(
        "add",
        "Look at a server, and add a listener that leads there. One that is there already is named.",
        examples=_EXAMPLES,
    )
    made.add_argument("url", metavar="URL", help="http://, https://, tcp:// or tls://, or the word proxy")
    made.add_argument("--name", help="the listener's name (default: from the host)")
    made.add_argument("--listen", metavar="ADDRESS", help="where it listens (default: a port of its own)")
    made.add_argument("--address", metavar="IP:PORT", default="", help="dial this instead of the name")
    made.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="any key of the listener or upstream"
    )
    made.add_argument("--no-probe", action="store_true", help="do not look at the server first")
    made.add_argument("--force", action="store_true", help="add it though it is not reached")
    made.add_argument("--yes", action="store_true", help="answer every question with yes")
    made.add_argument("--dry-run", action="store_true", help="show what would be written")
    options.add_config(made)
    return made


def run(arguments: list[str]) -> int:
    """0 where it is there now, 1 where not, 2 for a wrong command line."""
    from lanrelay.cli.conversation import Conversation

    chosen = parser().parse_args(arguments)
    talk = Conversation("add", yes=chosen.yes or chosen.force, dry_run=chosen.dry_run)
    return add(chosen, talk)


def add(chosen: Namespace, talk: Conversation) -> int:
    """
    Carry it out.

    @param chosen: what L{parser} makes.
    @return: the exit status.
    """
    from lanrelay.cli.conversation import Refused
    from lanrelay.config.complaints import ConfigErrors
    from lanrelay.config.default_path import NotFound
    from lanrelay.config.values import Unfit, listener_name
    from lanrelay.edit.formats.tree import NotEdited
    from lanrelay.errors import StartError
    from lanrelay.setup.adding import Unusable, wanted

    try:
        target = wanted(chosen.url)
        if chosen.name is not None:
            listener_name(chosen.name)
        return _Adding(chosen, talk, target).run()
    except (Unusable, Unfit) as error:
        talk.complain(str(error))
        return 2
    except (Refused, NotFound, StartError) as error:
        talk.complain(str(error))
    except ConfigErrors as error:
        talk.complain(f"the configuration is not right, or would not be, so nothing was written.\n{error}")
    except NotEdited as error:
        talk.complain(f"the configuration cannot be changed by itself, for {error}; nothing was written.")
    return 1


class _Adding:
    def __init__(self, options: Namespace, talk: Conversation, target: Wanted) -> None:
        from lanrelay.cli.writing import file_to_write
        from lanrelay.edit.replace import read

        self._options = options
        self._talk = talk
        self._target = target
        self._file: Path = file_to_write(options.config)
        self._original = read(self._file)
        self._config: model.Config | None = None

    def run(self) -> int:
        from lanrelay.cli import writing
        from lanrelay.config.load import load
        from lanrelay.edit.several import Planned

        content = self._original.content
        if content is not None and content.strip():
            self._config = load(self._file, content=content)
        target = self._target
        as_prefix = bool(target.path) and not target.looks_like_mcp
        if self._is_there(prefix=target.path if as_prefix else ""):
            return 0
        rewritten = self._rewritten(mcp="" if as_prefix else target.path, as_prefix=as_prefix)
        examined = None
        if not self._options.no_probe and target.url is not None:
            examined = self._examine(rewritten)
            found = examined.mcp_path
            if as_prefix and found == target.path:
                as_prefix = False  # it is an MCP endpoint, whatever it looks like
                if self._is_there(prefix=""):
                    return 0
            if found is not None and not as_prefix:
                rewritten = self._rewritten(mcp=found, as_prefix=False)
        plan = [Planned(self._original, rewritten.content)]
        if not self._talk.part:
            self._talk.tell(f"The configuration is {self._file}.")
        writing.show(self._talk, plan)
        if not self._agreed(examined):
            if not self._options.dry_run:
                self._talk.tell("Nothing was written.")
            return 0 if self._options.dry_run else 1
        writing.write(self._talk, plan)
        listener = rewritten.config.listeners[-1]
        self._talk.say(f"The listener {listener.name} {self._leads()}.")
        good = writing.reload_running(self._talk, self._file)
        self._tell_url(listener, as_prefix=as_prefix)
        return 0 if good else 1

    def _is_there(self, *, prefix: str) -> bool:
        from lanrelay.setup.adding import serving

        known = None if self._config is None else serving(self._config, self._target, prefix=prefix)
        if known is None or self._config is None:
            return False
        self._talk.say(f"The listener {known.name} {self._leads(prefix)} already.")
        listener = next(one for one in self._config.listeners if one.name == known.name)
        self._tell_url(listener, as_prefix=bool(prefix))
        return True

    def _leads(self, prefix: str = "") -> str:
        target = self._target
        return "is a forward proxy" if target.url is None else f"leads to {target.origin}{prefix}"

    def _tell_url(self, listener: model.Listener, *, as_prefix: bool) -> None:
        """The last line; a greater command has one of its own."""
        if self._talk.part:
            return
        from lanrelay.setup.adding import given_out

        known = getattr(listener, "mcp", None) or ""
        path = "/" if as_prefix else self._target.path or known
        self._talk.say(given_out(listener, self._target, path=path))

    def _rewritten(self, *, mcp: str, as_prefix: bool) -> Rewritten:
        from lanrelay.setup import adding, configuration
        from lanrelay.setup.in_force import added

        names = set() if self._config is None else {one.name for one in self._config.listeners}
        target = self._target
        host = adding.PROXY if target.url is None else target.url.host
        body = adding.body(
            target,
            file=self._file,
            listen=self._options.listen or adding.listen_address(target, self._config),
            address=self._options.address,
            mcp=mcp,
            prefix=target.path if as_prefix else "",
            settings=self._options.set,
        )
        name = self._options.name or configuration.name_for(host, names)
        return added(self._file, self._original.content, name, body)

    def _examine(self, rewritten: Rewritten) -> Examined:
        """The server as the new listener would reach it."""
        from dataclasses import replace

        from lanrelay.cli.in_reactor import in_reactor
        from lanrelay.cli.report import Report
        from lanrelay.edit.masking import url
        from lanrelay.examine.subject import subjects

        (found,) = subjects(rewritten.config.listeners[-1].name, rewritten.config)
        # Remedies name the server: the listener is not there yet.
        subject = replace(found, target=url(self._options.url), listener=None)

        async def look(reactor: Any) -> Examined:
            from lanrelay.examine.opener import Means
            from lanrelay.examine.target import examine
            from lanrelay.upstream.resolve import Resolver

            means = Means(reactor=reactor, resolver=Resolver(reactor), platform=sys.platform)
            return await examine(means, subject)

        with self._talk.waiting(f"Looking at {self._target.origin}"):
            examined = in_reactor(look)
        for line in Report(shutil.get_terminal_size().columns).targets([examined]):
            self._talk.tell(line)
        return examined

    def _agreed(self, examined: Examined | None) -> bool:
        if examined is None or examined.ok:
            return self._talk.agree("Add it?")
        if examined.only_trust_is_missing:
            self._talk.tell(f"Its certificate is not trusted yet: lanrelay trust {self._target.origin}")
        return self._talk.agree(
            "It is not reached as it stands. Add it all the same?", option="--yes or --force"
        )
