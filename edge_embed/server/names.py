"""What clients call models: `NAME`, `NAME:query`, `NAME:document`, `NAME:TASK`, and `NAME:latest`, as Ollama does."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, get_args

from edge_embed.errors import InputError, listing
from edge_embed.spec.model import SUFFIXES, ModelSpec, Side, with_task

from .ask import Card, Failure

NAME = re.compile(r"[\w.-]+(/[\w.-]+)*", re.ASCII)
LATEST = "latest"
Model = TypeVar("Model")


@dataclass(frozen=True, kw_only=True)
class Variant:
    """Which of a model's tasks is meant, None where it has but one, and which side, None where nobody said."""

    task: str | None
    side: Side | None


def split_argument(argument: str, what: str = "MODEL") -> tuple[str, str | None]:
    """Split `MODEL[=NAME]`; an existing path that holds `=` is taken whole. Raises InputError for a bad name."""
    reference, equals, name = argument.rpartition("=")
    if not equals or Path(argument).exists():
        return argument, None
    if not reference or not NAME.fullmatch(name):
        raise InputError(
            f"{argument!r}: expected {what} or {what}=NAME, where a name has letters, digits, '.', '-', '_'"
        )
    return reference, name


def find(models: Mapping[str, Model], name: str | None) -> tuple[Model, str | None]:
    """Return the model of a name, the first for none, and what is behind the colon; raise Failure if unknown."""
    if not name:
        return next(iter(models.values())), None
    if name in models:
        return models[name], None
    base, _, variant = name.partition(":")
    if base not in models or not variant:
        raise Failure(
            status=404,
            reason="no_model",
            message=f"no model {name!r:.80} here: there is {listing(models)}, each as NAME:query and NAME:document too",
            field="model",
        )
    return models[base], None if variant == LATEST else variant


def card_of(cards: Sequence[Card], name: str | None) -> Card:
    """Return the card of a name, the first for none; raise Failure for an unknown name and an unknown variant."""
    card, variant = find({card.name: card for card in cards}, name)
    known = variants(card.spec)
    if variant is not None and variant not in known:
        raise Failure(
            status=404,
            reason="no_model",
            message=f"the model {card.name} has no tag {variant!r:.80}: it has {', '.join([LATEST, *known])}",
            field="model",
        )
    return card


def resolve(
    spec: ModelSpec, variant: str | None, task: str | None, side: Side | None, purpose: str | None = None
) -> Variant:
    """Bring together what a model's name says behind its colon, and the task and the side of the request.

    `purpose` is a task that a model without tasks passes over, and one of other tasks where there is a side. Raises
    Failure where they contradict one another, or say no task where there are several; InputError for a task that
    the model does not have.
    """
    if variant in get_args(Side):
        if side not in (None, variant):
            raise _contradiction(f"the model's name ends in :{variant}, and the request says {side}")
        variant, side = None, next(known for known in get_args(Side) if known == variant)
    if variant is not None and variant not in known_tasks(spec):
        raise Failure(
            status=404,
            reason="no_model",
            message=f"the model {spec.name} has no variant {variant!r:.80}: it has {listing(variants(spec))}",
            field="model",
        )
    if not task and purpose and spec.tasks and (side is None or (not variant and purpose in spec.tasks)):
        task = purpose
    if variant and task and _base(spec, variant) != _base(spec, task):
        raise _contradiction(f"the model's name ends in :{variant}, and the request says the task {task}")
    suffixes = {_suffix(name) for name in (variant, task) if name} - {None}
    sides = {*suffixes, side} - {None}
    if len(sides) > 1:
        raise _contradiction("the task means one side, the request another")
    if spec.tasks and not (variant or task or spec.task):
        raise Failure(
            status=400,
            reason="bad_request",
            message=f"{spec.name} has weights for several tasks: name one, as NAME:TASK or by a field of the request, "
            f"of {listing(known_tasks(spec))}",
            field="model",
        )
    wanted = with_task(spec, variant or task or None).task
    return Variant(task=wanted if spec.tasks else None, side=next(iter(sides), None))


def known_tasks(spec: ModelSpec) -> list[str]:
    """List a model's tasks, those too that say a side."""
    names = {*spec.tasks, *([spec.task] if spec.task else [])}
    return sorted(names | {f"{name}.{suffix}" for name in names for suffix in SUFFIXES})


def variants(spec: ModelSpec) -> list[str]:
    """List what may stand behind a model's colon, in lists of models."""
    return [*get_args(Side), *sorted(spec.tasks)]


def _base(spec: ModelSpec, task: str) -> str | None:
    return with_task(spec, task).task


def _suffix(task: str) -> Side | None:
    return next((side for suffix, side in SUFFIXES.items() if task.endswith(f".{suffix}")), None)


def _contradiction(message: str) -> Failure:
    return Failure(status=400, reason="bad_request", message=f"{message}: say one of them", field="model")
