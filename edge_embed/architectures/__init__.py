"""What a model_type's config.json means: one architecture, one file, found by its model_type.

Each file has

- ATTENTION, "full" or "causal", which a config with `causal` may contradict; TABLE, the name of its embedding table;
- PREFIXES, what some checkpoints put before a tensor's name; UNUSED, how the names of tensors begin that stay unread;
- read(config) -> Config, the numbers of the part that reads texts, checked: it raises for values that would change the
  vectors and are not implemented.

One that takes images has IMAGE_PREFIXES, read_image(config) and image_unused(config), too, with `image_size` among its
numbers. One whose config.json is nested, leaves gaps or counts otherwise has text_values(config), the numbers of its
text part under the usual names. One whose layers may see a part of a text alone, or whose positions are scaled beyond
some length, has window(config), the longest text of which neither is so, or None. One that pools by itself, so that its
graph gives a text's one vector, has own_values(config, tokenizer), the keys of edge_embed.json that it decides
(`tokenizer` is tokenizer_config.json), and OUTPUTS, by part what graphs that transformers' classes were exported to
call the vector, the first that is there.

Some checkpoints of an architecture are published otherwise than transformers has it, or with code of their own. Its
file then has ALIAS, values of config.json by which such are known; RENAMED, what their tensors are called here; and
settled(config, tensors), config.json as `read` takes it, with what the tensors' names tell. Where LoRA factors of
tasks lie among the tensors, tasks(config) lists them.

Files that begin with an underscore are shared; a `-` in a model_type is a `_` in the name of its file.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from functools import cache
from types import ModuleType
from typing import Any, Literal

from edge_embed.errors import InputError, UnsupportedModelError, listing
from edge_embed.spec.values import shown, whole
from edge_embed.spec.weights import Part

from . import _omni
from ._left_out import LEFT_OUT
from ._renamed import Renamed

# Published under a model_type of its own code: a tensor that ends so is the first architecture's, otherwise the second.
PRIVATE = dict.fromkeys(("jina_embeddings_v5", *_omni.TYPES), ("self_attn.q_norm.weight", "qwen3", "eurobert"))
# What is known of architectures that have no file.
REFUSED = {
    "siglip2": "is SigLIP 2 for images of any proportions (NaFlex), which is not implemented; its checkpoints of one "
    "resolution, such as google/siglip2-base-patch16-224, whose model_type is 'siglip', are",
}

Attention = Literal["full", "causal"]
OWN_CODE = ("AutoModel", "AutoModelForCausalLM")  # keys of `auto_map` that name a model's own classes


@cache
def names(package: str = __name__) -> tuple[str, ...]:
    """List the architectures that a package has a file for; those that begin with an underscore are shared."""
    found = (module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__))
    return tuple(sorted(name for name in found if not name.startswith("_")))


def architecture(model_type: str) -> ModuleType:
    """Return the module of an architecture; raise UnsupportedModelError, listing those that exist."""
    known = {**LEFT_OUT, **REFUSED}
    return implementation(__name__, model_type, known.get(model_type, "is not implemented; {known} are"))


def implementation(package: str, model_type: str, absent: str, advice: str = "") -> ModuleType:
    """Return a package's file of an architecture: what it means, or how one engine or format has it.

    Where there is none, raises UnsupportedModelError with `absent`, in which `{known}` stands for those that exist.
    """
    if (name := file_name(model_type)) not in names(package):
        known = listing(names(package))
        raise UnsupportedModelError(f"model_type {model_type!r} {absent.format(known=known)}{advice}")
    return importlib.import_module(f"{package}.{name}")


def file_name(model_type: str) -> str:
    """Return what the file of an architecture is called: `xlm_roberta` for model_type `xlm-roberta`."""
    return model_type.replace("-", "_")


def parts(model_type: str) -> list[Part]:
    """List an architecture's parts: "text", and "image" where it takes images."""
    return ["text", "image"] if hasattr(architecture(model_type), "read_image") else ["text"]


def own_values(config: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of edge_embed.json that an architecture decides by itself, and raise for those of REFUSED."""
    kind = config.get("model_type")
    if not isinstance(kind, str) or not (kind in REFUSED or pools(kind)):
        return {}
    found: dict[str, Any] = architecture(kind).own_values(config, tokenizer)
    return found


def pools(model_type: str) -> bool:
    """Whether an architecture pools by itself."""
    return file_name(model_type) in names() and hasattr(architecture(model_type), "own_values")


def outputs(model_type: str, part: Part) -> tuple[str, ...]:
    """List what others' graphs of an architecture that pools by itself call a part's vector; none of another one."""
    return architecture(model_type).OUTPUTS[part] if pools(model_type) else ()


def model_type_of(config: Mapping[str, Any]) -> Any:
    """Return the architecture that config.json is of, as far as its values tell: its model_type, or another's alias."""
    for name in names():
        alias = getattr(architecture(name), "ALIAS", None)
        if alias and all(config.get(key) == value for key, value in alias.items()):
            return name
    return config.get("model_type")


def settled(config: Mapping[str, Any], tensors: Iterable[str]) -> dict[str, Any]:
    """Return config.json as its architecture's `read` takes it, with the model_type that it has here."""
    listed = list(tensors)
    kind = public_type(model_type_of(config), listed)
    known: Any = _known({"model_type": kind})
    found = known.settled(config, listed) if hasattr(known, "settled") else config
    return {**found, "model_type": kind}


def renamed(model_type: str) -> tuple[Renamed, ...]:
    """Return what the tensors of an architecture's other checkpoints are called here."""
    rules: tuple[Renamed, ...] = getattr(architecture(model_type), "RENAMED", ())
    return rules


def tasks_within(config: Mapping[str, Any]) -> tuple[str, ...]:
    """List the tasks whose LoRA factors lie among a checkpoint's own tensors; raise CorruptModelError for no names."""
    known: Any = _known(config)
    found: tuple[str, ...] = known.tasks(config) if hasattr(known, "tasks") else ()
    return found


def public_type(model_type: str, tensors: Iterable[str]) -> str:
    """Return the architecture behind a model_type of a model's own code, told by a tensor's name, or the model_type."""
    if model_type not in PRIVATE:
        return model_type
    ending, first, second = PRIVATE[model_type]
    return first if any(name.endswith(ending) for name in tensors) else second


def attention(config: Mapping[str, Any]) -> Attention:
    """Return whether a token attends to those before it alone, by config.json of a known architecture; raises as it."""
    known = architecture(config["model_type"])
    stated: Attention = known.ATTENTION
    causal = getattr(known.read(config), "causal", stated == "causal")
    return "causal" if causal else "full"


def tables() -> tuple[str, ...]:
    """List the names of embedding tables."""
    return tuple(sorted({architecture(name).TABLE for name in names()}))


def text_values(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return config.json's values of the part that reads texts, whether they are nested or not, known or not.

    Raises CorruptModelError for a nested part of a known architecture that is no object.
    """
    known = _known(config)
    if known is not None and hasattr(known, "text_values"):
        found: Mapping[str, Any] = known.text_values(config)
        return found
    nested = config.get("text_config")
    return {**(nested if isinstance(nested, Mapping) else {}), **config}


def with_attention(config: Mapping[str, Any], stated: Attention | None) -> dict[str, Any]:
    """Return config.json with the attention that a model's description states, where it leaves that open.

    It does for causal architectures, by `is_causal`. Raises UnsupportedModelError where nothing states it and the
    config names code of its own, which may well attend to both sides: GritLM's does, and KaLM-embedding's v2.
    """
    known = _known(config)
    if known is None or known.ATTENTION == "full" or config.get("is_causal") is not None or "text_config" in config:
        return dict(config)
    own = config.get("auto_map")
    named = [own[key] for key in OWN_CODE if key in own] if isinstance(own, Mapping) else []
    if stated is None and named:
        raise UnsupportedModelError(
            f"config.json: auto_map names the model's own code {shown(named[0])}, which may attend to both sides or "
            "to one, and config.json has no is_causal: say it as the model's card does, "
            'spec={"attention": "full"} or "causal"'
        )
    return dict(config) if stated in (None, attention(config)) else {**config, "is_causal": stated == "causal"}


def check_window(config: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Refuse a `max_tokens` that a user states beyond what every format computes of a model: see `window`.

    Raises InputError.
    """
    known, stated = _known(config), values.get("max_tokens")
    window = known.window(config) if known is not None and hasattr(known, "window") else None
    if window is not None and isinstance(stated, int) and stated > window:
        raise InputError(
            f"max_tokens={stated}: layers of this model see {window} tokens at a time (sliding_window), or positions "
            f"are scaled beyond, which is not implemented: pass {window} at most"
        )


def dim(config: Mapping[str, Any]) -> int:
    """Return the length of a vector that config.json states; 0 if it states none."""
    values = text_values(config)
    stated = config.get("hidden_size") or values.get("embed_dim") or values.get("hidden_size")
    return whole({"hidden_size": stated}, "hidden_size", "config.json") if stated else 0


def _known(config: Mapping[str, Any]) -> ModuleType | None:
    """Return the file of the architecture that config.json is of; None where there is none."""
    kind = model_type_of(config)
    return architecture(kind) if isinstance(kind, str) and file_name(kind) in names() else None
