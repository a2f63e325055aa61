"""What lies in the hub's cache: whole snapshots, what the hub said of their files, and how to remove them."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .digests import digest_of
from .entries import DIGEST, Entry, Snapshot, listed_file
from .fetch import PARTIAL
from .notes import replace_text

ROOTS = ("edge_embed.json", "config.json", "README.md")  # a model has one of them at the top, GGUF files the last
# The small files that say what a model is; weights come after them.
METADATA = re.compile(
    r"([\w-]*CLIPModel/)?(edge_embed|config|tokenizer|tokenizer_config|special_tokens_map|modules|sentence_bert_config"
    r"|config_sentence_transformers|preprocessor_config|processor_config)\.json|[\w-]*(Pooling|Dense)/config\.json|[\w-]*StaticEmbedding/tokenizer\.json|README\.md"
)


@dataclass(frozen=True)
class Cached:
    """One commit of a model in the hub's cache: names that stand for it, and its files' bytes."""

    snapshot: Snapshot
    revisions: tuple[str, ...]
    size: int


def snapshot_of(folder: Path) -> Snapshot:
    """Return the snapshot whose folder this is."""
    repo = folder.parents[1].name.removeprefix("models--").replace("--", "/")
    return Snapshot(repo, folder.name, folder.parents[2])


def write_note(snapshot: Snapshot, entries: Iterable[Entry]) -> None:
    """Keep what the hub says of a commit's files, beside the hub's own folders; not where they cannot be written."""
    noted = json.dumps({entry.name: [entry.digest, entry.size] for entry in entries})
    with contextlib.suppress(OSError):  # the hub is asked again next time
        replace_text(_note(snapshot), noted)


def read_note(snapshot: Snapshot) -> list[Entry]:
    """Return what the hub said of every file of a commit; empty where that was not kept."""
    try:
        noted = json.loads(_note(snapshot).read_text("utf-8")).items()
        return [entry for name, (digest, size) in noted if (entry := listed_file(name, digest, size))]
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return []


def note_revision(snapshot: Snapshot, revision: str | None) -> None:
    """Note which commit a branch or tag means, where the hub's own client looks for it."""
    ref = snapshot.storage / "refs" / (revision or "main")
    if ref.name == snapshot.commit or (ref.is_file() and ref.read_text("utf-8") == snapshot.commit):
        return
    replace_text(ref, snapshot.commit)


def _note(snapshot: Snapshot) -> Path:
    return snapshot.storage / "edge_embed" / f"{snapshot.commit}.json"


def cached_models(cache: Path) -> list[Cached]:
    """List the models in the hub's cache, a commit each; data sets and repositories of other kinds are left out."""
    found = []
    for snapshots in sorted(cache.glob("models--*--*/snapshots/*")):
        if any((snapshots / root).exists() for root in ROOTS[:2]) or any(snapshots.rglob("*.gguf")):
            size = sum(path.stat().st_size for path in snapshots.rglob("*") if path.is_file())
            found.append(Cached(snapshot_of(snapshots), _revisions(snapshots), size))
    return found


def _revisions(folder: Path) -> tuple[str, ...]:
    refs = folder.parents[1] / "refs"
    named = (
        path for path in refs.rglob("*") if path.is_file() and path.read_text("utf-8", "replace").strip() == folder.name
    )
    return tuple(sorted(path.relative_to(refs).as_posix() for path in named))


def remove(cached: Sequence[Cached]) -> int:
    """Delete commits from the hub's cache, with what no other commit uses; return the bytes that are free now."""
    from huggingface_hub import scan_cache_dir

    freed = 0
    for one in cached:
        snapshot = one.snapshot
        strategy = scan_cache_dir(snapshot.cache).delete_revisions(snapshot.commit)
        freed += strategy.expected_freed_size
        strategy.execute()
        _note(snapshot).unlink(missing_ok=True)
        for partial in (snapshot.storage / "blobs").glob(f"*{PARTIAL}"):
            freed += partial.stat().st_size
            partial.unlink()
    return freed


def wrong_files(folder: Path) -> list[str]:
    """Hash every file of a snapshot; say which differ from what the hub said of them, in one line each.

    The hub's hash is in our note, or is the name of the file that the cache links to. A file of which neither is known
    counts as wrong, since nothing can be said of it.
    """
    entries = {entry.name: entry for entry in read_note(snapshot_of(folder))}
    wrong = []
    for path in sorted(path for path in folder.rglob("*") if not path.is_dir()):
        name = path.relative_to(folder).as_posix()
        target = path.resolve().name if path.is_symlink() else ""
        expected = entries.get(name, Entry(name)).digest or (target if DIGEST.fullmatch(target) else None)
        if not path.exists():
            wrong.append(f"{name}: links to a file that is gone")
        elif expected is None:
            wrong.append(f"{name}: the hub's hash is not known")
        elif (actual := digest_of(path, expected)) != expected:
            wrong.append(f"{name}: hash {actual}, the hub says {expected}")
    return wrong
