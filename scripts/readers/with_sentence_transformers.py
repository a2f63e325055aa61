"""sentence-transformers: READER FOLDER torch|onnx < texts > {version, vectors}."""

import json
import sys

import torch
from sentence_transformers import SentenceTransformer, __version__

folder, backend = sys.argv[1:]
options = {"backend": "onnx", "model_kwargs": {"file_name": "onnx/model.onnx"}} if backend == "onnx" else {}
model = SentenceTransformer(folder, device="cpu", local_files_only=True, **options)
with torch.inference_mode():
    vectors = model.encode(json.load(sys.stdin), normalize_embeddings=True)
print(json.dumps({"version": __version__, "vectors": vectors.tolist()}))
