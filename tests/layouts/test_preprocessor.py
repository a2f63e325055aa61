"""Where a folder says how images become pixels: both places where transformers keeps it, and which it reads first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import LlavaNextProcessor
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

from edge_embed import CorruptModelError
from edge_embed.layouts.preprocessor import read_preprocessor

from support import letters

CONFIG = {
    **{"image_processor_type": "LlavaNextImageProcessor", "size": {"shortest_edge": 32}},
    **{"crop_size": {"height": 32, "width": 32}, "image_grid_pinpoints": [[32, 64], [64, 32]]},
}


def test_a_folder_as_transformers_saves_it_today_is_read_as_one_of_before(tmp_path: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_object=letters.tokenizer())
    tokenizer.add_tokens(["<image>"])
    made = LlavaNextImageProcessorPil(**{key: value for key, value in CONFIG.items() if key != "image_processor_type"})
    LlavaNextProcessor(image_processor=made, tokenizer=tokenizer, patch_size=8).save_pretrained(tmp_path)
    assert "image_processor" in json.loads((tmp_path / "processor_config.json").read_text())
    assert not (tmp_path / "preprocessor_config.json").exists()
    now = read_preprocessor(tmp_path)
    (tmp_path / "processor_config.json").write_text("{}")
    assert read_preprocessor(tmp_path) is None
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(CONFIG))
    assert now == read_preprocessor(tmp_path)
    assert now is not None
    assert (now.size, now.pinpoints) == ((32, 32), ((32, 64), (64, 32)))


def test_the_newer_file_wins_as_in_transformers(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"size": 64, "crop_size": 64}))
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": {"size": 32, "crop_size": 32}}))
    found = read_preprocessor(tmp_path)
    assert found is not None
    assert found.size == (32, 32)
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": [1]}))
    with pytest.raises(CorruptModelError, match=r"processor_config.json: image_processor=\[1\] is not an object"):
        read_preprocessor(tmp_path)
