"""No page, key, folder or public name is left out of the documentation."""

from __future__ import annotations

import dataclasses
import importlib
import re
import tomllib
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import edge_embed
from benchmarks import plot
from edge_embed.cli.main import parser
from edge_embed.cli.option import commands_of
from edge_embed.spec.golden import Fidelity, Golden, GoldenImage, Loss
from edge_embed.spec.image import ImageSpec
from edge_embed.spec.model import ModelSpec
from edge_embed.spec.weights import LEVELS, File, Weights

from support.pages import PAGES, blocks, read
from support.places import ROOT


def listed(entry: Any) -> Iterator[str]:
    """Yield the pages below an entry of the site's navigation."""
    if isinstance(entry, str):
        yield entry
    else:
        for one in entry.values() if isinstance(entry, dict) else entry:
            yield from listed(one)


def test_the_navigation_has_every_page() -> None:
    settings = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))
    found = [f"docs/{page}" for page in listed(settings["project"]["nav"])]
    assert sorted(found) == sorted(page for page in PAGES if page != "README.md")


def test_the_specification_has_every_key_and_its_example_is_read() -> None:
    page = "docs/formats/edge-embed-json.md"
    text = read(page)
    for kind in (ModelSpec, Weights, File, Fidelity, Loss, Golden, GoldenImage, ImageSpec):
        keys = {str(field.metadata.get("key", field.name)) for field in dataclasses.fields(kind)}
        assert not {key for key in keys if f"`{key}`" not in text}, kind
    for levels in LEVELS.values():
        assert f"`{levels[0]}` to `{levels[-1]}`" in text
    (example,) = blocks(page, "json")
    assert ModelSpec.from_json(example.text).weights[0].name == "onnx:int8"


def test_the_reference_has_every_public_name() -> None:
    text = read("docs/reference/python.md")
    shown = set(re.findall(r"^::: ([\w.]+)$", text, re.M))
    modules = {name for name in shown if name == "edge_embed.errors"}
    for name in shown - modules:
        package, _, attribute = name.rpartition(".")
        assert getattr(importlib.import_module(package), attribute)
    hidden = {
        name
        for name in edge_embed.__all__
        if f"edge_embed.{name}" not in shown and not hasattr(edge_embed.errors, name)
    }
    assert not {name for name in hidden if f"`{name}`" not in text}


def test_pictures_show_what_the_tables_say() -> None:
    for name, picture in plot.draw_all(read("docs/figures/quality.md")).items():
        assert read(f"docs/images/{name}") == picture, "python -m benchmarks plot draws them anew"
    for path in (ROOT / "docs" / "images").glob("*.svg"):
        assert ElementTree.parse(path).getroot().tag.endswith("svg")


def test_the_command_line_has_every_command_and_variable() -> None:
    text = read("docs/reference/command-line.md")
    commands = {words[0] for words in commands_of(parser()) if words}
    assert not {name for name in commands if not re.search(rf"`(edge-embed )?{name}`", text)}
    sources = [path for package in ("edge_embed", "convert") for path in (ROOT / package).rglob("*.py")]
    variables = {name for path in sources for name in re.findall(r'"(EDGE_EMBED_[A-Z_]+)"', path.read_text("utf-8"))}
    assert not {name for name in variables if f"`{name}`" not in text}


def test_the_map_has_every_folder() -> None:
    text = read("docs/architecture.md")
    for package in ("edge_embed", "convert"):
        folders = {path.name for path in (ROOT / package).iterdir() if (path / "__init__.py").is_file()}
        assert not {name for name in folders if f"`{name}/`" not in text}
