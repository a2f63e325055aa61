"""Which weights are chosen, and why: quality first to a floor, then speed, within the memory that there is."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_embed import Embedder, InputError, MemoryWarning, OutOfMemoryError, QualityWarning
from edge_embed.backends import Batch
from edge_embed.backends.facts import facts
from edge_embed.backends.onnx.backend import OnnxBackend
from edge_embed.layouts.folder import ModelFolder, read_folder
from edge_embed.layouts.listing import Listing
from edge_embed.selection import choose as choose_module
from edge_embed.selection import speed
from edge_embed.selection.choice import Choice, Constraints
from edge_embed.selection.choose import choose
from edge_embed.selection.memory import MIN_BATCH_TOKENS, MemoryPlan, memory_plans
from edge_embed.selection.speed import Candidate, Ranking
from edge_embed.spec.golden import Fidelity
from edge_embed.spec.weights import File, Weights, format_of

from support.engines import change_facts, set_speed

FAITHFUL = Fidelity(cosines=(0.97,), batch_deviation=1e-3)


def weights(name: str, fidelity: Fidelity | None = FAITHFUL) -> Weights:
    form, _, level = name.partition(":")
    return Weights(format=form, level=level, files=(File(path=f"{level}.{form}"),), fidelity=fidelity)  # type: ignore


@pytest.fixture
def repo(converted: Path) -> ModelFolder:
    return read_folder(converted)


def holding(repo: ModelFolder, *names: str) -> ModelFolder:
    return repo.with_weights(map(weights, names))


def ranked(**found: float) -> Any:
    """Rank by figures: gguf_Q8_0=3 for gguf:Q8_0."""
    speeds = {name.replace("_", ":", 1): value for name, value in found.items()}
    return lambda candidates: Ranking({one.name: speeds[one.name] for one in candidates}, True)


def chosen(choice: Choice) -> str:
    return choice.weights.name


def pick(repo: ModelFolder, ranking: Any = None, **constraints: Any) -> Choice:
    return choose(repo, Constraints(**constraints), ranking)


def speeds_of(repo: ModelFolder, threads: int, cache: Path, workload: speed.Workload = "bulk") -> Ranking:
    """Rank a folder's weights by measuring."""
    candidates = [Candidate(one, one.format) for one in repo.spec.weights]
    return speed.rank(repo, candidates, threads, cache, workload)


def test_the_fastest_that_keeps_quality(repo: ModelFolder) -> None:
    some = holding(repo, "onnx:float32", "onnx:int8", "gguf:Q4_K_M", "gguf:IQ1_S")
    rank = ranked(onnx_float32=1, onnx_int8=2, gguf_Q4_K_M=3, gguf_IQ1_S=9)
    choice = pick(some, rank)
    assert (chosen(choice), choice.backend) == ("gguf:Q4_K_M", "gguf")
    assert choice.why == "the fastest in bulk of 'gguf:Q4_K_M', 'onnx:float32', 'onnx:int8', measured here"
    assert chosen(pick(some, rank, backend="onnx")) == "onnx:int8"
    assert chosen(pick(some, rank, level="IQ1_S")) == "gguf:IQ1_S"
    coarse = holding(repo, "gguf:IQ2_M", "gguf:IQ1_S")
    assert chosen(pick(coarse, ranked(gguf_IQ2_M=1, gguf_IQ1_S=2))) == "gguf:IQ1_S"


def test_among_the_nearly_as_fast_the_one_of_highest_precision(repo: ModelFolder) -> None:
    some = holding(repo, "onnx:float32", "onnx:int8")
    assert chosen(pick(some, ranked(onnx_float32=0.96, onnx_int8=1))) == "onnx:float32"
    assert chosen(pick(some, ranked(onnx_float32=0.94, onnx_int8=1))) == "onnx:int8"


def test_the_workload_decides(repo: ModelFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is fastest in bulk need not be for one text; without measuring, by what is known of such machines."""
    set_speed(monkeypatch, "onnx", "int8", (3.0, 1.5))
    set_speed(monkeypatch, "gguf", "IQ4_NL", (1.0, 2.0))
    some = holding(repo, "onnx:int8", "gguf:IQ4_NL")
    assert chosen(pick(some)) == "onnx:int8"
    choice = pick(some, workload="single")
    assert chosen(choice) == "gguf:IQ4_NL"
    assert choice.why.startswith("the fastest for single texts of ")
    set_speed(monkeypatch, "onnx", "int8", (1.0, 1.0))
    with Embedder(repo.folder, workload="single", cache_dir=tmp_path) as model:
        assert "for single texts of 'onnx:float32', 'onnx:int8', measured here" in model.explain()
    assert len([*tmp_path.glob("tuned/*.json")]) == 1
    with pytest.raises(InputError, match="unknown workload 'queries': choose from 'background', 'bulk', 'single'"):
        Embedder(repo.folder, workload="queries")  # type: ignore[arg-type]


def test_engines_that_are_not_installed_are_passed_over(repo: ModelFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    change_facts(monkeypatch, "gguf", module="no_such_module")
    some = holding(repo, "onnx:float32", "gguf:Q8_0")
    choice = pick(some, ranked(onnx_float32=1, gguf_Q8_0=9))
    assert chosen(choice) == "onnx:float32"
    assert choice.why == "the only one; no gguf, no_such_module is not installed"
    assert chosen(pick(some, backend="gguf")) == "gguf:Q8_0"  # asked for: loading says what to install


def test_other_peoples_int8_graphs_are_not_chosen_unasked(repo: ModelFolder) -> None:
    assert not facts("onnx").allowed_unasked(weights("onnx:int8", None))
    assert facts("onnx").allowed_unasked(weights("onnx:float16", None))
    assert facts("gguf").allowed_unasked(weights("gguf:Q8_0", None))
    foreign = repo.with_weights(weights(f"onnx:{level}", None) for level in ("float32", "int8"))
    assert chosen(pick(foreign, ranked(onnx_float32=1, onnx_int8=9))) == "onnx:float32"
    assert chosen(pick(foreign)) == "onnx:float32"


def test_memory_decides_and_below_the_floor_it_warns(repo: ModelFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"float32": 900, "Q8_0": 500, "IQ2_M": 100}
    some = holding(repo, "onnx:float32", "gguf:Q8_0", "gguf:IQ2_M")
    paths = [file.path for part in some.spec.weights for file in part.files]
    some = replace(some, files=Listing(some.folder, dict.fromkeys(paths, 1)))

    def plan(model: ModelFolder, one: Weights, *rest: Any) -> MemoryPlan:
        return MemoryPlan(candidate=one.name, weights=sizes[one.level] << 20)

    monkeypatch.setattr(choose_module, "memory_plan", plan)
    monkeypatch.setattr(Listing, "has", lambda files, name: True)
    rank = ranked(onnx_float32=9, gguf_Q8_0=1, gguf_IQ2_M=5)
    assert chosen(pick(some, rank, memory_limit=1000 << 20)) == "onnx:float32"
    assert chosen(pick(some, rank, memory_limit=600 << 20)) == "gguf:Q8_0"
    with pytest.warns(
        QualityWarning, match=r"within 200 MB only gguf:IQ2_M fits, whose vectors have a cosine of 0\.970"
    ) as caught:
        assert chosen(pick(some, rank, memory_limit=200 << 20)) == "gguf:IQ2_M"
    assert [one.filename for one in caught] == [__file__]
    assert chosen(pick(some, rank, memory_limit=10 << 20)) == "gguf:IQ2_M"  # whose budget is then refused


def test_what_is_on_a_hub_is_looked_at_only_where_that_matters(
    repo: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small files fit without a look at their headers; large ones are passed over where something here fits."""
    some = holding(repo, "onnx:float32", "onnx:int8")
    planned: list[str] = []

    def plan(model: ModelFolder, one: Weights, *rest: Any) -> MemoryPlan:
        planned.append(one.name)
        return MemoryPlan(candidate=one.name, weights=1)

    monkeypatch.setattr(choose_module, "memory_plan", plan)
    rank = ranked(onnx_float32=9, onnx_int8=1)
    for size, here, expected, looked in (
        (10, (), "onnx:float32", []),
        (60, (), "onnx:float32", ["onnx:float32", "onnx:int8"]),
        (60, ("int8.onnx",), "onnx:int8", ["onnx:int8"]),
        (10, ("int8.onnx",), "onnx:float32", ["onnx:int8"]),
    ):
        monkeypatch.setattr(Listing, "has", lambda files, name, here=here: name in here)
        planned.clear()
        model = replace(some, files=Listing(some.folder, {"float32.onnx": size, "int8.onnx": size}))
        assert chosen(pick(model, rank, memory_limit=100)) == expected
        assert planned == looked


def test_measuring_is_done_once_and_only_between_close_candidates(
    repo: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_speed(monkeypatch, "onnx", "int8", (1.1, 1.1))
    bulk = speeds_of(repo, 2, tmp_path)
    assert bulk.measured
    assert bulk.speeds.keys() == {"onnx:float32", "onnx:int8"}
    assert min(bulk.speeds.values()) > 0
    single = speeds_of(repo, 2, tmp_path, "single")
    assert single.measured
    assert single.speeds != bulk.speeds
    monkeypatch.setattr(speed, "load", lambda *args: pytest.fail("measured again"))
    assert speeds_of(repo, 2, tmp_path) == bulk
    assert speeds_of(repo, 2, tmp_path, "single") == single
    monkeypatch.setenv(speed.SWITCH, "off")
    assert not speeds_of(repo, 2, tmp_path).measured
    monkeypatch.delenv(speed.SWITCH)
    set_speed(monkeypatch, "onnx", "int8", (2.8, 2.8))
    assert not speeds_of(repo, 1, tmp_path).measured


def test_a_candidate_that_fails_is_the_slowest(
    repo: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_speed(monkeypatch, "onnx", "int8", (1.1, 1.1))

    def broken(self: OnnxBackend, batch: Batch) -> None:
        raise OutOfMemoryError("no memory")

    monkeypatch.setattr(OnnxBackend, "forward", broken)
    assert set(speeds_of(repo, 2, tmp_path).speeds.values()) == {0.0}


def test_a_failure_of_one_moment_is_not_kept(
    repo: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What failed is measured again by the next load, alone."""
    set_speed(monkeypatch, "onnx", "int8", (1.1, 1.1))
    sound, opened = OnnxBackend.__init__, []

    def short_once(self: OnnxBackend, path: Path, *rest: Any) -> None:
        opened.append(path.name)
        if len(opened) <= 4 and "int8" in path.name:
            raise OutOfMemoryError("no memory")
        sound(self, path, *rest)

    monkeypatch.setattr(OnnxBackend, "__init__", short_once)
    first = speeds_of(repo, 2, tmp_path).speeds
    assert first["onnx:int8"] == 0.0 < first["onnx:float32"]
    second = speeds_of(repo, 2, tmp_path).speeds
    assert second["onnx:int8"] > 0.0
    assert second["onnx:float32"] == first["onnx:float32"]
    assert opened[4:] == ["model_int8.onnx"] * 2
    assert speeds_of(repo, 2, tmp_path).speeds == second
    assert len(opened) == 6


def test_the_gpu_package_brings_the_same_module(
    repo: ModelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """onnxruntime-gpu alone: no package is called as the module is."""
    set_speed(monkeypatch, "onnx", "int8", (1.1, 1.1))
    change_facts(monkeypatch, "onnx", package="no-such-package")
    assert facts("onnx").version == importlib.metadata.version("onnxruntime")
    assert speeds_of(repo, 2, tmp_path).measured
    change_facts(monkeypatch, "onnx", module="no_such_module")
    assert facts("onnx").version == "unknown"


def test_a_batch_without_memory_is_halved_once(converted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"text number {n}" for n in range(20)]
    with Embedder(f"{converted}:float32") as model:
        expected = model.encode(texts)
        sound, seen = OnnxBackend.forward, []

        def short(self: OnnxBackend, batch: Batch) -> Any:
            seen.append(len(batch.ids))
            if len(batch.ids) > 10:
                raise OutOfMemoryError("no memory for this batch")
            return sound(self, batch)

        monkeypatch.setattr(OnnxBackend, "forward", short)
        with pytest.warns(MemoryWarning, match="no memory for this batch: the batch of 20 texts is halved") as caught:
            np.testing.assert_allclose(model.encode(texts), expected, atol=1e-5)
        assert [one.filename for one in caught] == [__file__]
        assert seen == [20, 10, 10]
        with pytest.raises(OutOfMemoryError), pytest.warns(MemoryWarning):
            model.encode(texts * 2)


def test_levels_imply_their_format() -> None:
    assert [format_of(level) for level in ("Q4_K_M", "4bit", "int8", "float32", None)] == [
        "gguf",
        "mlx",
        "onnx",
        None,
        None,
    ]


def test_a_checkpoint_is_converted_to_what_is_fast_here(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo = read_folder(checkpoint)
    set_speed(monkeypatch, "onnx", "int8", (3.0, 3.0))
    assert chosen(pick(repo)) == "onnx:int8"
    set_speed(monkeypatch, "onnx", "int8", (0.9, 0.9))
    assert chosen(pick(repo)) == "onnx:float32"
    need = {plan.candidate: plan.total for plan in memory_plans(repo, None, MIN_BATCH_TOKENS)}
    assert need["onnx:float32"] > need["onnx:int8"] > need["onnx:int4"]
    assert chosen(pick(repo, memory_limit=need["onnx:float32"] - 1)) == "onnx:int8"
    assert chosen(pick(repo, memory_limit=need["onnx:int8"] - 1)) == "onnx:int4"
    assert chosen(pick(repo, backend="gguf", level="IQ4_NL")) == "gguf:IQ4_NL"
    assert chosen(pick(repo, level="Q4_K_M")) == "gguf:Q4_K_M"
    with pytest.raises(InputError, match="has no Q4_K_M for backend 'onnx'"):
        pick(repo, backend="onnx", level="Q4_K_M")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not bind processes to CPUs")
@pytest.mark.parametrize("workload", ["bulk", "single"])
def test_a_process_bound_to_one_cpu_computes_with_one_thread(converted: Path, workload: str) -> None:
    code = f"""
import os
os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})
from edge_embed import Embedder
with Embedder({str(converted)!r}, workload={workload!r}) as model:
    print(next(line for line in model.explain().splitlines() if line.startswith("weights")))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ", 1 threads (one for each core" in done.stdout
