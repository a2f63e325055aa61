"""Runs a benchmark, or lists what there is.

    python -m benchmarks                             every benchmark with its arguments
    python -m benchmarks speed.texts --rounds 5      one: a table for people, then one JSON line for machines

A benchmark is a module with `configure(parser)`, which declares its arguments, and `run(args) -> Report`. Run it from
the repository's root.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import benchmarks


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Leaves the docstring's lines as they are, and tells every default that says something."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False, argparse.SUPPRESS, []) or not action.option_strings:
            return action.help
        default = " ".join(map(str, action.default)) if isinstance(action.default, list) else "%(default)s"
        return f"{action.help or ''} (default: {default})".strip()


def main(words: Sequence[str] | None = None) -> None:
    """Run the benchmark that the first word names with the arguments behind it; list all without a name."""
    name, *arguments = (sys.argv[1:] if words is None else words) or [""]
    if name in ("", "-h", "--help"):
        print(listing())
        return
    if name not in (known := names()):
        raise SystemExit(f"there is no benchmark {name!r}; there are {', '.join(known)}")
    benchmark = importlib.import_module(f"benchmarks.{name}")
    args = parser_of(name, benchmark).parse_args(arguments)
    benchmark.run(args).show(name)


def names() -> list[str]:
    """List the names of all benchmarks; they are modules, which are not imported."""
    found = []
    for module in pkgutil.walk_packages(benchmarks.__path__, "benchmarks."):
        spec = module.module_finder.find_spec(module.name, None)
        assert spec is not None
        if spec.origin and "\ndef configure(" in Path(spec.origin).read_text("utf-8"):
            found.append(module.name.removeprefix("benchmarks."))
    return found


def listing() -> str:
    """Describe every benchmark: a line of what it does, and its arguments."""
    assert __doc__ is not None
    parts = [__doc__]
    for name in names():
        try:
            parser = parser_of(name, importlib.import_module(f"benchmarks.{name}"))
        except ModuleNotFoundError as error:
            parts.append(f"{name}\n    needs {error.name}, which is not installed\n")
            continue
        _, arguments = parser.format_help().split(f"{parser.description}\n", 1)
        title = (parser.description or "").partition("\n")[0]
        parts.append(f"{name}\n    {title}\n{textwrap.indent(arguments.rstrip(), '    ')}\n")
    return "\n".join(parts)


def parser_of(name: str, benchmark: ModuleType) -> argparse.ArgumentParser:
    """Make a benchmark's parser; its description is the module's docstring."""
    description = (benchmark.__doc__ or "").strip()
    parser = argparse.ArgumentParser(f"python -m benchmarks {name}", description=description, formatter_class=Formatter)
    benchmark.configure(parser)
    return parser


if __name__ == "__main__":
    main()
