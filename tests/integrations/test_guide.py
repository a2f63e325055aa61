"""docs/integrations.md and docs/databases.md: snippets run, versions are those tested, and no file is left out."""

from __future__ import annotations

import ast
import doctest
import importlib
import importlib.metadata
import importlib.util
import os
import re
import sqlite3

import pytest

from support.absent import TOLD
from support.places import ROOT

GUIDE, DATABASES = ((ROOT / "docs" / name).read_text("utf-8") for name in ("integrations.md", "databases.md"))
FILES = sorted(path.stem for path in (ROOT / "edge_embed" / "integrations").glob("[a-z]*.py"))
NEEDS = {"haystack": "haystack", "llama_index": "llama_index", "chroma": "chromadb", "langchain": "langchain_core"}
OURS = {"sentence_transformers", "fastembed"}  # need nothing of the frameworks that they stand for
PACKAGES = {
    "LangChain": "langchain-core",
    "LlamaIndex": "llama-index-core",
    "Haystack": "haystack-ai",
    "Chroma": "chromadb",
    "Qdrant": "qdrant-client",
    "PostgreSQL": "pgvector",
    "SQLite": "sqlite-vec",
}
POSTGRES = "EDGE_EMBED_POSTGRES"


def snippets(page: str) -> list[tuple[str, str]]:
    """Return the headings and the snippets under them."""
    found = re.findall(r"^## ([^\n]*)$|^```python\n(.*?)^```$", page, re.M | re.S)
    heading, pairs = "start", []
    for title, code in found:
        heading = title or heading
        if code:
            pairs.append((heading, code))
    return pairs


(_, START), *STORES = snippets(DATABASES)
SNIPPETS = [
    *(pytest.param(code, id=heading) for heading, code in snippets(GUIDE)),
    *(pytest.param(START + code, id=heading) for heading, code in STORES),
]


@pytest.mark.filterwarnings("ignore:Items? .*ReadOnly")
@pytest.mark.parametrize("code", SNIPPETS)
def test_the_snippet(code: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in sorted(_imports(code)):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name}: {TOLD}")
    if POSTGRES in code and POSTGRES not in os.environ:
        pytest.skip(f"{POSTGRES} names no server that has pgvector")
    if "enable_load_extension" in code and not hasattr(sqlite3.Connection, "enable_load_extension"):
        pytest.skip("this Python's sqlite3 was built without extensions")
    if "sentence_transformers.SentenceTransformer =" in code:
        theirs = importlib.import_module("sentence_transformers")
        monkeypatch.setattr(theirs, "SentenceTransformer", theirs.SentenceTransformer)  # put back at the end
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # importing it asks the network otherwise
    exec(compile(code, "the guide", "exec", dont_inherit=True), {"__name__": "guide"})
    assert capsys.readouterr().out.strip()


def _imports(code: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_every_file_has_a_snippet_and_a_row() -> None:
    assert [file for file in FILES if f"edge_embed.integrations.{file} import" not in GUIDE] == ["llm"]
    rows = {name: int(lines) for name, lines in re.findall(r"`(\w+)\.py`:[^|]*\| (\d+) \|", GUIDE)}
    assert sorted(rows) == FILES
    for name, lines in rows.items():
        found = len((ROOT / "edge_embed" / "integrations" / f"{name}.py").read_text("utf-8").splitlines())
        assert abs(found - lines) <= 15, f"{name}.py has {found} lines, docs/integrations.md says {lines}"


@pytest.mark.filterwarnings("ignore:Items? .*ReadOnly")
@pytest.mark.parametrize("file", FILES)
def test_the_examples(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = NEEDS.get(file, file)
    if file not in OURS and importlib.util.find_spec(name) is None:
        pytest.skip(f"{name}: {TOLD}")
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    failed, tried = doctest.testmod(importlib.import_module(f"edge_embed.integrations.{file}"))
    assert not failed
    assert tried or file == "llm"


def test_versions_are_those_installed_or_newer() -> None:
    rows = re.findall(r"^\| (?:\[)?([\w-]+)(?:\]\(#\w+\))? \| (?:\S+ )?([\d.]+) \|", GUIDE + DATABASES, re.M)
    assert len(rows) >= 19
    for framework, said in rows:
        try:
            found = importlib.metadata.version(PACKAGES.get(framework, framework.lower()))
        except importlib.metadata.PackageNotFoundError:
            continue
        assert tuple(map(int, found.split(".")[:2])) >= tuple(map(int, said.split(".")[:2])), framework
