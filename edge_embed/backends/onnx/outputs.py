"""Which of a graph's outputs holds the rows that a spec's pooling reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge_embed.architectures import outputs
from edge_embed.errors import UnsupportedModelError, listing
from edge_embed.spec.model import ModelSpec

from .names import HIDDEN, ONE_ROW, POOLED


def choose_output(names: Sequence[str], path: Path, spec: ModelSpec) -> str:
    """Choose what a graph gives: the rows themselves, where a graph's own pooling would do other than the spec.

    sentence-transformers' exports give with Dense modules what comes after them, and know nothing of a prompt. Of an
    architecture that pools by itself, rows are of no use.
    """
    own = outputs(spec.architecture, "text")
    apart = spec.dense or not spec.include_prompt
    if apart and not any(name in names for name in HIDDEN):
        why = "Dense modules follow its pooling" if spec.dense else "include_prompt=false pools without the prompt"
        raise UnsupportedModelError(
            f"{path} pools inside, and {why}: export it with an output {HIDDEN[0]!r}, or convert the checkpoint"
        )
    # Ours also gives out its one row in the place of every token.
    wanted = (ONE_ROW, *own) if own else HIDDEN if apart else (ONE_ROW, *HIDDEN, *POOLED)
    for name in wanted:
        if name in names:
            return name
    if len(names) == 1 and not own:
        return names[0]
    raise UnsupportedModelError(f"{path}: none of the outputs {listing(names)} is one of {listing(wanted)}")
