"""A checkpoint's folder, a task or an adapter, and what the user says of the model -> the `Source` of one model.

Everything that can be refused from names and small files is refused here, before any weight is computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edge_embed.architectures import attention, check_window
from edge_embed.errors import CorruptModelError, InputError, UnsupportedModelError, listing
from edge_embed.formats.json_file import read_object
from edge_embed.formats.peft import CONFIG, WEIGHTS
from edge_embed.layouts.folder import TOKENIZER, ModelFolder, read_folder
from edge_embed.layouts.sentence_transformers import adapter_values
from edge_embed.spec.model import FILE_NAME, TEXT, ModelSpec, space_fingerprint, with_values
from edge_embed.spec.names import as_model_name, model_name
from edge_embed.spec.values import parse_object

from .checkpoint.adapters import open_adapter
from .checkpoint.merge import Merged
from .checkpoint.source import Source, open_source
from .gguf.source import open_gguf

MADE = (
    "weights",
    "fingerprint",
    "golden",
    "dense",
)  # in an edge_embed.json that is given whole, they are another conversion's


def open_variant(
    folder: Path, name: str | None, task: str | None, adapter: Path | None, values: Mapping[str, Any]
) -> Source:
    """Open a checkpoint with the adapter of a task, or one from elsewhere, merged in lazily; `values` change its spec.

    `folder` may also be a GGUF file, or a folder that has nothing else: then that is read as a checkpoint.

    Raises InputError for a task, an adapter or values that cannot be, ModelError for files that cannot be converted.
    """
    if name is not None:
        model_name(name, "name", InputError)
    if adapter is not None:
        values = {**adapter_values(adapter), **values}
    own = (folder / FILE_NAME).is_file()  # which says how to pool, and of which space its vectors are
    open_to = {} if own else {key: values[key] for key in ("attention", "normalize", "pooling") if key in values}
    repo = read_folder(folder, name, values.get("source"), values.get("revision"), open_to)
    if task is not None and adapter is not None:
        raise InputError(f"task={task!r} and adapter={str(adapter)!r} were both given: give one of them")
    _check_task(repo, task, adapter)
    chosen = adapter if adapter is not None else repo.adapters.get(task or "")
    source = _source(repo, task)
    if adapter is not None:
        _check_same_words(source, adapter / TOKENIZER)
    if chosen is not None:
        changed = Merged(source.tensors, open_adapter(chosen), tied=bool(source.config.get("tie_word_embeddings")))
        source = replace(source, tensors=changed, files=(*source.files, chosen / WEIGHTS, chosen / CONFIG))
    spec = replace(
        source.spec,
        name=name or source.spec.name,
        attention=attention(source.config),
        padding_side="right",
        weights=(),
        golden=(),
    )
    if task is not None:
        sides = spec.tasks.get(task, {})
        spec = replace(spec, name=f"{spec.name}-{task}", task=task, tasks={task: sides})
        if spec.default_prompt is None and sides.get("query") == sides.get("document"):
            spec = replace(spec, default_prompt=sides.get("document"))
    elif adapter is not None:
        spec = replace(spec, name=name or as_model_name(f"{spec.name}-{adapter.resolve().name}"), task=None, tasks={})
    check_window(source.config, values)
    spec = _change(spec, values)
    merged = chosen is not None or task is not None
    if merged or space_fingerprint(spec, "", "") != space_fingerprint(repo.spec, "", ""):
        spec = replace(spec, fingerprint=None)  # no longer the space of the folder that we once made
    if spec.pooling == "last":
        _check_closing_token(source, spec.template(None, None))
    return replace(source, spec=spec)


def _source(repo: ModelFolder, task: str | None) -> Source:
    path = repo.checkpoint_path
    if path is None or repo.original:
        return open_source(repo, task if task in repo.tasks_within else None)
    return open_gguf(repo, path)


def _check_task(repo: ModelFolder, task: str | None, adapter: Path | None) -> None:
    """Refuse a task that a folder has no adapter for, and none where it has some and no other adapter is given."""
    if task is not None and task not in repo.tasks:
        raise InputError(f"unknown task {task!r}: {repo.folder} has adapters for {listing(repo.tasks)}")
    if task is None and repo.tasks and adapter is None:
        raise InputError(
            f"{repo.folder} is a base with adapters for {listing(repo.tasks)}: pass task= (--task, or --task all)"
        )


def _check_same_words(source: Source, adapter: Path) -> None:
    """Refuse an adapter that was trained on other token ids than the base's tokenizer gives."""
    if not adapter.is_file():
        return
    base, made = source.folder / TOKENIZER, source.made.get(TOKENIZER)
    ours, others = read_object(base) if made is None else parse_object(made, base), read_object(adapter)
    if any(_words(ours, key) != _words(others, key) for key in ("model", "added_tokens")):
        raise UnsupportedModelError(
            f"{adapter} has other words than {base}: the adapter was trained with words that its base does not know; "
            "merge with PEFT, save the tokenizer beside it, and convert the result"
        )


def _words(tokenizer: Mapping[str, Any], key: str) -> object:
    """Return the vocabulary, or the added tokens and their ids, of a tokenizer.json; libraries write the rest anew."""
    found = tokenizer.get(key)
    if isinstance(found, list):
        return [(one.get("id"), one.get("content")) if isinstance(one, dict) else one for one in found]
    return found.get("vocab") if isinstance(found, dict) else found


def _change(spec: ModelSpec, values: Mapping[str, Any]) -> ModelSpec:
    """Let the user's values win, but for what the weights decide."""
    new = with_values(spec, {key: value for key, value in values.items() if key not in MADE})
    for key in ("architecture", "dim", "attention"):
        if getattr(new, key) != getattr(spec, key):
            raise InputError(
                f"spec: {key}={getattr(new, key)!r} contradicts the checkpoint, which says {getattr(spec, key)!r}: "
                "leave it out"
            )
    return new


def _check_closing_token(source: Source, template: str) -> None:
    """Refuse a tokenizer that ends texts with their own last token: pooled there, vectors would be of one word.

    A prompt that goes on after the text closes it as well.
    """
    try:
        tokenizer = source.tokenizer
    except CorruptModelError:  # whoever tokenises says what is wrong with the file
        return
    one, other = (tokenizer.encode(template.replace(TEXT, text)) for text in "ab")
    closed = not template.endswith(TEXT) or one.special_tokens_mask[-1:] == [1]
    if one.ids[-1:] != other.ids[-1:] or not closed:
        raise UnsupportedModelError(
            f"{source.folder / TOKENIZER} appends no closing token, and pooling 'last' reads it: add a "
            "TemplateProcessing post-processor that ends with the model's closing token, or choose another pooling"
        )
