"""Links of the documentation lead somewhere, without a site to be built."""

from __future__ import annotations

import pytest

from support.pages import PAGES, anchors, links
from support.places import ROOT


@pytest.mark.parametrize("page", PAGES)
def test_the_links_of(page: str) -> None:
    """A page of the site names nothing outside it: the site would not have it."""
    folder, bounds = (ROOT / page).parent, ROOT / "docs" if page.startswith("docs/") else ROOT
    wrong = []
    for link in links(page):
        place, _, anchor = link.partition("#")
        path = (folder / place).resolve() if place else ROOT.resolve() / page
        inside = path.is_file() and path.is_relative_to(bounds.resolve())
        if not inside or (anchor and anchor not in anchors(path.relative_to(ROOT.resolve()).as_posix())):
            wrong.append(link)
    assert not wrong


def test_links_are_found() -> None:
    assert "docs/service.md" in links("README.md")
    assert "on-a-raspberry-pi" in anchors("docs/figures/memory.md")
    assert "edge_embedjson-format-1" in anchors("docs/formats/edge-embed-json.md")
