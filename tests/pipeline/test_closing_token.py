"""The closing token that tokenizer_config.json asks for and tokenizer.json leaves out: e5-mistral, gte-Qwen2."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, processors
from transformers import PreTrainedTokenizerFast

from edge_embed import CorruptModelError, Embedder, UnsupportedModelError
from edge_embed.pipeline.closing_token import with_closing_token
from edge_embed.pipeline.guarded import GuardedTokenizer
from edge_embed.pipeline.tokenizer import TextTokenizer
from edge_embed_convert import convert

from support import tiny
from support.pieces import byte_pairs

TEXTS = ["", "a", "hello the word", "in</s>side"]
ASKED: dict[str, Any] = {"add_eos_token": True, "eos_token": "</s>", "tokenizer_class": "LlamaTokenizer"}
START = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 0)])
BYTES = processors.ByteLevel(trim_offsets=False)


def saved(folder: Path, processor: Any, config: dict[str, Any] | None = None) -> Path:
    """Save a tokenizer with a post-processor of its own, and tokenizer_config.json."""
    made = Tokenizer.from_str(json.dumps({**json.loads(byte_pairs().to_str()), "post_processor": None}))
    if processor is not None:
        made.post_processor = processor
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(ASKED if config is None else config))
    return folder / "tokenizer.json"


@pytest.mark.parametrize(
    ("processor", "first"),
    [
        (None, False),
        (BYTES, False),
        (START, True),
        (processors.Sequence([BYTES, START]), True),
        (processors.Sequence([BYTES]), False),
        (processors.RobertaProcessing(("</s>", 2), ("<s>", 0)), True),
        (processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]), True),
    ],
    ids=["none", "gte-qwen2", "e5-mistral", "both", "sequence", "roberta", "closed"],
)
def test_texts_end_as_transformers_ends_them(processor: Any, first: bool, tmp_path: Path) -> None:
    path = saved(tmp_path, processor)
    theirs = PreTrainedTokenizerFast(
        tokenizer_file=str(path), bos_token="<s>", eos_token="</s>", add_bos_token=first, add_eos_token=True
    )
    ours = GuardedTokenizer(path)
    assert [ours.encode(text).ids for text in TEXTS] == theirs(TEXTS)["input_ids"]
    if closed := with_closing_token(path):
        assert Tokenizer.from_str(closed).encode("a", "b").ids == theirs("a", "b")["input_ids"]
    hidden = TextTokenizer(path, 64, "text").tokenize(["in</s>side"]).ids[0].tolist()
    assert (hidden[-1], hidden.count(2)) == (2, 1)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {**ASKED, "add_eos_token": False},
        {**ASKED, "tokenizer_class": "Qwen2Tokenizer"},  # which passes over it, in transformers
        {**ASKED, "tokenizer_class": "PreTrainedTokenizerFast"},
    ],
)
def test_no_token_that_nothing_obeys(config: dict[str, Any], tmp_path: Path) -> None:
    assert with_closing_token(saved(tmp_path, START, config)) is None


def test_a_tokenizer_of_the_model_s_own_code_is_believed(tmp_path: Path) -> None:
    own = {"AutoTokenizer": ["tokenization_qwen.Qwen2Tokenizer", "tokenization_qwen.Qwen2TokenizerFast"]}
    path = saved(tmp_path, BYTES, {**ASKED, "eos_token": {"content": "</s>"}, "tokenizer_class": "Q", "auto_map": own})
    assert GuardedTokenizer(path).encode("a").ids[-1] == 2


@pytest.mark.parametrize("token", [None, "<|endoftext|>", 7, {"content": None}])
def test_a_closing_token_that_there_is_not(token: object, tmp_path: Path) -> None:
    with pytest.raises(
        CorruptModelError, match=r"add_eos_token is true, and eos_token=.* is no token of tokenizer\.json"
    ):
        GuardedTokenizer(saved(tmp_path, START, {**ASKED, "eos_token": token}))


@pytest.mark.parametrize(
    "change",
    [
        {"added_tokens": 5},
        {"added_tokens": [5, {"content": "</s>", "id": "2"}]},
        {"model": None},
        {"post_processor": {"type": "Sequence", "processors": 5}},
        {"post_processor": {"type": "Sequence", "processors": [5, None]}},
        {"post_processor": {"single": [5, {"SpecialToken": 5}], "special_tokens": 5}},
        {"post_processor": {"single": [{"Sequence": {"type_id": []}}]}},
        {"post_processor": 5},
    ],
)
def test_a_tokenizer_that_is_none_is_named(change: dict[str, Any], tmp_path: Path) -> None:
    path = saved(tmp_path, START)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(CorruptModelError, match=r"tokenizer\.json"):
        GuardedTokenizer(path)


def test_a_converted_folder_s_own_file_has_it(tmp_path: Path) -> None:
    """For readers that take tokenizer.json as it is, such as transformers from release 5 on."""
    tiny.make("mistral", tmp_path / "source", "lasttoken", vocab_size=300)
    saved(tmp_path / "source", START)
    (folder,) = convert(tmp_path / "source", tmp_path / "out", ["onnx:float32"])
    assert Tokenizer.from_file(str(folder / "tokenizer.json")).encode("a").ids[-1] == 2
    with Embedder(folder) as model:
        assert model.count_tokens(["a"])[0].tokens == 3
    saved(tmp_path / "source", START, {})
    with pytest.raises(UnsupportedModelError, match="appends no closing token, and pooling 'last' reads it"):
        convert(tmp_path / "source", tmp_path / "other", ["onnx:float32"])
