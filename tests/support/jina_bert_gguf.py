"""A JinaBERT-v2 text tower as GGUF, and llama.cpp's rows for token ids: a witness independent of ours."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import numpy as np
from numpy.typing import NDArray

LAYER = {
    "attn_output": "mixer.out_proj",
    "attn_output_norm": "norm1",
    "ffn_up": "mlp.gated_layers",
    "ffn_down": "mlp.wo",
    "layer_output_norm": "norm2",
}


def write(tensors: Mapping[str, NDArray[Any]], shape: Mapping[str, Any], path: Path) -> None:
    """Write the tower in float32, without a vocabulary; `tensors` by the checkpoint's names after `text_model.`."""
    writer = gguf.GGUFWriter(path, "jina-bert-v2")
    writer.add_context_length(8192)
    writer.add_embedding_length(shape["hidden_size"])
    writer.add_feed_forward_length(shape["intermediate_size"])
    writer.add_block_count(shape["num_hidden_layers"])
    writer.add_head_count(shape["num_attention_heads"])
    writer.add_layer_norm_eps(shape["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.NONE)
    writer.add_vocab_size(shape["vocab_size"])
    writer.add_token_type_count(2)
    writer.add_tokenizer_model("no_vocab")
    named = {name.removeprefix("transformer."): np.asarray(value, np.float32) for name, value in tensors.items()}
    writer.add_tensor("token_embd.weight", named["embeddings.word_embeddings.weight"])
    writer.add_tensor("token_types.weight", named["embeddings.token_type_embeddings.weight"])
    for part in ("weight", "bias"):
        writer.add_tensor(f"token_embd_norm.{part}", named[f"emb_ln.{part}"])
        for n in range(shape["num_hidden_layers"]):
            at = f"encoder.layers.{n}."
            thirds = np.split(named[f"{at}mixer.Wqkv.{part}"], 3)
            for letter, value in zip("qkv", thirds, strict=True):
                writer.add_tensor(f"blk.{n}.attn_{letter}.{part}", value)
            for theirs, ours in LAYER.items():
                if f"{at}{ours}.{part}" in named:
                    writer.add_tensor(f"blk.{n}.{theirs}.{part}", named[f"{at}{ours}.{part}"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def rows(path: Path, ids: NDArray[np.int32], dim: int) -> NDArray[np.float32]:
    """Return llama.cpp's last hidden states (tokens, dim) of one text."""
    quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
    options = llama_cpp.llama_model_default_params()
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), options)
    assert model, "llama.cpp cannot load the file"
    wanted = llama_cpp.llama_context_default_params()
    wanted.n_ctx = wanted.n_batch = wanted.n_ubatch = len(ids)
    wanted.embeddings, wanted.pooling_type = True, llama_cpp.LLAMA_POOLING_TYPE_NONE
    context = llama_cpp.llama_init_from_model(model, wanted)
    batch = llama_cpp.llama_batch_init(len(ids), 0, 1)
    batch.n_tokens = len(ids)
    for n, token in enumerate(ids):
        batch.token[n], batch.pos[n], batch.n_seq_id[n], batch.logits[n] = int(token), n, 1, 1
        batch.seq_id[n][0] = 0
    assert llama_cpp.llama_decode(context, batch) == 0
    out = np.stack(
        [np.ctypeslib.as_array(llama_cpp.llama_get_embeddings_ith(context, n), (dim,)).copy() for n in range(len(ids))]
    )
    llama_cpp.llama_batch_free(batch)
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)
    return out
