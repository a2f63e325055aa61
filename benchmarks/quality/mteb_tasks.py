"""Sets in a folder of JSON lines as tasks of mteb, for scores without a network.

`retrieval.jsonl` has lines {"type": "query" | "doc", "id", "text"} and {"type": "qrel", "query", "doc"}; `sts.jsonl`
{"text1", "text2", "label"}; `classification.jsonl` {"split": "train" | "test", "text", "label"}, which is scored by
nearest neighbours, and by clusters too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Rows = list[dict[str, Any]]


def local_tasks(folder: Path) -> list[Any]:
    """Return a task for each set that the folder has; needs mteb."""
    from mteb.abstasks.classification import AbsTaskClassification
    from mteb.abstasks.clustering import AbsTaskClustering
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.sts import AbsTaskSTS

    kinds = [
        ("retrieval", "Retrieval", "ndcg_at_10", AbsTaskRetrieval, retrieval, {}),
        ("sts", "STS", "cosine_spearman", AbsTaskSTS, sts, {"min_score": -1, "max_score": 1}),
        ("classification", "Classification", "accuracy", AbsTaskClassification, classification, {}),
        ("classification", "Clustering", "v_measure", AbsTaskClustering, clustering, {}),
    ]
    found = []
    for name, kind, score, base, read, more in kinds:
        if (path := folder / f"{name}.jsonl").exists():
            told = {"metadata": metadata(f"Local{kind}", kind, score), "load_data": loads(path, read), **more}
            found.append(type(f"Local{kind}", (base,), told)())
    return found


def metadata(name: str, kind: str, score: str) -> Any:
    """Say of a task what mteb wants to know."""
    from mteb.abstasks.task_metadata import TaskMetadata

    return TaskMetadata(
        name=name,
        type=kind,
        main_score=score,
        description="Sets of JSON lines in a folder.",
        dataset={"path": "local", "revision": "1"},
        category="t2t" if kind in ("Retrieval", "STS") else "t2c",
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        modalities=["text"],
    )


def loads(path: Path, read: Any) -> Any:
    """Return a task's method that reads the file once."""

    def load_data(self: Any, **kwargs: Any) -> None:
        if not self.data_loaded:
            self.dataset = read([json.loads(line) for line in path.read_text("utf-8").splitlines()])
            self.data_loaded = True

    return load_data


def retrieval(rows: Rows) -> Any:
    """Queries, documents, and which belong together."""
    from datasets import Dataset

    def texts(kind: str) -> Any:
        return Dataset.from_list([{"id": row["id"], "text": row["text"]} for row in rows if row["type"] == kind])

    relevant: dict[str, dict[str, int]] = {}
    for row in rows:
        if row["type"] == "qrel":
            relevant.setdefault(row["query"], {})[row["doc"]] = 1
    split = {"queries": texts("query"), "corpus": texts("doc"), "relevant_docs": relevant, "top_ranked": None}
    return {"default": {"test": split}}


def sts(rows: Rows) -> Any:
    """Pairs of texts and how alike they are."""
    from datasets import Dataset, DatasetDict

    names = {"sentence1": "text1", "sentence2": "text2", "score": "label"}
    return DatasetDict(test=Dataset.from_list([{name: row[key] for name, key in names.items()} for row in rows]))


def classification(rows: Rows) -> Any:
    """Texts with a label each, to learn from and to be tried on."""
    from datasets import Dataset, DatasetDict

    labels = {label: n for n, label in enumerate(sorted({row["label"] for row in rows}))}

    def split(name: str) -> Any:
        chosen = [{"text": row["text"], "label": labels[row["label"]]} for row in rows if row["split"] == name]
        return Dataset.from_list(chosen)

    return DatasetDict(train=split("train"), test=split("test"))


def clustering(rows: Rows) -> Any:
    """All texts with their labels."""
    from datasets import Dataset, DatasetDict

    texts, labels = ([row[key] for row in rows] for key in ("text", "label"))
    return DatasetDict(test=Dataset.from_dict({"sentences": texts, "labels": labels}))
