"""vLLM's `messages` and Cohere's `inputs`: a conversation is one input, of a text, an image, or both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_embed.server.ask import Item

from ._common import bad, check_number, shown

FIELD = "messages"


def conversations(messages: list[Any], field: str = FIELD) -> list[Item]:
    """Return an input for each conversation; a list of messages is one, a list of lists are several.

    Raises Failure for anything but texts and `image_url` parts, and for more than one image in a conversation.
    """
    several = messages if messages and all(isinstance(one, list) for one in messages) else [messages]
    check_number(len(several), field)
    return [_item(one, f"{field}[{n}]", field) for n, one in enumerate(several)]


def _item(messages: list[Any], where: str, field: str) -> Item:
    texts: list[str] = []
    images: list[str] = []
    for message in messages:
        content = message.get("content") if isinstance(message, Mapping) else None
        for part in [content] if isinstance(content, str) else content if isinstance(content, list) else [None]:
            _take(part, texts, images, where, field)
    if len(images) > 1 or not (texts or images):
        raise bad(f"{where} has {len(images)} images and {len(texts)} texts, expected a text, an image or both", field)
    text = "\n".join(texts)
    if not images:
        return text
    return {"image": images[0], **({"text": text} if texts else {})}


def _take(part: Any, texts: list[str], images: list[str], where: str, field: str) -> None:
    if isinstance(part, str):
        texts.append(part)
        return
    kind = part.get("type") if isinstance(part, Mapping) else None
    value = part.get(kind) if kind in ("text", "image_url") else None
    if kind == "image_url" and isinstance(value, Mapping):
        value = value.get("url")
    if not isinstance(value, str):
        raise bad(f"{where} has {shown(part)}, expected a text or an image_url", field)
    (texts if kind == "text" else images).append(value)
