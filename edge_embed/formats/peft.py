"""A LoRA adapter as PEFT saves it: `adapter_config.json`, checked once, and the names of its tensors.

Follows PEFT 0.21. Refuses what would change the meaning of the tensors and is not known; what a reader of weights
cannot do with a valid config it refuses itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar

from edge_embed.errors import CorruptModelError, UnsupportedModelError

from .bounded_regex import match
from .json_file import read_object

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
LARGEST_RANK, LARGEST_ALPHA = 1 << 31, 1e30  # far beyond any that was trained; what is computed of them is finite
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
    "task_type": (str, NoneType),
}
FLAGS = ("use_rslora", "use_dora", "fan_in_fan_out", "lora_bias")
# Whatever they say, the tensors mean the same: the *_config keys only steer what init_lora_weights names.
IDLE = (
    *("auto_mapping", "base_model_name_or_path", "inference_mode", "lora_dropout", "peft_version", "revision"),
    *("megatron_core", "qalora_group_size", "corda_config", "eva_config", "loftq_config", "lora_ga_config"),
)
KNOWN = {*TYPES, *FLAGS, *IDLE, "peft_type", "init_lora_weights", "bias"}
# The others of PEFT (pissa, olora, corda, lora_ga, loftq) change the base's weights, or quantise them.
INITS = ("gaussian", "eva", "orthogonal", "mica")
# 2-D weights that are no linear layer, or that PEFT leaves out of "all-linear": tables, and heads by their usual names.
NOT_LINEAR = {"wte", "wpe", "lm_head", "score", "classifier"}
PREFIX = re.compile(r"\Abase_model\.(model\.)?")
PART = re.compile(
    r"(?P<module>.+)\.(?P<part>lora_(A|B|embedding_A|embedding_B|magnitude_vector))"
    r"(\.(?P<adapter>[^.]+))??(\.(?P<kind>weight|bias))?"
)
WRAPPER = re.compile(r"\.(base_layer|modules_to_save(\.default)?)(?=\.)")  # between a module and its weight
Names = str | tuple[str, ...]  # a regular expression for a module's whole name, or ends of names
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """A checked config; fields have PEFT's names. Modules are named as in the model that the adapter was trained on."""

    path: Path
    r: int
    lora_alpha: float
    target_modules: Names
    exclude_modules: Names = ()
    layers_to_transform: tuple[int, ...] = ()  # empty: all
    layers_pattern: tuple[str, ...] = ()
    modules_to_save: tuple[str, ...] = ()
    rank_pattern: Mapping[str, int] = field(default_factory=dict)
    alpha_pattern: Mapping[str, float] = field(default_factory=dict)
    use_rslora: bool = False
    use_dora: bool = False
    fan_in_fan_out: bool = False
    lora_bias: bool = False
    bias: str = "none"
    task_type: str | None = None

    @property
    def all_linear(self) -> bool:
        """Whether target_modules is PEFT's word for every linear layer."""
        return isinstance(self.target_modules, str) and self.target_modules.lower() == "all-linear"

    def targets(self, module: str, dims: int) -> bool:
        """Say whether PEFT puts LoRA on a module whose weight has `dims` dimensions (`check_target_module_exists`)."""
        saved = (rf"(^|.*\.){name}($|\..*)" for name in self.modules_to_save)
        if self.matches(self.exclude_modules, module) or any(match(name, module, self.path) for name in saved):
            return False
        if self.all_linear:
            name = module.rpartition(".")[2]
            return dims == 2 and "embed" not in name and name not in NOT_LINEAR
        if isinstance(self.target_modules, str) or module in self.target_modules:
            return self.matches(self.target_modules, module)
        return self.matches(self.target_modules, module) and self._in_layers(module)

    def matches(self, names: Names, module: str) -> bool:
        """Say whether a module is meant by a regular expression for all of its name, or by a list of ends of names."""
        if isinstance(names, str):
            return match(names, module, self.path, whole=True) is not None
        return any(module == name or module.endswith(f".{name}") for name in names)

    def rank(self, module: str) -> int:
        """Return the rank of a module's factors."""
        return self._by_pattern(self.rank_pattern, module, self.r)

    def scale(self, module: str) -> float:
        """Return what B @ A is multiplied by: alpha / r, or alpha / sqrt(r) with rank-stabilised LoRA."""
        rank = self.rank(module)
        alpha = self._by_pattern(self.alpha_pattern, module, self.lora_alpha)
        return alpha / math.sqrt(rank) if self.use_rslora else alpha / rank

    def _in_layers(self, module: str) -> bool:
        """Say whether the first number in a module's name, after one of the patterns, is a layer with LoRA."""
        if not self.layers_to_transform:
            return True
        stems = [rf"(?:^|.*?\.){name}" for name in self.layers_pattern] or [r".*?\.[^.]*"]
        found = (match(rf"{stem}\.(?P<layer>\d+)\.", module, self.path) for stem in stems)
        first = next(filter(None, found), None)
        return first is not None and int(first["layer"]) in self.layers_to_transform

    def _by_pattern(self, patterns: Mapping[str, T], module: str, default: T) -> T:
        """Return the value of the first pattern that matches the end of a module's name (`get_pattern_key`)."""
        found = (value for name, value in patterns.items() if match(rf"(.*\.)?({name})$", module, self.path))
        return next(found, patterns.get(module, default))


def read_lora_config(path: Path) -> LoraConfig:
    """Read and check an adapter_config.json.

    Raises CorruptModelError for what PEFT cannot have written, UnsupportedModelError, by name, for what is not LoRA,
    for an adapter whose base was changed before training, and for every key that is not known.
    """
    values = read_object(path)
    _check_supported(values, path)
    _check_values(values, path)
    layers = values.get("layers_to_transform")
    return LoraConfig(
        path=path,
        r=values["r"],
        lora_alpha=float(values["lora_alpha"]),
        target_modules=_names(values["target_modules"]),
        exclude_modules=_names(values.get("exclude_modules")),
        layers_to_transform=(layers,) if isinstance(layers, int) else tuple(layers or ()),
        layers_pattern=_as_tuple(values.get("layers_pattern")),
        modules_to_save=_as_tuple(values.get("modules_to_save")),
        rank_pattern=values.get("rank_pattern") or {},
        alpha_pattern={name: float(alpha) for name, alpha in (values.get("alpha_pattern") or {}).items()},
        bias=values.get("bias", "none"),
        task_type=values.get("task_type"),
        **{flag: bool(values.get(flag)) for flag in FLAGS},
    )


def sort_tensors(names: Iterable[str]) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """Sort an adapter's tensors -> module: {part: tensor}, and base tensor: the tensor that replaces it.

    A part is "lora_A", "lora_B", "lora_B.bias", "lora_embedding_A", "lora_embedding_B" or "lora_magnitude_vector".
    Raises CorruptModelError when two tensors are the same part of the same module.
    """
    parts: dict[str, dict[str, str]] = {}
    replacements: dict[str, str] = {}
    for name in names:
        module = PREFIX.sub("", name)
        if found := PART.fullmatch(module):
            into, key = parts.setdefault(found["module"], {}), found["part"]
            key += ".bias" if found["kind"] == "bias" else ""
        else:
            into, key = replacements, WRAPPER.sub("", module)
        if key in into:
            raise CorruptModelError(f"{name!r} and {into[key]!r} are the same part: save one adapter in one file")
        into[key] = name
    return parts, replacements


def _check_supported(values: Mapping[str, Any], path: Path) -> None:
    """Refuse what would change the tensors' meaning and is not implemented, and every key that is not known."""
    if values.get("peft_type") != "LORA":
        raise UnsupportedModelError(f"{path}: peft_type={values.get('peft_type')!r} is not implemented; 'LORA' is")
    if unknown := sorted(key for key, value in values.items() if value and key not in KNOWN):
        pairs = ", ".join(f"{key}={values[key]!r}" for key in unknown)
        raise UnsupportedModelError(f"{path}: {pairs} is not implemented; merge with PEFT, then convert the result")
    if (bias := values.get("bias", "none")) not in ("none", "all", "lora_only"):
        raise UnsupportedModelError(f"{path}: bias={bias!r} is not implemented; 'none', 'all' and 'lora_only' are")
    init = values.get("init_lora_weights", True)
    if not isinstance(init, bool | NoneType) and str(init).lower() not in INITS:
        raise UnsupportedModelError(
            f"{path}: init_lora_weights={init!r} may have changed the base's weights before training, so the adapter "
            "does not fit the published base; save it with path_initial_model_for_weight_conversion, or merge with PEFT"
        )


def _check_values(values: Mapping[str, Any], path: Path) -> None:
    """Refuse values that PEFT cannot have written."""
    for key, types in TYPES.items():
        if type(value := values.get(key)) not in types:
            kinds = " or ".join("null" if kind is NoneType else kind.__name__ for kind in types)
            raise CorruptModelError(f"{path}: {key}={value!r} must be {kinds}; save the adapter again")
        element = int if key == "layers_to_transform" else str
        if isinstance(value, list) and any(type(item) is not element for item in value):
            raise CorruptModelError(f"{path}: {key}={value!r} must hold {element.__name__}; save the adapter again")
    ranks = [values["r"], *(values.get("rank_pattern") or {}).values()]
    if not all(type(rank) is int and 0 < rank < LARGEST_RANK for rank in ranks):
        raise CorruptModelError(f"{path}: ranks {ranks} must be whole numbers above 0; save the adapter again")
    alphas = [values["lora_alpha"], *(values.get("alpha_pattern") or {}).values()]
    if not all(type(alpha) in (int, float) and abs(alpha) < LARGEST_ALPHA for alpha in alphas):
        raise CorruptModelError(f"{path}: alphas {alphas} must be numbers; save the adapter again")


def _names(value: list[str] | str | None) -> Names:
    return value if isinstance(value, str) else tuple(value or ())


def _as_tuple(value: list[str] | str | None) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) and value else tuple(value or ())
