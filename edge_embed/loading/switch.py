"""A loaded model -> the same with another of its base's tasks."""

from __future__ import annotations

from dataclasses import replace

from edge_embed.backends import SwitchesTasks
from edge_embed.errors import EdgeEmbedError
from edge_embed.pipeline.pipeline import Pipeline
from edge_embed.spec.model import with_task

from .load import LoadedModel, load_model
from .request import LoadRequest


def switch_task(loaded: LoadedModel, request: LoadRequest, task: str) -> LoadedModel:
    """Return the model with another task: its adapter where the backend has it loaded, else the task's own weights.

    What was opened for the former task is closed when the new one's files lie ready, so that memory holds one of them;
    if those cannot be opened, it is opened again. Raises InputError for an unknown task.
    """
    spec, pipeline = with_task(loaded.spec, task), loaded.pipeline
    assert spec.task is not None
    if isinstance(pipeline.backend, SwitchesTasks):
        pipeline.backend.use_task(spec.task)
    elif spec.task != pipeline.spec.task:
        return _change(pipeline, request, task)
    spec = replace(pipeline.spec, task=spec.task, default_prompt=spec.default_prompt)
    return replace(loaded, pipeline=replace(pipeline, spec=spec))


def _change(pipeline: Pipeline, request: LoadRequest, task: str) -> LoadedModel:
    """Close the pipeline, and load another task's; whatever fails, the pipeline is open after it."""
    closed = False

    def make_room() -> None:
        nonlocal closed
        closed = True
        pipeline.close()

    try:
        return load_model(replace(request, task=task), make_room)
    except EdgeEmbedError:
        if closed:
            vars(pipeline).update(vars(load_model(request).pipeline))
        raise
