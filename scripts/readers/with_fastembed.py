"""fastembed with a model of one's own: READER FOLDER < texts > {version, vectors}."""

import json
import sys
from importlib.metadata import version

from fastembed import TextEmbedding
from fastembed.common.model_description import ModelSource, PoolingType

folder = sys.argv[1]
with open(f"{folder}/1_Pooling/config.json") as file:
    config = json.load(file)
kinds = {"mean_tokens": PoolingType.MEAN, "cls_token": PoolingType.CLS, "lasttoken": PoolingType.LAST_TOKEN}
kind = next(kind for mode, kind in kinds.items() if config[f"pooling_mode_{mode}"])
source, dim = ModelSource(hf="local/model"), config["word_embedding_dimension"]
TextEmbedding.add_custom_model("local/model", kind, True, source, dim, model_file="onnx/model.onnx")
model = TextEmbedding("local/model", specific_model_path=folder)
vectors = [vector.tolist() for vector in model.embed(json.load(sys.stdin))]
print(json.dumps({"version": version("fastembed"), "vectors": vectors}))
