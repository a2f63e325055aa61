"""Every exception and warning that edge_embed raises on purpose.

EdgeEmbedError
|-- InputError (ValueError)                 an argument or a text is not acceptable; nothing was computed
|-- ModelError                              the model's files are the trouble
|   |-- ModelNotFoundError                  no such folder, package, repository, or no usable file in it
|   |   |-- RepositoryAbsentError           the repository does not exist, or has no weights of the wanted kind
|   |   `-- NoWeightsError                  the folder is there, with no weights in it
|   |-- UnsupportedModelError               the files are well, but say something that is not implemented
|   `-- CorruptModelError                   a file is truncated, damaged, or contradicts another
|-- BackendError                            the engine failed, or gave a vector that is not finite
|   |-- OutOfMemoryError                    the engine got no memory for a batch
|   `-- SelfTestError                       this machine computes other vectors than the model's maker did
|-- MissingDependencyError (ImportError)    a package of an extra is not installed
|-- SearchIndexError                        an index is damaged, of another model or version, or held by another process
|-- UnsupportedMachineError (ImportError)   this Python has 32 bits
`-- VerificationError                       levels of a converted model fell below their bound and were not kept

TruncationWarning (UserWarning)             some texts were cut to the model's length
FallbackWarning (UserWarning)               other weights than the first choice were loaded
MemoryWarning (UserWarning)                 a batch was halved, for want of memory
QualityWarning (UserWarning)                only coarse weights fit in the memory
AcceptedLossWarning (UserWarning)           weights below their level's bound, which their maker kept, were loaded
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

OURS = (__package__, f"{__package__}_convert")  # a warning never names a line of these packages


class EdgeEmbedError(Exception):
    """Base of every error raised by edge_embed; its message holds nothing that a terminal would obey."""

    def __init__(self, *args: object) -> None:
        super().__init__(*(printable(arg) if isinstance(arg, str) else arg for arg in args))


class InputError(EdgeEmbedError, ValueError):
    """Tell that an argument or a text is not acceptable; nothing was computed."""


class ModelError(EdgeEmbedError):
    """Tell that the model's files are the trouble."""


class ModelNotFoundError(ModelError):
    """Tell that no such folder, package or repository exists, or that it holds no usable file."""


class RepositoryAbsentError(ModelNotFoundError):
    """Tell that a repository does not exist or lacks the wanted weights: another one of its family may have them."""


class NoWeightsError(ModelNotFoundError):
    """Tell that a folder holds neither weights that can be run nor a checkpoint to convert."""


class UnsupportedModelError(ModelError):
    """Tell that the model asks for something that is not implemented."""


class CorruptModelError(ModelError):
    """Tell that a file is truncated, damaged, or contradicts another."""


class BackendError(EdgeEmbedError):
    """Tell that the engine failed, or gave a vector that is not finite."""


class OutOfMemoryError(BackendError):
    """Tell that the engine got no memory for a batch."""


class SelfTestError(BackendError):
    """Tell that this machine computes other vectors, or other token ids, than the model's maker did."""


class MissingDependencyError(EdgeEmbedError, ImportError):
    """Tell that a package of an extra is not installed, and how to install it."""


class SearchIndexError(EdgeEmbedError):
    """Tell that a search index is damaged, of another model or version, or held by another process."""


class UnsupportedMachineError(EdgeEmbedError, ImportError):
    """Tell that edge_embed cannot run on this machine's Python, and which one it needs."""


class VerificationError(EdgeEmbedError):
    """Tell that levels of a model fell below their bound and were not kept; `kept` are the folders of the others."""

    def __init__(self, message: str, kept: Sequence[Path] = ()) -> None:
        super().__init__(message)
        self.kept = list(kept)


class TruncationWarning(UserWarning):
    """Tell that some texts were cut to the model's length."""


class FallbackWarning(UserWarning):
    """Tell that other weights than the first choice were loaded, and why."""


class MemoryWarning(UserWarning):
    """Tell that a batch was halved for want of memory; a smaller batch_tokens or max_memory avoids it."""


class QualityWarning(UserWarning):
    """Tell that only coarse weights fit in the memory, and how much accuracy they lose."""


class AcceptedLossWarning(UserWarning):
    """Tell that weights were loaded that lie below their level's bound, which their maker kept, and what they lose."""


def printable(text: str) -> str:
    """Return a text with every character that cannot be seen as JSON's escape, but for line breaks and tabs.

    Names, licences and messages come from files and hubs of others, and a terminal obeys what they hold.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in "\n\t" else _escape(char) for char in text)


def _escape(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def warn(message: str, category: type[Warning]) -> None:
    """Issue a warning that names the line of the caller's own code that led here, however deep in ours it arose.

    Where no such line is on the stack, as in a thread of ours, the outermost line is named.
    """
    level, frame = 2, sys._getframe(1)  # as warnings.warn counts: 1 is this function, 2 the one that called it
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in OURS:
        level, frame = level + 1, frame.f_back
    warnings.warn(printable(message), category, stacklevel=level)


def listing(names: Iterable[object]) -> str:
    """Write names for an error message: sorted, quoted, `none` when there are none."""
    words = sorted(str(name) for name in names)
    return ", ".join(repr(word) for word in words) or "none"
