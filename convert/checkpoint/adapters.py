"""A PEFT LoRA folder -> `Adapter`: its checked config, and its tensors on disk. Knows no base checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_embed.errors import CorruptModelError, ModelNotFoundError
from edge_embed.formats.peft import CONFIG, WEIGHTS, LoraConfig, read_lora_config

from .source import Tensors


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter that can be merged. Module names are those of the model it was trained on."""

    folder: Path
    config: LoraConfig
    tensors: Tensors


def open_adapter(folder: Path) -> Adapter:
    """Read a PEFT LoRA folder; weights stay on disk.

    Raises ModelNotFoundError without its two files, CorruptModelError for a damaged one, UnsupportedModelError for what
    cannot be merged or is not known.
    """
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise ModelNotFoundError(f"{folder} has no {name}: give the folder that PEFT's save_pretrained wrote")
    adapter = Adapter(folder, read_lora_config(folder / CONFIG), Tensors([folder / WEIGHTS]))
    if not adapter.tensors:
        raise CorruptModelError(f"{folder / WEIGHTS} holds no tensor; save the adapter again")
    return adapter
