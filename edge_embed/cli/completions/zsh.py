"""A script for zsh's own completion, to be sourced or put into its fpath."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from edge_embed.cli.option import Command, Option

MODELS = """#compdef edge-embed
_edge_embed_models() {
    local -a names
    names=("${(@f)$(edge-embed completion models 2>/dev/null)}")
    compadd -a names
    _files
}
"""
END = """if [[ $funcstack[1] == _edge_embed ]]; then
    _edge_embed "$@"
else
    compdef _edge_embed edge-embed
fi
"""


def script(commands: Mapping[tuple[str, ...], Command]) -> str:
    """Write the script for these commands."""
    return MODELS + "".join(part for words in commands for part in _function(words, commands)) + END


def _function(words: tuple[str, ...], commands: Mapping[tuple[str, ...], Command]) -> Iterator[str]:
    """Write the function of a command, which hands over to those below it."""
    command = commands[words]
    below = {name[-1]: one.help for name, one in commands.items() if name and name[:-1] == words}
    yield f"{_name(words)}() {{\n"
    arguments = [_option(option) for option in command.options]
    if below:
        told = " ".join(f"{name}\\:{_described(text)}" for name, text in below.items())
        arguments += [f"'1:command:(({told}))'", "'*:: :->below'"]
        yield "    local line state\n"
    yield "    _arguments " + ("-C " if below else "") + " \\\n        ".join(arguments) + "\n"
    if below:
        yield "    [[ $state == below ]] && case $line[1] in\n"
        yield from (f"        {name}) {_name((*words, name))} ;;\n" for name in below)
        yield "    esac\n"
    yield "}\n"


def _name(words: tuple[str, ...]) -> str:
    return "_".join(["_edge_embed", *words])


def _option(option: Option) -> str:
    """Write an argument as `_arguments` reads it: `{-o,--output}'[help]:what:_files'`."""
    if option.words:
        value = f":value:({' '.join(option.words)})"
    else:
        values = {"model": ":model:_edge_embed_models", "file": ":file:_files", "text": ":text: "}
        value = values.get(option.takes or "", "")
    if not option.strings:
        return f"'*{value}'"
    again = "'*'" if len(option.strings) > 1 else "*"
    names = "{" + ",".join(option.strings) + "}" if len(option.strings) > 1 else option.strings[0]
    body = f"[{_plain(option.help)}]{value}'"
    return f"{again}{names}'{body}" if len(option.strings) > 1 else f"'{again}{names}{body}"


def _plain(text: str) -> str:
    """Return a help without what `_arguments` and quotes would read."""
    return re.sub(r"[\[\]'\"\\$`]", "", text)


def _described(text: str) -> str:
    """Return a help as it stands behind a word in `((word\\:help))`."""
    return '"' + re.sub("[:()]", "", _plain(text)) + '"'
