"""Are a model's files as they were published? Hashed while the engine loads them, and once for as long as they stay.

The hashes are those that the folder names itself, in edge_embed.json and SHA256SUMS, or that the hub's cache names its
files by. A folder without any has nothing to be compared with.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_embed.errors import CorruptModelError, MissingDependencyError
from edge_embed.hub.checksums import SUMS, listed_sums, recorded_digest, weight_sums
from edge_embed.hub.digests import Stopped, digest_of, recall, remembered_digest
from edge_embed.layouts.folder import TOKENIZER, ModelFolder
from edge_embed.spec.model import FILE_NAME

from .conversions import FOLDER

DESCRIPTIONS = (FILE_NAME, TOKENIZER, "config.json")  # small, and hashed at every load


class DamagedConversionError(CorruptModelError):
    """Tell that a file in our own cache of conversions is not as it was made; `place` is the folder of its key."""

    def __init__(self, fault: str, place: Path) -> None:
        super().__init__(f"{fault}; delete {place}, and it is converted again")
        self.fault, self.place = fault, place


class Hashing:
    """Files that are being hashed in a thread of their own."""

    def __init__(self, expected: dict[Path, str], cache: Path) -> None:
        self._expected, self._cache, self._stop = expected, cache, threading.Event()
        self._error: CorruptModelError | None = None
        self._thread = threading.Thread(target=self._run, name="edge_embed hashes")
        if not all(recall(path, cache, digest) == digest for path, digest in expected.items() if path.is_file()):
            self._thread.start()

    def finish(self) -> None:
        """Wait for the hashes; raise CorruptModelError for a file that is not as it was published."""
        if self._thread.ident is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Give up: the answer is of no use any more."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            for path, digest in self._expected.items():
                _compare(path, digest, remembered_digest(path, self._cache, digest, self._stop.is_set), self._cache)
        except Stopped:
            pass
        except CorruptModelError as error:
            self._error = error
        except OSError as error:
            self._error = CorruptModelError(f"{path} cannot be read: {error}; copy it again")


@contextmanager
def hashed_meanwhile(model: ModelFolder, weights: Iterable[str], cache: Path) -> Iterator[Hashing]:
    """Compare the folder's descriptions with their hashes, then its weights while the body loads them.

    The body calls `finish` before it trusts what it loaded. An error of the body gives way to that of a wrong hash,
    which is its likely cause. Raises CorruptModelError, which names file and remedy.
    """
    folder, sums = model.folder, weight_sums(model.spec.weights) | _listed(model.folder)
    for name in DESCRIPTIONS:
        path = folder / name
        if path.is_file() and (digest := recorded_digest(path, sums, name)):
            _compare(path, digest, digest_of(path, digest), cache)
    found = ((folder / name, recorded_digest(folder / name, sums, name)) for name in weights)
    hashing = Hashing({path: digest for path, digest in found if digest}, cache)
    try:
        yield hashing
    except MissingDependencyError:
        raise
    except Exception:
        hashing.finish()
        raise
    finally:
        hashing.stop()


def check_files(folder: Path, names: Iterable[str], cache: Path) -> None:
    """Compare files with the hashes that are recorded of them, once each; raise CorruptModelError."""
    sums = _listed(folder)
    for name in names:
        if digest := recorded_digest(folder / name, sums, name):
            _compare(folder / name, digest, remembered_digest(folder / name, cache, digest), cache)


def _listed(folder: Path) -> dict[str, str]:
    """Return the sums that the folder lists; a list of another form than ours, in a folder of others, is none."""
    try:
        return listed_sums(folder)
    except CorruptModelError:
        if (folder / FILE_NAME).is_file():
            raise
        return {}


def _compare(path: Path, expected: str, actual: str, cache: Path) -> None:
    if actual == expected:
        return
    fault = f"{path} is damaged, or was changed: it has the hash {actual}, where {expected} was published"
    if path.is_relative_to(made := cache / FOLDER):
        place = made / path.relative_to(made).parts[0]
        raise DamagedConversionError(fault, place)
    if path.is_symlink():
        remedy = "remove the model and fetch it again: edge-embed rm, then edge-embed pull"
    else:
        remedy = "copy or convert the folder again"
        remedy += f"; if the change is yours, take its line out of {SUMS}" * (path.name in DESCRIPTIONS)
    raise CorruptModelError(f"{fault}; {remedy}")
