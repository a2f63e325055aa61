"""How a published folder is used by other readers, as far as each can: code for the model card.

docs/readers.md has what their vectors are like; `scripts/readers.sh` runs what is written here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_embed.formats.gguf import read_header
from edge_embed.formats.gguf_dense import holds_dense
from edge_embed.spec.model import TEXT, ModelSpec
from edge_embed.spec.weights import Weights

QUERY = "What is knowledge distillation?"
DTYPES = {"float32": "fp32", "float16": "fp16", "int8": "int8"}  # transformers.js; it has no name for our int4
PORTABLE_DTYPES = {**DTYPES, "int8": "q8", "int4": "q4"}
LLAMA_POOLING = {"last": "last", "first": "cls", "mean": "mean"}
LLAMA_TYPES = {"mean": 1, "first": 2, "last": 3}  # llama.cpp's numbers
JS_POOLING = {"first": "cls", "mean": "mean"}
JS_ARCHITECTURES = ("bert",)  # our own graphs of language models are not what transformers.js expects of these
MLX_POOLING = {
    "bert": "mean",
    "modernbert": "mean",
    "xlm-roberta": "mean",
    "qwen3": "last",
}  # mlx-embeddings pools as it knows, always


@dataclass(frozen=True)
class Snippet:
    """Code with the language that it is in, what stands above it, and how a hub tags what works so."""

    title: str
    language: str
    code: list[str]
    tag: str | None = None

    def lines(self) -> list[str]:
        """Return Markdown."""
        return [self.title, "", f"```{self.language}", *self.code, "```", ""]


def others(folder: Path, name: str, spec: ModelSpec) -> Iterator[Snippet]:
    """Show other readers for the folder, which is to be called `name`; its text weights come from the spec."""
    texts = [weights for weights in spec.weights if weights.part == "text"]
    plain = not spec.dense and spec.include_prompt  # what other readers of rows and GGUF files cannot know of
    if texts[0].format == "gguf" and spec.pooling in LLAMA_POOLING and (plain or _whole(folder, texts[0])):
        yield from _llama_cpp(name, texts[0], spec)
    if spec.image is not None or spec.image_token is not None:
        return  # other readers have no part of theirs for the images
    if texts[0].format == "onnx":
        yield from _onnx(folder, name, texts, spec, plain)
    pools = MLX_POOLING.get(spec.architecture) == spec.pooling and plain and spec.normalize
    if [weights.format for weights in texts] == ["mlx"] and pools:
        yield _mlx_embeddings(name, spec)


def prompted(spec: ModelSpec) -> str:
    """Return a question as the model is asked it."""
    return spec.template(None, None, "query").replace(TEXT, QUERY)


def _onnx(folder: Path, name: str, texts: list[Weights], spec: ModelSpec, plain: bool) -> Iterator[Snippet]:
    first, portable = texts[0], _portable(texts[0])
    if all(template.endswith(TEXT) for template in spec.prompts.values()):  # sentence-transformers has prefixes alone
        checkpoint = (folder / "model.safetensors").exists()
        yield _sentence_transformers(name, portable or first.files[0].path, spec, checkpoint)
    dtypes = PORTABLE_DTYPES if portable else DTYPES
    pooling = {**JS_POOLING, "last": "last_token"} if portable else JS_POOLING
    known = next((weights for weights in texts if weights.level in dtypes), None)
    if known and plain and spec.pooling in pooling and (portable or spec.architecture in JS_ARCHITECTURES):
        yield _transformers_js(name, dtypes[known.level], pooling[spec.pooling], spec)
    if portable and spec.include_prompt:
        if (folder / "tokenizer_config.json").is_file():  # without which fastembed reads no tokenizer
            yield _fastembed(name, portable, spec)
        yield _openvino(name, portable, spec)


def _portable(weights: Weights) -> str | None:
    """Return the graph in standard operators that lies beside ours, if one does."""
    return next((file.path for file in weights.files[1:] if file.path.endswith(".onnx")), None)


def _whole(folder: Path, weights: Weights) -> bool:
    """Whether a GGUF file holds the Dense modules as well."""
    return holds_dense(read_header(folder / weights.files[0].path))


def _sentence_transformers(name: str, graph: str, spec: ModelSpec, checkpoint: bool) -> Snippet:
    options = f', backend="onnx", model_kwargs={{"file_name": "{graph}"}}'
    comment = ["# without backend and model_kwargs: the checkpoint, in PyTorch"] if checkpoint else []
    code = [
        "from sentence_transformers import SentenceTransformer",
        "",
        *comment,
        f'model = SentenceTransformer("./{name}"{options})',
        *encode(spec),
    ]
    title = "With sentence-transformers (`pip install 'sentence-transformers[onnx]'`):"
    return Snippet(title, "python", code, "sentence-transformers")


def has_sides(spec: ModelSpec) -> bool:
    """Whether queries and documents have prompts of their own."""
    return spec.template(None, None, "query") != spec.template(None, None, "document")


def encode(spec: ModelSpec) -> list[str]:
    """Return lines that embed a question and a passage, by names that sentence-transformers has as well."""
    query, document = ("encode_query", "encode_document") if has_sides(spec) else ("encode", "encode")
    return [
        f'queries = model.{query}(["{QUERY}"])',
        f'documents = model.{document}(["A small model is trained to answer as a large one does."])',
    ]


def _transformers_js(name: str, dtype: str, pooling: str, spec: ModelSpec) -> Snippet:
    options = f'{{ dtype: "{dtype}", use_external_data_format: true }}'
    unit = json.dumps(spec.normalize)
    code = [
        'import { env, pipeline } from "@huggingface/transformers";',
        "",
        'env.localModelPath = ".";',
        f'const embed = await pipeline("feature-extraction", "{name}", {options});',
        f'const vectors = await embed([{_quoted(spec)}], {{ pooling: "{pooling}", normalize: {unit} }});',
    ]
    return Snippet("With transformers.js, in Node:", "js", code, "transformers.js")


def _fastembed(name: str, graph: str, spec: ModelSpec) -> Snippet:
    options = f'{spec.dim}, model_file="{graph}", output_name="sentence_embedding"'
    code = [
        "from fastembed import TextEmbedding",
        "from fastembed.common.model_description import ModelSource, PoolingType",
        "",
        f'source = ModelSource(hf="user/{name}")',
        f'TextEmbedding.add_custom_model("user/{name}", PoolingType.DISABLED, False, source, {options})',
        f'model = TextEmbedding("user/{name}", specific_model_path="./{name}")',
        f"vectors = list(model.embed([{_quoted(spec)}]))",
    ]
    return Snippet("With fastembed (`pip install 'fastembed>=0.9'`):", "python", code)


def _openvino(name: str, graph: str, spec: ModelSpec) -> Snippet:
    code = [
        "import numpy as np",
        "import openvino",
        "from tokenizers import Tokenizer",
        "",
        f'tokenizer = Tokenizer.from_file("./{name}/tokenizer.json")',
        "tokenizer.enable_padding()",
        f"tokenizer.enable_truncation({spec.max_tokens})",
        f"texts = tokenizer.encode_batch([{_quoted(spec)}])",
        'kinds = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}',
        f'model = openvino.compile_model("./{name}/{graph}", "CPU")',
        "names = [node.any_name for node in model.inputs]",
        "inputs = {name: np.array([getattr(text, kinds[name]) for text in texts]) for name in names}",
        'vectors = model(inputs)["sentence_embedding"]',
    ]
    return Snippet("With OpenVINO (`pip install openvino tokenizers`):", "python", code)


def _mlx_embeddings(name: str, spec: ModelSpec) -> Snippet:
    code = [
        "from mlx_embeddings import generate, load",
        "",
        f'model, tokenizer = load("./{name}")',
        f"vectors = generate(model, tokenizer, texts=[{_quoted(spec)}]).text_embeds",
    ]
    return Snippet("With mlx-embeddings (`pip install mlx-embeddings`):", "python", code)


def _llama_cpp(name: str, weights: Weights, spec: ModelSpec) -> Iterator[Snippet]:
    where, pooling = f"{name}/{weights.files[0].path}", LLAMA_POOLING[spec.pooling]
    text = prompted(spec).replace("'", "'\\''")
    body = json.dumps({"input": [prompted(spec)]}, ensure_ascii=False).replace("'", "'\\''")
    command = [
        f"llama-embedding -m '{where}' --pooling {pooling} --embd-normalize 2 -p '{text}'",
        f"llama-server -m '{where}' --embedding --pooling {pooling} &",
        f"curl http://localhost:8080/v1/embeddings -H 'Content-Type: application/json' -d '{body}'",
    ]
    yield Snippet("With llama.cpp:", "sh", command)
    options = f"embedding=True, pooling_type={LLAMA_TYPES[spec.pooling]}, n_ctx={min(spec.max_tokens, 8192)}"
    code = [
        "from llama_cpp import Llama",
        "",
        f'model = Llama("./{where}", {options}, verbose=False)',
        f"vectors = model.embed([{_quoted(spec)}], normalize=True)",
    ]
    yield Snippet("With llama-cpp-python:", "python", code)
    body = json.dumps({"model": f"hf.co/user/{name}:{weights.level}", "input": [prompted(spec)]}, ensure_ascii=False)
    body = body.replace("'", "'\\''")
    pull = [
        f"ollama pull hf.co/user/{name}:{weights.level}",
        f"curl http://localhost:11434/api/embed -d '{body}'",
    ]
    yield Snippet("With Ollama, from a hub:", "sh", pull)


def _quoted(spec: ModelSpec) -> str:
    """Return the question as a string of Python's and of JavaScript's."""
    return json.dumps(prompted(spec), ensure_ascii=False)
