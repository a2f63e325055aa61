"""A tokenizer.json without the closing token that tokenizer_config.json asks for -> the same with it.

Of e5-mistral and gte-Qwen2 the one says `add_eos_token`, and the other does not do it: transformers before release 5,
or the model's own code, saw to that when it loaded them, and pooling "last" reads that token (mteb#5237).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_embed.errors import CorruptModelError
from edge_embed.formats.json_file import read_object
from edge_embed.spec.values import shown

CONFIG = "tokenizer_config.json"
# Whose `add_eos_token` transformers 4.57 obeys; other classes of its own pass over it.
OBEYING = ("CodeLlama", "Cohere", "Gemma", "GPTNeoX", "Llama")


def with_closing_token(path: Path) -> str | None:
    """Return a tokenizer.json's text with the closing token that texts lack; None where the file is right as it is.

    Raises CorruptModelError for files that contradict each other.
    """
    config = read_object(path.with_name(CONFIG), {})
    if config.get("add_eos_token") is not True or not _obeyed(config):
        return None
    named = config.get("eos_token")
    token = named.get("content") if isinstance(named, Mapping) else named
    data = read_object(path)
    number = _id(data, token)
    if not isinstance(token, str) or number is None:
        raise CorruptModelError(
            f"{path.with_name(CONFIG)}: add_eos_token is true, and eos_token={shown(named)} is no token of {path.name}"
        )
    processor = data.get("post_processor")
    if _closes(processor, token):
        return None
    return json.dumps({**data, "post_processor": _closed(processor, token, number)}, ensure_ascii=False)


def _obeyed(config: Mapping[str, Any]) -> bool:
    """Whether the tokenizer's class adds the token: one of transformers' that do, or one of the model's own code."""
    own, kind = config.get("auto_map"), config.get("tokenizer_class")
    classes = {f"{name}Tokenizer{fast}" for name in OBEYING for fast in ("", "Fast")}
    return kind in classes or (isinstance(own, Mapping) and "AutoTokenizer" in own)


def _id(data: Mapping[str, Any], token: object) -> int | None:
    """Return a token's id, as an added one or as a word of the model."""
    for one in _list(data.get("added_tokens")):
        if isinstance(one, Mapping) and one.get("content") == token and isinstance(one.get("id"), int):
            return int(one["id"])
    model = data.get("model")
    words = model.get("vocab") if isinstance(model, Mapping) else None
    found = words.get(token) if isinstance(words, Mapping) and isinstance(token, str) else None
    return found if isinstance(found, int) else None


def _closes(processor: object, token: str) -> bool:
    """Whether a post-processor, or the last of several, ends texts with the token."""
    if not isinstance(processor, Mapping):
        return False
    if processor.get("type") == "Sequence":
        return any(_closes(one, token) for one in _list(processor.get("processors")))
    parts = processor.get("single")
    if isinstance(parts, list) and parts and isinstance(parts[-1], Mapping):
        last = parts[-1].get("SpecialToken")
        return isinstance(last, Mapping) and last.get("id") == token
    return isinstance(ends := processor.get("sep"), list) and ends[:1] == [token]


def _closed(processor: Any, token: str, number: int) -> dict[str, Any]:
    """Return a post-processor that does what one does, if there is one, and ends texts with the token."""
    if isinstance(processor, Mapping) and isinstance(processor.get("single"), list):
        entry, known = {"id": token, "ids": [number], "tokens": [token]}, processor.get("special_tokens")
        return {
            **processor,
            "single": _with_ends(processor["single"], token),
            "pair": _with_ends(_list(processor.get("pair")), token),
            "special_tokens": {**(known if isinstance(known, Mapping) else {}), token: entry},
        }
    if isinstance(processor, Mapping) and processor.get("type") == "Sequence" and _list(processor.get("processors")):
        *others, last = processor["processors"]
        return {**processor, "processors": [*others, *_sequence(last, token, number)]}
    return {"type": "Sequence", "processors": _sequence(processor, token, number)}


def _sequence(processor: Any, token: str, number: int) -> list[Any]:
    """Return a post-processor that is a template with the token at its end, another one with a template after it."""
    if isinstance(processor, Mapping) and processor.get("type") == "TemplateProcessing":
        return [_closed(processor, token, number)]
    texts = [{"Sequence": {"id": name, "type_id": n}} for n, name in enumerate("AB")]
    template = {"type": "TemplateProcessing", "single": texts[:1], "pair": texts, "special_tokens": {}}
    return [*([processor] if processor else []), _closed(template, token, number)]


def _with_ends(parts: list[Any], token: str) -> list[Any]:
    """Return a template's parts with the token behind each text."""
    made: list[Any] = []
    for part in parts:
        made.append(part)
        if isinstance(part, Mapping) and isinstance(text := part.get("Sequence"), Mapping):
            made.append({"SpecialToken": {"id": token, "type_id": text.get("type_id", 0)}})
    return made


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
