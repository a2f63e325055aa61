"""Base checkpoint + adapter -> which adapter tensors change which base tensor, from names and shapes alone.

Refuses an adapter and a base that do not belong together. Reads no weights where the base can tell their shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import accumulate

from edge_embed.errors import CorruptModelError, UnsupportedModelError
from edge_embed.formats.peft import CONFIG, sort_tensors

from .adapters import Adapter
from .arrays import Array, shape_of

# One of the base and the model that the adapter was trained on may hold the other under such a name.
PREFIXES = ("model.", "bert.", "language_model.")
TABLE, HEAD = "embed_tokens.weight", "lm_head.weight"
OTHER_BASE = "merge into the base that the adapter was trained on"
UNTIE = f"store the base untied (tie_word_embeddings=false, {HEAD} of its own), train on that and merge into it"


@dataclass(frozen=True)
class Change:
    """What an adapter does to one base tensor. The strings are names of adapter tensors."""

    replacement: str | None = None  # takes the place of the base's tensor first
    factors: tuple[str, str] | None = None  # A (r, in), B (out, r): scale * B @ A is added
    bias: str | None = None  # (out,): scale times it is added
    magnitude: str | None = None  # (out,), DoRA: the L2 norm that each output's weights are brought to at the end
    scale: float = 1.0
    transposed: bool = False  # the base's weight is (in, out)


class Match:
    """Finds the base tensor of every adapter tensor. A path is what the adapter's model called a tensor or module."""

    def __init__(self, base: Mapping[str, Array], adapter: Adapter) -> None:
        self._base, self._adapter, self._config = base, adapter, adapter.config
        self._names = dict.fromkeys(base)
        self._parts, self._replacements = sort_tensors(adapter.tensors)
        self._base_prefix = self._path_prefix = ""  # what base names have in front of paths, or paths in front of names
        for path in [*(f"{module}.weight" for module in self._parts), *self._replacements]:
            if (name := self._find(path)) and name != path:
                self._base_prefix, self._path_prefix = name[: -len(path)], path[: -len(name)]

    def changes(self, *, tied: bool) -> dict[str, Change]:
        """Return base tensor: change. `tied`: config.json's tie_word_embeddings.

        Raises CorruptModelError where adapter and base contradict each other, UnsupportedModelError for what cannot be
        merged.
        """
        changes = {
            self._replaced_name(path, tensor): Change(replacement=tensor) for path, tensor in self._replacements.items()
        }
        self._check_saved(changes)
        names = [
            self._base_name(f"{module}.weight", next(iter(parts.values()))) for module, parts in self._parts.items()
        ]
        if len(changes) < len(self._replacements) or len(set(names)) < len(names):
            raise CorruptModelError("the adapter changes a base tensor twice, under two names; save one adapter a file")
        for module in self._modules():
            self._add_low_rank(module, changes)
        self._check_tied(changes, tied)
        return changes

    def _find(self, path: str) -> str | None:
        names = (path, *(prefix + path for prefix in PREFIXES), *(path.removeprefix(prefix) for prefix in PREFIXES))
        return next((name for name in names if name in self._names), None)

    def _path(self, name: str) -> str:
        return self._path_prefix + name.removeprefix(self._base_prefix)

    def _shown(self, tensor: str) -> str:
        return f"{tensor!r} {self._adapter.tensors.shape(tensor)}"

    def _base_name(self, path: str, tensor: str) -> str:
        """Return the base's name for the path that an adapter tensor changes."""
        if name := self._find(path):
            return name
        if path.endswith(HEAD):
            raise UnsupportedModelError(f"{self._shown(tensor)} changes {HEAD}, which the base ties or lacks; {UNTIE}")
        raise CorruptModelError(f"{self._shown(tensor)} has no place in the base, which has no {path!r}; {OTHER_BASE}")

    def _replaced_name(self, path: str, tensor: str) -> str:
        name = self._base_name(path, tensor)
        if (shape := shape_of(self._base, name)) != self._adapter.tensors.shape(tensor):
            raise CorruptModelError(f"{self._shown(tensor)} replaces {name!r}, which is {shape}; {OTHER_BASE}")
        return name

    def _check_saved(self, changes: Mapping[str, Change]) -> None:
        """Check that every module that PEFT saves whole (peft/utils/other.py: by the end of its path) is there."""
        ends = self._config.modules_to_save
        for name in self._names:
            modules = accumulate(self._path(name).split(".")[:-1], "{}.{}".format)
            if name not in changes and any(module.endswith(ends) for module in modules):
                raise CorruptModelError(
                    f"the adapter lacks {self._path(name)!r} for the base's {name!r} {shape_of(self._base, name)}, "
                    "which modules_to_save names; save the adapter again"
                )

    def _modules(self) -> list[str]:
        """List the modules with LoRA, after checking that the file's modules are those of target_modules."""
        weights = [name for name in self._names if name.endswith(".weight")]
        dims = {self._path(name).removesuffix(".weight"): len(shape_of(self._base, name)) for name in weights}
        targeted = [module for module in dims if self._config.targets(module, dims[module])]
        if self._config.all_linear:
            return list(dict.fromkeys([*targeted, *self._parts]))
        targets = self._config.target_modules
        for target in [targets] if isinstance(targets, str) else [(target,) for target in targets]:
            if not any(self._config.matches(target, module) for module in dims):
                meant = target if isinstance(target, str) else [*target]
                raise CorruptModelError(f"target_modules: no module of the base is called {meant!r}; {OTHER_BASE}")
        untargeted = [parts for module, parts in self._parts.items() if module not in targeted]
        if odd := [tensor for parts in untargeted for tensor in parts.values()]:
            raise CorruptModelError(
                f"{', '.join(map(self._shown, odd))}: {CONFIG} puts no LoRA there; save the adapter again"
            )
        return targeted

    def _add_low_rank(self, module: str, changes: dict[str, Change]) -> None:
        """Add a module's LoRA tensors to the changes of its weight and its bias, after checking their shapes."""
        name = self._base_name(f"{module}.weight", "")
        parts = self._parts.get(module, {})
        a, b = ("lora_embedding_A", "lora_embedding_B") if "lora_embedding_A" in parts else ("lora_A", "lora_B")
        transposed = a == "lora_embedding_A" or self._config.fan_in_fan_out
        self._check_shapes(module, name, (a, b), transposed)
        bias = self._find(f"{module}.bias")
        if bias and self._config.bias != "none" and bias not in changes:
            raise CorruptModelError(
                f"the adapter lacks {module + '.bias'!r} for {bias!r} {shape_of(self._base, bias)}, "
                f"which bias={self._config.bias!r} calls for; save the adapter again"
            )
        changes[name] = replace(
            changes.get(name, Change()),
            factors=(parts[a], parts[b]),
            magnitude=parts.get("lora_magnitude_vector"),
            scale=self._config.scale(module),
            transposed=transposed,
        )
        if added := parts.get("lora_B.bias"):
            if not bias:
                raise UnsupportedModelError(
                    f"{self._shown(added)} has no bias in the base to be added to, beside {name!r} "
                    f"{shape_of(self._base, name)}; run the adapter unmerged, with PEFT"
                )
            changes[bias] = replace(changes.get(bias, Change()), bias=added, scale=self._config.scale(module))

    def _check_shapes(self, module: str, name: str, factors: tuple[str, str], transposed: bool) -> None:
        """Check that a module has the parts that the config calls for, no other, each of the shape it must have."""
        shape, rank, parts = shape_of(self._base, name), self._config.rank(module), self._parts.get(module, {})
        if len(shape) != 2:
            raise UnsupportedModelError(f"{name!r} {shape} has LoRA; only linear layers and tables, 2-D, can be merged")
        out, into = reversed(shape) if transposed else shape
        expected: dict[str, tuple[int, ...]] = {factors[0]: (rank, into), factors[1]: (out, rank)}
        expected |= {"lora_magnitude_vector": (out,)} if self._config.use_dora else {}
        expected |= {"lora_B.bias": (out,)} if self._config.lora_bias else {}
        for part, wanted in expected.items():
            if part not in parts:
                raise CorruptModelError(
                    f"the adapter lacks {module}.{part} {wanted} for {name!r} {shape}; save the adapter again"
                )
            if self._adapter.tensors.shape(parts[part]) != wanted:
                raise CorruptModelError(
                    f"{self._shown(parts[part])} must be {wanted} for {name!r} {shape} at rank {rank}"
                    f"{', transposed' if transposed else ''}; {OTHER_BASE}"
                )
        if odd := [parts[part] for part in parts if part not in expected]:
            raise CorruptModelError(f"{self._shown(odd[0])} is of a kind that {CONFIG} denies; save the adapter again")

    def _check_tied(self, changes: Mapping[str, Change], tied: bool) -> None:
        """Refuse a change of the token table or the head where they are, or may be, one tensor."""
        touched = [name for name in changes if name == HEAD or name.endswith(TABLE)]
        headless = self._config.task_type != "CAUSAL_LM" and all(name == self._path(name) == TABLE for name in touched)
        if touched and (tied if HEAD in self._names else not headless):
            change = changes[touched[0]]
            tensor = change.replacement or (change.factors or ("",))[0]
            raise UnsupportedModelError(
                f"{self._shown(tensor)} changes {touched[0]!r} {shape_of(self._base, touched[0])}, while "
                f"{HEAD} is tied to the token table; {UNTIE}"
            )
