"""Which weights of a format are kept: those within their bounds, and those below them whose loss is accepted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from edge_embed.errors import BackendError
from edge_embed.spec.golden import Fidelity, Loss
from edge_embed.spec.model import ModelSpec
from edge_embed.spec.weights import Part, Weights, image_part

from ..export import Bound, exporter
from .goldens import golden_cosines
from .portable import portable_shortfall
from .verify import Reference, Result, measure

Results = dict[tuple[Part, str], Result]  # by part and level
PARTS: dict[Part, str] = {"text": "", "image": " (image part)"}


@dataclass
class Verdicts:
    """Weights with their fidelity, what was measured of each, by part and level, and what is told of those refused."""

    kept: list[Weights] = field(default_factory=list)
    results: Results = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)


def judge(
    folder: Path,
    spec: ModelSpec,
    weights: Sequence[Weights],
    reference: Reference,
    accept_loss: bool,
    report: Callable[[str], object],
) -> Verdicts:
    """Measure weights that lie in the folder, and remove the files of those that are not kept.

    A text part whose image part is refused is refused with it.
    """
    out = Verdicts()
    for one in sorted(weights, key=lambda one: one.part == "text"):  # images first: texts depend on them
        image = image_part(weights, one) if one.part == "text" else None
        lost = image is not None and ("image", image.level) not in out.results
        why = "its image part was not" if lost else _measure(folder, spec, one, reference, accept_loss, out)
        name = one.name + PARTS[one.part]
        if why is not None:
            out.refused.append(f"{name} was not kept: {why}")
            report(out.refused[-1])
            for file in one.files:
                (folder / file.path).unlink()
            continue
        result = out.results[one.part, one.level]
        how = "kept below its bound" if result.shortfall else "verified"
        report(f"{name} {how}: mean cosine {result.loss.mean:.5f}, minimum {result.loss.min:.5f}")
    order = [(one.part, one.name) for one in weights]
    out.kept.sort(key=lambda one: order.index((one.part, one.name)))
    return out


def _measure(
    folder: Path, spec: ModelSpec, one: Weights, reference: Reference, accept_loss: bool, out: Verdicts
) -> str | None:
    """Note weights and what was measured of them, or return why they are refused."""
    try:
        bound = exporter(one.format).BOUNDS[one.level]  # the image part beside GGUF files is ONNX
        result = measure(folder, spec, one, reference[one.part], bound)
        portable = portable_shortfall(folder, spec, one, reference[one.part], _no_worse(result.loss))
    except BackendError as error:  # an engine that fails on them, or vectors that are not finite: no loss to accept
        return str(error)
    if result.shortfall is not None and not accept_loss:
        return result.shortfall
    if portable is not None:
        return portable
    fidelity = Fidelity(
        cosines=golden_cosines(folder, spec, one),
        batch_deviation=max(result.allowed, result.loss.batch_deviation),
        accepted=result.loss if result.shortfall else None,
    )
    out.results[one.part, one.level] = result
    out.kept.append(replace(one, fidelity=fidelity))
    return None


def _no_worse(loss: Loss) -> Bound:
    """Return what is demanded of the same numbers by other operators: to lose at most twice what the level loses.

    Rounded activations fall on other steps: of all-MiniLM-L6-v2 at int8 the least cosine was 0.981 by ours and 0.977 by
    standard operators, and the mean the same, 0.9961.
    """
    return Bound(mean=loss.mean - (1 - loss.mean) - 1e-6, min=loss.min - (1 - loss.min) - 1e-5)
