"""docs/integrations.md: its snippets run, its versions are those that are tested, and no file is left out."""

from __future__ import annotations

import doctest
import importlib
import importlib.metadata
import importlib.util
import re

import pytest

from support.places import ROOT

GUIDE = (ROOT / "docs" / "integrations.md").read_text("utf-8")
FILES = sorted(path.stem for path in (ROOT / "edge_embed" / "integrations").glob("[a-z]*.py"))
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.M | re.S)
NEEDS = {"haystack": "haystack", "llama_index": "llama_index", "chroma": "chromadb", "langchain": "langchain_core"}
OURS = {"sentence_transformers", "fastembed"}  # need nothing of the frameworks that they stand for
TOLD = "its package is not installed; pip install --group integrations has all but fastembed"


def _need(file: str) -> None:
    name = NEEDS.get(file, file)
    if file not in OURS and importlib.util.find_spec(name) is None:
        pytest.skip(f"{name}: {TOLD}")


@pytest.mark.filterwarnings("ignore:Items? .*ReadOnly")
@pytest.mark.parametrize("file", FILES)
def test_the_snippet(file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _need(file)
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # importing it asks the network otherwise
    snippets = [snippet for snippet in SNIPPETS if f"from edge_embed.integrations.{file} import" in snippet]
    assert len(snippets) == (file != "llm")
    for snippet in snippets:
        exec(compile(snippet, f"integrations.md, {file}", "exec", dont_inherit=True), {"__name__": "guide"})
        assert capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:Items? .*ReadOnly")
@pytest.mark.parametrize("file", FILES)
def test_the_examples(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _need(file)
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    failed, tried = doctest.testmod(importlib.import_module(f"edge_embed.integrations.{file}"))
    assert not failed
    assert tried or file == "llm"


def test_versions_are_those_installed_or_newer() -> None:
    for framework, said in re.findall(r"^\| (\S+) \| (?:\S+ )?([\d.]+) \|", GUIDE, re.M):
        package = {"LangChain": "langchain-core", "LlamaIndex": "llama-index-core", "Haystack": "haystack-ai"}.get(
            framework, {"Chroma": "chromadb"}.get(framework, framework.lower())
        )
        try:
            found = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
        assert tuple(map(int, found.split(".")[:2])) >= tuple(map(int, said.split(".")[:2])), package
