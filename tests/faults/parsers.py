"""Spoil every kind of file that edge_embed reads, thousands of times, and print how many were tried and what broke.

    python tests/faults/parsers.py SAMPLES SECONDS SEED [KIND ...]

What reads a file must return, or raise an error of ours, within a second of CPU time. SAMPLES is a folder that
`samples` of tests/support/samples.py made.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_embed.architectures import architecture
from edge_embed.backends.gguf.checks import check_model, check_vocabulary
from edge_embed.errors import EdgeEmbedError
from edge_embed.formats.gguf import read_header
from edge_embed.formats.json_file import read_object
from edge_embed.formats.mmproj import image_spec_of, read_mmproj
from edge_embed.formats.onnx import read_graph
from edge_embed.formats.peft import read_lora_config
from edge_embed.formats.safetensors import weight_map
from edge_embed.hub.checksums import named_sums
from edge_embed.images.sources import ImageSources, load_rgb
from edge_embed.layouts.folder import read_folder
from edge_embed.layouts.preprocessor import read_preprocessor
from edge_embed.pipeline.guarded import GuardedTokenizer
from edge_embed.pipeline.tokenizer import TextTokenizer
from edge_embed.selection.memory import memory_plans
from edge_embed.spec.golden import golden_vectors
from edge_embed.spec.model import ModelSpec
from edge_embed_convert.checkpoint.mmproj import config_of
from edge_embed_convert.checkpoint.source import open_source
from edge_embed_convert.gguf.source import open_gguf
from edge_embed_convert.gguf.tokenizer import spelled
from edge_embed_convert.gguf.words import Words

from support import mutants
from support.faults import run_campaigns
from support.limited import run_limited

SECONDS = 1.0
MODULES = [f"encoder.layer.{n}.attention.self.{name}" for n in range(12) for name in ("query", "key", "value")]


def folder(path: Path) -> None:
    """Describe a model's folder, plan its memory, read its config and open its checkpoint."""
    model = read_folder(path.parent if path.parent.name != "1_Pooling" else path.parent.parent)
    memory_plans(model, None, 512)
    if model.checkpoint is not None:
        architecture(model.spec.architecture).read(read_object(model.folder / "config.json"))
        open_source(model)


def spec(path: Path) -> None:
    """Read edge_embed.json, and its vectors."""
    found = ModelSpec.read(path)
    for kind in (found.golden, found.golden_images):
        if kind:
            golden_vectors(kind, found.dim)
    read_folder(path.parent)


def tokenizer(path: Path) -> None:
    """Open a tokenizer.json and tokenise, short and cut."""
    found = TextTokenizer(path, 8)
    found.tokenize(["a b c", "", "Ž漢字 \U0001f600", "a b c d e f g h i j k"], "q: {text}")
    found.prefix("q: {text}")


def adapter(path: Path) -> None:
    """Read an adapter's config, and ask it of modules."""
    config = read_lora_config(path)
    for module in MODULES:
        config.targets(module, 2)
        config.scale(module)


def gguf(path: Path) -> None:
    """Describe a GGUF file, plan its memory, and check it as is done before llama.cpp sees it."""
    header = read_header(path)
    check_model(header)
    check_vocabulary(header)
    memory_plans(read_folder(path), None, 512)


def source(path: Path) -> None:
    """Rebuild a checkpoint of a GGUF file, all of its tensors, and the tokenizer that its vocabulary stands for."""
    data = json.dumps(spelled(Words(read_header(path))))
    GuardedTokenizer(path, data).encode_batch_fast(["a b c", "Ž漢字 \U0001f600"])
    path.with_name("tokenizer.json").touch()  # then none is compared with llama.cpp
    found = open_gguf(read_folder(path), path)
    for name in found.tensors:
        _ = found.tensors[name]


def mmproj(path: Path) -> None:
    """Read an image tower's header."""
    header = read_mmproj(path)
    image_spec_of(header, path)
    config = config_of(header, path)
    architecture("llava_next").read_image(config)


def onnx(path: Path) -> None:
    """Read a graph's header and plan its memory."""
    read_graph(path)
    memory_plans(read_folder(path.parent.parent), None, 512)


def image(path: Path) -> None:
    """Decode an image within what untrusted ones may take."""
    load_rgb(path.read_bytes(), ImageSources(max_pixels=1_000_000))


def sums(path: Path) -> None:
    """Read a list of hashes."""
    named_sums(path.parent)


def index(path: Path) -> None:
    """Read the index of a checkpoint in several files."""
    weight_map(path)
    read_folder(path.parent)


def preprocessor(path: Path) -> None:
    """Read how images become pixels."""
    read_preprocessor(path.parent)


JSON = lambda data, rng: mutants.spoil_json(json.loads(data), rng)  # noqa: E731
# Kind -> the sample file, how it is spoilt, what reads it.
KINDS: dict[str, tuple[str, Callable[[bytes, random.Random], bytes], Callable[[Path], None]]] = {
    "config": ("bert/config.json", JSON, folder),
    "config of llama": ("qwen3/config.json", JSON, folder),
    "modules": ("bert/modules.json", JSON, folder),
    "pooling": ("bert/1_Pooling/config.json", JSON, folder),
    "sentence_bert_config": ("bert/sentence_bert_config.json", JSON, folder),
    "tokenizer_config": ("bert/tokenizer_config.json", JSON, folder),
    "prompts": ("bert/config_sentence_transformers.json", JSON, folder),
    "index": ("sharded/model.safetensors.index.json", JSON, index),
    "safetensors": ("bert/model.safetensors", mutants.spoil_safetensors, folder),
    "tokenizer": ("bert/tokenizer.json", JSON, tokenizer),
    "edge_embed": ("own/edge_embed.json", JSON, spec),
    "adapter": ("adapter/adapter_config.json", JSON, adapter),
    "preprocessor": ("images/preprocessor_config.json", JSON, preprocessor),
    "processor": ("processor/processor_config.json", JSON, preprocessor),
    "sums": ("own/SHA256SUMS", mutants.spoil_bytes, sums),
    "readme": ("bert/README.md", mutants.spoil_bytes, folder),
    "gguf of bert": ("bert-F32.gguf", mutants.spoil_gguf, gguf),
    "gguf of qwen3": ("qwen3-F32.gguf", mutants.spoil_gguf, gguf),
    "gguf of bert, a source": ("bert-F32.gguf", mutants.spoil_gguf, source),
    "gguf of qwen3, a source": ("qwen3-F32.gguf", mutants.spoil_gguf, source),
    "mmproj": ("mmproj-F32.gguf", mutants.spoil_gguf, mmproj),
    "onnx": ("graph/onnx/model.onnx", mutants.spoil_protobuf, onnx),
    **{kind: (f"image.{kind}", mutants.spoil_bytes, image) for kind in ("png", "jpg", "gif", "webp", "tiff", "bmp")},
}


def campaign(samples: Path, kind: str, seconds: float, seed: int) -> tuple[int, list[str]]:
    """Spoil one kind of file for so many seconds."""
    _, spoil, read = KINDS[kind]
    with whole(samples, kind) as path:
        data = path.read_bytes()

        def attempt(n: int) -> str | None:
            return fault_of(read, path, spoil(data, random.Random(f"{kind} {seed} {n}")))

        return run_limited(attempt, seconds, note_of(path), SECONDS)


@contextmanager
def whole(samples: Path, kind: str) -> Iterator[Path]:
    """Give the path of a kind's file, in a folder of its own with what belongs to it; it can be read as it is."""
    name, _, read = KINDS[kind]
    top = name.partition("/")[0]
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "files" / name
        path.parent.mkdir() if top == name else shutil.copytree(samples / top, Path(place) / "files" / top)
        shutil.copy(samples / name, path)
        read(path)
        yield path


def note_of(path: Path) -> Path:
    """Return where a campaign notes what it tries: beside the folder of the files."""
    return next(parent for parent in path.parents if parent.name == "files").with_name("note")


def fault_of(read: Callable[[Path], None], path: Path, data: bytes) -> str | None:
    """Read a file of this content; say what was wrong with how that ended."""
    path.write_bytes(data)
    try:
        read(path)
    except EdgeEmbedError as error:
        return None if str(error).encode("utf-8", "replace") and printable(str(error)) else f"message {error!r}"
    except BaseException:
        return traceback.format_exc()[-1500:]
    return None


def printable(text: str) -> bool:
    """Whether a terminal can show it, and somebody read it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return len(text) < 20_000


if __name__ == "__main__":
    run_campaigns(campaign, KINDS, sys.argv[1:])
