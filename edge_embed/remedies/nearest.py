"""A word that names nothing -> the name that was probably meant."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

LIKE = 0.6  # of difflib's ratio, from which two words are alike
MOST, LONGEST = 5_000, 200  # names that are compared, and letters of a word: nobody types more


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """Return `; did you mean 'x'?`, or '' where no name is like the word.

    >>> did_you_mean("int88", ["float32", "int8", "int4"])
    "; did you mean 'int8'?"
    """
    found = nearest(word, names)
    return f"; did you mean {found!r}?" if found is not None else ""


def nearest(word: str, names: Iterable[str]) -> str | None:
    """Return the name that is most like a word, whatever its case; None where none is.

    What `user/repo` is called counts by itself too: who forgets the user means the same.
    """
    import difflib  # for errors alone

    if len(word) > LONGEST:
        return None
    known = {name.casefold(): name for name in itertools.islice(names, MOST) if name != word and len(name) <= LONGEST}
    for key, name in list(known.items()):
        known.setdefault(key.rpartition("/")[2], name)
    found = difflib.get_close_matches(word.casefold(), known, 1, LIKE)
    return known[found[0]] if found else None
