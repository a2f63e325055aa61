#!/bin/sh
# Embeds a few texts with other readers of an ONNX folder that we converted, and compares their vectors with ours:
# fastembed, optimum and transformers.js, installed into a scratch folder (some 1 GB; READERS names it, to use it again).
#
#   scripts/readers.sh FOLDER POOLING        for example models/all-MiniLM-L6-v2 mean; float32, texts without prompts
set -eu
folder=$(realpath "$1") pooling=$2
scratch=${READERS:-$(mktemp -d)}
mkdir -p "$scratch"
rm -f "$scratch"/*.npy "$scratch/transformers.js.json"
[ -x "$scratch/bin/python" ] || {
    python3 -m venv "$scratch"
    "$scratch/bin/pip" install -q fastembed torch 'optimum-onnx[onnxruntime]'
}
[ -d "$scratch/node_modules" ] || npm install --prefix "$scratch" --ignore-scripts --no-audit --no-fund @huggingface/transformers

cat > "$scratch/texts.json" <<'END'
["a cat sits on the mat", "the kitten rests", "stock markets fell today", "naïve café, 日本語"]
END

cat > "$scratch/python.py" <<'END'
import json, sys
import numpy as np, torch
from fastembed import TextEmbedding
from fastembed.common.model_description import ModelSource, PoolingType
from optimum.onnxruntime import ORTModelForFeatureExtraction
from transformers import AutoTokenizer

folder, pooling, scratch = sys.argv[1:]
texts = json.load(open(f"{scratch}/texts.json", encoding="utf-8"))
kind = {"mean": PoolingType.MEAN, "first": PoolingType.CLS, "last": PoolingType.MEAN}[pooling]  # last: the one row there is
width = json.load(open(f"{folder}/config.json"))["hidden_size"]
source = ModelSource(hf="local/model")
TextEmbedding.add_custom_model("local/model", kind, True, source, width, model_file="onnx/model.onnx")
fast = np.array(list(TextEmbedding("local/model", specific_model_path=folder).embed(texts)))
np.save(f"{scratch}/fastembed.npy", fast)

inputs = AutoTokenizer.from_pretrained(folder)(texts, padding=True, truncation=True, return_tensors="pt")
model = ORTModelForFeatureExtraction.from_pretrained(folder, subfolder="onnx", file_name="model.onnx")
rows, mask = model(**inputs).last_hidden_state, inputs["attention_mask"][..., None]
pooled = rows[:, 0] if pooling == "first" else (rows * mask).sum(1) / mask.sum(1)
np.save(f"{scratch}/optimum.npy", torch.nn.functional.normalize(pooled).detach().numpy())
END
HF_HUB_OFFLINE=1 "$scratch/bin/python" "$scratch/python.py" "$folder" "$pooling" "$scratch"

cat > "$scratch/node.mjs" <<'END'
import fs from 'fs';
import { env, pipeline } from '@huggingface/transformers';
const [parent, name, pooling, scratch] = process.argv.slice(2);
env.localModelPath = parent;
env.allowRemoteModels = false;
const embed = await pipeline('feature-extraction', name, { dtype: 'fp32' });
const texts = JSON.parse(fs.readFileSync(`${scratch}/texts.json`));
const rows = await embed(texts, { pooling: { first: 'cls' }[pooling] ?? pooling, normalize: true });
fs.writeFileSync(`${scratch}/transformers.js.json`, JSON.stringify(rows.tolist()));
END
# transformers.js runs language models as text generators, which ours are not
[ "$pooling" = last ] || node "$scratch/node.mjs" "$(dirname "$folder")" "$(basename "$folder")" "$pooling" "$scratch"

python - "$folder" "$scratch" <<'END'
import json, sys
from pathlib import Path
import numpy as np
from edge_embed import Embedder

folder, scratch = sys.argv[1], Path(sys.argv[2])
texts = json.loads((scratch / "texts.json").read_text("utf-8"))
with Embedder(f"{folder}:float32") as model:
    ours = model.encode(texts, prompt="")
for path in (scratch / "fastembed.npy", scratch / "optimum.npy", scratch / "transformers.js.json"):
    if path.exists():
        theirs = np.load(path) if path.suffix == ".npy" else np.array(json.loads(path.read_text()), np.float32)
        print(f"{path.stem:16} differs by {np.abs(theirs - ours).max():.1e} at most in any element")
END
