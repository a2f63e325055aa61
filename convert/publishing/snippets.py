"""How a published folder is used: by edge_embed, and by other readers where they can."""

from __future__ import annotations

from pathlib import Path

from edge_embed.formats.gguf import read_header
from edge_embed.formats.gguf_dense import holds_dense
from edge_embed.spec.model import TEXT, ModelSpec
from edge_embed.spec.weights import Weights

QUERY = "What is knowledge distillation?"
DOCUMENT = "A small model is trained to answer as a large one does."
DTYPES = {"float32": "fp32", "float16": "fp16", "int8": "int8"}  # transformers.js; it has no name for our int4
LLAMA_POOLING = {"last": "last", "first": "cls", "mean": "mean"}
JS_POOLING = {"first": "cls", "mean": "mean"}
JS_ARCHITECTURES = ("bert",)  # transformers.js runs language models as text generators, with keys and values


def snippets(folder: Path, name: str, spec: ModelSpec) -> list[str]:
    """Show how to load the folder, which is to be called `name`; its text weights come from the spec."""
    texts = [weights for weights in spec.weights if weights.part == "text"]
    lines = [*_ours(name, texts[0], spec), ""]
    plain = not spec.dense and spec.include_prompt  # what other readers of graphs and GGUF files cannot know of
    if texts[0].format == "gguf" and spec.pooling in LLAMA_POOLING and (plain or _whole(folder, texts[0])):
        lines += ["With llama.cpp:", "", *_llama_cpp(name, texts[0], spec), ""]
    if spec.image is not None or spec.image_token is not None:
        return lines  # other readers have no part of theirs for the images
    if texts[0].format == "onnx" and _prefixes_only(spec):
        title = "With sentence-transformers (`pip install 'sentence-transformers[onnx]'`):"
        lines += [title, "", *_sentence_transformers(name, texts[0], spec, (folder / "model.safetensors").exists()), ""]
    known = next((weights for weights in texts if weights.format == "onnx" and weights.level in DTYPES), None)
    if known is not None and plain and spec.architecture in JS_ARCHITECTURES and spec.pooling in JS_POOLING:
        lines += ["With transformers.js, in Node:", "", *_transformers_js(name, known, spec), ""]
    return lines


def _whole(folder: Path, weights: Weights) -> bool:
    """Whether a GGUF file holds the Dense modules as well."""
    return holds_dense(read_header(folder / weights.files[0].path))


def has_sides(spec: ModelSpec) -> bool:
    """Whether queries and documents have prompts of their own."""
    return spec.template(None, None, "query") != spec.template(None, None, "document")


def _ours(name: str, weights: Weights, spec: ModelSpec) -> list[str]:
    return [
        "```python",
        "from edge_embed import Embedder",
        "",
        f'model = Embedder("./{name}:{weights.level}")  # beside the folder; from a hub "user/{name}:{weights.level}"',
        *_encode(spec),
        "print(model.similarity(queries, documents))",
        "```",
    ]


def _encode(spec: ModelSpec) -> list[str]:
    query, document = ("encode_query", "encode_document") if has_sides(spec) else ("encode", "encode")
    return [f'queries = model.{query}(["{QUERY}"])', f'documents = model.{document}(["{DOCUMENT}"])']


def _llama_cpp(name: str, weights: Weights, spec: ModelSpec) -> list[str]:
    text = spec.template(None, None, "query").replace(TEXT, QUERY).replace("'", "'\\''")
    where, pooling = f"{name}/{weights.files[0].path}", LLAMA_POOLING[spec.pooling]
    return ["```sh", f"llama-embedding -m '{where}' --pooling {pooling} --embd-normalize 2 -p '{text}'", "```"]


def _sentence_transformers(name: str, weights: Weights, spec: ModelSpec, checkpoint: bool) -> list[str]:
    options = f', backend="onnx", model_kwargs={{"file_name": "{weights.files[0].path}"}}'
    comment = ["# without backend and model_kwargs: the checkpoint, in PyTorch"] if checkpoint else []
    return [
        "```python",
        "from sentence_transformers import SentenceTransformer",
        "",
        *comment,
        f'model = SentenceTransformer("./{name}"{options})',
        *_encode(spec),
        "```",
    ]


def _transformers_js(name: str, weights: Weights, spec: ModelSpec) -> list[str]:
    text = spec.template(None, None, "query").replace(TEXT, QUERY)
    options = f'{{ dtype: "{DTYPES[weights.level]}", use_external_data_format: true }}'
    return [
        "```js",
        'import { env, pipeline } from "@huggingface/transformers";',
        "",
        'env.localModelPath = ".";',
        f'const embed = await pipeline("feature-extraction", "{name}", {options});',
        f'const vectors = await embed(["{text}"], {{ pooling: "{JS_POOLING[spec.pooling]}", normalize: true }});',
        "```",
    ]


def _prefixes_only(spec: ModelSpec) -> bool:
    """Whether sentence-transformers can have all the prompts, which it puts before a text."""
    return all(template.endswith(TEXT) for template in spec.prompts.values())
