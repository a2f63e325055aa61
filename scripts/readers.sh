#!/bin/sh
# Installs other readers of the folders that we publish, each in an environment of its own in READERS (.readers; 2 GB),
# has them embed a few texts, and compares their vectors with ours: tests/oracle/test_readers.py. The table goes to
# standard output. For llama-server name it: LLAMA_SERVER=PATH.
#
#   scripts/readers.sh
set -eu
cd "$(dirname "$0")/.."
export READERS="${READERS:-$PWD/.readers}"
mkdir -p "$READERS"
[ -x "$READERS/onnx/bin/python" ] || {
    python3 -m venv "$READERS/onnx"
    "$READERS/onnx/bin/pip" install -q sentence-transformers fastembed openvino 'optimum-onnx[onnxruntime]'
}
[ -x "$READERS/mlx/bin/python" ] || {
    python3 -m venv "$READERS/mlx"
    "$READERS/mlx/bin/pip" install -q 'mlx[cpu]; sys_platform == "linux"' mlx-embeddings mlx-lm
}
for version in 3 4; do
    folder="$READERS/transformers.js-$version"
    [ -d "$folder/node_modules" ] ||
        npm install --prefix "$folder" --ignore-scripts --no-audit --no-fund "@huggingface/transformers@$version" >&2
done
READERS_TABLE="$READERS/table.md" python -m pytest -q -rs tests/oracle/test_readers.py >&2
cat "$READERS/table.md"
