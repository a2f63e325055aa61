"""Loads every level of a folder that another machine converted, so that its self-test compares vectors."""

import sys
from pathlib import Path

from edge_embed import Embedder
from edge_embed.layouts.folder import read_folder

for weights in read_folder(Path(sys.argv[1])).spec.weights:
    with Embedder(f"{sys.argv[1]}:{weights.level}") as model:
        print(f"self-test passed: {model.explain().splitlines()[1]}", flush=True)
