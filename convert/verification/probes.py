"""Texts to verify with: short, empty, in many languages and scripts, and longer than the model takes."""

from __future__ import annotations

from pathlib import Path

LONGEST = 512  # tokens of a probe that are embedded: a cut shows no more at 8,192, and attention takes its square


def probes(max_tokens: int) -> list[str]:
    """Return the probe texts, among them a few long ones, the last beyond `max_tokens`, or beyond LONGEST."""
    lines = Path(__file__).with_name("probes.txt").read_text("utf-8").splitlines()
    paragraph = " ".join(lines)
    return ["", *lines, " ".join(lines[:8]), paragraph, (paragraph + " ") * (min(max_tokens, LONGEST) // 500 + 1)]
