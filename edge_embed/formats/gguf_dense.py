"""Dense modules inside a GGUF file, which llama.cpp computes by itself after its pooling, or of each token where it
does not pool: without biases and activations, so that either gives the same vector.
"""

from __future__ import annotations

from edge_embed.errors import CorruptModelError, UnsupportedModelError, listing

from .gguf import Header

NAMES = ("dense_2", "dense_3")  # after where sentence-transformers keeps EmbeddingGemma's
ARCHITECTURES = ("gemma-embedding", "gemma3")


def holds_dense(header: Header) -> bool:
    """Whether a file has such modules.

    Raises UnsupportedModelError for modules of another kind, CorruptModelError for sizes that do not follow one
    another, on which llama.cpp would end the process.
    """
    kind = header.architecture
    found = {name for name in header.tensors if name.startswith("dense_")}
    if odd := found - {f"{name}.weight" for name in NAMES}:
        raise UnsupportedModelError(f"{header.path} holds {listing(odd)}, which is no Dense module that is known here")
    if kind not in ARCHITECTURES:
        if found:
            raise UnsupportedModelError(
                f"{header.path} holds the Dense modules {listing(found)} in a {kind}; {listing(ARCHITECTURES)} may "
                "have some: put config.json, modules.json and the modules' folders of the original model beside it"
            )
        return False
    sizes = {name: _sizes(header, kind, name) for name in NAMES}
    used = {name: size for name, size in sizes.items() if any(size) or f"{name}.weight" in found}
    width = last = header.whole(f"{kind}.embedding_length")
    for name, (taken, given) in used.items():
        tensor = header.tensors.get(f"{name}.weight")
        shape = tensor.shape if tensor else (taken, given) if _is_split(header) else ()
        if shape != (taken, given) or taken != last:
            raise CorruptModelError(
                f"{header.path}: {kind}.{name}_feat_in={taken} and _out={given}, {name}.weight of {shape}, and {last} "
                "numbers before it do not fit: get another file"
            )
        last = given
    if last != width:
        raise CorruptModelError(
            f"{header.path}: its Dense modules give {last} numbers, and llama.cpp takes {width}: get another file"
        )
    return bool(used)


def _sizes(header: Header, kind: str, name: str) -> tuple[int, int]:
    """Return what a module takes and gives, 0 where the file does not say."""
    taken, given = (header.whole(f"{kind}.{name}_feat_{side}", 0, least=0) for side in ("in", "out"))
    return taken, given


def _is_split(header: Header) -> bool:
    """Whether tensors may lie in another part."""
    return header.whole("split.count", 1, least=0) > 1
