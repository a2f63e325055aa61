"""Texts to verify with: short, empty, in many languages and scripts, and longer than the model takes."""

from __future__ import annotations

from pathlib import Path


def probes(max_tokens: int) -> list[str]:
    """Return the probe texts, among them a few long ones, the last beyond `max_tokens` (at most 512 are exercised)."""
    lines = Path(__file__).with_name("probes.txt").read_text("utf-8").splitlines()
    paragraph = " ".join(lines)
    return ["", *lines, " ".join(lines[:8]), paragraph, (paragraph + " ") * (min(max_tokens, 512) // 500 + 1)]
