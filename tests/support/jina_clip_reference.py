"""jina-clip-v1 in plain PyTorch, from its paper, the papers of its towers and its published configuration: the oracle.

Slow and short on purpose: no fused kernel, no cache, one text or image after another. Parameters bear the names of
the published checkpoint.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from . import letters

# The shapes that jinaai/jina-clip-v1 publishes.
TEXT: dict[str, Any] = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}
TEXT |= {"intermediate_size": 3072, "vocab_size": 30528, "layer_norm_eps": 1e-12}
VISION: dict[str, Any] = {"width": 768, "layers": 12, "head_width": 64, "mlp_ratio": 2.6667, "image_size": 224}
VISION |= {"patch_size": 16, "pt_hw_seq_len": 16, "intp_freq": True}
TINY_TEXT = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 6, "intermediate_size": 64}
TINY_VISION = {"width": 48, "layers": 3, "head_width": 8, "mlp_ratio": 1.34, "image_size": 40, "patch_size": 8}


def alibi(heads: int, tokens: int) -> Tensor:
    """Return what is added to the scores: each head's slope times the distance, negative (heads, tokens, tokens)."""

    def geometric(count: int) -> list[float]:
        return [2.0 ** (-8.0 * (n + 1) / count) for n in range(count)]

    power = 2 ** int(math.log2(heads))
    slopes = geometric(power) + geometric(2 * power)[0::2][: heads - power]
    places = torch.arange(tokens)
    distance = (places[:, None] - places[None, :]).abs()
    return -torch.tensor(slopes)[:, None, None] * distance


class Mixer(nn.Module):
    """Self-attention of the text tower."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.Wqkv = nn.Linear(dim, 3 * dim)
        self.out_proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        tokens, dim = x.shape
        q, k, v = (part.view(tokens, self.heads, -1).transpose(0, 1) for part in self.Wqkv(x).chunk(3, dim=-1))
        scores = q @ k.transpose(1, 2) / math.sqrt(dim // self.heads) + alibi(self.heads, tokens)
        return self.out_proj((scores.softmax(-1) @ v).transpose(0, 1).reshape(tokens, dim))


class GatedMlp(nn.Module):
    """GELU of the first half times the second (Shazeer 2020, arXiv 2002.05202)."""

    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.gated_layers = nn.Linear(dim, 2 * inner, bias=False)
        self.wo = nn.Linear(inner, dim)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gated_layers(x).chunk(2, dim=-1)
        return self.wo(functional.gelu(gate) * up)


class TextLayer(nn.Module):
    """Norms stand after each addition, as in BERT."""

    def __init__(self, dim: int, heads: int, inner: int, epsilon: float) -> None:
        super().__init__()
        self.mixer, self.mlp = Mixer(dim, heads), GatedMlp(dim, inner)
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=epsilon), nn.LayerNorm(dim, eps=epsilon)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm1(x + self.mixer(x))
        return self.norm2(x + self.mlp(x))


class TextTower(nn.Module):
    """Token ids (tokens,) -> rows (tokens, dim)."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        dim, epsilon = config["hidden_size"], config["layer_norm_eps"]
        shape = dim, config["num_attention_heads"], config["intermediate_size"], epsilon
        self.transformer = nn.Module()
        self.transformer.embeddings = nn.Module()
        self.transformer.embeddings.word_embeddings = nn.Embedding(config["vocab_size"], dim)
        self.transformer.embeddings.token_type_embeddings = nn.Embedding(2, dim)
        self.transformer.emb_ln = nn.LayerNorm(dim, eps=epsilon)
        self.transformer.encoder = nn.Module()
        layers = nn.ModuleList(TextLayer(*shape) for _ in range(config["num_hidden_layers"]))
        self.transformer.encoder.layers = layers

    def forward(self, ids: Tensor) -> Tensor:
        tables = self.transformer.embeddings
        x = self.transformer.emb_ln(tables.word_embeddings(ids) + tables.token_type_embeddings.weight[0])
        for layer in self.transformer.encoder.layers:
            x = layer(x)
        return x


def rotated(x: Tensor, grid: int, trained: int) -> Tensor:
    """Turn neighbouring channels of the patches' rows: half the pairs by the line, half by the column."""
    tokens, _, size = x.shape
    half = size // 2
    speeds = 1.0 / 10000 ** (torch.arange(0, half, 2).double() / half)
    places = torch.arange(grid).double() / grid * trained
    lines, columns = torch.meshgrid(places, places, indexing="ij")
    angle = torch.cat([lines.reshape(-1, 1) * speeds, columns.reshape(-1, 1) * speeds], dim=1)
    turn = torch.polar(torch.ones_like(angle), angle).to(torch.complex64)[:, None]
    pairs = torch.view_as_complex(x[1:].reshape(tokens - 1, -1, half, 2).contiguous())
    return torch.cat([x[:1], torch.view_as_real(pairs * turn).reshape(tokens - 1, -1, size)])


class VisionAttention(nn.Module):
    """Self-attention of the image tower, with a norm before its last projection."""

    def __init__(self, dim: int, heads: int, grid: int, trained: int) -> None:
        super().__init__()
        self.heads, self.grid, self.trained = heads, grid, trained
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(dim, dim, bias=False) for _ in range(3))
        self.q_bias, self.v_bias = nn.Parameter(torch.zeros(dim)), nn.Parameter(torch.zeros(dim))
        self.inner_attn_ln, self.proj = nn.LayerNorm(dim, eps=1e-6), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        tokens, dim = x.shape
        made = self.q_proj(x) + self.q_bias, self.k_proj(x), self.v_proj(x) + self.v_bias
        q, k, v = (part.view(tokens, self.heads, -1) for part in made)
        q, k = rotated(q, self.grid, self.trained), rotated(k, self.grid, self.trained)
        q, k, v = (part.transpose(0, 1) for part in (q, k, v))
        scores = q @ k.transpose(1, 2) / math.sqrt(dim // self.heads)
        out = (scores.softmax(-1) @ v).transpose(0, 1).reshape(tokens, dim)
        return self.proj(self.inner_attn_ln(out))


class VisionMlp(nn.Module):
    """SiLU of one product times another, normed before the last."""

    def __init__(self, dim: int, inner: int) -> None:
        super().__init__()
        self.w1, self.w2, self.w3 = nn.Linear(dim, inner), nn.Linear(dim, inner), nn.Linear(inner, dim)
        self.ffn_ln = nn.LayerNorm(inner, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return self.w3(self.ffn_ln(functional.silu(self.w1(x)) * self.w2(x)))


class VisionBlock(nn.Module):
    """Norms stand before attention and MLP."""

    def __init__(self, dim: int, heads: int, inner: int, grid: int, trained: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.attn, self.mlp = VisionAttention(dim, heads, grid, trained), VisionMlp(dim, inner)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTower(nn.Module):
    """Pixels (3, height, width) -> the class token's row (dim,)."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        dim, patch = config["width"], config["patch_size"]
        grid = config["image_size"] // patch
        shape = dim, dim // config["head_width"], int(dim * config["mlp_ratio"]), grid, config["pt_hw_seq_len"]
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv2d(3, dim, patch, patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + grid * grid, dim))
        self.blocks = nn.ModuleList(VisionBlock(*shape) for _ in range(config["layers"]))
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.patch_embed.proj(pixels[None]).flatten(2).transpose(1, 2)
        x = (torch.cat([self.cls_token, patches], dim=1) + self.pos_embed)[0]
        for block in self.blocks:
            x = block(x)
        return self.norm(x[0])


class JinaClip(nn.Module):
    """Both towers."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.text_model = TextTower({**TEXT, **config["text_config"]["hf_model_config_kwargs"]})
        self.vision_model = VisionTower({**VISION, **config["vision_config"]})
        self.logit_scale = nn.Parameter(torch.tensor(2.6592))


def config_of(text: dict[str, Any] | None = None, vision: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a config.json as published, with other sizes where they are given."""
    dim = (text or TEXT)["hidden_size"]
    kwargs = {**(text or {}), "use_flash_attn": False}
    return {
        "model_type": "jina_clip",
        "architectures": ["JinaCLIPModel"],
        "add_projections": False,
        "projection_dim": dim,
        "logit_scale_init_value": 2.6592,
        "text_config": {
            "model_type": "jina_clip_text",
            "embed_dim": dim,
            "hf_model_name_or_path": "jinaai/jina-bert-flash-implementation",
            "hf_model_config_kwargs": kwargs,
            "pooler_type": "mean_pooler",
            "proj_type": None,
            "proj_bias": False,
        },
        "vision_config": {
            **{"model_type": "jina_clip_vision", "embed_dim": dim, "fused_layer_norm": False, "ls_init_value": None},
            **{"naive_swiglu": True, "patch_dropout": 0.1, "post_norm": False, "proj_type": None, "qkv_bias": True},
            **{"rope_embeddings": True, "subln": True, "x_attention": False, **VISION, **(vision or {})},
        },
    }


def make(config: dict[str, Any], spread: float, seed: int = 7) -> JinaClip:
    """Return a random model in evaluation mode.

    Matrices have rows of length `spread`; norms and biases are moved off 1 and 0, where mistakes would not show.
    """
    torch.manual_seed(seed)
    model = JinaClip(config).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            parameter += 0.2 * torch.randn_like(parameter)
        elif "embed" in name or "token" in name:
            parameter.copy_(torch.randn_like(parameter) * 0.5)
        elif parameter.dim() > 1:
            parameter.copy_(torch.randn_like(parameter) * spread / math.sqrt(parameter[0].numel()))
    return model


def save(model: JinaClip, config: dict[str, Any], folder: Path) -> None:
    """Write config.json and model.safetensors, with the rotary tables that the published file holds as well."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    grid = model.vision_model.blocks[0].attn.grid
    table = torch.zeros(grid * grid, config["vision_config"]["head_width"])
    save_file(
        {**state, "vision_model.rope.freqs_cos": table, "vision_model.rope.freqs_sin": table.clone()},
        folder / "model.safetensors",
        {"format": "pt"},
    )


def publish(model: JinaClip, config: dict[str, Any], folder: Path) -> None:
    """Write a folder as the published one is: code of its own, no modules.json, Jina's preprocessor format."""
    save(model, config, folder)
    letters.tokenizer().save(str(folder / "tokenizer.json"))
    side = config["vision_config"]["image_size"]
    kind = {"image_processor_type": "JinaCLIPImageProcessor", "size": side, "resize_mode": "shortest"}
    (folder / "preprocessor_config.json").write_text(json.dumps(kind))
