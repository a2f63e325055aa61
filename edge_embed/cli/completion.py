"""Completion of commands and options for bash, zsh and fish, written from the parser itself."""

from __future__ import annotations

import argparse
import contextlib
import importlib
from collections.abc import Iterator, Mapping
from typing import Any

BASH = """_edge_embed() {{
    local words
    COMPREPLY=()
    case "${{COMP_WORDS[1]}}" in
{cases}
        *) words="{commands}" ;;
    esac
    [ "$COMP_CWORD" -eq 1 ] && words="{commands}"
    COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _edge_embed edge-embed
"""
ZSH = "autoload -U +X bashcompinit && bashcompinit\n" + BASH


def configure(commands: Any, parser: argparse.ArgumentParser) -> None:
    """Add the command to the parser's."""
    command = commands.add_parser("completion", help="print a script that completes commands and options in a shell")
    command.add_argument("shell", choices=["bash", "zsh", "fish"], help="as in: source <(edge-embed completion bash)")
    command.set_defaults(run=lambda args: print(script(args.shell, _options(parser)), end=""))


def script(shell: str, options: Mapping[str, list[str]]) -> str:
    """Write the script for a shell; `options` are the words that follow each command."""
    if shell == "fish":
        return "".join(_fish(options))
    cases = "\n".join(f'        {name}) words="{" ".join(words)}" ;;' for name, words in options.items())
    return (BASH if shell == "bash" else ZSH).format(cases=cases, commands=" ".join(options))


def _fish(options: Mapping[str, list[str]]) -> Iterator[str]:
    first = "not __fish_seen_subcommand_from " + " ".join(options)
    for name, words in options.items():
        yield f"complete -c edge-embed -f -n '{first}' -a {name}\n"
        for word in words:
            short = f"-s {word[1:]}" if word.startswith("-") else f"-a {word}"
            what = f"-l {word[2:]}" if word.startswith("--") else short
            yield f"complete -c edge-embed -n '__fish_seen_subcommand_from {name}' {what}\n"


def _options(parser: argparse.ArgumentParser) -> dict[str, list[str]]:
    """List the options of each command; of convert's only where the converter is installed."""
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    with contextlib.suppress(ModuleNotFoundError):  # an extra
        importlib.import_module("edge_embed_convert.__main__").configure(commands.choices["convert"])
    return {name: _words(command) for name, command in commands.choices.items()}


def _words(command: argparse.ArgumentParser) -> list[str]:
    """List a command's options, and the actions that it has, with theirs."""
    found: list[str] = []
    for action in command._actions:
        found += action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for name, nested in action.choices.items():
                found += [name, *_words(nested)]
    return list(dict.fromkeys(found))
