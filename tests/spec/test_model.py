"""edge_embed.json: strict both ways."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_embed import CorruptModelError, InputError, ModelSpec, UnsupportedModelError
from edge_embed.spec.fill import Fill
from edge_embed.spec.model import space_fingerprint, with_task, with_values
from edge_embed.spec.weights import File, Weights

from support.fake import SPEC

FULL = replace(
    SPEC,
    default_prompt="document",
    task="retrieval",
    tasks={"retrieval": {"query": "query", "document": "document"}},
    weights=(Weights(format="onnx", level="int8", files=(File(path="onnx/m.onnx", sha256="ab", size=3),)),),
    license="apache-2.0",
)


def test_round_trip() -> None:
    assert ModelSpec.from_json(FULL.to_json()) == FULL
    filled = replace(FULL, fill=Fill(token="<pad>", length=64), lower_case=True)
    assert ModelSpec.from_json(filled.to_json()) == filled
    assert "fill" not in FULL.to_json()


def test_repr_is_short(converted: Path) -> None:
    assert repr(replace(FULL, prompts={}, tasks={})) == (
        "ModelSpec(name='fake', architecture='fake', dim=16, max_tokens=24, pooling='mean', normalize=True, "
        "matryoshka_dims=(8, 4), padding_side='right', default_prompt='document', task='retrieval', "
        "weights=['onnx:int8'], license='apache-2.0')"
    )
    spec = ModelSpec.read(converted / "edge_embed.json")
    assert len(spec.to_json()) > 10_000
    assert len(repr(spec)) < 400


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dimension": 3}, "unknown keys 'dimension'"),
        ({"dim": None}, "None is not int"),
        ({"dim": "16"}, "'16' is not int"),
        ({"dim": True}, "True is not int"),
        ({"dim": 0}, "impossible value of 'dim'"),
        ({"pooling": "min"}, "'min'"),
        ({"matryoshka_dims": [32]}, "impossible value of 'matryoshka_dims'"),
        ({"prompts": {"query": "Query: "}}, "impossible value of"),
        ({"default_prompt": "nope"}, "impossible value of 'default_prompt'"),
        ({"tasks": {"retrieval": {"query": "nope"}}}, "impossible value of 'tasks.retrieval'"),
        ({"weights": [{"format": "onnx", "level": "int8", "files": []}]}, "impossible value of 'weights'"),
        ({"weights": [{"format": "onnx", "level": "int8", "files": [{"path": "../m"}]}]}, "weights.files.path"),
        ({"weights": [{"format": "onnx"}]}, "missing keys 'files', 'level'"),
        ({"weights": [3]}, "expected an object, got 3"),
        ({"fill": {"token": "", "length": 24}}, "impossible value of 'fill'"),
        ({"fill": {"token": "<pad>", "length": 23}}, "impossible value of 'fill'"),
        ({"fill": {"length": 24}}, "fill: missing keys 'token'"),
    ],
)
def test_wrong_values_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(CorruptModelError, match=message):
        ModelSpec.from_json(json.dumps(json.loads(FULL.to_json()) | change))


def test_other_format_versions_are_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="`format` is not 1"):
        ModelSpec.from_json(FULL.to_json().replace('"format": 1', '"format": 2'))
    with pytest.raises(CorruptModelError, match="is not JSON"):
        ModelSpec.from_json("{")


def test_which_prompt_is_used() -> None:
    assert SPEC.template(None, None) == "{text}"
    assert FULL.template(None, None) == "{text} ."
    assert FULL.template("query", None) == FULL.template(None, None, "query") == "query: {text}"
    assert SPEC.template(None, "Represent: ") == "Represent: {text}"
    assert SPEC.template(None, "<{text}>") == "<{text}>"
    with pytest.raises(InputError, match="unknown prompt 'qurey': fake has 'braces', 'document', 'query'"):
        SPEC.template("qurey", None)
    with pytest.raises(InputError, match="both given"):
        SPEC.template("query", "x")


def test_a_task_and_its_side() -> None:
    assert with_task(SPEC, None) is SPEC
    assert with_task(FULL, "retrieval") == with_task(FULL, "retrieval.passage") == FULL
    assert with_task(FULL, "retrieval.query") == replace(FULL, default_prompt="query")
    sides = {"query": "document", "document": "document"}
    base = replace(FULL, task=None, tasks={**FULL.tasks, "clustering": sides, "bare": {}})
    assert with_task(base, "clustering").template(None, None, "query") == "{text} ."
    assert with_task(base, "bare").task == "bare"
    known = "'bare', 'clustering', 'retrieval', 'retrieval.document', 'retrieval.passage', 'retrieval.query'"
    for task in ("Clustering", "clustering.query", "retrieval.", "passage", ""):
        with pytest.raises(InputError, match=f"unknown task '{task}': fake has {known}$"):
            with_task(base, task)
    with pytest.raises(InputError, match=f"fake has weights for several tasks: pass task=, one of {known}$"):
        with_task(base, None)


def test_values_can_be_changed_as_strictly() -> None:
    assert with_values(FULL, {}) == FULL
    assert with_values(FULL, {"matryoshka_dims": [8], "license": None}) == replace(
        FULL, matryoshka_dims=(8,), license=None
    )
    with pytest.raises(InputError, match=r"spec: unknown keys 'dims'; known are .*'dim'"):
        with_values(FULL, {"dims": [8]})
    with pytest.raises(InputError, match=r"spec: impossible value of 'tasks\.retrieval'"):
        with_values(FULL, {"prompts": {"document": "{text}"}})


def test_dims_are_those_of_training() -> None:
    assert SPEC.pick_dim(None) == SPEC.pick_dim(16) == 16
    assert SPEC.pick_dim(8) == 8
    with pytest.raises(InputError, match=r"truncate_dim=7: fake was trained for \[4, 8, 16\] only"):
        SPEC.pick_dim(7)


def test_fingerprint_names_the_space_not_the_level() -> None:
    same = space_fingerprint(replace(FULL, weights=(), license=None), "w", "t")
    assert space_fingerprint(FULL, "w", "t") == same
    others = [
        (replace(FULL, task=None), "w", "t"),
        (replace(FULL, pooling="last"), "w", "t"),
        (replace(FULL, lower_case=True), "w", "t"),
        (replace(FULL, fill=Fill(token="<pad>", length=64)), "w", "t"),
        (FULL, "v", "t"),
        (FULL, "w", "u"),
    ]
    assert len({same, *(space_fingerprint(*other) for other in others)}) == 7
