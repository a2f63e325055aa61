"""The command info: a model's spec, in a few lines for people; `edge_embed.json` has all of it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import Any

from edge_embed.errors import printable
from edge_embed.loading.find import find_model
from edge_embed.loading.request import load_request
from edge_embed.progress.screen import paint
from edge_embed.spec.model import ModelSpec
from edge_embed.spec.weights import Weights

NAME = 13  # letters of a fact's name, and the space behind it


def configure(commands: Any, default: str) -> None:
    """Add the command to the parser's; `default` is the model where none is named."""
    info = commands.add_parser("info", help="show what a model is")
    info.add_argument("model", nargs="?", default=default, metavar="MODEL", help="default: %(default)s")
    info.add_argument("--json", action="store_true", help="print the whole edge_embed.json")
    info.set_defaults(run=_info)


def _info(args: argparse.Namespace) -> None:
    with find_model(load_request(args.model)) as found:
        spec = found.model.spec
    if args.json:
        print(printable(spec.to_json().rstrip()))
        return
    for line in describe(spec).splitlines():
        name, value = line[:NAME], line[NAME:]
        print(paint(name, "bold", sys.stdout) + printable(value))


def describe(spec: ModelSpec) -> str:
    """Say what a model takes, gives and needs: a line for each fact that it states, golden vectors left out."""
    return "\n".join(f"{name:{NAME - 1}} {' '.join(str(value).splitlines())}" for name, value in _facts(spec))


def _facts(spec: ModelSpec) -> Iterator[tuple[str, object]]:
    yield "name", spec.name
    yield "architecture", spec.architecture
    yield "dimensions", _dimensions(spec)
    yield "max tokens", spec.max_tokens
    without = "" if spec.include_prompt else " without the prompt"
    dense = "".join(f", {one.activation} of {one.in_features} x {one.out_features}" for one in spec.dense)
    yield "pooling", f"{spec.pooling}{without}{dense}, {'normalised' if spec.normalize else 'not normalised'}"
    if spec.task or spec.tasks:
        yield "task", f"{spec.task or 'none chosen'}, of {', '.join(sorted(spec.tasks)) or spec.task}"
    for name, template in spec.prompts.items():
        yield "prompt", f"{name}{' (default)' if name == spec.default_prompt else ''}: {template!r}"
    if spec.image is not None:
        height, width = spec.image.size
        yield "images", f"{width} x {height} pixels{' a tile' if spec.image.pinpoints else ''}"
    for weights in spec.weights:
        yield "weights", _weights(weights)
    for key in ("license", "source", "revision", "fingerprint"):
        if value := getattr(spec, key):
            yield key, value


def _dimensions(spec: ModelSpec) -> str:
    shorter = sorted({*spec.matryoshka_dims} - {spec.dim}, reverse=True)
    return f"{spec.dim}, can be cut to {', '.join(map(str, shorter))}" if shorter else str(spec.dim)


def _weights(weights: Weights) -> str:
    sizes = [file.size for file in weights.files]
    name = f"{weights.format}:{weights.level}{'' if weights.part == 'text' else f' ({weights.part}s)'}"
    known = [f"{sum(filter(None, sizes)) / 1e6:,.1f} MB"] if all(sizes) else []
    if weights.fidelity is not None:
        known.append(f"cosine to float32 at least {min(weights.fidelity.cosines):.4f}")
    return ", ".join([name, *known])
