"""A tiny random checkpoint of every architecture and shape, towers among them, with the original's vectors of texts."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from edge_embed.layouts.facts import facts_of
from edge_embed.pipeline.tokenizer import TextTokenizer

from . import jina_clip_reference, oracle, tiny, tiny_clip, tiny_llava

Vectors = NDArray[np.float32]
Specimen = Callable[[Path, Sequence[str]], Vectors]  # makes the checkpoint in a folder -> unit vectors of the texts
E5_V, JINA_CLIP = "e5-v", "jina-clip-v1"  # by which names facts.json knows them


def specimens() -> dict[str, Specimen]:
    """Return all by their names; a folder is to be called like its specimen."""
    return {
        **{name: partial(_one_part, name) for name in tiny.ARCHITECTURES},
        **{kind: partial(_two_towers, kind) for kind in tiny_clip.KINDS},
        **{JINA_CLIP: _jina_clip, E5_V: _e5_v},
    }


def _one_part(name: str, folder: Path, texts: Sequence[str]) -> Vectors:
    return oracle.vectors(tiny.make(name, folder), folder, texts)


def _two_towers(kind: str, folder: Path, texts: Sequence[str]) -> Vectors:
    return tiny_clip.text_vectors(tiny_clip.make(kind, folder), kind, folder, texts)


def _jina_clip(folder: Path, texts: Sequence[str]) -> Vectors:
    text = {**jina_clip_reference.TINY_TEXT, "vocab_size": len(tiny.WORDS)}
    config = jina_clip_reference.config_of(text, jina_clip_reference.TINY_VISION)
    model = jina_clip_reference.make(config, 1.5)
    jina_clip_reference.publish(model, config, folder)
    length = json.loads((folder / "config.json").read_text())["text_config"].get("max_position_embeddings", 512)
    ids = TextTokenizer(folder / "tokenizer.json", length).tokenize(texts).ids
    rows = [model.text_model(torch.from_numpy(one.astype(np.int64))).mean(0).numpy() for one in ids]
    return tiny_clip.unit(np.stack(rows))


def _e5_v(folder: Path, texts: Sequence[str]) -> Vectors:
    model = tiny_llava.make(folder)
    template = facts_of("royokong/e5-v")["prompts"]["sentence"]
    return np.stack([tiny_llava.vector(model, folder, template, text, None) for text in texts])
