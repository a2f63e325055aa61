"""Patterns of other people's adapters: those in use match as in `re`, those that could take for ever are refused."""

from __future__ import annotations

import re

import pytest

from edge_embed import CorruptModelError, UnsupportedModelError
from edge_embed.formats.bounded_regex import match

NAME = "base_model.model.model.layers.10.self_attn.q_proj"
USUAL = [
    r".*\.(q_proj|k_proj)",
    r"(?:.*?(?:vision|language).*?(?:attn|mlp).*?(?:q_proj|k_proj).*?)|(?:\bmodel\.layers\.[\d]{1,}\.self_attn\..*)",
    r"^(language_model|model)(?!.*(lm_head|output|emb|wte|shared)).*",
    r"(.*\.)?(layers\.\d+\.self_attn\.q_proj)$",
    r"(^|.*\.)score($|\..*)",
    r"(?:^|.*?\.)layers\.(?P<layer>\d+)\.",
    r"[]\]()*+]*.*q_proj",
    r"(?:ab)*base.*+",
]
HOSTILE = [
    *(r"(a+)+b", r"(a*)*b", r"(?:a|a)*b", r"(a|b|ab)*c", r"(a?){40}b", r"(?:(?:a?)b)+c", r"((a+)b?)*c"),
    *(r"(?x)(a+) +b", r".*a.*a.*a.*a.*a.*a.*a.*b", r"(\w+\.){1,}q", r"(a{1,9}){1,9}b"),
]


@pytest.mark.parametrize("pattern", USUAL)
def test_usual_patterns_match_as_in_re(pattern: str) -> None:
    for name in (NAME, "model.layers.3.mlp.up_proj", "score"):
        for whole in (True, False):
            expected = re.fullmatch(pattern, name) if whole else re.match(pattern, name)
            found = match(pattern, name, "a.json", whole=whole)
            assert (found and found.span()) == (expected and expected.span())


@pytest.mark.parametrize("pattern", HOSTILE)
def test_patterns_that_could_take_for_ever_are_refused(pattern: str) -> None:
    with pytest.raises(UnsupportedModelError, match=r"a.json: the pattern .* could take for ever on 'aaa"):
        match(pattern, "a" * 100, "a.json")


def test_what_is_no_pattern() -> None:
    with pytest.raises(CorruptModelError, match=r"a.json: '\(' is not a regular expression: missing \), "):
        match("(", NAME, "a.json")
    with pytest.raises(CorruptModelError, match="is longer than 4096; correct it"):
        match("a" * 5000, NAME, "a.json")
