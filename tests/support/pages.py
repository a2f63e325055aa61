"""The documentation's pages, README among them, and what stands in them: blocks of code, links, headings."""

from __future__ import annotations

import re
from dataclasses import dataclass

from support.places import ROOT

PAGES = ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))]
FENCED = re.compile(r"^```([\w+-]*)\n(.*?)^```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the line of the page on which the text begins."""

    kind: str
    text: str
    line: int


def read(page: str) -> str:
    """Return a page's text."""
    return (ROOT / page).read_text("utf-8")


def blocks(page: str, kind: str | None = None) -> list[Block]:
    """List a page's blocks, of one language if it is named, in order."""
    text = read(page)
    found = [Block(match[1], match[2], text.count("\n", 0, match.start(2)) + 1) for match in FENCED.finditer(text)]
    return [block for block in found if kind in (None, block.kind)]


def prose(page: str) -> str:
    """Return a page's text without its blocks and without code in its lines."""
    return re.sub(r"`[^`\n]*`", "", FENCED.sub("", read(page)))


def links(page: str) -> list[str]:
    """List the targets of a page's links and pictures that lead to no other server."""
    found = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    return [target for target in found if not re.match(r"[a-z]+:", target)]


def anchors(page: str) -> set[str]:
    """Return the names of a page's headings, as Python-Markdown and GitHub make them."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", read(page)), re.M)
    plain = (re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings)
    return {re.sub(r"[-\s]+", "-", heading) for heading in plain}
