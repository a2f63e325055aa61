"""jina-embeddings-v3 (Sturua et al. 2024, arXiv 2409.10173): XLM-RoBERTa with rotary positions (arXiv 2104.09864).

Published as `xlm-roberta`, with code of its own, and as transformers has it since 5.4. LoRA factors of its tasks, which
lie among the published tensors, are no part of the architecture.

Models: jina-embeddings-v3, its five tasks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from edge_embed.errors import CorruptModelError
from edge_embed.spec.names import model_name
from edge_embed.spec.values import shown

from ._checks import CONFIG, check_config, real
from ._post_norm import FLASH, TABLE, UNUSED, Config, read_rotary
from ._renamed import Renamed

__all__ = ["ALIAS", "ATTENTION", "PREFIXES", "RENAMED", "TABLE", "UNUSED", "Config", "read", "settled", "tasks"]

ALIAS = {"model_type": "xlm-roberta", "position_embedding_type": "rotary"}
ATTENTION: Final = "full"
PREFIXES = ("roberta.",)
RENAMED = (*FLASH, Renamed(r"encoder\.layers\.(\d+)\.mlp\.(fc1|fc2)", (r"layers.\1.mlp.\2",)))
THETA, FLASH_THETA = 2e4, 1e4  # where config.json says none: transformers', and the published code's
ALLOWED = {"use_reg_tokens": (False,), "truncate_dim": (None,)}
# What the published code alone reads, or has no effect on the vectors of a merged model.
OTHERS = (
    *("position_embedding_type", "rotary_emb_base", "emb_pooler", "use_flash_attn", "load_trained_adapters"),
    *("lora_adaptations", "lora_alpha", "lora_dropout_p", "lora_main_params_trainable", "lora_rank"),
    *("task_instructions", *ALLOWED),
)


def read(config: Mapping[str, Any]) -> Config:
    """Read and check the values, as transformers calls them."""
    return read_rotary(config, gated=False, theta=THETA)


def tasks(config: Mapping[str, Any]) -> tuple[str, ...]:
    """List the tasks whose factors lie among the published tensors; raise CorruptModelError for what names none."""
    names = config.get("lora_adaptations") or []
    if not isinstance(names, list) or len({*map(str, names)}) < len(names):
        raise CorruptModelError(f"{CONFIG}: lora_adaptations={shown(names)} is no list of different tasks")
    return tuple(model_name(name, f"{CONFIG}: lora_adaptations") for name in names)


def settled(config: Mapping[str, Any], tensors: Iterable[str]) -> dict[str, Any]:
    """Return the published config.json as transformers has it; raise UnsupportedModelError for what it cannot say."""
    if "position_embedding_type" not in config:
        return dict(config)
    check_config(config, {"position_embedding_type": ("rotary",), **ALLOWED}, ())
    rope = {"rope_type": "default", "rope_theta": real(config, "rotary_emb_base", FLASH_THETA)}
    return {**{key: value for key, value in config.items() if key not in OTHERS}, "rope_parameters": rope}
