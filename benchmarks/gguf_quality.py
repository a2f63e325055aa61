"""What each GGUF level costs on a trained model, and what importance is worth: ours, none, and llama-imatrix's kind.

    python benchmarks/gguf_quality.py BASE EVAL [--levels Q4_K_M,IQ2_M] [--threads 1]

BASE: a checkpoint with adapters/retrieval and adapters/text-matching. EVAL: a folder with retrieval.jsonl, as in
quality.py, and sts.jsonl, lines {"text1", "text2", "label"}. Importance is measured on whole prompted texts, on no
text, or on the same texts joined into one stream and cut every 512 tokens, as llama-imatrix does. A table, then one
JSON line.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from quality import ndcg, read
from tokenizers import Tokenizer

from edge_embed import Embedder
from edge_embed.vectors import similarity
from edge_embed_convert.calibrate import calibrate, measure, read_texts
from edge_embed_convert.checkpoint.moments import LONGEST, Moments
from edge_embed_convert.gguf import file as gguf_file
from edge_embed_convert.gguf.export import ALL
from edge_embed_convert.gguf.imatrix import importance
from edge_embed_convert.gguf.quantize import NEED_IMPORTANCE, quantize
from edge_embed_convert.variant import open_variant

COMPARED = 250  # queries, and as many documents, whose cosine to float32 is taken
Vectors = NDArray[np.float32]
Importance = Mapping[str, Vectors] | None


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


def cosines(path: Path, exact: Vectors, queries: list[str], documents: list[str], threads: int | None) -> Vectors:
    """Return each text's cosine to float32."""
    with Embedder(str(path), threads=threads) as model:
        both = np.concatenate([model.encode_query(queries), model.encode_document(documents)])
    return np.asarray((both * exact).sum(axis=1), np.float32)


def spearman(path: Path, rows: list[dict[str, Any]], threads: int | None) -> float:
    """Return the rank correlation of cosines and labels."""
    with Embedder(str(path), threads=threads) as model:
        first, second = (model.encode_document([row[key] for row in rows]) for key in ("text1", "text2"))
    ranks = [np.argsort(np.argsort(x)) for x in ((first * second).sum(axis=1), [row["label"] for row in rows])]
    return float(np.corrcoef(ranks)[0, 1])


def retrieved(
    path: Path, queries: list[str], documents: list[str], relevant: NDArray[np.intp], threads: int | None
) -> float:
    """Return nDCG@10."""
    with Embedder(str(path), threads=threads) as model:
        return ndcg(similarity(model.encode_query(queries), model.encode_document(documents)), relevant)


def bits(path: Path) -> float:
    """Return bits per weight, vocabulary and metadata left out."""
    sizes = gguf_file.tensor_sizes(path)
    return 8 * sum(size for _, _, size in sizes) / sum(count for _, count, _ in sizes)


def main() -> None:
    """Make every level with every importance, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("base", type=Path)
    parser.add_argument("eval", type=Path)
    parser.add_argument("--levels", default=",".join(ALL))
    parser.add_argument("--threads", type=int, help="llama.cpp's spin: on a busy machine one is faster than two")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    queries, documents, relevant = read(args.eval / "retrieval.jsonl")
    pairs = [json.loads(line) for line in (args.eval / "sts.jsonl").read_text("utf-8").splitlines()]
    some = queries[:COMPARED], documents[:COMPARED]
    print(f"| {args.base.name} | bytes | bits | mean, least cosine | none | stream | nDCG@10 | Spearman |")
    print("|---|---|---|---|---|---|---|---|")
    table: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        retrieval = Levels(args.base, "retrieval", Path(scratch))
        matching = Levels(args.base, "text-matching", Path(scratch))
        with Embedder(str(retrieval.exact), threads=args.threads) as model:
            exact = np.concatenate([model.encode_query(some[0]), model.encode_document(some[1])])
        ways = {"ours": retrieval.ours(), "none": None, "stream": retrieval.stream()}
        matching_weights = matching.ours()
        for level in args.levels.split(","):
            row: dict[str, Any] = {}
            for way in ("none", "stream", "ours"):  # ours last: its file is scored
                if way == "none" and level in NEED_IMPORTANCE:
                    continue
                path = retrieval.make(level, ways[way])
                found = cosines(path, exact, *some, args.threads)
                row[way] = [float(found.mean()), float(found.min())]
            row |= {"bytes": path.stat().st_size, "bits": bits(path)}
            row["ndcg"] = retrieved(path, queries, documents, relevant, args.threads)
            row["spearman"] = spearman(matching.make(level, matching_weights), pairs, args.threads)
            table[level] = row
            print(_line(level, row), flush=True)
    print(json.dumps({"base": args.base.name, "levels": table}))


def _line(level: str, row: dict[str, Any]) -> str:
    ours, none, stream = (
        f"{row[way][0]:.4f} {row[way][1]:.3f}" if way in row else "" for way in ("ours", "none", "stream")
    )
    figures = f"{row['bytes']:,} | {row['bits']:.2f} | {ours} | {none} | {stream}"
    return f"| {level} | {figures} | {row['ndcg']:.3f} | {row['spearman']:.3f} |"


if __name__ == "__main__":
    main()
