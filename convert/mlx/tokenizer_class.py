"""A tokenizer's class, said where the checkpoint leaves it to transformers to know it by the model's type.

swift-transformers takes the type's own name then, and refuses a Qwen3Tokenizer, which nobody has.
"""

from __future__ import annotations

import json
from pathlib import Path

from edge_embed.formats.json_file import read_object

# What transformers takes by itself (models/auto/tokenization_auto.py of 5.24), and the kind of model inside that each
# class is for: another kind of tokenizer.json would be read as that one, by either.
CLASSES = {
    "bert": ("WordPiece", "BertTokenizer"),
    "distilbert": ("WordPiece", "BertTokenizer"),
    "gemma3_text": ("BPE", "GemmaTokenizer"),
    "nomic_bert": ("WordPiece", "BertTokenizer"),
    "qwen2": ("BPE", "Qwen2Tokenizer"),
    "qwen3": ("BPE", "Qwen2Tokenizer"),
    "roberta": ("BPE", "RobertaTokenizer"),
    "xlm-roberta": ("Unigram", "XLMRobertaTokenizer"),
}


def say_tokenizer_class(folder: Path, model_type: str) -> None:
    """Add `tokenizer_class` to the folder's tokenizer_config.json, unless it says one or none is known."""
    path = folder / "tokenizer_config.json"
    kind, name = CLASSES.get(model_type, (None, None))
    if name is None or not path.is_file():
        return
    values = read_object(path)
    model = read_object(folder / "tokenizer.json", {}).get("model")
    if values.get("tokenizer_class") is None and isinstance(model, dict) and model.get("type") == kind:
        values["tokenizer_class"] = name
        path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", "utf-8")
