"""What users hand in -> texts and pictures by their place: `str`, {"text": ...}, {"image": ...}, both, or pictures.

Whether an input has a place in the prompt is looked at here too, before any of it is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edge_embed.errors import InputError
from edge_embed.spec.model import IMAGE, TEXT, Kind, ModelSpec

from .options import Templates
from .tokenizer import check_texts

KEYS = {"text", "image"}
TAKES: dict[Kind, str] = {"text": "a text", "image": "a picture", "composed": "a picture with a text"}


@dataclass
class Items:
    """The inputs of one window by their place in it: texts, pictures, the texts of pictures; and what was wrong."""

    texts: dict[int, str] = field(default_factory=dict)
    images: dict[int, object] = field(default_factory=dict)
    captions: dict[int, str] = field(default_factory=dict)
    errors: dict[int, InputError] = field(default_factory=dict)


def sort_items(
    window: Sequence[object],
    first: int,
    spec: ModelSpec,
    templates: Templates,
    *,
    pictures: bool = False,
    keep_errors: bool = False,
) -> Items:
    """Tell texts from pictures; `pictures`: every input is one. Indices in messages count from `first`.

    Raises InputError for an input that is neither, or that the template has no place for; with `keep_errors` keeps it
    for its place.
    """
    items = Items()
    for place, item in enumerate(window):
        given = {"image": item} if pictures else {"text": item} if not isinstance(item, Mapping) else item
        try:
            _sort(given, place, first + place, items, spec, templates)
        except InputError as error:
            if not keep_errors:
                raise
            items.errors[place] = error
    return items


def _sort(
    item: Mapping[object, object], place: int, index: int, items: Items, spec: ModelSpec, templates: Templates
) -> None:
    if not item or not item.keys() <= KEYS:
        keys = ", ".join(map(repr, item)) or "nothing"
        raise InputError(f'input {index} is a dict of {keys}: expected {{"text": ...}}, {{"image": ...}} or both')
    kind: Kind = "composed" if len(item) == 2 else "image" if "image" in item else "text"
    _check_place(kind, index, spec, templates)
    if "text" in item:
        (text,) = check_texts([item["text"]], index)
        if kind == "text":
            items.texts[place] = text
        else:
            _check_caption(text, index, spec)
            items.captions[place] = text
    if "image" in item:
        items.images[place] = item["image"]


def _check_place(kind: Kind, index: int, spec: ModelSpec, templates: Templates) -> None:
    """Refuse an input that the model cannot take, or for which the prompt has no place, or a place too many."""
    if spec.image_token is None:
        if kind == "composed":
            raise InputError(f"input {index} is a picture with a text, {spec.name} embeds one or the other: give two")
        return
    template: str = getattr(templates, kind)
    found: Kind = "text" if IMAGE not in template else "composed" if TEXT in template else "image"
    if found != kind:
        raise InputError(
            f"input {index} is {TAKES[kind]}, and the prompt {template!r} takes {TAKES[found]}: choose another prompt"
        )


def _check_caption(text: str, index: int, spec: ModelSpec) -> None:
    if spec.image_token is not None and spec.image_token in text:
        raise InputError(
            f"input {index} spells {spec.image_token!r} in its text, which stands for the picture: take it out"
        )
