"""OpenVINO, by the graph's own vectors: READER FOLDER < texts > {version, vectors}."""

import json
import sys
from importlib.metadata import version

import numpy as np
import openvino
from tokenizers import Tokenizer

folder = sys.argv[1]
tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
tokenizer.no_truncation()
tokenizer.enable_padding()
texts = tokenizer.encode_batch(json.load(sys.stdin))
known = {"input_ids": [text.ids for text in texts], "attention_mask": [text.attention_mask for text in texts]}
model = openvino.Core().compile_model(f"{folder}/onnx/model.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
zeros = np.zeros_like(known["input_ids"])
out = model({node.any_name: np.array(known.get(node.any_name, zeros)) for node in model.inputs})
print(json.dumps({"version": version("openvino"), "vectors": out["sentence_embedding"].tolist()}))
