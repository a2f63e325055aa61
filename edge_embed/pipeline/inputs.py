"""The inputs of a call -> texts and images by position: `str`, {"text": ...}, {"image": ...}, or a dict of both.

Whether the prompt has a place for an input is checked here too, before any of it is computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from edge_embed.errors import InputError
from edge_embed.images.sources import ImageInput
from edge_embed.spec.model import IMAGE, TEXT, Kind, ModelSpec

from .options import Options
from .texts import check_texts

Input: TypeAlias = str | Mapping[str, ImageInput]
KEYS = {"text", "image"}
KINDS: dict[Kind, str] = {"text": "a text", "image": "an image", "composed": "an image with a text"}


@dataclass
class Inputs:
    """One window of inputs, `count` of them, by position in it; their indices in messages count from `first`.

    `captions` are the texts that go with images, `errors` what was wrong with inputs that the caller wants skipped.
    """

    first: int
    count: int
    texts: dict[int, str] = field(default_factory=dict)
    images: dict[int, ImageInput] = field(default_factory=dict)
    captions: dict[int, str] = field(default_factory=dict)
    errors: dict[int, InputError] = field(default_factory=dict)


def parse_inputs(
    window: Sequence[object], first: int, spec: ModelSpec, options: Options, no_images: str | None = None
) -> Inputs:
    """Tell texts from images; `no_images` says why the model takes none, if that is so.

    Raises InputError for an input that is neither, or that the prompt has no place for; with `keep_errors` keeps the
    error for the input's position.
    """
    inputs = Inputs(first, len(window))
    for position, item in enumerate(window):
        try:
            given = item if isinstance(item, Mapping) else {"text": item}
            _parse(given, position, inputs, spec, options)
            if no_images and position in inputs.images:
                del inputs.images[position]
                raise InputError(f"image {first + position}: {spec.name} {no_images}")
        except InputError as error:
            if not options.keep_errors:
                raise
            inputs.errors[position] = error
    return inputs


def _parse(item: Mapping[str, Any], position: int, inputs: Inputs, spec: ModelSpec, options: Options) -> None:
    index = inputs.first + position
    if not item or not item.keys() <= KEYS:
        keys = ", ".join(map(repr, item)) or "nothing"
        raise InputError(f'input {index} is a dict of {keys}: expected {{"text": ...}}, {{"image": ...}} or both')
    kind: Kind = "composed" if len(item) == 2 else "image" if "image" in item else "text"
    _check_kind(kind, index, spec, options)
    if "text" in item:
        (text,) = check_texts([item["text"]], index)
        if kind == "composed":
            _check_caption(text, index, spec)
        (inputs.captions if kind == "composed" else inputs.texts)[position] = text
    if "image" in item:
        inputs.images[position] = item["image"]


def _check_kind(kind: Kind, index: int, spec: ModelSpec, options: Options) -> None:
    """Refuse an input that the model cannot take, or for which the prompt has no place, or a place too many."""
    if spec.image_token is None:
        if kind == "composed" and spec.image is None:
            raise InputError(f"input {index} is an image with a text, {spec.name} takes texts alone: leave it out")
        if kind == "composed":
            raise InputError(
                f"input {index} is an image with a text, {spec.name} embeds one or the other: give them as two inputs"
            )
        return
    template: str = getattr(options.templates, kind)
    found: Kind = "text" if IMAGE not in template else "composed" if TEXT in template else "image"
    if found != kind:
        raise InputError(
            f"input {index} is {KINDS[kind]}, and the prompt {template!r} takes {KINDS[found]}: choose another prompt"
        )


def _check_caption(text: str, index: int, spec: ModelSpec) -> None:
    if spec.image_token is not None and spec.image_token in text:
        raise InputError(
            f"input {index} spells {spec.image_token!r} in its text, which stands for the image: take it out"
        )


def as_list(inputs: object) -> list[object]:
    """Take a list, tuple, array or other sequence of texts; raise InputError for what could be meant otherwise."""
    if isinstance(inputs, bytes | bytearray | Mapping | set | frozenset) or not (
        hasattr(inputs, "__len__") and hasattr(inputs, "__iter__")
    ):
        raise InputError(
            f"inputs is {type(inputs).__name__}, expected a str or a list of str; use encode_iter for an iterator"
        )
    return list(inputs)
