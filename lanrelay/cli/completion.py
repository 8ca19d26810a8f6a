"""C{lanrelay completion}: has a shell complete command lines, by asking the commands' own parsers."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

FILES = ":files"
"""Stands for the names of files, which the shell knows better."""

_LISTENERS = ("TARGET", "UPSTREAM", "LISTENER", "NAME", "URL|LISTENER")
"""An argument that is called like this is, or may be, the name of a listener."""

_CLIENTS = ("--client", "--format")
"""Options whose value is the name of an MCP client."""

BASH = """\
# lanrelay: completion for bash. In ~/.bashrc:  eval "$(lanrelay completion bash)"
_lanrelay() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        case "$line" in
            :files) ;;  # what -o default is for
            *) COMPREPLY+=("${line%%$'\\t'*}") ;;
        esac
    done < <("$1" completion words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o bashdefault -o default -F _lanrelay lanrelay
"""

ZSH = """\
#compdef lanrelay
# lanrelay: completion for zsh. In ~/.zshrc, after compinit:  eval "$(lanrelay completion zsh)"
_lanrelay() {
    local line
    local -a found
    for line in "${(@f)$("$words[1]" completion words -- "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        case "$line" in
            '') ;;
            :files) _files ;;
            *) found+=("${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}") ;;
        esac
    done
    (( $#found )) && _describe lanrelay found
}
if [[ "$funcstack[1]" == _lanrelay ]]; then _lanrelay "$@"; else compdef _lanrelay lanrelay; fi
"""

FISH = """\
# lanrelay: completion for fish. In ~/.config/fish/config.fish:  lanrelay completion fish | source
function __lanrelay_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    for line in ($words[1] completion words -- $words[2..-1] "$current" 2>/dev/null)
        if test "$line" = :files
            __fish_complete_path "$current"
        else
            echo $line
        end
    end
end
complete -c lanrelay -f -a '(__lanrelay_complete)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    from lanrelay.cli.options import parser

    made = parser(
        "completion",
        "Print a script that has a shell complete command lines of lanrelay. The script asks the program "
        "that is installed, so it need not be made anew after an upgrade.",
        examples="""
            eval "$(lanrelay completion bash)"  in ~/.bashrc
            eval "$(lanrelay completion zsh)"  in ~/.zshrc, after compinit
            lanrelay completion fish | source  in ~/.config/fish/config.fish
        """,
    )
    made.add_argument("shell", choices=list(SCRIPTS), help="which shell")
    return made


def run(arguments: list[str]) -> int:
    """0; 2 for a wrong command line."""
    if arguments[:2] == ["words", "--"]:  # what the scripts ask
        for one in candidates(arguments[2:]):
            print(f"{one.word}\t{one.what}" if one.what else one.word)
        return 0
    print(SCRIPTS[parser().parse_args(arguments).shell], end="")
    return 0


class Candidate(NamedTuple):
    """What a word may become, and what that is."""

    word: str
    what: str = ""


def candidates(words: Sequence[str]) -> list[Candidate]:
    """
    What the last word may become.

    @param words: those after C{lanrelay}; the last is the one that is being typed, empty for a new one. Where
        a shell makes three words of C{--mode=agent} they may come like that, and only the value is completed.
    """
    *before, current = _joined(words) or [""]
    if not before:
        from lanrelay.cli.main import COMMANDS

        every = [Candidate(name, what) for name, what in COMMANDS.items()]
        every += [Candidate("--help", "show the commands"), Candidate("--version", "show the version")]
        return _beginning(every, current)
    made = parser_of(before[0])
    if made is None:
        return []
    found = _beginning(_after(made, before[1:], current), current)
    option, equals, _ = words[-1].partition("=")
    if equals and option.startswith("--"):
        found = [one if one.word == FILES else one._replace(word=f"{option}={one.word}") for one in found]
    return found


def parser_of(command: str) -> argparse.ArgumentParser | None:
    """The parser of a command, whether its module makes it in a function of its own or when it is run."""
    from importlib import import_module

    from lanrelay.cli.main import COMMANDS

    if command not in COMMANDS:
        return None
    module = import_module(f"lanrelay.cli.{command.replace('-', '_')}")
    if hasattr(module, "parser"):
        made: argparse.ArgumentParser = module.parser()
        return made

    class Found(BaseException):
        pass

    def parse(self: argparse.ArgumentParser, *arguments: object) -> None:
        raise Found(self)

    real = argparse.ArgumentParser.parse_args
    argparse.ArgumentParser.parse_args = parse  # type: ignore[assignment, method-assign]
    try:
        module.run([])
    except Found as found:
        return found.args[0]  # type: ignore[no-any-return]
    finally:
        argparse.ArgumentParser.parse_args = real  # type: ignore[method-assign]
    return None


def _joined(words: Sequence[str]) -> list[str]:
    """Options and values in one word each: bash makes three of C{--mode=agent}, and two of C{--mode=}."""
    found: list[str] = []
    for word in words:
        if found and (word == "=" or found[-1].endswith("=")) and found[-1].startswith("--"):
            found[-1] += word
        else:
            found.append(word)
    return found


def _beginning(every: Sequence[Candidate], current: str) -> list[Candidate]:
    if current.startswith("--") and "=" in current:
        current = current.partition("=")[2]
    return [one for one in every if one.word == FILES or one.word.startswith(current)]


def _after(parser: argparse.ArgumentParser, before: Sequence[str], current: str) -> list[Candidate]:
    options = {name: action for action in parser._actions for name in action.option_strings}
    places = [action for action in parser._actions if not action.option_strings]
    used: set[argparse.Action] = set()
    chosen: dict[str, str] = {}
    wanting: argparse.Action | None = None
    for index, word in enumerate(before):
        if wanting is not None:
            chosen[wanting.dest], wanting = word, None
            continue
        if word == "--":
            return [Candidate(FILES)]
        name, equals, value = word.partition("=")
        action = options.get(name)
        if action is not None:
            used.add(action)
            if equals:
                chosen[action.dest] = value
            elif _takes_value(action):
                wanting = action
        elif not word.startswith("-") and places:
            place = places[0] if places[0].nargs in ("*", "+", argparse.REMAINDER) else places.pop(0)
            if isinstance(place, argparse._SubParsersAction):
                inner = place.choices.get(word)
                return _after(inner, before[index + 1 :], current) if inner is not None else []
    if wanting is not None:
        return _values(wanting, chosen)
    name, equals, _ = current.partition("=")
    if equals and name in options:
        return _values(options[name], chosen)
    if current.startswith("-"):
        return list(_options(parser, used))
    return _values(places[0], chosen) if places else []


def _takes_value(action: argparse.Action) -> bool:
    return action.nargs != 0


def _options(parser: argparse.ArgumentParser, used: set[argparse.Action]) -> Iterator[Candidate]:
    closed = set(used)
    for group in parser._mutually_exclusive_groups:
        if any(action in used for action in group._group_actions):
            closed.update(group._group_actions)
    for action in parser._actions:
        again = isinstance(action, argparse._AppendAction)
        if action.help == argparse.SUPPRESS or (action in closed and not again):
            continue
        names = [name for name in action.option_strings if name.startswith("--")] or action.option_strings
        for name in names:
            yield Candidate(name, _one_line(action.help))


def _values(action: argparse.Action, chosen: dict[str, str]) -> list[Candidate]:
    if isinstance(action, argparse._SubParsersAction):
        return [Candidate(one.dest, _one_line(one.help)) for one in action._choices_actions]
    if action.choices is not None:
        return [Candidate(str(one)) for one in action.choices]
    shown = action.metavar if isinstance(action.metavar, str) else ""
    if action.type is Path or "FILE" in shown or shown == "PATH":
        return [Candidate(FILES)]
    if any(name in _CLIENTS for name in action.option_strings):
        from lanrelay.clients.table import CLIENTS

        return [Candidate(one.name) for one in CLIENTS]
    if not action.option_strings and shown.strip("[]… .") in _LISTENERS:
        return _listeners(chosen.get("config"))
    return []


def _listeners(given: str | None) -> list[Candidate]:
    """Those of the configuration that the command would take."""
    from lanrelay.config.default_path import NotFound, find
    from lanrelay.config.load import ConfigErrors, load

    try:
        config = load(find(Path(given) if given else None))
    except (NotFound, ConfigErrors):
        return []
    return [Candidate(one.name) for one in config.listeners]


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split()).replace("%%", "%")
