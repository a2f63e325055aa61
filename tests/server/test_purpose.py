"""APIs whose callers always name a task: models without tasks take it for nothing, others for theirs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge_embed.errors import InputError
from edge_embed.server.names import Variant, resolve

from support.answers import SPEC

SIDES = {"query": "query", "document": "document"}
SEVERAL = replace(SPEC, task=None, tasks={"retrieval": SIDES, "clustering": SIDES})
NONE = replace(SPEC, task=None, tasks={})


def test_a_model_without_tasks_passes_it_over() -> None:
    assert resolve(NONE, None, None, "query", "retrieval") == Variant(task=None, side="query")
    assert resolve(NONE, None, None, None, "clustering") == Variant(task=None, side=None)


def test_a_model_of_several_takes_it() -> None:
    assert resolve(SEVERAL, None, None, "query", "retrieval") == Variant(task="retrieval", side="query")
    assert resolve(SEVERAL, None, None, None, "clustering") == Variant(task="clustering", side=None)


def test_what_is_said_more_exactly_wins() -> None:
    assert resolve(SEVERAL, "clustering", None, "query", "retrieval") == Variant(task="clustering", side="query")
    assert resolve(SEVERAL, None, "clustering", "query", "retrieval") == Variant(task="clustering", side="query")


def test_a_model_of_other_tasks_refuses_it_unless_a_side_says_enough() -> None:
    matching = replace(SPEC, task="text-matching", tasks={"text-matching": SIDES})
    assert resolve(matching, None, None, "query", "retrieval") == Variant(task="text-matching", side="query")
    with pytest.raises(InputError, match="unknown task 'clustering'"):
        resolve(matching, None, None, None, "clustering")
