"""Shows the examples of docstrings as code on the site: an extension of griffe, which mkdocstrings reads sources with.

A docstring here ends in its doctest, without a heading; griffe takes for examples what stands indented below
`Examples:`.
"""

from __future__ import annotations

import textwrap
from typing import Any

import griffe


class Doctests(griffe.Extension):
    """Put a heading above each docstring's doctest, and indent it."""

    def on_object(self, *, obj: griffe.Object, loader: griffe.GriffeLoader, **kwargs: Any) -> None:
        """Change one object's docstring, when the whole package has been read."""
        if obj.docstring is not None:
            obj.docstring.value = headed(obj.docstring.value)


def headed(text: str) -> str:
    """Return a docstring, without the indentation of its source, with its doctest as a section."""
    before, prompt, example = text.partition("\n\n>>> ")
    return f"{before}\n\nExamples:\n{textwrap.indent(f'>>> {example}', '    ')}" if prompt else text
