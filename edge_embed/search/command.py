"""A program of the user's that turns a file into text: run without a shell, within limits of time and output."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

from edge_embed.errors import InputError

PLACE = "{}"  # where the file's name goes
SECONDS = 60.0
MOST_OUTPUT = 64 << 20


@dataclass(frozen=True)
class Command:
    """`words` with `{}` for the file; for files of `suffixes`, or of none for those that are no text."""

    words: tuple[str, ...]
    suffixes: frozenset[str] = frozenset()

    def run(self, path: bytes) -> bytes:
        """Return what the program prints of a file; raise InputError where it fails or goes beyond limits."""
        words = [os.fsencode(word).replace(PLACE.encode(), path) for word in self.words]
        with tempfile.TemporaryFile() as output:
            try:
                done = subprocess.run(
                    words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.DEVNULL, timeout=SECONDS
                )
            except subprocess.TimeoutExpired as error:
                raise InputError(f"{self.words[0]} took more than {SECONDS:.0f} s") from error
            except (OSError, ValueError) as error:
                raise InputError(f"{self.words[0]} cannot be run: {error}") from error
            if done.returncode:
                raise InputError(f"{self.words[0]} ended with {done.returncode}")
            size = output.seek(0, os.SEEK_END)
            if size > MOST_OUTPUT:
                raise InputError(f"{self.words[0]} printed more than {MOST_OUTPUT >> 20} MB")
            output.seek(0)
            return output.read()


def parse(text: str) -> Command:
    """Read `[.SUFFIX[,.SUFFIX]=]COMMAND {}`; raise InputError for one without a place for the file.

    >>> parse(".docx,.odt=pandoc -t plain {}").words
    ('pandoc', '-t', 'plain', '{}')
    """
    suffixes: Sequence[str] = ()
    before, equals, after = text.partition("=")
    if equals and before.startswith(".") and " " not in before:
        suffixes, text = before.lower().split(","), after
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InputError(f"--extract {text!r}: {error}") from error
    if not any(PLACE in word for word in words[1:]):
        raise InputError(f"--extract {text!r} has no {PLACE} for the file: write it as 'pandoc -t plain {PLACE}'")
    return Command(tuple(words), frozenset(suffixes))
