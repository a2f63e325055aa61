"""Words -> the ids of their pieces, as a model of `tokenizers` gives them; those that come again are remembered."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

Ids = list[int]
MOST = 20_000  # words that are remembered: texts repeat most of theirs
LONGEST = 64  # characters; longer words hardly ever come again


class Words(ABC):
    """Splits words into pieces; `longest` is the number of characters from which on a word takes too long."""

    longest: int

    def __init__(self) -> None:
        self._known: dict[str, Ids] = {}

    def pieces(self, words: Sequence[str]) -> Mapping[str, Ids]:
        """Return the ids of each word's pieces."""
        known = self._known
        found = {word: known[word] for word in words if word in known}
        new = [word for word in dict.fromkeys(words) if word not in found]
        if new:
            found |= zip(new, self._split(new), strict=True)
            if len(known) > MOST:
                known = self._known = {}
            known.update((word, found[word]) for word in new if len(word) <= LONGEST)
        return found

    @abstractmethod
    def _split(self, words: Sequence[str]) -> list[Ids]:
        """Split each word."""
