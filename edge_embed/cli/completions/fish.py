"""A script for fish: a line for each command, option and argument."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from edge_embed.cli.option import Command, Option

MODELS = "(edge-embed completion models 2>/dev/null)"


def script(commands: Mapping[tuple[str, ...], Command]) -> str:
    """Write the script for these commands."""
    return "complete -c edge-embed -f\n" + "".join(line for words in commands for line in _lines(words, commands))


def _lines(words: tuple[str, ...], commands: Mapping[tuple[str, ...], Command]) -> Iterator[str]:
    below = [name for name in commands if name and name[:-1] == words]
    here = [f"__fish_seen_subcommand_from {word}" for word in words]
    if below:
        here.append("not __fish_seen_subcommand_from " + " ".join(name[-1] for name in below))
    start = f"complete -c edge-embed -n {_quoted('; and '.join(here))}"
    for name in below:
        yield f"{start} -a {name[-1]} -d {_quoted(commands[name].help)}\n"
    for option in commands[words].options:
        strings = " ".join(f"-l {one[2:]}" if one.startswith("--") else f"-s {one[1:]}" for one in option.strings)
        value = _value(option)
        if strings:
            yield f"{start} {strings}{value and f' -r {value}'} -d {_quoted(option.help)}\n"
        elif value:
            yield f"{start} {value}\n"


def _value(option: Option) -> str:
    if option.words:
        return f"-a {_quoted(' '.join(option.words))}"
    return {"model": f"-F -a {_quoted(MODELS)}", "file": "-F", "text": "-f" if option.strings else ""}.get(
        option.takes or "", ""
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
