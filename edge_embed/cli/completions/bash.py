"""A script for bash, which does without the package bash-completion.

Words are read from the line, since bash breaks them at `:` and `=`; nothing that a cache holds is expanded.
"""

from __future__ import annotations

from collections.abc import Mapping

from edge_embed.cli.option import Command, Option

SCRIPT = r"""_edge_embed_words() {{
    local word
    for word in $1; do [[ $word == "$cur"* ]] && COMPREPLY+=("$word"); done
}}
_edge_embed_files() {{
    local file
    while IFS= read -r file; do COMPREPLY+=("$file"); done < <(compgen -f -- "$cur")
    compopt -o filenames 2>/dev/null
}}
_edge_embed_models() {{
    local name
    if [[ $cur == *:* && $cur != package:* || $cur == package:*:* ]]; then
        for name in {levels}; do [[ ${{cur%:*}}:$name == "$cur"* ]] && COMPREPLY+=("${{cur%:*}}:$name"); done
        return
    fi
    while IFS= read -r name; do [[ $name == "$cur"* ]] && COMPREPLY+=("$name"); done \
        < <(edge-embed completion models 2>/dev/null; compgen -f -- "$cur")
}}
_edge_embed() {{
    local line=${{COMP_LINE:0:COMP_POINT}} cur prev words command="" word
    [[ $line == *[[:space:]] ]] && cur="" || cur=${{line##*[[:space:]]}}
    read -ra words <<< "${{line%"$cur"}}"
    prev=${{words[-1]}}
    if [[ $cur == --*=* ]]; then prev=${{cur%%=*}}; cur=${{cur#*=}}; fi
    for word in "${{words[@]:1}}"; do
        case "$command $word" in {known}) command="${{command:+$command }}$word" ;; esac
    done
    COMPREPLY=()
    case "$command $prev" in
{values}
        *) case "$command" in
{options}
        esac ;;
    esac
    local start=${{cur%"${{cur##*:}}"}}
    COMPREPLY=("${{COMPREPLY[@]#"$start"}}")
}}
complete -F _edge_embed edge-embed
"""


def script(commands: Mapping[tuple[str, ...], Command]) -> str:
    """Write the script for these commands."""
    from edge_embed.spec.weights import LEVELS

    names = [words for words in commands if words]
    known = "|".join(f'"{" ".join(words[:-1])} {words[-1]}"' for words in names)
    values, lines = [], []
    for words, command in commands.items():
        after = [name[-1] for name in commands if name[:-1] == words and name]
        strings = [string for option in command.options for string in option.strings]
        lines.append(
            f'            "{" ".join(words)}") {_first(command)}_edge_embed_words "{" ".join([*after, *strings])}" ;;'
        )
        for option in command.options:
            if option.strings and option.takes is not None:
                patterns = "|".join(f'"{" ".join(words)} {string}"' for string in option.strings)
                values.append(f"        {patterns}) {_value(option)} ;;")
    levels = " ".join(dict.fromkeys(level for levels in LEVELS.values() for level in levels))
    return SCRIPT.format(known=known, values="\n".join(values), options="\n".join(lines), levels=levels)


def _first(command: Command) -> str:
    """Complete what stands by itself, unless an option is being typed."""
    found = dict.fromkeys(_value(option) for option in command.options if not option.strings)
    return "".join(f"[[ $cur == -* ]] || {value}; " for value in found if value != ":")


def _value(option: Option) -> str:
    if option.words:
        return f'_edge_embed_words "{" ".join(option.words)}"'
    return {"model": "_edge_embed_models", "file": "_edge_embed_files"}.get(option.takes or "", ":")
