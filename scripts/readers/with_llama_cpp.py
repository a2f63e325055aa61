"""llama-cpp-python, at F16: READER FOLDER < texts > {version, vectors}."""

import json
import sys
from importlib.metadata import version
from pathlib import Path

from llama_cpp import Llama

(path,) = Path(sys.argv[1]).glob("*-F16.gguf")
model = Llama(str(path), embedding=True, n_ctx=512, verbose=False)
vectors = [model.embed(text, normalize=True) for text in json.load(sys.stdin)]
print(json.dumps({"version": version("llama-cpp-python"), "vectors": vectors}))
