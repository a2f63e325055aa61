"""mlx-embeddings or mlx-lm, texts one by one: READER FOLDER mlx-embeddings|mlx-lm < texts > {version, vectors}."""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import mlx.core as mx
from tokenizers import Tokenizer

folder, package = sys.argv[1:]
mx.set_default_device(mx.cpu)
tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
tokenizer.no_padding()
vectors = []
if package == "mlx-lm":
    from mlx_lm.utils import load_model

    model, _ = load_model(Path(folder))
else:
    from mlx_embeddings.utils import load_model

    model = load_model(Path(folder))
for text in json.load(sys.stdin):
    ids = mx.array([tokenizer.encode(text).ids])
    if package == "mlx-lm":  # a language model: its last row
        row = model.model(ids)[0, -1]
    else:
        row = model(ids, attention_mask=mx.ones_like(ids)).text_embeds[0]
    vectors.append((row / mx.linalg.norm(row)).astype(mx.float32).tolist())
print(json.dumps({"version": version(package), "vectors": vectors}))
