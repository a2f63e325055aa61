"""Changing the task of a base with adapters: in place on MLX, by other weights elsewhere; the same vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_embed import BackendError, Embedder, InputError, OutOfMemoryError
from edge_embed.backends import Batch
from edge_embed.loading import load as load_module

from support.corpus import texts
from support.miniatures import shallow
from support.places import MINIATURES

pytestmark = pytest.mark.skipif(
    not MINIATURES.exists(), reason="the trained miniatures do not lie beside this checkout"
)
BASES = ["mini-qwen3", "mini-eurobert"]
TASKS = ["retrieval", "text-matching", "classification", "clustering"]


@pytest.mark.parametrize("base", BASES)
def test_switched_adapters_equal_merged_weights(base: str, tmp_path: Path) -> None:
    """bfloat16 of the base is exact in float32, in which MLX adds the adapter: 2e-6 at most was measured."""
    some, folder = texts(4, longest=200), shallow(base, tmp_path / base)
    with Embedder(folder, task="retrieval", backend="mlx") as model:
        assert "mlx:bfloat16 (the checkpoint itself)" in model.explain()
        for task in [*TASKS[1:], *TASKS[:1]]:
            model.use_task(task)
            with Embedder(f"{folder}:float32", task=task) as merged:
                assert model.spec.task == merged.spec.task == task
                np.testing.assert_allclose(model.encode_query(some), merged.encode_query(some), atol=2e-5)
                np.testing.assert_allclose(model.encode_document(some), merged.encode_document(some), atol=2e-5)


def test_other_backends_load_the_tasks_own_weights() -> None:
    with Embedder(MINIATURES / BASES[0], task="retrieval") as model:
        before = model._opened.pipeline.backend
        query = model.encode_query("a text")
        model.use_task("retrieval.query")  # the prompt alone
        assert model._opened.pipeline.backend is before
        assert (model.encode("a text") == query).all()
        model.use_task("clustering")
        assert (model.encode("a text") != query).any()
        model.use_task("retrieval")
        assert (model.encode_query("a text") == query).all()
        with pytest.raises(BackendError, match="was closed"):
            before.forward(Batch([np.array([5], np.int32)]))


def test_one_of_the_weights_is_in_memory_and_a_failure_brings_the_former_back(monkeypatch: pytest.MonkeyPatch) -> None:
    Embedder(MINIATURES / BASES[0], task="clustering").close()  # converted by now
    with Embedder(MINIATURES / BASES[0], task="retrieval") as model:
        query, former = model.encode_query("a text"), model._opened.pipeline.backend
        sound, seen = load_module.load, []

        def short(*arguments: object, **named: object) -> object:
            with pytest.raises(BackendError, match="was closed"):
                former.forward(Batch([np.array([5], np.int32)]))
            seen.append(arguments)
            if len(seen) == 1:
                raise OutOfMemoryError("no memory")
            return sound(*arguments, **named)  # type: ignore[arg-type]

        monkeypatch.setattr(load_module, "load", short)
        with pytest.raises(OutOfMemoryError, match="no memory"):
            model.use_task("clustering")
        assert model.spec.task == "retrieval"
        assert (model.encode_query("a text") == query).all()
        assert len(seen) == 2


def test_unknown_tasks_change_nothing(fake: Embedder, tmp_path: Path) -> None:
    with Embedder(MINIATURES / BASES[0], task="retrieval", backend="mlx") as model:
        query = model.encode_query("a text")
        with pytest.raises(InputError, match="unknown task 'sorting': mini-qwen3 has 'classification', 'clustering'"):
            model.use_task("sorting")
        assert (model.encode_query("a text") == query).all()
    with pytest.raises(InputError, match="was made from parts"):
        fake.use_task("retrieval")
