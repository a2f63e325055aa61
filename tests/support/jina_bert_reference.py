"""JinaBERT-v2 in plain PyTorch, from its paper and its published configurations and tensors: the oracle.

transformers has no class of it, and the code that is published with it does not run there any more. Slow and short on
purpose: one text after another. Two kinds are published: jina-embeddings-v2-base-code norms queries and keys, adds what
was attended a second time, and has the halves of its MLP in the other order.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from .jina_clip_reference import alibi

# What jinaai/jina-embeddings-v2-base-en publishes, but for the sizes.
PUBLISHED = {
    "_name_or_path": "jinaai/jina-bert-implementation",
    "architectures": ["JinaBertForMaskedLM"],
    "attention_probs_dropout_prob": 0.0,
    "auto_map": {"AutoModel": "jinaai/jina-bert-implementation--modeling_bert.JinaBertModel"},
    "emb_pooler": "mean",
    "feed_forward_type": "geglu",
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 8192,
    "model_max_length": 8192,
    "model_type": "bert",
    "position_embedding_type": "alibi",
    "type_vocab_size": 2,
}


class Config(SimpleNamespace):
    """A configuration as published, with the sizes that are given."""

    model_type = "jina_bert_v2"  # of the class, as the architecture is called here; what is saved says "bert"

    def __init__(self, **values: Any) -> None:
        super().__init__(**{**PUBLISHED, **values})


class SelfAttention(nn.Module):
    """Attention before its output projection."""

    def __init__(self, config: Config, normed: bool) -> None:
        super().__init__()
        dim = config.hidden_size
        self.heads = config.num_attention_heads
        self.query, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))
        if normed:
            self.layer_norm_q, self.layer_norm_k = (nn.LayerNorm(dim, eps=config.layer_norm_eps) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        tokens, dim = x.shape
        q, k, v = self.query(x), self.key(x), self.value(x)
        if hasattr(self, "layer_norm_q"):
            q, k = self.layer_norm_q(q), self.layer_norm_k(k)
        q, k, v = (part.view(tokens, self.heads, -1).transpose(0, 1) for part in (q, k, v))
        scores = q @ k.transpose(1, 2) / math.sqrt(dim // self.heads) + alibi(self.heads, tokens)
        return (scores.softmax(-1) @ v).transpose(0, 1).reshape(tokens, dim)


class Output(nn.Module):
    """Project, add, normalise."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, attended: Tensor, x: Tensor) -> Tensor:
        return self.LayerNorm(self.dense(attended) + x)


class Attention(nn.Module):
    """Attention, added and normalised."""

    def __init__(self, config: Config, normed: bool) -> None:
        super().__init__()
        self.self, self.output = SelfAttention(config, normed), Output(config)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.self(x), x)


class Layer(nn.Module):
    """One layer of jina-embeddings-v2-base-en and its kin: the MLP ends with its norm."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        dim, inner = config.hidden_size, config.intermediate_size
        self.attention, self.mlp = Attention(config, normed=False), nn.Module()
        self.mlp.gated_layers, self.mlp.wo = nn.Linear(dim, 2 * inner, bias=False), nn.Linear(inner, dim)
        self.mlp.layernorm = nn.LayerNorm(dim, eps=config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        x = self.attention(x)
        gate, up = self.mlp.gated_layers(x).chunk(2, dim=-1)
        return self.mlp.layernorm(self.mlp.wo(functional.gelu(gate) * up) + x)


class CodeLayer(nn.Module):
    """One layer of jina-embeddings-v2-base-code."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        dim, inner = config.hidden_size, config.intermediate_size
        self.attention, self.mlp = Attention(config, normed=True), nn.Module()
        self.mlp.up_gated_layer, self.mlp.down_layer = nn.Linear(dim, 2 * inner, bias=False), nn.Linear(inner, dim)
        self.layer_norm_1, self.layer_norm_2 = (nn.LayerNorm(dim, eps=config.layer_norm_eps) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer_norm_1(x + self.attention(x))
        up, gate = self.mlp.up_gated_layer(x).chunk(2, dim=-1)
        return self.layer_norm_2(x + self.mlp.down_layer(up * functional.gelu(gate)))


class JinaBert(nn.Module):
    """Token ids (1, tokens) -> `last_hidden_state` (1, tokens, dim), as transformers' models have it."""

    layer: type[nn.Module] = Layer

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, dim = config, config.hidden_size
        self.embeddings, self.encoder = nn.Module(), nn.Module()
        self.embeddings.word_embeddings = nn.Embedding(config.vocab_size, dim)
        self.embeddings.token_type_embeddings = nn.Embedding(config.type_vocab_size, dim)
        self.embeddings.LayerNorm = nn.LayerNorm(dim, eps=config.layer_norm_eps)
        self.encoder.layer = nn.ModuleList(self.layer(config) for _ in range(config.num_hidden_layers))
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=config.initializer_range)

    def forward(self, ids: Tensor) -> SimpleNamespace:
        tables = self.embeddings
        x = tables.LayerNorm(tables.word_embeddings(ids[0]) + tables.token_type_embeddings.weight[0])
        for layer in self.encoder.layer:
            x = layer(x)
        return SimpleNamespace(last_hidden_state=x[None])

    def save_pretrained(self, folder: Path) -> None:
        """Write config.json and model.safetensors."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(vars(self.config)))
        state = {name: value.contiguous() for name, value in self.state_dict().items()}
        save_file(state, folder / "model.safetensors", {"format": "pt"})


class JinaBertCode(JinaBert):
    """The same of jina-embeddings-v2-base-code."""

    layer = CodeLayer
