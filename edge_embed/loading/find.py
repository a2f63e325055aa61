"""A reference -> the model's folder, described by names, sizes and headers; and its files, fetched.

Of a family of repositories (`user/name`, `-TASK`, `-GGUF`, `-mlx`) the format decides which is taken: the backend's or
the level's own; the one that the name ends in, if its engine is installed; else the one whose levels are fastest here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from edge_embed.backends.facts import facts, running
from edge_embed.errors import (
    CorruptModelError,
    InputError,
    ModelError,
    ModelNotFoundError,
    NoWeightsError,
    RepositoryAbsentError,
)
from edge_embed.hub.reference import PACKAGE, Reference, family, local_path, named_format, parse
from edge_embed.hub.repository import (
    Repository,
    ask_hub,
    cached_repository,
    fetch_files,
    fetch_metadata,
    is_offline,
    metadata_of,
)
from edge_embed.layouts.folder import TOKENIZER, ModelFolder, read_folder
from edge_embed.layouts.listing import Listing
from edge_embed.layouts.originals import base_of, how_to_merge, is_adapter
from edge_embed.layouts.sentence_transformers import adapter_values
from edge_embed.selection.choose import best_format
from edge_embed.spec.names import as_model_name
from edge_embed.spec.weights import REPOSITORY_SUFFIXES, Format, format_of

from .preview import RemoteHeaders
from .request import LoadRequest
from .similar import instead


@dataclass(frozen=True)
class FoundModel:
    """A described model: its folder, in which files may be missing, and the repository that they come from, if any."""

    model: ModelFolder
    repository: Repository | None = None
    offline: bool = False

    def has(self, names: Sequence[str]) -> bool:
        """Whether files are in the folder."""
        return all(self.model.files.has(name) for name in names)

    @property
    def final(self) -> bool:
        """Whether asking the hub again would tell nothing new."""
        return self.repository is None or self.repository.fresh or self.offline

    def fetch(self, names: Sequence[str]) -> ModelFolder:
        """Return the folder with these files in it, and with the weights that are there; raises as `fetch_files`."""
        if self.repository is None:
            return self.model
        missing = [name for name in names if not self.model.files.has(name)]
        if missing and self.offline:
            raise self.repository.incomplete()
        if missing or self.repository.fresh:
            self._fetch(names)
            if more := [name for name in self.model.data_of(names) if name not in names]:  # named by a graph, just here
                self._fetch(more)
        files = self.model.files.in_folder()
        existing = [part for part in self.model.spec.weights if all(file.path in files for file in part.files)]
        model = replace(self.model, files=files).with_weights(existing)
        model.check_gguf(part for part in existing if part.files[0].path in missing)
        return model

    def _fetch(self, names: Sequence[str]) -> None:
        assert self.repository is not None
        fetch_files(self.repository, [self.model.files.inside + name for name in names])


@contextmanager
def find_model(request: LoadRequest, *, look: bool = False, ask: bool = False) -> Iterator[FoundModel]:
    """Give the model of a reference, described; no weights are fetched.

    `look`: to be planned and chosen from, not to be loaded; nothing is put into the cache. `ask`: the hub is asked
    although the cache knows the repository. Raises InputError, or ModelError with what is missing and the remedy.
    """
    with ExitStack() as stack:
        search = _Search(request, stack, look=look, ask=ask)
        yield _found(search)


def _found(search: _Search) -> FoundModel:
    request = search.request
    try:
        return _first_of_family(search) if request.reference.is_repository else _local(search)
    except NoWeightsError:
        raise
    except ModelNotFoundError as error:
        meant = instead(request.reference, request.hub_cache, request.own_cache)
        if not meant:
            raise
        raise type(error)(f"{error}{meant}") from error


def explain_place(request: LoadRequest, found: FoundModel) -> str:
    """Explain why another repository than the named one was used; '' if it was not."""
    named = request.reference.place
    if found.model.adapter is not None:
        return f", merged into {base_of(found.model.adapter)[0]}"
    if found.repository is None or found.repository.snapshot.repo == named:
        return ""
    place = found.repository.snapshot.repo
    own, wanted = named_format(named), _wanted_format(request)
    if request.backend == "auto" and format_of(request.reference.level) is None:
        if own and not _runnable(own):
            return f", from {place}, since {facts(running(own)[0]).module} is not installed"
        if wanted != own and not request.task:
            return f", from {place}, since {wanted} is the fastest format that can be run here"
    return f", from {place}"


def places(request: LoadRequest) -> list[str]:
    """List the repositories to try, in order, the named one last; a revision means the very one that was named."""
    reference = request.reference
    wanted, own = _wanted_format(request), named_format(reference.place)
    if reference.revision is not None or (request.task is None and wanted == (own or "onnx")):
        return [reference.place]
    members = family(reference.place, request.task, wanted)
    return [*members[: members.index(reference.place)], reference.place]


@dataclass(frozen=True)
class _Search:
    request: LoadRequest
    stack: ExitStack  # closes what was opened to look at
    look: bool
    ask: bool


def _local(search: _Search) -> FoundModel:
    """Describe a folder or file of this disk; one of an adapter alone by its base."""
    request, reference = search.request, search.request.reference
    path = local_path(reference)
    if path.is_dir() and is_adapter(Listing.of(path)):
        return _base_with(path, search)
    source = reference.place if reference.place.startswith(PACKAGE) else None
    return FoundModel(read_folder(path, reference.name, source, overrides=request.spec))


def _base_with(adapter: Path, search: _Search) -> FoundModel:
    """Describe the original weights of the base that an adapter names, into which it is to be merged."""
    named, revision = base_of(adapter)
    request = replace(search.request, spec={**adapter_values(adapter), **search.request.spec})
    try:
        found = _base(named, revision, replace(search, request=request))
        if not found.model.original:
            raise NoWeightsError(f"{found.model.folder} has no original weights, model.safetensors")
    except ModelError as error:
        raise ModelNotFoundError(
            f"{adapter} holds an adapter, whose base {named!r:.200} cannot be opened: {error}; where the base lies "
            f"elsewhere, {how_to_merge(adapter)}"
        ) from error
    name = request.reference.name or as_model_name(adapter.resolve().name)
    spec = replace(found.model.spec, name=name, weights=(), task=None, tasks={}, fingerprint=None)
    return replace(found, model=replace(found.model, spec=spec, adapters={}, tasks_within=(), adapter=adapter))


def _base(named: str, revision: str | None, search: _Search) -> FoundModel:
    """Describe the base that an adapter names, the very repository or folder; raises ModelError alone of its name."""
    try:
        base = replace(parse(named), level=None)
        if base.is_repository and revision:
            base = replace(base, revision=parse(named, revision).revision)
    except InputError as error:
        raise ModelNotFoundError(str(error)) from error
    if base.is_repository:
        return _describe(search, base, is_offline(search.request.offline))
    source = base.place if base.place.startswith(PACKAGE) else None
    return FoundModel(read_folder(local_path(base), base.name, source, overrides=search.request.spec))


def _first_of_family(search: _Search) -> FoundModel:
    """Describe the first of a family's repositories that has what is wanted; of equals, a cached one."""
    request = search.request
    members = places(request)
    free = request.backend == "auto" and format_of(request.reference.level) is None
    cached = [(place, True) for place in members] if free and len(members) > 1 and not search.ask else []
    for place, offline in [*cached, *((place, is_offline(request.offline)) for place in members[:-1])]:
        try:
            return _describe(search, replace(request.reference, place=place), offline)
        except RepositoryAbsentError:
            continue
    return _describe(search, replace(request.reference, place=members[-1]), is_offline(request.offline))


def _describe(search: _Search, reference: Reference, offline: bool) -> FoundModel:
    """Describe a repository from the cache, or else from the hub; raise RepositoryAbsentError if it lacks the level."""
    place, revision, cache = reference.place, reference.revision, search.request.hub_cache
    if not search.ask:
        known = cached_repository(place, revision, cache, trust=offline)
        if known and (found := _read(search, known, reference, offline)):
            return found
    try:
        repository = ask_hub(place, revision, cache, offline=offline)
        if not search.look:
            fetch_metadata(repository)
    except CorruptModelError:
        raise
    except ModelNotFoundError:
        # Perhaps another tool fetched it, and the hub cannot say whether that is all.
        trusted = cached_repository(place, revision, cache, trust=True)
        if trusted and (found := _read(search, trusted, reference, offline=True)):
            return found
        raise
    found = _read(search, repository, reference, offline)
    if found is None:
        raise repository.no_weights(reference.level)
    return found


def _read(search: _Search, repository: Repository, reference: Reference, offline: bool) -> FoundModel | None:
    """Read a repository's folder; None where it lacks the level, or the cache lacks the files of one that was named."""
    snapshot, stand_ins = repository.snapshot, search.look and repository.fresh
    headers = RemoteHeaders(repository)
    search.stack.callback(headers.close)
    sizes = {name: entry.size for name, entry in repository.entries.items()}

    def header(name: str) -> Path:
        if offline:
            raise repository.incomplete()
        return headers(name)

    files = Listing(headers.folder if stand_ins else snapshot.folder, sizes, header, stand_ins)
    if stand_ins:
        for name in metadata_of(repository):
            if name != TOKENIZER:  # its size tells what it takes
                headers(name)
    elif search.look:
        files = files.in_folder()
    try:
        model = read_folder(files, reference.name, snapshot.repo, snapshot.commit, search.request.spec)
    except NoWeightsError:
        return None
    found = FoundModel(model, repository, offline)
    if not model.offers(reference.level):
        return None
    if reference.level is None or repository.fresh:
        return found
    named = [w for w in model.spec.weights if w.part == "text" and w.level == reference.level]
    return found if not named or any(found.has(model.files_of(weights)) for weights in named) else None


def _wanted_format(request: LoadRequest) -> Format:
    """Return the format whose repository is looked for."""
    if request.backend != "auto":
        format = facts(request.backend).format
        return format if format in REPOSITORY_SUFFIXES else "onnx"
    own, level = named_format(request.reference.place), request.reference.level
    if implied := format_of(level):
        return implied
    return own if own and _runnable(own) and not request.converting else best_format(level, request.workload)


def _runnable(format: Format) -> bool:
    return any(facts(name).installed for name in running(format))
