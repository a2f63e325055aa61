"""job.json: what a job is, whether another is the same, and the hash that its parts carry."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import edge_embed
from edge_embed.embedder import Embedder
from edge_embed.errors import InputError
from edge_embed.pipeline.options import Options, find_templates, make_options

from .folder import FORMAT, canonical
from .inputs import InputFile
from .settings import Settings

PLACES = {"path", "reference"}  # where things lie on one machine, which another may have elsewhere


def describe_model(model: Embedder, reference: str, settings: Settings) -> dict[str, Any]:
    """State the model and how it is asked: everything that decides a vector and is no setting."""
    spec, options = model.spec, options_of(model, settings)
    stated = spec.fingerprint or "spec:" + hashlib.sha256(spec.to_json().encode()).hexdigest()[:32]
    return {
        "reference": reference,
        "name": spec.name,
        "fingerprint": stated,
        "level": model.level,
        "engine": model._opened.pipeline.backend.engine,
        "license": spec.license,
        "source": spec.source,
        "task": spec.task,
        "template": find_templates(spec, settings.prompt_name, settings.prompt, settings.side).text,
        "max_tokens": spec.max_tokens,
        "dim": options.dim,
        "precision": options.precision,
        "normalize": options.normalize,
    }


def describe(
    model: dict[str, Any], settings: Settings, inputs: Sequence[InputFile], chunks: dict[str, Any]
) -> dict[str, Any]:
    """Put job.json together; it holds no time and no place but those that `PLACES` names."""
    return {
        "format": FORMAT,
        "release": edge_embed.__version__,
        "model": model,
        "options": settings.to_json(),
        "inputs": [one.to_json() for one in inputs],
        "chunks": chunks,
    }


def options_of(model: Embedder, settings: Settings) -> Options:
    """Return the options of the pipeline; raises InputError for what the model cannot do."""
    return make_options(
        model.spec,
        side=settings.side,
        prompt_name=settings.prompt_name,
        prompt=settings.prompt,
        truncate_dim=settings.dim,
        precision=settings.precision,
        normalize=settings.normalize,
        truncation=settings.truncation,
        batch_tokens=settings.batch_tokens or model._opened.batch_tokens,
        sources=model._sources,
        keep_errors=True,
    )


def job_hash(job: dict[str, Any]) -> str:
    """Return the SHA-256, in hex, of a job wherever its files lie."""
    return hashlib.sha256(canonical(_without_places(job))).hexdigest()


def refuse_another(job: dict[str, Any], now: dict[str, Any], folder: object) -> None:
    """Raise InputError that lists what differs, unless both are the same job."""
    found = [*_differences(_without_places(job), _without_places(now), "")]
    if found:
        lines = "\n  ".join(found[:20])
        raise InputError(
            f"{folder} holds another job; name another folder, or ask for the same again. What differs:\n  {lines}"
        )


def _without_places(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_places(one) for key, one in value.items() if key not in PLACES}
    return [_without_places(one) for one in value] if isinstance(value, list) else value


def _differences(one: Any, other: Any, where: str) -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}):
            yield from _differences(one.get(key), other.get(key), f"{where}.{key}" if where else key)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for n, (left, right) in enumerate(zip(one, other, strict=True)):
            name = left.get("name", n) if isinstance(left, dict) else n
            yield from _differences(left, right, f"{where}[{name}]")
    elif isinstance(one, list) and isinstance(other, list):
        yield f"{where}: {len(one)} then, {len(other)} now"
    elif one != other:
        yield f"{where}: {one!r:.80} then, {other!r:.80} now"
