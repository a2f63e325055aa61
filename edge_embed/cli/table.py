"""Short tables: on a terminal in colours and cut to its width, whole where a program reads them."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence

from edge_embed.progress.screen import can_redraw, cells, cut, one_line, paint, width_of

GAP = "  "


def print_table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[int] = (), colours: Sequence[str] = ()
) -> None:
    """Print rows under their heads; `right` are the columns of figures, `colours` those of each row's last column."""
    table = [list(map(one_line, row)) for row in (heads, *rows)]
    widths = [max(map(cells, column)) for column in zip(*table, strict=True)]
    narrow = width_of(sys.stdout) if can_redraw(sys.stdout) else None
    for number, row in enumerate(table):
        texts = [_padded(text, widths[n], n in right) for n, text in enumerate(row)]
        start, last = GAP.join(texts[:-1]) + GAP, texts[-1].rstrip()
        if narrow is not None:
            last = cut(last, max(8, narrow - cells(start)))
        if number == 0:
            print(paint((start + last).rstrip(), "bold", sys.stdout))
        else:
            print(start + (paint(last, colours[number - 1], sys.stdout) if colours else last))


def _padded(text: str, width: int, right: bool) -> str:
    space = " " * (width - cells(text))
    return space + text if right else text + space
