"""What users hand in -> texts and pictures by their place: `str`, {"text": ...}, {"image": ...}, or pictures alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .errors import InputError
from .tokens import check_texts

KEYS = {"text", "image"}


@dataclass
class Items:
    """The inputs of one window: texts and pictures by their place in it, and what was wrong with the others."""

    texts: dict[int, str] = field(default_factory=dict)
    images: dict[int, object] = field(default_factory=dict)
    errors: dict[int, InputError] = field(default_factory=dict)


def sort_items(window: Sequence[object], first: int, *, pictures: bool, keep_errors: bool) -> Items:
    """Tell texts from pictures; `pictures`: every input is one. Indices in messages count from `first`.

    Raises InputError for an input that is neither, or with `keep_errors` keeps it for its place.
    """
    items = Items()
    if pictures:
        items.images = dict(enumerate(window))
        return items
    for place, item in enumerate(window):
        try:
            _sort(item, place, first + place, items)
        except InputError as error:
            if not keep_errors:
                raise
            items.errors[place] = error
    return items


def _sort(item: object, place: int, index: int, items: Items) -> None:
    if not isinstance(item, Mapping):
        items.texts[place] = check_texts([item], index)[0]
        return
    if len(item) != 1 or not item.keys() <= KEYS:
        keys = ", ".join(map(repr, item)) or "nothing"
        raise InputError(f'input {index} is a dict of {keys}: expected {{"text": ...}} or {{"image": ...}}')
    if "text" in item:
        items.texts[place] = check_texts([item["text"]], index)[0]
    else:
        items.images[place] = item["image"]
