"""Fewer layers of a trained miniature, adapters included, where a test asks about folders and roads, not quality."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

from .places import MINIATURES


def shallow(name: str, folder: Path, layers: int = 1) -> Path:
    """Copy a miniature with its first layers alone -> the folder. Its vectors are a checkpoint's like any other."""
    shutil.copytree(MINIATURES / name, folder, copy_function=shutil.copyfile)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    for path in folder.rglob("*.safetensors"):
        kept = {name: tensor for name, tensor in load_file(path).items() if _depth(name) < layers}
        path.unlink()
        save_file(kept, path, {"format": "pt"})
    config = json.loads((folder / "config.json").read_text("utf-8")) | {"num_hidden_layers": layers}
    if "layer_types" in config:
        config["layer_types"] = config["layer_types"][:layers]
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    return folder


def _depth(name: str) -> int:
    found = re.search(r"layers\.(\d+)\.", name)
    return int(found[1]) if found else 0
