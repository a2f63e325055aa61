"""Real texts that lie on this machine: Python's documentation, licences, and programs' messages in many languages.

The same machine gives the same texts every time, which a hash says; another one has other programs, so figures of two
machines are comparable where the hashes are the same.
"""

from __future__ import annotations

import ast
import hashlib
import json
import random
import struct
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from pydoc_data.topics import topics

from tests.support.corpus import PROBES

LANGUAGES = ("de", "fr", "es", "it", "pt_BR", "pl", "cs", "sv", "tr", "vi", "ru", "uk", "el", "zh_CN", "ja", "ko")
CATALOGUES = Path("/usr/share/locale")
LICENCES = Path("/usr/share/common-licenses")
SHORTEST, LONGEST = 10, 1500  # characters, before a text is cut to the limit
DENSE = ("zh_CN", "ja", "ko")  # a third of the characters say as much
QUERY = 60  # characters at most
LIMIT = 250  # tokens of a text at most, which every engine takes whole


@dataclass(frozen=True)
class Texts:
    """The texts of each workload, and what is told of them: how many, of how many tokens, and their hash."""

    bulk: list[str]
    short: list[str]
    queries: list[str]

    def told(self, tokens: Callable[[Sequence[str]], int]) -> dict[str, dict[str, object]]:
        """Describe each list."""
        return {
            name: {"count": len(texts), "tokens": tokens(texts), "sha256": digest(texts)}
            for name, texts in vars(self).items()
        }

    def write(self, folder: Path) -> dict[str, Path]:
        """Write each list as JSON -> the files."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = {name: folder / f"{name}.json" for name in vars(self)}
        for name, path in paths.items():
            path.write_text(json.dumps(getattr(self, name)), "utf-8")
        return paths


def gather(count: int, queries: int, fits: Callable[[str], bool]) -> Texts:
    """Return so many texts: half English prose, half in other languages, lengths logarithmically even.

    `fits` tells whether a model takes a text whole: one that is too long is halved until it does, so that no engine
    computes less than another because it cuts earlier.
    """
    rng = random.Random(count)
    english, others = prose(), messages()
    if not others:
        others = {"": PROBES.read_text("utf-8").splitlines()}
    whole = " ".join(english)
    names = sorted(others)
    bulk = [fitted(passage(rng, n, whole, names, others), fits) for n in range(count)]
    short = [one for one in bulk if len(one) <= QUERY]
    sentences = [line for line in english if 15 <= len(line) <= QUERY]
    mixed = sentences + [line for lines in others.values() for line in lines if 15 <= len(line) <= QUERY]
    short += rng.sample(mixed, max(0, min(count, len(mixed)) - len(short)))
    return Texts(bulk, short, rng.sample(sentences, min(queries, len(sentences))))


def passage(rng: random.Random, n: int, whole: str, names: list[str], others: dict[str, list[str]]) -> str:
    """Return a stretch of English, or as many messages of one language as make up the length."""
    length = round(SHORTEST * (LONGEST / SHORTEST) ** rng.random())
    if n % 2 == 0:
        start = rng.randrange(len(whole) - length)
        return whole[start : start + length].strip() or whole[:length]
    language = names[n // 2 % len(names)]
    wanted = length // 3 if language in DENSE else length
    text = ""
    while len(text) < wanted:
        text = f"{text} {rng.choice(others[language])}".strip()
    return text


def fitted(text: str, fits: Callable[[str], bool]) -> str:
    """Halve a text until it fits."""
    while not fits(text):
        text = text[: len(text) // 2].rstrip()
    return text


def prose() -> list[str]:
    """Return sentences of the language reference, of the standard library's documentation, and of licences."""
    library = Path(sysconfig.get_paths()["stdlib"])
    sources = [
        *map(str, topics.values()),
        *(text for path in sorted(library.glob("*.py")) for text in docstrings(path)),
    ]
    if LICENCES.is_dir():
        sources += [path.read_text("utf-8", "replace") for path in sorted(LICENCES.iterdir()) if path.is_file()]
    return [sentence for text in sources for sentence in sentences_of(text)]


def sentences_of(text: str) -> Iterator[str]:
    """Cut at full stops; lines are joined."""
    for sentence in " ".join(text.split()).split(". "):
        if len(sentence) >= SHORTEST:
            yield sentence


def docstrings(path: Path) -> Iterator[str]:
    """Yield the docstrings of a file, its functions and classes."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, kinds) and (found := ast.get_docstring(node)):
            yield found


def messages() -> dict[str, list[str]]:
    """Return the translated messages of the installed programs, by language."""
    found = {}
    for language in LANGUAGES:
        paths = sorted((CATALOGUES / language / "LC_MESSAGES").glob("*.mo"))
        unique = dict.fromkeys(text for path in paths for text in translations(path.read_bytes()))
        if unique:
            found[language] = list(unique)
    return found


def translations(data: bytes) -> Iterator[str]:
    """Yield the translations of a catalogue of GNU gettext that are a sentence, without its marks for shortcuts.

    The layout is that of gettext's manual, "The Format of GNU MO Files": a count and where the table of translations
    lies, which has a length and a place for each.
    """
    if len(data) < 20 or data[:4] != b"\xde\x12\x04\x95":
        return
    count, _, table = struct.unpack_from("<3I", data, 8)
    for n in range(1, count):  # the first is the catalogue's own header
        length, place = struct.unpack_from("<2I", data, table + 8 * n)
        text = data[place : place + length].decode("utf-8", "replace").partition("\0")[0]
        text = " ".join(text.replace("_", "").split())
        if len(text) >= 2 * SHORTEST and "%" not in text:
            yield text


def digest(texts: Sequence[str]) -> str:
    """Return the hash of a list."""
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()


def fits_in(count_tokens: Callable[[list[str]], Sequence[int]], limit: int) -> Callable[[str], bool]:
    """Return a function that tells whether a text has so many tokens at most."""
    return partial(_at_most, count_tokens, limit)


def _at_most(count_tokens: Callable[[list[str]], Sequence[int]], limit: int, text: str) -> bool:
    return count_tokens([text])[0] <= limit
