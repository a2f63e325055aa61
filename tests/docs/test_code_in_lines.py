"""What pages name within their sentences and tables exists: commands with their options, calls with their arguments."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator

import pytest

from edge_embed import AsyncEmbedder, Embedder
from edge_embed.cli.main import parser
from edge_embed.cli.option import commands_of

from support.pages import FENCED, PAGES, read

OURS = {"Embedder": Embedder, "AsyncEmbedder": AsyncEmbedder}


def spans(page: str) -> Iterator[str]:
    """Yield the code within a page's lines; of a table of two columns under another's name the second alone."""
    for paragraph in re.split(r"\n\n|\n(?=\|)", FENCED.sub("", read(page))):
        part = paragraph
        if page == "docs/coming-from.md" and paragraph.startswith("|"):
            part = paragraph.rpartition(" | ")[2]
        yield from (" ".join(code.split()) for code in re.findall(r"`([^`]+)`", part))


def options() -> dict[str, set[str]]:
    """Return the options of each command, and of the commands within it."""
    found: dict[str, set[str]] = {}
    for words, command in commands_of(parser()).items():
        if words:
            found.setdefault(words[0], set()).update(string for one in command.options for string in one.strings)
    return found


OPTIONS = options()


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of(page: str) -> None:
    wrong = []
    for code in spans(page):
        if match := re.match(r"edge-embed ([a-z]+)\b", code):
            known = OPTIONS.get(match[1])
            if known is None or set(re.findall(r"(?<=\s)--[\w-]+", code)) - known:
                wrong.append(code)
    assert not wrong


@pytest.mark.parametrize("page", PAGES)
def test_the_calls_of(page: str) -> None:
    wrong = []
    for code in spans(page):
        if re.match(r"(?:await )?(?:model|Embedder|AsyncEmbedder)(?:\(|\.\w+\()", code):
            try:
                tree = ast.parse(code.replace("...,", "").replace("(...)", "()").replace("{...}", "{}"))
            except SyntaxError:  # a signature or a part of a call
                continue
            wrong += [code for call in ast.walk(tree) if isinstance(call, ast.Call) and not fits(call)]
    assert not wrong


def fits(call: ast.Call) -> bool:
    """Whether what is called exists and takes the keywords."""
    function: object = None
    if isinstance(call.func, ast.Name):
        function = OURS.get(call.func.id, list)
    elif isinstance(call.func, ast.Attribute):
        owner = call.func.value
        ours = isinstance(owner, ast.Name) and owner.id == "model"
        ours |= isinstance(owner, ast.Call) and isinstance(owner.func, ast.Name) and owner.func.id == "Embedder"
        if not ours:
            return True
        function = getattr(Embedder, call.func.attr, None) or getattr(AsyncEmbedder, call.func.attr, None)
    if function is None:
        return False
    names = {keyword.arg for keyword in call.keywords if keyword.arg}
    return not names or names <= set(inspect.signature(function).parameters)  # type: ignore[arg-type]


def test_code_is_found_and_faults_are() -> None:
    assert "edge-embed serve MODEL --port 11434" in set(spans("docs/coming-from.md"))
    assert 'Embedder("MODEL", max_tokens=512)' in set(spans("docs/coming-from.md"))
    assert "--max-memory" in OPTIONS["plan"]
    known = {"Embedder('m', threads=2)": True, "Embedder('m', device='cuda')": False, "model.no()": False}
    for code, right in known.items():
        (call,) = (node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call))
        assert fits(call) == right
