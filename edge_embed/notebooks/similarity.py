"""Similarities with the texts that they are of: a coloured table in a notebook, an aligned one in a terminal.

A function, and no ndarray of our own that `similarity` would return: that would lack the texts, and would live on in
every slice, sum and pickle made of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_embed.errors import InputError
from edge_embed.progress.screen import cells, cut, one_line

from .html import escaped

MOST_ROWS, MOST_COLUMNS, LONGEST = 60, 24, 40  # that are shown, and letters of a text
TINT = "46, 125, 50"  # red, green and blue of a score of one


@dataclass(frozen=True, eq=False)
class SimilarityTable:
    """Similarities (n, m) and the texts of both sides; str() and a notebook show them."""

    scores: NDArray[np.float32]
    rows: Sequence[str]
    columns: Sequence[str]

    def __str__(self) -> str:
        names = [cut(one_line(name), LONGEST) for name in self.rows[:MOST_ROWS]]
        heads = [cut(one_line(name), LONGEST // 2) for name in self.columns[:MOST_COLUMNS]]
        widths = [max(cells(head), 6) for head in heads]
        left = max(map(cells, names), default=0)
        lines = [" " * left + "".join(f"  {_right(head, width)}" for head, width in zip(heads, widths, strict=True))]
        for name, row in zip(names, self.scores[:MOST_ROWS, :MOST_COLUMNS], strict=True):
            figures = "".join(f"  {score:{width}.3f}" for score, width in zip(row, widths, strict=True))
            lines.append(name + " " * (left - cells(name)) + figures)
        return "\n".join([*lines, *filter(None, [self._rest()])])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        heads = "".join(_head(name) for name in self.columns[:MOST_COLUMNS])
        body = "".join(
            f"<tr>{_head(name)}{''.join(map(_cell, row))}</tr>"
            for name, row in zip(self.rows[:MOST_ROWS], self.scores[:MOST_ROWS, :MOST_COLUMNS], strict=True)
        )
        caption = f"<caption>{escaped(self._rest())}</caption>" if self._rest() else ""
        return f"<table>{caption}<thead><tr><td></td>{heads}</tr></thead><tbody>{body}</tbody></table>"

    def _rest(self) -> str:
        """Say how much is not shown."""
        more = {"rows": len(self.rows) - MOST_ROWS, "columns": len(self.columns) - MOST_COLUMNS}
        return " and ".join(f"{count:,} more {name}" for name, count in more.items() if count > 0)


def show_similarity(
    scores: ArrayLike, rows: Sequence[str] | None = None, columns: Sequence[str] | None = None
) -> SimilarityTable:
    """Show similarities (n, m), or (m,) of one text, with the texts that they are of: numbers where none are given.

    Raises InputError where there are not n rows and m columns.

    >>> print(show_similarity([[0.9, 0.1]], ["a hot drink"], ["tea", "tax law"]))
                    tea  tax law
    a hot drink   0.900    0.100
    """
    matrix = np.atleast_2d(np.asarray(scores, np.float32))
    if matrix.ndim != 2:
        raise InputError(f"similarities have a row and a column for each text, got an array of shape {matrix.shape}")
    names = [
        list(map(str, given)) if given is not None else [str(n) for n in range(count)]
        for given, count in zip((rows, columns), matrix.shape, strict=True)
    ]
    if tuple(map(len, names)) != matrix.shape:
        raise InputError(f"{len(names[0])} rows and {len(names[1])} columns are named, of scores of {matrix.shape}")
    return SimilarityTable(matrix, *names)


def _head(name: str) -> str:
    return f'<th style="text-align:left" title="{escaped(name)}">{escaped(cut(one_line(name), LONGEST))}</th>'


def _cell(score: np.float32) -> str:
    strength = min(1.0, max(0.0, float(score))) * 0.6
    return f'<td style="background:rgba({TINT}, {strength:.2f})">{score:.3f}</td>'


def _right(text: str, width: int) -> str:
    return " " * (width - cells(text)) + text
