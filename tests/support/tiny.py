"""One tiny random checkpoint per architecture, in sentence-transformers' layout, made by transformers where it can."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import (
    BertConfig,
    BertModel,
    CamembertConfig,
    CamembertModel,
    DistilBertConfig,
    DistilBertModel,
    EuroBertConfig,
    EuroBertModel,
    Gemma3TextConfig,
    Gemma3TextModel,
    GteConfig,
    GteModel,
    JinaEmbeddingsV3Config,
    JinaEmbeddingsV3Model,
    LlamaConfig,
    LlamaModel,
    MistralConfig,
    MistralModel,
    ModernBertConfig,
    ModernBertModel,
    MPNetConfig,
    MPNetModel,
    NomicBertConfig,
    NomicBertModel,
    Qwen2Config,
    Qwen2Model,
    Qwen3Config,
    Qwen3Model,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from edge_embed.architectures import dim

from . import jina_bert_reference as jina_bert
from .letters import WORDS, tokenizer
from .pieces import byte_pairs, merged_pieces, modern, unigram

SHAPE = {"vocab_size": len(WORDS), "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}

ROPE = {"rope_type": "default", "rope_theta": 5e3}
LLAMA = {**SHAPE, "intermediate_size": 48, "max_position_embeddings": 96, "head_dim": 8, "rope_parameters": ROPE}
EURO = {**LLAMA, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}

NTK = {"rope_type": "linear", "rope_theta": 4e4, "factor": 1.5}  # what GTE's scaling comes to

ROBERTA = {**SHAPE, "vocab_size": 300, "intermediate_size": 64, "max_position_embeddings": 67, "pad_token_id": 1}
DISTIL = {"vocab_size": len(WORDS), "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64}
GEMMA = {
    **{**SHAPE, "vocab_size": 720, "intermediate_size": 48, "max_position_embeddings": 96, "head_dim": 16},
    **{"num_key_value_heads": 1, "query_pre_attn_scalar": 16, "sliding_window": 16, "num_hidden_layers": 3},
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    "use_bidirectional_attention": True,
}
MODERN = {
    **{**SHAPE, "num_hidden_layers": 4, "vocab_size": 300, "intermediate_size": 48, "local_attention": 10},
    **{"pad_token_id": 1, "bos_token_id": 0, "cls_token_id": 0, "eos_token_id": 2, "sep_token_id": 2},
    "initializer_cutoff_factor": 3.0,
}
# Weights of 0.3 would make more of what float16 rounds than the formats' contracts allow: 0.99996 a row, as of PyTorch.
NOMIC = {**SHAPE, "intermediate_size": 48, "max_position_embeddings": 96, "initializer_range": 0.2}
JINA = {**SHAPE, "intermediate_size": 48}
TOKENIZERS = {
    "roberta": byte_pairs,
    "xlm": unigram,
    "camembert": unigram,
    "modernbert": modern,
    "mpnet": unigram,
    "gemma3_text": merged_pieces,
    "jina_embeddings_v3": unigram,
}  # by how a name begins; letters otherwise

# name -> (model class, config class, config values); the name starts with the architecture
ARCHITECTURES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "bert": (BertModel, BertConfig, {**SHAPE, "intermediate_size": 64, "max_position_embeddings": 96}),
    "bert-tanh": (BertModel, BertConfig, {**SHAPE, "intermediate_size": 48, "hidden_act": "gelu_new"}),
    "qwen3": (Qwen3Model, Qwen3Config, {**LLAMA, "num_key_value_heads": 2}),
    "qwen3-wide-heads": (Qwen3Model, Qwen3Config, {**LLAMA, "head_dim": 24, "num_key_value_heads": 1}),
    "qwen3-all-heads-odd-vocabulary": (
        Qwen3Model,
        Qwen3Config,
        {**LLAMA, "vocab_size": len(WORDS) + 7, "num_key_value_heads": 4, "tie_word_embeddings": True},
    ),
    "qwen2": (Qwen2Model, Qwen2Config, {**LLAMA, "num_key_value_heads": 2}),
    "qwen2-both-sides": (Qwen2Model, Qwen2Config, {**LLAMA, "num_key_value_heads": 1, "is_causal": False}),
    "mistral": (MistralModel, MistralConfig, {**LLAMA, "head_dim": 24, "num_key_value_heads": 2, "sliding_window": 64}),
    "llama": (LlamaModel, LlamaConfig, {**LLAMA, "num_key_value_heads": 2}),
    "eurobert": (EuroBertModel, EuroBertConfig, EURO),
    "eurobert-grouped": (EuroBertModel, EuroBertConfig, {**EURO, "num_key_value_heads": 2, "head_dim": 16}),
    "roberta": (RobertaModel, RobertaConfig, {**ROBERTA, "type_vocab_size": 1}),
    "xlm-roberta": (XLMRobertaModel, XLMRobertaConfig, {**ROBERTA, "intermediate_size": 48}),
    "camembert": (CamembertModel, CamembertConfig, {**ROBERTA, "intermediate_size": 48}),
    "distilbert": (DistilBertModel, DistilBertConfig, DISTIL),
    "modernbert": (ModernBertModel, ModernBertConfig, MODERN),
    "modernbert-biases": (
        ModernBertModel,
        ModernBertConfig,
        {
            **{**MODERN, "intermediate_size": 40, "local_attention": 7, "hidden_activation": "silu"},
            **dict.fromkeys(("norm_bias", "attention_bias", "mlp_bias"), True),
            "layer_types": ["sliding_attention", "full_attention", "full_attention", "sliding_attention"],
        },
    ),
    "mpnet": (MPNetModel, MPNetConfig, ROBERTA),
    "gemma3_text": (Gemma3TextModel, Gemma3TextConfig, GEMMA),
    "gemma3_text-causal": (Gemma3TextModel, Gemma3TextConfig, {**GEMMA, "use_bidirectional_attention": False}),
    "nomic-bert": (NomicBertModel, NomicBertConfig, NOMIC),
    "jina_bert_v2": (jina_bert.JinaBert, jina_bert.Config, JINA),
    "jina_bert_v2-code": (jina_bert.JinaBertCode, jina_bert.Config, {**JINA, "num_attention_heads": 2}),
    "jina_embeddings_v3": (JinaEmbeddingsV3Model, JinaEmbeddingsV3Config, {**ROBERTA, "intermediate_size": 48}),
    "gte": (GteModel, GteConfig, {**JINA, "max_position_embeddings": 96}),
    "gte-ntk-untyped": (GteModel, GteConfig, {**JINA, "type_vocab_size": 0, "rope_parameters": NTK}),
}


def make(name: str, folder: Path, pooling: str = "mean", **changes: Any) -> Any:
    """Save a tiny checkpoint to the folder and return the model that wrote it, in evaluation mode."""
    model_class, config_class, values = ARCHITECTURES[name]
    torch.manual_seed(7)
    model = model_class(config_class(**{"initializer_range": 0.3, **values, **changes})).eval()
    for parameter in model.parameters():  # norms and biases start at 1 and 0, where mistakes do not show
        if parameter.dim() == 1:
            parameter.data += 0.2 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    TOKENIZERS.get(name.partition("-")[0], tokenizer)().save(str(folder / "tokenizer.json"))
    describe(folder, pooling)
    return model


def describe(folder: Path, pooling: str) -> None:
    """Write sentence-transformers' small files."""
    kinds = [("0", "", "Transformer"), ("1", "1_Pooling", "Pooling"), ("2", "2_Normalize", "Normalize")]
    modules = [
        {"idx": int(n), "name": n, "path": path, "type": f"sentence_transformers.models.{kind}"}
        for n, path, kind in kinds
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "2_Normalize").mkdir(exist_ok=True)
    width = dim(json.loads((folder / "config.json").read_text()))
    modes = {f"pooling_mode_{mode}": mode == pooling for mode in ("cls_token", "mean_tokens", "lasttoken")}
    modes["pooling_mode_mean_tokens"] = pooling == "mean"
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": width, **modes}))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 64}))
