"""What one call of encode asks for: its options, and the prompt's template for each kind of input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from edge_embed.errors import InputError, listing
from edge_embed.images.sources import ImageSources
from edge_embed.spec.model import TEXT, ModelSpec, Side
from edge_embed.vectors import Precision, check_precision

from .texts import text_fault
from .tokenizer import Truncation, check_truncation

ANY_SOURCE = ImageSources()


@dataclass(frozen=True)
class Templates:
    """The prompt's template for each kind of input; without an image token only texts have one."""

    text: str
    image: str = TEXT
    composed: str = TEXT


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of one call, checked; with `keep_errors` an input that fails gives its error in its place."""

    templates: Templates
    dim: int
    precision: Precision
    normalize: bool
    truncation: Truncation
    batch_tokens: int
    sources: ImageSources = ANY_SOURCE
    keep_errors: bool = False


def make_options(
    spec: ModelSpec,
    *,
    side: Side | None,
    prompt_name: str | None,
    prompt: str | None,
    truncate_dim: int | None,
    precision: Precision,
    normalize: bool | None,
    truncation: Truncation,
    batch_tokens: int,
    sources: ImageSources,
    keep_errors: bool = False,
) -> Options:
    """Check what a call asks for, before any input is looked at; None means as the model says."""
    check_precision(precision)
    check_truncation(truncation)
    if batch_tokens < 1:
        raise InputError(f"batch_tokens={batch_tokens} must be at least 1")
    return Options(
        templates=find_templates(spec, prompt_name, prompt, side),
        dim=spec.pick_dim(truncate_dim),
        precision=precision,
        normalize=spec.normalize if normalize is None else normalize,
        truncation=truncation,
        batch_tokens=batch_tokens,
        sources=sources,
        keep_errors=keep_errors,
    )


def find_templates(
    spec: ModelSpec, prompt_name: str | None = None, prompt: str | None = None, side: Side | None = None
) -> Templates:
    """Return the template for each kind of input; a prompt that the call names or gives is that of every kind.

    Raises InputError for a side that does not exist, and for a prompt that the model does not have.
    """
    if side is not None and side not in get_args(Side):
        raise InputError(f"unknown side {side!r}: choose from {listing(get_args(Side))}")
    if prompt is not None and (fault := text_fault(prompt)):
        raise InputError(f"the prompt {fault}")
    text = spec.template(prompt_name, prompt, side)
    if spec.image_token is None:
        return Templates(text)
    image, composed = (spec.template(prompt_name, prompt, side, kind) for kind in ("image", "composed"))
    return Templates(text, image, composed)
