"""What a model is, as data: `ModelSpec` <-> `edge_embed.json`, the only contract between converter and runtime.

Knows names, numbers and templates; knows no file format but its own, and no code that computes a vector.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from edge_embed.errors import CorruptModelError, InputError, UnsupportedModelError, listing

from .decoding import decode, encode
from .dense import Dense, chain_fault
from .fill import Fill, unfit
from .golden import Golden, GoldenImage
from .image import ImageSpec
from .image import check as check_image
from .names import model_name, relative_path
from .sample_image import FIRST, NEWEST
from .values import LARGEST, parse
from .weights import LEVELS, Weights

FILE_NAME = "edge_embed.json"
FORMAT = 1
TEXT = "{text}"  # where a prompt template takes the text
IMAGE = "{image}"  # where that of a model which reads images among its tokens takes the image

Pooling = Literal["last", "first", "mean", "max", "weightedmean", "mean_sqrt_len"]
Side = Literal["query", "document"]
Kind = Literal["text", "image", "composed"]  # of an input: a text, an image, or an image with a text
DECIDED = {"architecture", "dense", "dim", "fingerprint", "golden", "golden_pictures", "weights"}  # by the weights
Suffix = Literal["query", "passage", "document"]  # of a task's name: which side's prompt is the default
SUFFIXES: dict[Suffix, Side] = {"query": "query", "passage": "document", "document": "document"}


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """State everything about a model that the runtime must know and the weights do not say.

    `prompts` maps a name to a template in which `{text}` stands for the text. `tasks` maps a task to the prompt's name
    for each side. `max_tokens` counts prompt and closing token. `fingerprint` names the vector space: vectors with the
    same fingerprint may be compared, whatever backend and level made them.

    With `image_token` the model reads an image as rows among its tokens, in the place of that token: then `{image}`
    stands for the image in templates, and `image_prompt` and `composed_prompt` name those of an image and of
    an image with a text. Without, images have a tower of their own, and no prompt.

    Without `include_prompt` the tokens of a prompt before the text are not pooled. `dense` are the modules that follow
    pooling, the last of which gives `dim` numbers; what is pooled has `width`. Texts are read in lower case where
    `lower_case` says so, and filled up as `fill` does.

    >>> spec = ModelSpec(name="m", architecture="bert", dim=8, max_tokens=9, pooling="mean", normalize=True)
    >>> ModelSpec.from_json(spec.to_json()) == spec
    True
    """

    name: str
    architecture: str
    dim: int
    max_tokens: int
    pooling: Pooling
    normalize: bool
    matryoshka_dims: tuple[int, ...] = ()
    attention: Literal["full", "causal"] | None = None
    padding_side: Literal["right", "left"] = "right"
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str | None = None
    task: str | None = None
    tasks: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    weights: tuple[Weights, ...] = ()
    license: str | None = None
    source: str | None = None
    revision: str | None = None
    fingerprint: str | None = None
    golden: tuple[Golden, ...] = ()
    golden_images: tuple[GoldenImage, ...] = field(default=(), metadata={"key": "golden_pictures"})
    image: ImageSpec | None = None
    image_token: str | None = None
    image_prompt: str | None = None
    composed_prompt: str | None = None
    include_prompt: bool = field(default=True, metadata={"optional": True})
    dense: tuple[Dense, ...] = field(default=(), metadata={"optional": True})
    fill: Fill | None = field(default=None, metadata={"optional": True})
    lower_case: bool = field(default=False, metadata={"optional": True})

    def __repr__(self) -> str:
        """Show what the spec states, in brief: weights by name, and no golden vectors, which take 13 kB."""
        shown = {key: value for key, value in vars(self).items() if not key.startswith("golden") and value}
        if shown.pop("include_prompt", None) is None:
            shown["include_prompt"] = False
        shown["weights"] = [f"{one.format}:{one.level}" for one in self.weights]
        return f"ModelSpec({', '.join(f'{key}={value!r}' for key, value in shown.items())})"

    @property
    def width(self) -> int:
        """How many numbers a row of the engine has, and what is pooled of it."""
        return self.dense[0].in_features if self.dense else self.dim

    @property
    def pooled_rows(self) -> Literal["last", "first", "mean"]:
        """Which rows an engine must give, as a pooling that needs these: `mean` stands for all of them."""
        if self.pooling == "last" or (self.pooling == "first" and self.include_prompt):
            return self.pooling
        return "mean"

    def template(
        self, prompt_name: str | None, prompt: str | None, side: Side | None = None, kind: Kind = "text"
    ) -> str:
        """Return the template for one call: `prompt` as given, else the named one, else the side's, else the default.

        A `prompt` without `{text}` and `{image}` is a prefix of the text. Raises InputError when both are given, the
        name is unknown, or the prompt takes the text twice.
        """
        if prompt is not None:
            if prompt_name is not None:
                raise InputError(f"prompt_name={prompt_name!r} and prompt={prompt!r} were both given: give one of them")
            if prompt.count(TEXT) > 1:
                raise InputError(
                    f"prompt={prompt!r} has {TEXT} {prompt.count(TEXT)} times: a template takes the text once, as a "
                    "prefix in sentence-transformers does"
                )
            places = TEXT in prompt or (self.image_token is not None and IMAGE in prompt)
            return prompt if places else prompt + TEXT
        name = self._default_prompt(side, kind) if prompt_name is None else prompt_name
        if name is None:
            return TEXT
        if name not in self.prompts:
            raise InputError(f"unknown prompt {name!r}: {self.name} has {listing(self.prompts)}")
        return self.prompts[name]

    def _default_prompt(self, side: Side | None, kind: Kind) -> str | None:
        if kind != "text":
            return self.image_prompt if kind == "image" else self.composed_prompt
        return (self._side_prompt(side) if side else None) or self.default_prompt

    def _side_prompt(self, side: Side) -> str | None:
        if self.task is not None and self.task in self.tasks:
            return self.tasks[self.task].get(side)
        return side if side in self.prompts else None

    def pick_dim(self, truncate_dim: int | None) -> int:
        """Return the dimension to keep; raise InputError unless the model was trained to be cut there."""
        if truncate_dim is None or truncate_dim == self.dim:
            return self.dim
        if truncate_dim not in self.matryoshka_dims:
            allowed = sorted({*self.matryoshka_dims, self.dim})
            raise InputError(f"truncate_dim={truncate_dim!r}: {self.name} was trained for {allowed} only")
        return truncate_dim

    def to_json(self) -> str:
        """Write the spec as the text of `edge_embed.json`."""
        return json.dumps({"format": FORMAT, **encode(self)}, indent=2, ensure_ascii=False) + "\n"

    @staticmethod
    def from_json(text: str, where: Path | str = FILE_NAME) -> ModelSpec:
        """Read the text of `edge_embed.json`; unknown, missing or ill-typed keys raise CorruptModelError."""
        data = parse(text, where)
        if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
            raise UnsupportedModelError(f"{where}: `format` is not {FORMAT}; another version of edge_embed wrote it")
        spec: ModelSpec = decode(ModelSpec, data, str(where))
        _check(spec, str(where))
        return spec

    @staticmethod
    def read(path: Path) -> ModelSpec:
        """Read a folder's `edge_embed.json`; raise CorruptModelError when that cannot be done."""
        try:
            return ModelSpec.from_json(path.read_text("utf-8"), path)
        except (OSError, UnicodeDecodeError) as error:
            raise CorruptModelError(f"{path} cannot be read: {error}") from error


def with_task(spec: ModelSpec, task: str | None) -> ModelSpec:
    """Set the task, and by its suffix (`retrieval.query`, `.passage`, `.document`) the default prompt.

    A suffix is known where a task's two sides have prompts of their own. Raises InputError for a task that the model
    does not have, and for none where it has several; lists those that exist.
    """
    known: dict[str, tuple[str, Side | None]] = {}
    for name in {*spec.tasks, *([spec.task] if spec.task else [])}:
        known[name] = (name, None)
        sides = spec.tasks.get(name, {})
        if sides.get("query") != sides.get("document"):
            known |= {f"{name}.{suffix}": (name, side) for suffix, side in SUFFIXES.items()}
    if task is None:
        if spec.task is None and spec.tasks:
            raise InputError(f"{spec.name} has weights for several tasks: pass task=, one of {listing(known)}")
        return spec
    if task not in known:
        raise InputError(f"unknown task {task!r}: {spec.name} has {listing(known)}")
    name, suffix_side = known[task]
    prompt = spec.tasks[name].get(suffix_side, spec.default_prompt) if suffix_side else spec.default_prompt
    return replace(spec, task=name, default_prompt=prompt)


def with_overrides(spec: ModelSpec, values: Mapping[str, Any]) -> ModelSpec:
    """Replace values of a spec by keys of edge_embed.json, which win; the fingerprint goes if they change the space.

    Raises InputError for what `edge_embed.json` could not hold, and for what the weights decide.
    """
    if not values:
        return spec
    if decided := DECIDED & values.keys():
        raise InputError(f"spec: {listing(decided)} is what the weights decide: leave it out")
    new = with_values(spec, values)
    same = space_fingerprint(new, "", "") == space_fingerprint(spec, "", "")
    return new if same else replace(new, fingerprint=None)


def with_values(spec: ModelSpec, values: Mapping[str, Any]) -> ModelSpec:
    """Replace values by those of parsed JSON; raise InputError for what `edge_embed.json` could not hold."""
    try:
        return ModelSpec.from_json(json.dumps({**json.loads(spec.to_json()), **values}), "spec")
    except (CorruptModelError, UnsupportedModelError, TypeError, ValueError, RecursionError) as error:
        raise InputError(str(error)) from error


def space_fingerprint(spec: ModelSpec, weights_id: str, tokenizer_id: str) -> str:
    """Return 32 hex digits that name the vector space: weights before quantisation, tokenizer, and their use."""
    names = [
        "task",
        "prompts",
        "default_prompt",
        "tasks",
        "pooling",
        "dim",
        "matryoshka_dims",
        "normalize",
        "max_tokens",
    ]
    if spec.image_token is not None:
        names += ["image_token", "image_prompt", "composed_prompt", "image"]
    names += [] if spec.include_prompt else ["include_prompt"]
    names += [name for name in ("fill", "lower_case") if getattr(spec, name)]
    facts = {name: getattr(spec, name) for name in names} | {"weights": weights_id, "tokenizer": tokenizer_id}
    if spec.dense:
        facts["dense"] = [(one.in_features, one.out_features, one.bias, one.activation) for one in spec.dense]
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=vars).encode()).hexdigest()[:32]


def _check(spec: ModelSpec, where: str) -> None:
    """Refuse values of the right type that cannot be right."""
    model_name(spec.name, f"{where}: name")
    for file in (file for weights in spec.weights for file in weights.files):
        relative_path(file.path, f"{where}: weights.files.path")
    wrong = [name for name in ("dim", "max_tokens") if not 1 <= getattr(spec, name) <= LARGEST]
    wrong += ["matryoshka_dims" for dim in spec.matryoshka_dims if not 0 < dim <= spec.dim]
    wrong += ["dense" for one in spec.dense if not (0 < one.in_features <= LARGEST and 0 < one.out_features <= LARGEST)]
    wrong += [f"prompts.{name}" for name, template in spec.prompts.items() if not _takes_input(template, spec)]
    wrong += [f"{key}_prompt" for key in ("default", "image", "composed") if _unfit_default(spec, key)]
    wrong += ["image_token"] * (spec.image_token == "") + ["fill"] * unfit(spec.fill, spec.max_tokens)
    wrong += [f"tasks.{task}" for task, sides in spec.tasks.items() if not set(sides.values()) <= set(spec.prompts)]
    wrong += ["weights" for weights in spec.weights if not weights.files]
    wrong += ["weights.level" for weights in spec.weights if weights.level not in LEVELS[weights.format]]
    wrong += ["weights.files.size" for w in spec.weights for file in w.files if file.size is not None and file.size < 0]
    wrong += ["golden.max_tokens" for one in spec.golden if not 1 <= one.max_tokens <= LARGEST]
    wrong += ["golden_pictures.seed" for one in spec.golden_images if not 0 <= one.seed <= LARGEST]
    wrong += ["golden_pictures.drawing" for one in spec.golden_images if not FIRST <= one.drawing <= NEWEST]
    known = {"text": len(spec.golden), "image": len(spec.golden_images)}
    wrong += ["fidelity" for w in spec.weights if w.fidelity and len(w.fidelity.cosines) != known.get(w.part)]
    if wrong:
        raise CorruptModelError(f"{where}: impossible value of {listing(set(wrong))}")
    for module in spec.dense:
        relative_path(module.file.path, f"{where}: dense.file.path")
    if fault := chain_fault(spec.dense, spec.dim):
        raise CorruptModelError(f"{where}: {fault}")
    if spec.image is not None:
        check_image(spec.image, where)


def _takes_input(template: str, spec: ModelSpec) -> bool:
    """Whether a template has one place for a text, for an image where the model reads images so, or one for each."""
    if spec.image_token is None:
        return template.count(TEXT) == 1
    return template.count(IMAGE) <= 1 and template.count(TEXT) <= 1 and (TEXT in template or IMAGE in template)


def _unfit_default(spec: ModelSpec, key: str) -> bool:
    name: str | None = getattr(spec, f"{key}_prompt")
    if name is None:
        return False
    template = spec.prompts.get(name, "")
    found = (TEXT in template, spec.image_token is not None and IMAGE in template)
    return found != {"default": (True, False), "image": (False, True), "composed": (True, True)}[key]
