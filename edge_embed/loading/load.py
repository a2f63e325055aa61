"""A request -> a loaded model: find -> choose -> fetch or convert -> open, each once, in that order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from edge_embed.backends import ImageBackend, OwnVocabulary, TextBackend, load, load_images
from edge_embed.backends.background import CallersThread, LowThread
from edge_embed.backends.facts import facts, running
from edge_embed.device.machine import this_device
from edge_embed.errors import (
    AcceptedLossWarning,
    EdgeEmbedError,
    FallbackWarning,
    InputError,
    MissingDependencyError,
    SelfTestError,
    UnsupportedModelError,
    warn,
)
from edge_embed.hub.reference import local_path
from edge_embed.layouts.folder import ModelFolder
from edge_embed.layouts.static import MODEL2VEC
from edge_embed.pipeline.bare_tokenizer import BareTokenizer
from edge_embed.pipeline.filled import text_tokenizer
from edge_embed.pipeline.head import read_head
from edge_embed.pipeline.pipeline import Pipeline
from edge_embed.pipeline.tokenizer import Tokenizer
from edge_embed.pipeline.vocabulary import VocabularyTokenizer
from edge_embed.selection.choice import Choice
from edge_embed.selection.choose import as_read_by, batch_budget, choose
from edge_embed.selection.quicker import quicker
from edge_embed.spec.model import ModelSpec, with_task
from edge_embed.spec.weights import Weights, image_level, image_part

from .faster import faster
from .find import FoundModel, explain_place, find_model
from .integrity import DamagedConversionError, hashed_meanwhile
from .prepare import discard, prepare, prepare_image_part
from .request import LoadRequest
from .selftest import check_images_once, check_once

UNTESTABLE = {
    "image",
    "include_prompt",
    "padding_side",
    "pooling",
}  # what the vectors that the maker recorded depend on


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A loaded model; `spec` is as its folder says, before task and length were set, `level` such as onnx:int8.

    `backend` is the name of the one that runs the weights. `quicker` says what would run them faster here, if
    something would.
    """

    spec: ModelSpec
    pipeline: Pipeline
    batch_tokens: int
    level: str
    backend: str
    why: str
    quicker: str | None = None


def load_model(request: LoadRequest, before_opening: Callable[[], object] = lambda: None) -> LoadedModel:
    """Find the model, choose its weights, fetch or convert them, and, after what is to come before, load them.

    With `converting` a conversion that cannot be made, or not be opened, gives way to what the folder has.
    Weights that fail their self-test are passed over for others of the folder, unless a level was named. A damaged
    conversion of our own cache is made anew, once; not one that was named by its path, which may have lost its source.
    Raises InputError or ModelError; then nothing stays loaded.
    """
    if not request.converting:
        return _load_undamaged(request, before_opening)
    try:
        return _load_undamaged(request, before_opening)
    except EdgeEmbedError as error:
        failure = error
    loaded = _load_undamaged(replace(request, converting=False), before_opening)
    warn(f"{loaded.why} is used as it is, not as ONNX: {failure}", FallbackWarning)
    return replace(loaded, why=f"{loaded.why}; not as ONNX: {failure}")


def _load_undamaged(request: LoadRequest, before_opening: Callable[[], object]) -> LoadedModel:
    try:
        return _load_model(request, before_opening)
    except DamagedConversionError as error:
        reference = request.reference
        if not reference.is_repository and error.place.resolve() in local_path(reference).resolve().parents:
            raise
        discard(error.place, error.fault)
    return _load_model(request, before_opening)


def _load_model(request: LoadRequest, before_opening: Callable[[], object]) -> LoadedModel:
    with find_and_choose(request) as (found, choice):
        spec = _asked_for(found.model.spec, request)  # what cannot be is refused before anything is fetched for it
        if choice.ready:
            batch_budget(found.model, choice, spec.max_tokens, request.max_memory)
        origin = explain_place(request, found)
        model = found.fetch(files_of(found.model, choice))
        ready = _made_ready(model, choice, request)
        before_opening()
        try:
            return _open(*ready, request, model.spec, origin)
        except SelfTestError as error:
            rest = model.with_weights(one for one in model.spec.weights if _part(one) != _part(choice.weights))
            texts = (weights for weights in rest.spec.weights if weights.part == "text")
            usable = any(request.backend in ("auto", *running(weights.format)) for weights in texts)
            if request.reference.level or not usable:
                raise
            failure = error
    others = _made_ready(rest, choose(rest, request.constraints), request)
    loaded = _open(*others, request, model.spec, origin)
    warn(f"{failure}; {loaded.why} is used instead", FallbackWarning)
    return loaded


@contextmanager
def find_and_choose(request: LoadRequest) -> Iterator[tuple[FoundModel, Choice]]:
    """Give a described model and what was chosen of it.

    Where the cache's note of a repository leads to files that are not in the cache, the hub is asked what it has now.
    """
    with find_model(request) as found:
        choice = choose(found.model, request.constraints)
        if found.final or found.has(files_of(found.model, choice)):
            yield found, choice
            return
    with find_model(request, ask=True) as found:
        yield found, choose(found.model, request.constraints)


def files_of(model: ModelFolder, choice: Choice) -> list[str]:
    """List the files that a choice needs, the one to open last."""
    return model.files_of(choice.weights) if choice.ready else model.checkpoint_files


def _made_ready(model: ModelFolder, choice: Choice, request: LoadRequest) -> tuple[ModelFolder, Choice]:
    """Convert a checkpoint, where that was chosen."""
    if not choice.ready:
        task = with_task(model.spec, request.task).task if model.tasks else None
        portable = facts(choice.backend).portable
        made = prepare(model, choice.weights.name, request.own_cache, task, request.spec, portable)
        ready = replace(choice, weights=as_read_by(choice.backend, made.spec.weights[0], made))
        return faster(model, choice.instead, made, ready, request) if choice.instead else (made, ready)
    if _part(choice.weights) not in map(_part, model.spec.weights):  # the checkpoint itself, perhaps with images
        model = model.with_weights((*model.spec.weights, choice.weights, *choice.image))
    return model, choice


def _part(weights: Weights) -> tuple[str, str]:
    """Name a folder's weights, whichever of their files are read."""
    return weights.part, weights.name


def _open(model: ModelFolder, choice: Choice, request: LoadRequest, base: ModelSpec, origin: str) -> LoadedModel:
    """Load the chosen weights, test them, and load the image part that goes with them.

    `base` is the spec of the folder that was found: a model of all its tasks, where a conversion has one.
    """
    weights = choice.weights
    spec = _asked_for(model.spec, request)
    batch_tokens = batch_budget(model, choice, spec.max_tokens, request.max_memory)
    with ExitStack() as opened:
        hashing = opened.enter_context(hashed_meanwhile(model, model.files_of(weights), request.own_cache))
        thread = LowThread(request.battery_below) if request.background else CallersThread()
        opened.callback(thread.close)
        load_text = partial(load, choice.backend, model.folder, spec, weights, request.threads, model.adapters)
        backend = thread.run(load_text)
        opened.callback(backend.close)
        tokenizer = _tokenizer(model, spec, weights, backend, request)
        head = read_head(model.folder, spec, backend)
        if not UNTESTABLE & request.spec.keys():
            check_once(model.folder, spec, weights, tokenizer, backend, request.own_cache, head)
        vision = _open_vision(model, spec, choice, tokenizer, request, thread)
        if vision is not None:
            opened.callback(vision.close)
        hashing.finish()
        _warn_of_loss(spec, weights)
        opened.pop_all()  # it stays open
    return LoadedModel(
        spec=base,
        pipeline=Pipeline(spec, tokenizer, thread.text(backend), vision, request.threads, head.layers),
        batch_tokens=batch_tokens,
        level=weights.name,
        backend=choice.backend,
        why=f"{choice.name} ({choice.why}){origin}, {_threads(request, choice.backend)}",
        quicker=quicker(choice.backend, spec.architecture, this_device().features),
    )


def _threads(request: LoadRequest, backend: str) -> str:
    """Say how many threads the engine has, why, and how long one that waits for the others spins."""
    spin = facts(backend).spin
    waiting = f", spinning for {spin} at most" if spin and request.threads > 1 else ""
    return f"{request.threads} threads ({request.why_threads}{waiting})"


def _warn_of_loss(spec: ModelSpec, weights: Weights) -> None:
    """Warn of weights that their maker kept although they fell below the bound of their level."""
    if weights.fidelity is not None and (loss := weights.fidelity.accepted) is not None:
        part = "" if weights.part == "text" else " (image part)"
        warn(
            f"{spec.name}: {weights.name}{part} lies below the bound of its level, and its maker kept it: vectors lose "
            f"more than is usual there: {loss}. Another level is nearer",
            AcceptedLossWarning,
        )


def _open_vision(
    model: ModelFolder,
    spec: ModelSpec,
    choice: Choice,
    tokenizer: Tokenizer,
    request: LoadRequest,
    thread: CallersThread | LowThread,
) -> ImageBackend | None:
    """Load the image part that goes with the text part's weights; None where there is none."""
    found = _image_part(model, choice.weights, request)
    if found is None:
        return None
    if spec.image_token is not None:
        tokenizer.token_id(spec.image_token)  # before anything is loaded: is there such a token?
    folder, part = found
    runs = running(part.format)
    name = choice.backend if choice.backend in runs else runs[0]
    vision = thread.run(partial(load_images, name, folder, spec, part, request.threads))
    try:
        check_images_once(folder, spec, part, vision, request.own_cache)
        _warn_of_loss(spec, part)
    except BaseException:
        vision.close()
        raise
    return thread.images(vision)


def _image_part(model: ModelFolder, weights: Weights, request: LoadRequest) -> tuple[Path, Weights] | None:
    """Return the image part and its folder, made once where llama.cpp's own file is all there is."""
    if part := image_part(model.spec.weights, weights):
        return model.folder, part
    mmproj = model.mmproj_of(weights)
    if mmproj is None or model.spec.image is None:
        return None
    try:
        return prepare_image_part(model.folder / mmproj, image_level(weights.level), request.own_cache)
    except MissingDependencyError as error:  # its texts can be embedded all the same
        warn(f"images cannot be embedded: {error}", FallbackWarning)
        return None


def _tokenizer(
    model: ModelFolder, spec: ModelSpec, weights: Weights, backend: TextBackend, request: LoadRequest
) -> Tokenizer:
    """Return the folder's tokenizer.json, or else the vocabulary that the backend's weights came with."""
    special_tokens = request.special_tokens
    if weights.format == "static":
        drop = spec.architecture == MODEL2VEC
        return BareTokenizer(model.tokenizer, spec.max_tokens, special_tokens, drop_unknown=drop)
    if model.tokenizer.is_file():
        return text_tokenizer(model.tokenizer, spec, special_tokens, request.own_cache)
    if not isinstance(backend, OwnVocabulary):
        raise UnsupportedModelError(f"{model.folder} has no tokenizer.json, and its weights bring no vocabulary")
    return VocabularyTokenizer(backend, spec.max_tokens, special_tokens)


def _asked_for(spec: ModelSpec, request: LoadRequest) -> ModelSpec:
    """Return the spec with the task and the length that were asked for; raise InputError for those that cannot be."""
    spec, max_tokens = with_task(spec, request.task), request.max_tokens
    if max_tokens is None:
        return spec
    if not 0 < max_tokens <= spec.max_tokens:
        raise InputError(f"max_tokens={max_tokens}: {spec.name} takes 1 to {spec.max_tokens}")
    return replace(spec, max_tokens=max_tokens)
