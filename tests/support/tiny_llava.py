"""A tiny random LLaVA-NeXT checkpoint as E5-V publishes one, made by transformers, and transformers' own processor."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

BOS, IMAGE_TOKEN, PAD = "<|begin_of_text|>", "<image>", "<pad>"
MARKS = [BOS, "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", IMAGE_TOKEN, PAD]
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
MERGES = [("Ċ", "Ċ"), ("Ġ", "Ċ"), ("t", "h"), ("Ġ", "th"), ("e", "r"), (":", "Ġ"), ("i", "n")]
SIDE, PATCH = 28, 7
PINPOINTS = [[SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE], [3 * SIDE, SIDE], [SIDE, 3 * SIDE]]
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "max_position_embeddings": 512,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "rope_theta": 5e5,
}
VISION = {
    "hidden_size": 48,
    "image_size": SIDE,
    "intermediate_size": 56,
    "num_attention_heads": 4,
    "num_hidden_layers": 3,
    "patch_size": PATCH,
    "projection_dim": 16,
}


def make(
    folder: Path, text: Mapping[str, Any] | None = None, vision: Mapping[str, Any] | None = None, **changes: Any
) -> LlavaNextForConditionalGeneration:
    """Save a checkpoint to the folder, which should be called e5-v, and return its model, in evaluation mode.

    `text`, `vision` and `changes` are config values of the language model, of the tower and of the whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    words = tokenizer()
    words.save(str(folder / "tokenizer.json"))
    sizes = {"vocab_size": words.get_vocab_size() + 9, "initializer_range": 0.3}
    config = LlavaNextConfig(
        text_config=LlamaConfig(**{**sizes, **TEXT, **(text or {})}),
        vision_config=CLIPVisionConfig(**{**VISION, **(vision or {})}),
        image_token_index=words.token_to_id(IMAGE_TOKEN),
        **{"image_grid_pinpoints": PINPOINTS, **changes},
    )
    torch.manual_seed(7)
    model = LlavaNextForConditionalGeneration(config).eval()
    for name, parameter in model.named_parameters():  # norms and biases start at 1 and 0, where mistakes do not show
        if parameter.dim() == 1:
            parameter.data += 0.2 * torch.randn_like(parameter)
        elif "vision_tower" in name or "projector" in name:
            parameter.data = 0.2 * torch.randn_like(parameter)
    stored = model.state_dict()
    if config.tie_word_embeddings:
        del stored["lm_head.weight"]
    save_file({old_name(name): value for name, value in stored.items()}, folder / "model.safetensors")
    _describe(folder, config, text or {}, vision or {}, changes)
    return model


def old_name(name: str) -> str:
    """Return what transformers up to 4.51, which E5-V was saved with, called a tensor."""
    name = name.removeprefix("model.")
    name = name.replace("vision_tower.", "vision_tower.vision_model.").replace(
        "language_model.", "language_model.model."
    )
    return name.replace("lm_head.", "language_model.lm_head.")


def tokenizer() -> Tokenizer:
    """Build byte-level BPE that splits as Llama 3's does: one token a byte, a few merges of blanks and letters."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())

    words = [*letters, *("".join(pair) for pair in MERGES)]
    made = Tokenizer(models.BPE({word: n for n, word in enumerate(words)}, MERGES, ignore_merges=True))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in MARKS])
    made.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=True),
            processors.TemplateProcessing(
                single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B:1", special_tokens=[(BOS, made.token_to_id(BOS))]
            ),
        ]
    )
    return made


def processor(folder: Path, padding_side: str = "left") -> LlavaNextProcessor:
    """Return transformers' processor of a checkpoint that `make` saved."""
    config = json.loads((folder / "config.json").read_text())
    words = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), bos_token=BOS, pad_token=PAD)
    words.padding_side = padding_side
    return LlavaNextProcessor(
        image_processor=LlavaNextImageProcessorPil(**json.loads((folder / "preprocessor_config.json").read_text())),
        tokenizer=words,
        patch_size=config["vision_config"]["patch_size"],
        vision_feature_select_strategy=config.get("vision_feature_select_strategy", "default"),
        num_additional_image_tokens=1,
    )


def vector(
    model: LlavaNextForConditionalGeneration, folder: Path, template: str, text: str, drawing: Image.Image | None
) -> NDArray[np.float32]:
    """Return the unit vector (dim,) of transformers' own processor and model: the last token's, after the last norm."""
    filled = template.replace("{image}", IMAGE_TOKEN).replace("{text}", text)
    inputs = processor(folder)(text=filled, images=drawing, return_tensors="pt")
    with torch.no_grad():
        row: NDArray[np.float32] = model(**inputs, output_hidden_states=True).hidden_states[-1][0, -1].numpy()
    return row / np.float32(np.linalg.norm(row))


def _describe(folder: Path, config: LlavaNextConfig, text: Any, vision: Any, changes: Mapping[str, Any]) -> None:
    """Write the small files; of the nested configs only what was set, as transformers did then."""
    rows, image = config.text_config.vocab_size, config.image_token_id
    side = config.vision_config.image_size
    written = {
        "architectures": ["LlavaNextForConditionalGeneration"],
        "image_grid_pinpoints": config.image_grid_pinpoints,
        "image_token_index": image,
        "model_type": "llava_next",
        "projector_hidden_act": "gelu",
        "text_config": {"model_type": "llama", "vocab_size": rows, **TEXT, **text},
        "vision_config": {"model_type": "clip_vision_model", **VISION, **vision},
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
        **changes,
    }
    (folder / "config.json").write_text(json.dumps(written))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"bos_token": BOS, "pad_token": PAD, "model_max_length": 10**30, "padding_side": "right"})
    )
    drawing = {
        "aspect_ratio_setting": "anyres",
        "crop_size": {"height": side, "width": side},
        "do_center_crop": True,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_pad": True,
        "do_rescale": True,
        "do_resize": True,
        "image_grid_pinpoints": config.image_grid_pinpoints,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_processor_type": "LlavaNextImageProcessor",
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
        "size": {"shortest_edge": side},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(drawing))
