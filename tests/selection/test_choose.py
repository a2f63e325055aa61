"""Which weights are chosen, and why: quality first to a floor, then speed, within the memory that there is."""

from __future__ import annotations

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
from edge_embed.backends.onnx.backend import OnnxBackend
from edge_embed.hub.reference import Reference
from edge_embed.layouts.folder import Repo, open_repo
from edge_embed.loading.find import find, format_of
from edge_embed.selection import choose as select
from edge_embed.selection import speed as tuning
from edge_embed.selection.choose import Choice, choose, keeps_quality, pick
from edge_embed.selection.memory import plans
from edge_embed.spec.golden import Fidelity
from edge_embed.spec.weights import File, Weights

FAITHFUL = Fidelity(cosines=(0.97,), company=1e-3)


def weights(name: str, fidelity: Fidelity | None = FAITHFUL) -> Weights:
    form, _, level = name.partition(":")
    return Weights(format=form, level=level, files=(File(path=f"{level}.{form}"),), fidelity=fidelity)


@pytest.fixture
def repo(converted: Path) -> Repo:
    return open_repo(converted)


def holding(repo: Repo, *names: str) -> Repo:
    return replace(repo, spec=replace(repo.spec, weights=tuple(map(weights, names))))


def ranked(**found: float) -> Any:
    """Rank by figures: gguf_Q8_0=3 for gguf:Q8_0."""
    speeds = {name.replace("_", ":", 1): speed for name, speed in found.items()}
    return lambda candidates: ({tuning.name_of(one): speeds[tuning.name_of(one)] for one in candidates}, True)


def judge_int8(monkeypatch: pytest.MonkeyPatch, speed: float) -> None:
    """Take int8 for so many times as fast as float32, whatever the machine and the workload."""
    for kind in tuning.JUDGED.values():
        monkeypatch.setitem(kind["onnx"], "int8", (speed, speed))


def chosen(choice: Choice) -> str:
    return tuning.name_of(choice.weights)


def test_the_fastest_that_keeps_quality(repo: Repo) -> None:
    some = holding(repo, "onnx:float32", "onnx:int8", "gguf:Q4_K_M", "gguf:IQ1_S")
    rank = ranked(onnx_float32=1, onnx_int8=2, gguf_Q4_K_M=3, gguf_IQ1_S=9)
    choice = choose(some, rank=rank)
    assert chosen(choice) == "gguf:Q4_K_M"
    assert choice.why == "the fastest in bulk of 'gguf:Q4_K_M', 'onnx:float32', 'onnx:int8', measured here"
    assert chosen(choose(some, "onnx", rank=rank)) == "onnx:int8"
    assert chosen(choose(some, level="IQ1_S", rank=rank)) == "gguf:IQ1_S"
    assert (
        chosen(choose(holding(repo, "gguf:IQ2_M", "gguf:IQ1_S"), rank=ranked(gguf_IQ2_M=1, gguf_IQ1_S=2)))
        == "gguf:IQ1_S"
    )


def test_among_the_nearly_as_fast_the_most_exact(repo: Repo) -> None:
    some = holding(repo, "onnx:float32", "onnx:int8")
    assert chosen(choose(some, rank=ranked(onnx_float32=0.96, onnx_int8=1))) == "onnx:float32"
    assert chosen(choose(some, rank=ranked(onnx_float32=0.94, onnx_int8=1))) == "onnx:int8"


def test_the_workload_decides(repo: Repo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is fastest in bulk need not be for one text; without measuring, by what is known of such machines."""
    for kind in tuning.JUDGED.values():
        monkeypatch.setitem(kind["onnx"], "int8", (3.0, 1.5))
        monkeypatch.setitem(kind["gguf"], "IQ4_NL", (1.0, 2.0))
    some = holding(repo, "onnx:int8", "gguf:IQ4_NL")
    assert chosen(choose(some)) == "onnx:int8"
    choice = choose(some, workload="single")
    assert chosen(choice) == "gguf:IQ4_NL"
    assert choice.why.startswith("the fastest for single texts of ")
    assert pick(some.spec.weights, "single").level == "IQ4_NL"
    judge_int8(monkeypatch, 1.0)
    with Embedder(repo.folder, workload="single", cache_dir=tmp_path) as model:
        assert "for single texts of 'onnx:float32', 'onnx:int8', measured here" in model.explain()
    assert len([*tmp_path.glob("tuned/*.json")]) == 1
    with pytest.raises(InputError, match="unknown workload 'queries': choose from 'bulk', 'single'"):
        Embedder(repo.folder, workload="queries")  # type: ignore[arg-type]


def test_engines_that_are_not_installed_are_passed_over(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(select.MODULES, "gguf", "no_such_module")
    some = holding(repo, "onnx:float32", "gguf:Q8_0")
    choice = choose(some, rank=ranked(onnx_float32=1, gguf_Q8_0=9))
    assert chosen(choice) == "onnx:float32"
    assert choice.why == "the only one; no gguf, no_such_module is not installed"
    assert chosen(choose(some, "gguf")) == "gguf:Q8_0"  # asked for: loading says what to install


def test_other_peoples_int8_graphs_are_not_chosen_unasked(repo: Repo) -> None:
    assert not keeps_quality(weights("onnx:int8", None))
    assert keeps_quality(weights("onnx:float16", None))
    assert keeps_quality(weights("gguf:Q8_0", None))
    foreign = replace(
        repo, spec=replace(repo.spec, weights=tuple(weights(f"onnx:{x}", None) for x in ("float32", "int8")))
    )
    assert chosen(choose(foreign, rank=ranked(onnx_float32=1, onnx_int8=9))) == "onnx:float32"
    assert pick(foreign.spec.weights).level == "float32"


def test_memory_decides_and_below_the_floor_it_warns(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"float32": 900, "Q8_0": 500, "IQ2_M": 100}
    monkeypatch.setattr(select, "peak", lambda repo, one, *rest: sizes[one.level] << 20)
    some = holding(repo, "onnx:float32", "gguf:Q8_0", "gguf:IQ2_M")
    rank = ranked(onnx_float32=9, gguf_Q8_0=1, gguf_IQ2_M=5)
    assert chosen(choose(some, max_memory=1000 << 20, rank=rank)) == "onnx:float32"
    assert chosen(choose(some, max_memory=600 << 20, rank=rank)) == "gguf:Q8_0"
    with pytest.warns(
        QualityWarning, match=r"within 200 MB only gguf:IQ2_M fits, whose vectors have a cosine of 0\.970"
    ) as caught:
        assert chosen(choose(some, max_memory=200 << 20, rank=rank)) == "gguf:IQ2_M"
    assert [one.filename for one in caught] == [__file__]
    assert chosen(choose(some, max_memory=10 << 20, rank=rank)) == "gguf:IQ2_M"  # whose budget is then refused


def test_measuring_is_done_once_and_only_between_close_candidates(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge_int8(monkeypatch, 1.1)
    found, measured = tuning.speeds(repo, repo.spec.weights, 2, tmp_path)
    assert measured
    assert found.keys() == {"onnx:float32", "onnx:int8"}
    assert min(found.values()) > 0
    single, measured = tuning.speeds(repo, repo.spec.weights, 2, tmp_path, "single")
    assert measured
    assert single != found
    monkeypatch.setattr(tuning, "load", lambda *args: pytest.fail("measured again"))
    assert tuning.speeds(repo, repo.spec.weights, 2, tmp_path) == (found, True)
    assert tuning.speeds(repo, repo.spec.weights, 2, tmp_path, "single") == (single, True)
    monkeypatch.setenv(tuning.SWITCH, "off")
    assert tuning.speeds(repo, repo.spec.weights, 2, tmp_path)[1] is False
    monkeypatch.delenv(tuning.SWITCH)
    judge_int8(monkeypatch, 2.8)
    assert tuning.speeds(repo, repo.spec.weights, 1, tmp_path)[1] is False


def test_a_candidate_that_fails_is_the_slowest(repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge_int8(monkeypatch, 1.1)

    def broken(self: OnnxBackend, batch: Batch) -> None:
        raise OutOfMemoryError("no memory")

    monkeypatch.setattr(OnnxBackend, "forward", broken)
    found, _ = tuning.speeds(repo, repo.spec.weights, 2, tmp_path)
    assert set(found.values()) == {0.0}


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
    repo = find(Reference(str(checkpoint)))
    monkeypatch.setattr(select, "judged", lambda one, workload: {"float32": 1, "int8": 3}[one.level])
    assert chosen(choose(repo)) == "onnx:int8"
    monkeypatch.setattr(select, "judged", lambda one, workload: {"float32": 1, "int8": 0.9, "int4": 0.8}[one.level])
    assert chosen(choose(repo)) == "onnx:float32"
    need = {plan.candidate: plan.total for plan in plans(repo, None, select.LEAST_TOKENS)}
    assert need["onnx:float32"] > need["onnx:int8"] > need["onnx:int4"]
    assert chosen(choose(repo, max_memory=need["onnx:float32"] - 1)) == "onnx:int8"
    assert chosen(choose(repo, max_memory=need["onnx:int8"] - 1)) == "onnx:int4"
    monkeypatch.undo()
    assert chosen(choose(repo, "gguf", "IQ4_NL")) == "gguf:IQ4_NL"
    assert chosen(choose(repo, level="Q4_K_M")) == "gguf:Q4_K_M"
    with pytest.raises(InputError, match="has no Q4_K_M for backend 'onnx'"):
        choose(repo, "onnx", "Q4_K_M")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not bind processes to CPUs")
@pytest.mark.parametrize("workload", ["bulk", "single"])
def test_a_process_bound_to_one_cpu_computes_with_one_thread(converted: Path, workload: str) -> None:
    code = f"""
import os
os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})
from edge_embed import Embedder
with Embedder({str(converted)!r}, workload={workload!r}) as model:
    print(model.explain().splitlines()[1])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith(", 1 threads\n")
