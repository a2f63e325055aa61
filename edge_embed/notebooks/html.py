"""Tables in HTML, without styles or scripts of their own, so that every notebook shows them in its own colours."""

from __future__ import annotations

import html
from collections.abc import Iterable

from edge_embed.errors import printable


def escaped(text: object) -> str:
    """Return a text as HTML: no tag, no quote, no character that cannot be seen."""
    return html.escape(printable(str(text)))


def facts_html(title: str, facts: Iterable[tuple[str, str]]) -> str:
    """Write a title, and a row for each fact of a name and a value."""
    rows = "".join(
        f'<tr><th style="text-align:left">{escaped(name)}</th><td style="text-align:left">{escaped(value)}</td></tr>'
        for name, value in facts
    )
    return f"<table><caption>{escaped(title)}</caption><tbody>{rows}</tbody></table>"
