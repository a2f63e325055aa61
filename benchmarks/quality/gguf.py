"""What each GGUF level costs on a trained model, and what importance is worth: ours, none, and llama-imatrix's kind.

    python -m benchmarks quality.gguf BASE EVAL [--levels Q4_K_M,IQ2_M] [--threads 1]

BASE: a checkpoint with adapters/retrieval and adapters/text-matching. EVAL: a folder with retrieval.jsonl, as in
quality.onnx, and sts.jsonl, lines {"text1", "text2", "label"}. Importance is measured on whole prompted texts, on no
text, or on the same texts joined into one stream and cut every 512 tokens, as llama-imatrix does.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from benchmarks.report import Report, Table, progress
from edge_embed import Embedder
from edge_embed.vectors import similarity
from edge_embed_convert.calibrate import calibrate, measure, read_texts
from edge_embed_convert.checkpoint.moments import LONGEST, Moments
from edge_embed_convert.gguf import file as gguf_file
from edge_embed_convert.gguf.export import ALL
from edge_embed_convert.gguf.imatrix import importance
from edge_embed_convert.gguf.quantize import NEED_IMPORTANCE, quantize
from edge_embed_convert.variant import open_variant

from .scores import Vectors, ndcg, read

COMPARED = 250  # queries, and as many documents, whose cosine to float32 is taken
Importance = Mapping[str, Vectors] | None


@dataclass(frozen=True)
class Texts:
    """What is embedded: queries with the row of each one's document, documents, and pairs with their similarity."""

    queries: list[str]
    documents: list[str]
    relevant: NDArray[np.intp]
    pairs: list[dict[str, Any]]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("base", type=Path, help="the checkpoint's folder")
    parser.add_argument("eval", type=Path, help="a folder with retrieval.jsonl and sts.jsonl")
    parser.add_argument("--levels", default=",".join(ALL), help="llama.cpp's names, with commas between them")
    parser.add_argument("--threads", type=int, help="llama.cpp's spin: on a busy machine one is faster than two")


def run(args: argparse.Namespace) -> Report:
    """Make every level with every importance, and measure it."""
    pairs = [json.loads(line) for line in (args.eval / "sts.jsonl").read_text("utf-8").splitlines()]
    texts = Texts(*read(args.eval / "retrieval.jsonl"), pairs)
    table = Table(args.base.name, "bytes", "bits", "mean, least cosine", "none", "stream", "nDCG@10", "Spearman")
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        measure = Measure(args.base, Path(scratch), texts, args.threads)
        for level in args.levels.split(","):
            rows[level] = measure.level(level)
            table.add(*_cells(level, rows[level]))
            progress(*_cells(level, rows[level]))
    return Report([table], {"base": args.base.name, "levels": rows})


class Levels:
    """One task's model at every level, in a scratch folder."""

    def __init__(self, base: Path, task: str, scratch: Path) -> None:
        self.source = open_variant(base, None, task, None, {})
        self._folder, self._tokenizer = scratch / task, self.source.folder / "tokenizer.json"
        self._folder.mkdir()
        self.exact = self._folder / "model-F32.gguf"
        for level in ("F32", "F16"):
            gguf_file.write_file(self._folder / f"model-{level}.gguf", self.source, level, self._tokenizer)

    def ours(self) -> Importance:
        """Measure on whole prompted texts."""
        source = self.source
        return self._weights(calibrate(source.config, source.tensors, source.spec, self._tokenizer, read_texts()))

    def stream(self) -> Importance:
        """Measure on one stream of text, every row of the last layer included."""
        tokenizer = Tokenizer.from_file(str(self._tokenizer))
        ids = np.array(tokenizer.encode("\n".join(read_texts()), add_special_tokens=False).ids, np.int32)
        rows = [ids[at : at + LONGEST] for at in range(0, len(ids), LONGEST)]
        return self._weights(measure(self.source.config, self.source.tensors, "mean", rows))

    def _weights(self, moments: Mapping[str, Moments]) -> Importance:
        return {name: m.square for name, m in importance(gguf_file.entries(self.source), moments).items()}

    def make(self, level: str, weights: Importance) -> Path:
        """Write the model at a level."""
        path = self._folder / f"model-{level}.gguf"
        if level != "F16":
            quantize(self._folder / "model-F16.gguf", path, level, weights)
        return path


class Measure:
    """Measures levels of a model: cosines to float32 with each importance, and with ours how well it does its tasks."""

    def __init__(self, base: Path, scratch: Path, texts: Texts, threads: int | None) -> None:
        self._texts, self._threads = texts, threads
        self._some = texts.queries[:COMPARED], texts.documents[:COMPARED]
        self._retrieval = Levels(base, "retrieval", scratch)
        self._matching = Levels(base, "text-matching", scratch)
        self._exact = self._embed(self._retrieval.exact)
        # ours last: its file is the one that is scored
        self._ways = {"none": None, "stream": self._retrieval.stream(), "ours": self._retrieval.ours()}
        self._matching_importance = self._matching.ours()

    def level(self, level: str) -> dict[str, Any]:
        """Measure one level."""
        row: dict[str, Any] = {}
        for way, weights in self._ways.items():
            if way == "none" and level in NEED_IMPORTANCE:
                continue
            path = self._retrieval.make(level, weights)
            cosines = (self._embed(path) * self._exact).sum(axis=1)
            row[way] = [float(cosines.mean()), float(cosines.min())]
        row |= {"bytes": path.stat().st_size, "bits": bits(path), "ndcg": self._ndcg(path)}
        row["spearman"] = self._spearman(self._matching.make(level, self._matching_importance))
        return row

    def _embed(self, path: Path) -> Vectors:
        queries, documents = self._some
        with Embedder(str(path), threads=self._threads) as model:
            return np.concatenate([model.encode_query(queries), model.encode_document(documents)])

    def _ndcg(self, path: Path) -> float:
        texts = self._texts
        with Embedder(str(path), threads=self._threads) as model:
            scores = similarity(model.encode_query(texts.queries), model.encode_document(texts.documents))
        return ndcg(scores, texts.relevant)

    def _spearman(self, path: Path) -> float:
        """Return the rank correlation of cosines and labels."""
        pairs = self._texts.pairs
        with Embedder(str(path), threads=self._threads) as model:
            first, second = (model.encode_document([pair[key] for pair in pairs]) for key in ("text1", "text2"))
        ranks = [np.argsort(np.argsort(x)) for x in ((first * second).sum(axis=1), [pair["label"] for pair in pairs])]
        return float(np.asarray(np.corrcoef(ranks))[0, 1])


def bits(path: Path) -> float:
    """Return bits per weight, vocabulary and metadata left out."""
    sizes = gguf_file.tensor_sizes(path)
    return float(8 * sum(size for _, _, size in sizes) / sum(count for _, count, _ in sizes))


def _cells(level: str, row: dict[str, Any]) -> list[str]:
    cosines = [f"{row[way][0]:.4f} {row[way][1]:.3f}" if way in row else "" for way in ("ours", "none", "stream")]
    return [level, f"{row['bytes']:,}", f"{row['bits']:.2f}", *cosines, f"{row['ndcg']:.3f}", f"{row['spearman']:.3f}"]
