"""Tiny random CLIP and SigLIP checkpoints, made by transformers, with tokenizers and preprocessors as on the hub."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipModel,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.siglip2.tokenization_siglip2 import Siglip2Tokenizer

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,?!'-:"
BOUNDARY = "▁"
LENGTH = 24  # tokens
SIDE = 32
LAYERS = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32, "intermediate_size": 48}
VISION = {**LAYERS, "image_size": SIDE, "patch_size": 8, "hidden_size": 48, "num_attention_heads": 6}
KINDS = ("clip", "clip-of-before", "siglip", "siglip2")


def make(kind: str, folder: Path, text: dict[str, Any] | None = None, **changes: Any) -> PreTrainedModel:
    """Save a checkpoint of one of KINDS to the folder -> the model that wrote it; `text` changes its text_config."""
    folder.mkdir(parents=True, exist_ok=True)
    words = {"siglip": _pieces, "siglip2": _byte_fallback}.get(kind, _clip_words)(folder)
    texts = {**LAYERS, "max_position_embeddings": LENGTH, "vocab_size": words, **(text or {})}
    torch.manual_seed(11)
    model: Any
    if kind.startswith("clip"):
        # A file of before July 2023 has the id 2, and the closing token is the last of the vocabulary.
        closing = {"eos_token_id": 2 if kind == "clip-of-before" else words - 1, "bos_token_id": words - 2}
        model = CLIPModel(
            CLIPConfig(
                **{"text_config": {**texts, **closing}, "vision_config": VISION, "projection_dim": 40, **changes}
            )
        )
    else:
        own = {"projection_size": 48, "bos_token_id": 1, "eos_token_id": 1}
        model = SiglipModel(SiglipConfig(**{"text_config": {**own, **texts}, "vision_config": VISION, **changes}))
    for parameter in model.parameters():  # norms and biases start at 1 and 0, where mistakes do not show
        drawn = torch.randn_like(parameter)
        parameter.data = parameter.data + 0.2 * drawn if parameter.dim() == 1 else 0.2 * drawn
    model.eval().save_pretrained(folder)
    processor(kind).save_pretrained(folder)
    return model  # type: ignore[no-any-return]


def processor(kind: str) -> Any:
    """Return the preprocessor of a kind's images, in Pillow."""
    if kind.startswith("clip"):
        return CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    return SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE}, resample=2 if kind == "siglip2" else 3)


def text_vectors(model: Any, kind: str, folder: Path, texts: Sequence[str]) -> NDArray[np.float32]:
    """Embed texts, each alone, with transformers' tokenizer of the kind and its model -> unit vectors (texts, dim)."""
    classes: dict[str, Any] = {"siglip": PreTrainedTokenizerFast, "siglip2": Siglip2Tokenizer}
    tokenizer = classes.get(kind, CLIPTokenizer).from_pretrained(folder)
    how = {"padding": "max_length"} if kind.startswith("siglip") else {}
    out = []
    for text in texts:
        ids = tokenizer(text, truncation=True, max_length=LENGTH, return_tensors="pt", **how)["input_ids"]
        with torch.inference_mode():
            out.append(model.get_text_features(ids).pooler_output[0].numpy())
    return unit(np.stack(out))


def image_vectors(model: Any, kind: str, images: Sequence[Image.Image]) -> NDArray[np.float32]:
    """Embed images with transformers' preprocessor of the kind and its model -> unit vectors (images, dim)."""
    pixels = processor(kind)(list(images), return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        return unit(model.get_image_features(pixels).pooler_output.numpy())


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Normalise each row."""
    found: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return found


def _clip_words(folder: Path) -> int:
    """Save a tokenizer of CLIP's kind -> the size of its vocabulary."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("t", "h"), ("th", "e</w>"), ("c", "a"), ("ca", "t</w>")]
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges)]
    words = [*pieces, "<|startoftext|>", "<|endoftext|>"]
    CLIPTokenizer(
        vocab={word: n for n, word in enumerate(words)}, merges=merges, model_max_length=LENGTH
    ).save_pretrained(folder)
    return len(words)


def _pieces(folder: Path) -> int:
    """Save a tokenizer of SigLIP's kind -> the size of its vocabulary."""
    pieces = [BOUNDARY, *(BOUNDARY + word for word in ("the", "cat", "a", "photo", "of")), *LETTERS]
    scored = [(piece, -2.0 - 0.037 * n) for n, piece in enumerate(pieces)]
    made = Tokenizer(models.Unigram([("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *scored], unk_id=2))
    made.normalizer = normalizers.Sequence(
        [
            normalizers.Lowercase(),
            normalizers.Replace(Regex(r"[!\"\\#$%&'()*+,\-.:;=?@\[\]\^_`{|}~]"), ""),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Strip(),
        ]
    )
    made.pre_tokenizer = pre_tokenizers.Metaspace(replacement=BOUNDARY, prepend_scheme="always")
    made.decoder = decoders.Metaspace(replacement=BOUNDARY, prepend_scheme="always")
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    made.add_special_tokens(["</s>", "<unk>"])
    made.save(str(folder / "tokenizer.json"))
    says = {"tokenizer_class": "SiglipTokenizer", "pad_token": "</s>", "eos_token": "</s>", "unk_token": "<unk>"}
    says |= {"do_lower_case": True, "model_max_length": LENGTH}  # type: ignore[dict-item]
    (folder / "tokenizer_config.json").write_text(json.dumps(says))
    return 3 + len(pieces)


def _byte_fallback(folder: Path) -> int:
    """Save a tokenizer of SigLIP 2's kind, Gemma's, which does not lower texts -> the size of its vocabulary."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    merges = [("t", "h"), ("th", "e"), ("c", "a"), ("ca", "t"), (BOUNDARY, "the")]
    pieces = [*(f"<0x{byte:02X}>" for byte in range(256)), BOUNDARY, *LETTERS, *("".join(pair) for pair in merges)]
    words = {word: n for n, word in enumerate([*special, *pieces])}
    made = Tokenizer(models.BPE(words, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.normalizer = normalizers.Replace(" ", BOUNDARY)
    made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    made.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    made.add_special_tokens(special)
    made.enable_truncation(LENGTH)
    made.enable_padding(length=LENGTH, pad_id=0, pad_token="<pad>")
    made.save(str(folder / "tokenizer.json"))
    says = {"tokenizer_class": "GemmaTokenizer", "pad_token": "<pad>", "eos_token": "<eos>", "padding_side": "right"}
    (folder / "tokenizer_config.json").write_text(json.dumps({**says, "model_max_length": 10**30}))
    return len(words)
