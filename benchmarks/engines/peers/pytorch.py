"""transformers, which is the oracle, and what is built on it: sentence-transformers with its backends, and infinity."""

from __future__ import annotations

from typing import Any

from benchmarks.engines.peers import Engine, batches

BATCH = 32  # sentence-transformers' own default


def oracle(model: str, threads: int) -> Engine:
    """Load transformers' model in float32: mean of the tokens' hidden states, to unit length, one text at a time."""
    import json
    from pathlib import Path

    import torch
    from transformers import AutoModel, AutoTokenizer

    torch.set_num_threads(threads)
    limit = json.loads((Path(model) / "sentence_bert_config.json").read_text())["max_seq_length"]
    tokenizer, network = AutoTokenizer.from_pretrained(model), AutoModel.from_pretrained(model, dtype=torch.float32)
    network.eval()

    def embed(texts: list[str]) -> Any:
        rows = []
        with torch.inference_mode():
            for text in texts:
                inputs = tokenizer(text, truncation=True, max_length=limit, padding=False, return_tensors="pt")
                mean = network(**inputs).last_hidden_state[0].mean(0)
                rows.append((mean / mean.norm()).numpy())
        return rows

    return Engine(embed)


def sentence_transformers(model: str, threads: int, backend: str = "torch", **model_kwargs: Any) -> Engine:
    """Load sentence-transformers with a backend; its `encode` sorts by length and batches 32 texts."""
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(threads)
    if backend == "onnx":
        from onnxruntime import SessionOptions

        model_kwargs["session_options"] = SessionOptions()
        model_kwargs["session_options"].intra_op_num_threads = threads
        model_kwargs["provider"] = "CPUExecutionProvider"
    loaded = SentenceTransformer(model, device="cpu", backend=backend, model_kwargs=model_kwargs)
    return Engine(lambda texts: loaded.encode(texts, normalize_embeddings=True))


def infinity(model: str, threads: int) -> Engine:
    """Run infinity's engine in this process with PyTorch and its default batch of 32."""
    import torch
    from infinity_emb import EngineArgs, SyncEngineArray

    torch.set_num_threads(threads)
    args = EngineArgs(model_name_or_path=model, engine="torch", device="cpu", dtype="float32", bettertransformer=False)
    engines = SyncEngineArray.from_args([args])

    def embed(texts: list[str]) -> Any:
        vectors, _ = engines.embed(model=model, sentences=texts).result()
        return vectors

    return Engine(embed, close=engines.stop)


def mlx_embeddings(model: str, threads: int) -> Engine:
    """Load mlx-embeddings, which pads whatever it is given: lists of 32 in the texts' order; MLX takes all CPUs."""
    import numpy as np
    from mlx_embeddings import generate, load

    network, tokenizer = load(model)

    def embed(texts: list[str]) -> Any:
        return np.concatenate(
            [np.array(generate(network, tokenizer, texts=some).text_embeds) for some in batches(texts, BATCH)]
        )

    return Engine(embed)
