"""A text -> passages that the model reads whole, cut where the text itself has borders."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from edge_embed.embedder import Embedder
from edge_embed.errors import InputError, MissingDependencyError
from edge_embed.pipeline.tokenizer import TextTokenizer
from edge_embed.remedies.installing import install_extra
from edge_embed.spec.model import TEXT

TOKENS = 256  # of a passage, unless the model reads less
BLOCK = 1 << 16  # letters that are split together: bounds time and memory for files without any borders
PACKAGE = "semantic-text-splitter"
MARKDOWN = {".md", ".markdown", ".mdown", ".mkd", ".qmd", ".rmd"}
Span = tuple[int, int]


def chunker_name() -> str:
    """Name what cuts texts, with its version; empty where it is not installed."""
    try:
        return f"{PACKAGE} {importlib.metadata.version(PACKAGE)}"
    except importlib.metadata.PackageNotFoundError:
        return ""


class Chunker:
    """Cut texts for one model: at most `tokens` of its own tokenizer, prompt and closing token not counted."""

    def __init__(self, model: Embedder, tokens: int) -> None:
        around = model.count_tokens("", side="document").tokens
        room = model.spec.max_tokens - around
        if room < 1:
            raise InputError(f"{model.spec.name} has no room for a text beside its prompt")
        self.tokens = min(tokens, room)
        self._model, self._around = model, around
        self._splitters: dict[str, Any] = {}

    def spans(self, text: str, name: str = "") -> list[Span]:
        """Return (start, stop) of each passage in the text's letters; `name` of the file tells Markdown.

        Raises MissingDependencyError for a long text where the package that splits is not installed.
        """
        if not text.strip():
            return []
        if len(text) <= self.tokens or (len(text) <= BLOCK and self._fits(text)):
            start = len(text) - len(text.lstrip())
            return [(start, len(text.rstrip()))]
        splitter = self._splitter("MarkdownSplitter" if PurePath(name).suffix.lower() in MARKDOWN else "TextSplitter")
        found = []
        for start, stop in _blocks(text):
            for at, chunk in splitter.chunk_indices(text[start:stop]):
                if chunk.strip():
                    found.append((start + at, start + at + len(chunk)))
        return found

    def _fits(self, text: str) -> bool:
        return self._model.count_tokens(text.replace("\0", " "), side="document").tokens - self._around <= self.tokens

    def _splitter(self, kind: str) -> Any:
        try:
            package = importlib.import_module(PACKAGE.replace("-", "_"))
        except ModuleNotFoundError as error:
            raise MissingDependencyError(
                f"texts beyond one passage need {PACKAGE}: {install_extra('search')}"
            ) from error
        if kind not in self._splitters:
            self._splitters[kind] = self._made(getattr(package, kind))
        return self._splitters[kind]

    def _made(self, splitter: Any) -> Any:
        """Make a splitter; one for `tokenizers` counts in Rust, any other tokenizer is asked text by text."""
        tokenizer = self._model._opened.pipeline.tokenizer
        if isinstance(tokenizer, TextTokenizer):
            return splitter.from_huggingface_tokenizer(tokenizer.huggingface, self.tokens)

        def count(text: str) -> int:
            return max(0, tokenizer.tokenize([text], TEXT).counts[0].tokens - self._around)

        return splitter.from_callback(count, self.tokens)


def _blocks(text: str) -> Iterator[Span]:
    """Cut a very long text after an empty line, a line or a blank, into pieces that are split one by one."""
    start = 0
    while len(text) - start > BLOCK:
        half, end = start + BLOCK // 2, start + BLOCK
        cuts = (text.rfind(border, half, end) + len(border) for border in ("\n\n", "\n", " "))
        stop = next((cut for cut in cuts if cut > half), end)
        yield start, stop
        start = stop
    yield start, len(text)
