"""A PEFT LoRA folder -> `Adapter`: `adapter_config.json`, checked and read as PEFT reads it, and tensors on disk.

Knows which modules, ranks and scales the config means, and which tensor is what. Knows no base checkpoint.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

from edge_embed.errors import CorruptModelError, ModelNotFoundError, UnsupportedModelError

from .source import Tensors

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
TYPES: dict[str, tuple[type, ...]] = {
    "target_modules": (list, str),
    "exclude_modules": (list, str, NoneType),
    "layers_to_transform": (list, int, NoneType),
    "layers_pattern": (list, str, NoneType),
    "modules_to_save": (list, NoneType),
    "r": (int,),
    "rank_pattern": (dict, NoneType),
    "lora_alpha": (int, float),
    "alpha_pattern": (dict, NoneType),
}
HONOURED = (*TYPES, "peft_type", "use_rslora", "init_lora_weights", "fan_in_fan_out", "bias", "lora_bias", "use_dora")
# Whatever they say, the merged weights are the same: the *_config keys only steer what init_lora_weights names.
IDLE = (
    *("auto_mapping", "base_model_name_or_path", "inference_mode", "lora_dropout", "peft_version", "revision"),
    *("task_type", "megatron_core", "qalora_group_size"),
    *("corda_config", "eva_config", "loftq_config", "lora_ga_config"),
)
# The others of PEFT (pissa, olora, corda, lora_ga, loftq) take their start out of the base's weights, or quantise them.
INITS = ("true", "false", "none", "gaussian", "eva", "orthogonal", "mica")
# 2-D weights that are no linear layer, or that PEFT leaves out of "all-linear": tables, and heads by their usual names.
NOT_LINEAR = re.compile(r"(.*\.)?([^.]*embed[^.]*|wte|wpe|lm_head|score|classifier)")
PREFIX = re.compile(r"\Abase_model\.(model\.)?")
PART = re.compile(
    r"(?P<module>.+)\.(?P<part>lora_(A|B|embedding_A|embedding_B|magnitude_vector))"
    r"(\.(?P<adapter>[^.]+))??(\.(?P<kind>weight|bias))?"
)
# What PEFT's wrappers put between a module and its weight.
WRAPPER = re.compile(r"\.(base_layer|modules_to_save(\.default)?)(?=\.)")


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter that can be merged. Module names are those of the model it was trained on."""

    folder: Path
    config: dict[str, Any]
    tensors: Tensors

    def targets(self, module: str, dims: int) -> bool:
        """Say whether PEFT puts LoRA on a module whose weight has `dims` dimensions (PEFT's tuners_utils.py)."""
        saved = (rf"(^|.*\.){name}($|\..*)" for name in self.config.get("modules_to_save") or ())
        if named(self.config.get("exclude_modules"), module) or any(_regex(name).match(module) for name in saved):
            return False
        wanted = self.config["target_modules"]
        if is_all_linear(wanted):
            return dims == 2 and not NOT_LINEAR.fullmatch(module)
        if isinstance(wanted, str) or module in wanted:
            return named(wanted, module)
        return named(wanted, module) and self._in_layers(module)

    def _in_layers(self, module: str) -> bool:
        layers = self.config.get("layers_to_transform")
        if layers is None or layers == []:
            return True
        names = self.config.get("layers_pattern") or ()
        stems = [rf"(?:^|.*?\.){name}" for name in ([names] if isinstance(names, str) else names)] or [r".*?\.[^.]*"]
        found = (_regex(rf"{stem}\.(?P<layer>\d+)\.").match(module) for stem in stems)
        first = next((match for match in found if match), None)
        return first is not None and int(first["layer"]) in ([layers] if isinstance(layers, int) else layers)

    def rank(self, module: str) -> int:
        """Return the rank that the config gives a module."""
        return int(self._by_pattern("rank_pattern", module, self.config["r"]))

    def scale(self, module: str) -> float:
        """Return what B @ A is multiplied by."""
        alpha = float(self._by_pattern("alpha_pattern", module, self.config["lora_alpha"]))
        rank = self.rank(module)
        return alpha / math.sqrt(rank) if self.config.get("use_rslora") else alpha / rank

    def _by_pattern(self, key: str, module: str, default: Any) -> Any:
        patterns = self.config.get(key) or {}
        found = (value for name, value in patterns.items() if _regex(rf"(.*\.)?({name})$").match(module))
        return next(found, patterns.get(module, default))

    def parts(self) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
        """Sort the tensors -> module: {part: tensor}, and base tensor: the tensor that replaces it.

        Raises CorruptModelError when two tensors are the same part of the same module.
        """
        parts: dict[str, dict[str, str]] = {}
        wholes: dict[str, str] = {}
        for name in self.tensors:
            path = PREFIX.sub("", name)
            if found := PART.fullmatch(path):
                into, key = parts.setdefault(found["module"], {}), found["part"]
                key += ".bias" if found["kind"] == "bias" else ""
            else:
                into, key = wholes, WRAPPER.sub("", path)
            if key in into:
                raise CorruptModelError(f"{name!r} and {into[key]!r} are the same part: save one adapter in one file")
            into[key] = name
        return parts, wholes


def open_adapter(folder: Path) -> Adapter:
    """Read a PEFT LoRA folder; weights stay on disk.

    Raises ModelNotFoundError without its two files, CorruptModelError for a damaged one, UnsupportedModelError for what
    cannot be merged or is not known.
    """
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise ModelNotFoundError(f"{folder} has no {name}: give the folder that PEFT's save_pretrained wrote")
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
    except ValueError as error:
        raise CorruptModelError(f"{folder / CONFIG} is not JSON: {error}; fetch it again") from error
    if not isinstance(config, dict):
        raise CorruptModelError(f"{folder / CONFIG} holds a {type(config).__name__}, not an object; fetch it again")
    _check_supported(config, folder / CONFIG)
    _check_values(config, folder / CONFIG)
    adapter = Adapter(folder, config, Tensors([folder / WEIGHTS]))
    if not adapter.tensors:
        raise CorruptModelError(f"{folder / WEIGHTS} holds no tensor; save the adapter again")
    return adapter


def named(names: str | list[str] | None, module: str) -> bool:
    """Say whether a module is meant: a string is a regular expression for all of it, a list holds ends of names."""
    if isinstance(names, str):
        return _regex(names).fullmatch(module) is not None
    return any(module == name or module.endswith(f".{name}") for name in names or ())


def is_all_linear(targets: str | list[str]) -> bool:
    """Say whether target_modules is PEFT's word for every linear layer."""
    return isinstance(targets, str) and targets.lower() == "all-linear"


def _regex(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise CorruptModelError(f"{CONFIG}: {pattern!r} is not a regular expression: {error}; correct it") from error


def _check_supported(config: dict[str, Any], path: Path) -> None:
    """Refuse what would change the merged weights and is not implemented, and every key that is not known."""
    if config.get("peft_type") != "LORA":
        raise UnsupportedModelError(f"{path}: peft_type={config.get('peft_type')!r} cannot be merged; only 'LORA' can")
    if unknown := sorted(key for key, value in config.items() if value and key not in HONOURED and key not in IDLE):
        pairs = ", ".join(f"{key}={config[key]!r}" for key in unknown)
        raise UnsupportedModelError(f"{path}: {pairs} is not implemented; merge with PEFT, then convert the result")
    if (bias := config.get("bias", "none")) not in ("none", "all", "lora_only"):
        raise UnsupportedModelError(f"{path}: bias={bias!r} is not implemented; 'none', 'all' and 'lora_only' are")
    if str(init := config.get("init_lora_weights", True)).lower() not in INITS:
        raise UnsupportedModelError(
            f"{path}: init_lora_weights={init!r} may have changed the base's weights before training, so the adapter "
            "does not fit the published base; save it with path_initial_model_for_weight_conversion, or merge with PEFT"
        )


def _check_values(config: dict[str, Any], path: Path) -> None:
    """Refuse values that PEFT could not have written."""
    for key, types in TYPES.items():
        if not isinstance(value := config.get(key), types):
            kinds = " or ".join("null" if kind is NoneType else kind.__name__ for kind in types)
            raise CorruptModelError(f"{path}: {key}={value!r} must be {kinds}; save the adapter again")
    ranks = [config["r"], *(config.get("rank_pattern") or {}).values()]
    if not all(isinstance(rank, int) and rank > 0 for rank in ranks):
        raise CorruptModelError(f"{path}: ranks {ranks} must be whole numbers above 0; save the adapter again")
    alphas = [config["lora_alpha"], *(config.get("alpha_pattern") or {}).values()]
    if not all(isinstance(alpha, (int, float)) for alpha in alphas):
        raise CorruptModelError(f"{path}: alphas {alphas} must be numbers; save the adapter again")
