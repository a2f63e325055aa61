"""One small program a client, run in an environment that has it: NAME URL MODEL, texts as JSON on stdin.

A program gives a call's name and its vectors, or what it was refused with; they go out as one line of JSON.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Calls = Iterator[tuple[str, Any]]


def openai(url: str, model: str, texts: list[str]) -> Calls:
    from openai import AzureOpenAI, OpenAI

    client = OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
    create = client.embeddings.create
    yield "embeddings.create, base64", [one.embedding for one in create(model=model, input=texts).data]
    found = create(model=model, input=texts, encoding_format="float").data
    yield "embeddings.create, float", [one.embedding for one in found]
    yield "one text", [create(model=model, input=texts[0]).data[0].embedding]
    azure = AzureOpenAI(azure_endpoint=url, api_key="none", api_version="2024-10-21")
    yield "AzureOpenAI", [one.embedding for one in azure.embeddings.create(model=model, input=texts).data]
    yield "models.list", names_of(client.models.list(), model)


def names_of(models: Any, model: str) -> str:
    listed = [one.id for one in models]
    return f"refused: {listed}" if model not in listed else "named"


def langchain_openai(url: str, model: str, texts: list[str]) -> Calls:
    litellm = importlib.util.find_spec("litellm")
    if litellm is not None and litellm.origin is not None:  # tiktoken would download them
        os.environ["TIKTOKEN_CACHE_DIR"] = str(Path(litellm.origin).parent / "litellm_core_utils" / "tokenizers")
    from langchain_openai import OpenAIEmbeddings

    place: dict[str, Any] = {"base_url": f"{url}/v1", "api_key": "none", "model": model}
    yield "embed_documents, default settings", error_of(lambda: OpenAIEmbeddings(**place).embed_documents(texts))
    embeddings = OpenAIEmbeddings(**place, check_embedding_ctx_length=False)
    yield "embed_documents, check_embedding_ctx_length=False", embeddings.embed_documents(texts)
    yield "embed_query, check_embedding_ctx_length=False", [embeddings.embed_query(texts[0])]


def error_of(call: Callable[[], Any]) -> str:
    try:
        call()
    except Exception as error:  # each client has its own
        return f"refused: {error}"
    return "not refused"


def llama_openai(url: str, model: str, texts: list[str]) -> Calls:
    from llama_index.embeddings.openai_like import OpenAILikeEmbedding

    embedding = OpenAILikeEmbedding(model_name=model, api_base=f"{url}/v1", api_key="none")
    yield "get_text_embedding_batch", embedding.get_text_embedding_batch(texts)
    yield "get_query_embedding", [embedding.get_query_embedding(texts[0])]


def llama_ollama(url: str, model: str, texts: list[str]) -> Calls:
    from llama_index.embeddings.ollama import OllamaEmbedding

    embedding = OllamaEmbedding(model_name=model, base_url=url)
    yield "get_text_embedding_batch", embedding.get_text_embedding_batch(texts)
    yield "get_query_embedding", [embedding.get_query_embedding(texts[0])]


def llama_tei(url: str, model: str, texts: list[str]) -> Calls:
    from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference

    embedding = TextEmbeddingsInference(model_name=model, base_url=url)
    yield "get_text_embedding_batch", embedding.get_text_embedding_batch(texts)


def haystack(url: str, model: str, texts: list[str]) -> Calls:
    from haystack import Document
    from haystack.components.embedders import OpenAIDocumentEmbedder, OpenAITextEmbedder
    from haystack.utils import Secret

    place: dict[str, Any] = {"api_key": Secret.from_token("none"), "api_base_url": f"{url}/v1", "model": model}
    found = OpenAIDocumentEmbedder(**place, progress_bar=False).run([Document(content=text) for text in texts])
    yield "OpenAIDocumentEmbedder", [document.embedding for document in found["documents"]]
    yield "OpenAITextEmbedder", [OpenAITextEmbedder(**place).run(texts[0])["embedding"]]


def litellm(url: str, model: str, texts: list[str]) -> Calls:
    from litellm import embedding

    places = {
        "openai": f"{url}/v1",
        "hosted_vllm": f"{url}/v1",
        "lm_studio": f"{url}/v1",
        "infinity": url,
        "jina_ai": f"{url}/v1",
        "voyage": f"{url}/v1",
        "ollama": url,
        "huggingface": url,
        "cohere": f"{url}/v2/embed",
    }
    more: dict[str, Any] = {"huggingface": {"input_type": "feature-extraction"}}  # else it asks the hub for the task
    for provider, place in places.items():
        options = {"api_base": place, "api_key": "none", **more.get(provider, {})}
        found = embedding(model=f"{provider}/{model}", input=texts, **options)
        yield f"embedding, {provider}/", [one["embedding"] for one in found.data]


def chromadb(url: str, model: str, texts: list[str]) -> Calls:
    from chromadb.utils import embedding_functions as functions

    made = {
        "OpenAIEmbeddingFunction": functions.OpenAIEmbeddingFunction(
            api_key="none", api_base=f"{url}/v1", model_name=model
        ),
        "HuggingFaceEmbeddingServer": functions.HuggingFaceEmbeddingServer(url=url),
        "OllamaEmbeddingFunction": functions.OllamaEmbeddingFunction(url=url, model_name=model),
    }
    for name, function in made.items():
        yield name, [[float(number) for number in row] for row in function(texts)]


def cohere(url: str, model: str, texts: list[str]) -> Calls:
    import cohere as package

    second = package.ClientV2(api_key="none", base_url=url)
    types = ["float", "int8", "uint8", "binary", "ubinary", "base64"]
    found = second.embed(model=model, texts=texts, input_type="search_document", embedding_types=types).embeddings
    yield "ClientV2.embed, float", found.float_
    for precision in types[1:-1]:
        yield f"ClientV2.embed, {precision}", getattr(found, precision)
    if getattr(found, "base64", None):
        yield "ClientV2.embed, base64", [floats(one) for one in found.base64]
    inputs: Any = [{"content": [{"type": "text", "text": text}]} for text in texts]
    found = second.embed(model=model, inputs=inputs, input_type="search_query", embedding_types=["float"])
    yield "ClientV2.embed, inputs", found.embeddings.float_
    first = package.Client(api_key="none", base_url=url)
    yield "Client.embed", first.embed(model=model, texts=texts, input_type="clustering").embeddings
    typed = first.embed(model=model, texts=texts, input_type="search_query", embedding_types=["int8"])
    yield "Client.embed, int8", typed.embeddings.int8


def floats(text: str) -> list[float]:
    import array

    return array.array("f", base64.b64decode(text)).tolist()


def langchain_cohere(url: str, model: str, texts: list[str]) -> Calls:
    from langchain_cohere import CohereEmbeddings

    embeddings = CohereEmbeddings(model=model, cohere_api_key="none", base_url=url)
    yield "embed_documents", embeddings.embed_documents(texts)
    yield "embed_query", [embeddings.embed_query(texts[0])]


def voyage(url: str, model: str, texts: list[str]) -> Calls:
    import voyageai

    client = voyageai.Client(api_key="none", base_url=f"{url}/v1", max_retries=0)
    yield "embed", client.embed(texts, model=model, input_type="document").embeddings
    for precision in ("int8", "uint8", "binary", "ubinary"):
        found = client.embed(texts, model=model, output_dtype=precision).embeddings
        yield f"embed, {precision}", [[int(number) for number in row] for row in found]


def ollama(url: str, model: str, texts: list[str]) -> Calls:
    import ollama as package

    client = package.Client(host=url)
    yield "embed", [list(row) for row in client.embed(model=model, input=texts).embeddings]
    yield "embed, NAME:latest", [list(row) for row in client.embed(model=f"{model}:latest", input=texts).embeddings]
    yield "embeddings", [list(client.embeddings(model=model, prompt=texts[0]).embedding)]
    listed = [one.model for one in client.list().models]
    yield "list, show, ps", "named" if f"{model}:latest" in listed and client.show(model) and client.ps() else listed


def langchain_ollama(url: str, model: str, texts: list[str]) -> Calls:
    from langchain_ollama import OllamaEmbeddings

    embeddings = OllamaEmbeddings(model=model, base_url=url)
    yield "embed_documents", embeddings.embed_documents(texts)
    yield "embed_query", [embeddings.embed_query(texts[0])]


def hub(url: str, model: str, texts: list[str]) -> Calls:
    from huggingface_hub import InferenceClient

    client = InferenceClient(base_url=url)
    yield "feature_extraction, list", client.feature_extraction(texts, truncate=True).tolist()  # type: ignore[arg-type]
    yield "feature_extraction, one text", client.feature_extraction(texts[0]).tolist()


def elastic(url: str, model: str, texts: list[str]) -> Calls:
    """What Elastic's `openai` service sends and reads, by hand: its body, base64, and 413 for what is too large."""
    place = f"{url}/v1/embeddings"
    body: dict[str, Any] = {"input": texts, "model": model, "user": "elastic"}
    yield "openai service, float", [one["embedding"] for one in post(place, body)["data"]]
    found = post(place, {**body, "encoding_format": "base64"})
    yield "openai service, base64", [floats(one["embedding"]) for one in found["data"]]
    try:
        post(place, {"input": ["a"] * 5000, "model": model})
    except urllib.error.HTTPError as error:
        yield "openai service, too many", f"refused: {error.code} {json.load(error)['error']['message']}"


def post(url: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def mteb(url: str, model: str, texts: list[str]) -> Calls:
    import mteb as package
    from mteb.models.openai_wrappers import OpenAIAPIEncodeWrapper
    from torch.utils.data import DataLoader

    about: dict[str, Any] = {"hf_split": "test", "hf_subset": "default"}
    about["task_metadata"] = package.get_tasks(tasks=["STS12"])[0].metadata
    batches: Any = DataLoader([{"text": text} for text in texts], batch_size=2)  # type: ignore[arg-type]
    for chat in (False, True):
        wrapper = OpenAIAPIEncodeWrapper(url, model, use_chat_template=chat)
        yield f"encode, use_chat_template={chat}", wrapper.encode(batches, **about).tolist()


if __name__ == "__main__":
    name, url, model = sys.argv[1:]
    told: dict[str, Any] = {}
    try:
        for call, found in globals()[name](url, model, json.load(sys.stdin)):
            told[call] = found
    except Exception as error:  # the table says so
        told["failed"] = f"{type(error).__name__}: {error}"
    print("\n" + json.dumps(told))
