"""Which of a text's ids stay where it has too many."""

from __future__ import annotations


def truncate(content: list[int], room: int, truncation: str) -> list[int]:
    """Return at most `room` of the ids; "error" keeps the first, too: whoever asked for it raises."""
    if truncation == "start":
        return content[-room:]
    if truncation == "middle" and len(content) > room:
        return content[: room - room // 2] + content[len(content) - room // 2 :]
    return content[:room]


def keep_ends(content: list[int], room: int) -> list[int]:
    """Drop the middle that no policy will keep."""
    return content if len(content) <= 2 * room else content[:room] + content[-room:]
