"""HTML -> its text, in one pass whose time grows with the file alone, whatever the markup is."""

from __future__ import annotations

import html
import re

# No part gives a letter back, and `<` inside a tag begins another one: each letter is read once.
TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9-]*+)[^<>]*+>|<[!?/][^<>]*+>")
BLOCKS = re.compile(
    "address|article|aside|blockquote|br|caption|dd|div|dl|dt|figcaption|figure|footer|form|h[1-6]|header|hr|legend|li|main"
    "|nav|ol|option|p|pre|section|summary|table|td|th|title|tr|ul",
    re.I,
)
UNSEEN = ("script", "style", "template", "svg", "noscript")
SPACES = re.compile(r"[ \t\r\f\v\u00a0]+")
LINES = re.compile(r" ?\n[ \n]*")


def text_of_html(source: str) -> str:
    """Return what a browser would show as text, a block a line; entities are read, scripts and comments left out."""
    source = _without(source.replace("\0", " "), "<!--", "-->")
    for name in UNSEEN:
        source = _without_element(source, name)
    text = TAG.sub(lambda tag: "\n" if BLOCKS.fullmatch(tag[2] or "") else "", source.replace("\n", " "))
    return LINES.sub("\n", SPACES.sub(" ", html.unescape(text))).strip()


def _without(source: str, opening: str, closing: str) -> str:
    parts, at = [], 0
    while (start := source.find(opening, at)) >= 0:
        parts.append(source[at:start])
        end = source.find(closing, start + len(opening))
        if end < 0:
            return "".join(parts)
        at = end + len(closing)
    return "".join([*parts, source[at:]])


def _without_element(source: str, name: str) -> str:
    """Leave out an element with all that is in it; an end that is missing is the text's."""
    opening, closing = re.compile(rf"<{name}(?=[\s/>])", re.I), re.compile(rf"</{name}(?=[\s/>])[^<>]*+>", re.I)
    parts, at = [], 0
    while start := opening.search(source, at):
        parts.append(source[at : start.start()])
        end = closing.search(source, start.end())
        if end is None:
            return "".join(parts)
        at = end.end()
    return "".join([*parts, source[at:]])
