"""A conversion that was made because it should be faster: is it, here?"""

from __future__ import annotations

from dataclasses import replace

from edge_embed.layouts.folder import ModelFolder
from edge_embed.selection.choice import FOR, Choice
from edge_embed.selection.speed import Candidate, Ranking, compare, estimated_speed
from edge_embed.spec.weights import Weights

from .request import LoadRequest


def faster(
    model: ModelFolder, there: Candidate, made: ModelFolder, choice: Choice, request: LoadRequest
) -> tuple[ModelFolder, Choice]:
    """Return what is faster, with its folder, and why: the conversion, or what the model's own folder has.

    Both are measured, once, where their files are here; on a hub it is what such machines gave that counts.
    """
    new = Candidate(choice.weights, choice.backend)
    asked = request.constraints
    here = all(model.files.has(name) for name in model.files_of(there.weights))
    found: Ranking | None = None
    if here:
        places = [(model, there), (made, new)]
        found = compare(places, asked.threads, request.own_cache, request.workload)
    how = "measured here" if found else "by what such machines gave"
    speeds = found.speeds if found else {one.name: estimated_speed(one, request.workload) for one in (there, new)}
    room = f"{_size(made, choice.weights) / 1e6:,.1f} MB in the cache"
    if speeds[new.name] > speeds[there.name] > 0:
        ratio = f"{speeds[new.name] / speeds[there.name]:.1f} times as fast {FOR[request.workload]} as {there.name}"
        return made, replace(choice, why=f"{choice.why}, {ratio}, {how}; {room}")
    if speeds[there.name] > 0:
        why = f"as fast {FOR[request.workload]} as {new.name}, {how}, which was made of it and takes {room}"
        return model, Choice(there.weights, there.backend, why)
    return made, replace(choice, why=f"{choice.why}, since {there.name} cannot be run here; {room}")


def _size(model: ModelFolder, weights: Weights) -> int:
    return sum(model.files.sizes.get(name) or 0 for name in model.files_of(weights))
