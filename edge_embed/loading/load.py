"""What a user asked for -> a loaded model: found, chosen, converted if need be, opened."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from edge_embed.backends import Backend, Switches, load
from edge_embed.device.machine import this_device
from edge_embed.errors import (
    FallbackWarning,
    InputError,
    MissingDependencyError,
    SelfTestError,
    UnsupportedModelError,
    warn,
)
from edge_embed.hub import reference as hub
from edge_embed.layouts.folder import Repo
from edge_embed.layouts.gguf import find_mmproj
from edge_embed.layouts.mlx import image_within
from edge_embed.pipeline.pipeline import Pipeline
from edge_embed.pipeline.tokenizer import TextTokenizer, Tokenizer
from edge_embed.pipeline.vocabulary import VocabularyTokenizer
from edge_embed.selection import choose as select
from edge_embed.selection import speed as tuning
from edge_embed.spec.model import ModelSpec, with_task
from edge_embed.spec.weights import Weights, image_level, image_part

from .find import Wish, find, why_there
from .prepare import cache_folder, prepare, prepare_pictures
from .selftest import check_once


@dataclass(frozen=True, kw_only=True)
class Request:
    """The arguments of Embedder, checked where that needs no model."""

    reference: hub.Reference
    threads: int
    backend: str = "auto"
    task: str | None = None
    max_tokens: int | None = None
    max_memory: int | None = None  # bytes
    workload: tuning.Workload = "bulk"
    cache_dir: Path | None = None
    offline: bool | None = None

    @property
    def wish(self) -> Wish:
        """What decides where the model is looked for, and which files are fetched."""
        return Wish(
            task=self.task,
            backend=self.backend,
            workload=self.workload,
            max_memory=self.max_memory,
            max_tokens=self.max_tokens,
        )


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A loaded model; `spec` is as its folder says, before task and length were set."""

    spec: ModelSpec
    pipeline: Pipeline
    batch_tokens: int
    why: str


def open_model(request: Request) -> Opened:
    """Find the model, choose its weights, convert them if nothing that is there can be run, and load them.

    Raises InputError or ModelError; then nothing stays loaded.
    """
    source = find(request.reference, request.cache_dir, request.offline, wish=request.wish)
    try:
        return _open(source, request)
    except SelfTestError as error:
        chosen = _choose(source, request).weights
        others = tuple(weights for weights in source.spec.weights if weights != chosen)
        usable = any(w.part == "text" and request.backend in ("auto", w.format) for w in others)
        if request.reference.level or not usable:
            raise
        opened = _open(replace(source, spec=replace(source.spec, weights=others)), request)
        warn(f"{error}; {opened.why} is used instead", FallbackWarning)
        return opened


def _open(source: Repo, request: Request) -> Opened:
    base, task = source.spec, with_task(source.spec, request.task).task
    choice = _choose(source, request)
    origin = why_there(request.reference, request.wish, source.folder)
    if not choice.ready:
        to = f"{choice.weights.format}:{choice.weights.level}"
        source = prepare(source, to, request.cache_dir, task if source.adapters else None)
        choice = replace(choice, weights=source.spec.weights[0])
    weights = choice.weights
    if weights not in source.spec.weights:  # the checkpoint itself, which may hold an image part as well
        every = (*source.spec.weights, weights, *image_within(source.folder, weights))
        source = replace(source, spec=replace(source.spec, weights=every))
    spec = _shorten(with_task(source.spec, request.task), request.max_tokens)
    batch_tokens = select.batch_budget(source, weights, spec.max_tokens, request.max_memory)
    backend = load(weights.format, source.folder, spec, weights, request.threads, source.adapters)
    try:
        tokenizer = _tokenizer(source, spec, backend)
        check_once(source.folder, spec, weights, tokenizer, backend, cache_folder(request.cache_dir))
        vision = _open_vision(source, spec, weights, tokenizer, request)
    except BaseException:
        backend.close()
        raise
    return Opened(
        spec=base,
        pipeline=Pipeline(spec, tokenizer, backend, vision, request.threads),
        batch_tokens=batch_tokens,
        why=f"{weights.format}:{weights.level} ({choice.why}){origin}, {request.threads} threads",
    )


def _open_vision(
    source: Repo, spec: ModelSpec, weights: Weights, tokenizer: Tokenizer, request: Request
) -> Backend | None:
    """Load the image part that goes with the text part's weights; None where there is none."""
    found = _image_part(source, weights, request)
    if found is None:
        return None
    if spec.image_token is not None:
        tokenizer.token_id(spec.image_token)  # before anything is loaded: is there such a token?
    folder, part = found
    vision = load(part.format, folder, spec, part, request.threads)
    try:
        check_once(folder, spec, part, tokenizer, vision, cache_folder(request.cache_dir))
    except BaseException:
        vision.close()
        raise
    return vision


def _image_part(source: Repo, weights: Weights, request: Request) -> tuple[Path, Weights] | None:
    """Return the image part and its folder, made once where llama.cpp's own file is all there is."""
    if part := image_part(source.spec.weights, weights):
        return source.folder, part
    tower = find_mmproj(path.name for path in source.folder.glob("*.gguf")) if weights.format == "gguf" else None
    if tower is None or source.spec.image is None:
        return None
    try:
        return prepare_pictures(source.folder / tower, image_level(weights.level), request.cache_dir)
    except MissingDependencyError as error:  # its texts can be embedded all the same
        warn(f"pictures cannot be embedded: {error}", FallbackWarning)
        return None


def _choose(source: Repo, request: Request) -> select.Choice:
    """Choose the weights, measuring those that lie close unless one is named."""
    return select.choose(
        source,
        request.backend,
        request.reference.level,
        max_memory=request.max_memory or this_device().memory_limit,
        max_tokens=request.max_tokens,
        workload=request.workload,
        rank=lambda some: tuning.speeds(
            source, some, request.threads, cache_folder(request.cache_dir), request.workload
        ),
    )


def switch_task(opened: Opened, request: Request, task: str) -> Opened:
    """Return the model with another task: its adapter where the backend has it loaded, else the task's own weights.

    What was opened for the former task is closed once the new one is there. Raises InputError for an unknown task.
    """
    spec, pipeline = with_task(opened.spec, task), opened.pipeline
    assert spec.task is not None
    if isinstance(pipeline.backend, Switches):
        pipeline.backend.use_task(spec.task)
    elif spec.task != pipeline.spec.task:
        other = open_model(replace(request, task=task))
        pipeline.close()
        return other
    spec = replace(pipeline.spec, task=spec.task, default_prompt=spec.default_prompt)
    return replace(opened, pipeline=replace(pipeline, spec=spec))


def _tokenizer(source: Repo, spec: ModelSpec, backend: Backend) -> Tokenizer:
    """Return the folder's tokenizer.json, or else the vocabulary that the backend's weights came with."""
    if source.tokenizer.is_file():
        return TextTokenizer(source.tokenizer, spec.max_tokens)
    encode = getattr(backend, "encode_text", None)
    if encode is None:
        raise UnsupportedModelError(f"{source.folder} has no tokenizer.json, and its weights bring no vocabulary")
    return VocabularyTokenizer(encode, spec.max_tokens)


def _shorten(spec: ModelSpec, max_tokens: int | None) -> ModelSpec:
    if max_tokens is None:
        return spec
    if not 0 < max_tokens <= spec.max_tokens:
        raise InputError(f"max_tokens={max_tokens}: {spec.name} takes 1 to {spec.max_tokens}")
    return replace(spec, max_tokens=max_tokens)
