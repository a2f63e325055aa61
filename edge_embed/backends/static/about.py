"""What NumPy is to tables of token vectors."""

from __future__ import annotations


def describe(features: frozenset[str]) -> tuple[tuple[str, ...], str | None]:
    """Return that tables are read and added up on the CPU; nothing is ever amiss with it."""
    return ("CPU",), None
