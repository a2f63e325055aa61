"""The numbers and the names that BERT's kin have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from edge_embed.errors import CorruptModelError
from edge_embed.spec import values

from ._checks import CONFIG, check_config, check_heads, numbers

ALLOWED = {
    "hidden_act": ("gelu", "gelu_new", "gelu_pytorch_tanh"),
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
}
COMPUTED = ("hidden_act", "first_position")  # these need not stand in config.json
PAD = 1  # RoBERTa's, where config.json does not say


@dataclass(frozen=True, kw_only=True)
class Config:
    """The values that shape a model, under BERT's names; `type_vocab_size` is 0 where tokens have no types."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    layer_norm_eps: float
    vocab_size: int
    type_vocab_size: int


@dataclass(frozen=True, kw_only=True)
class Learned(Config):
    """A model whose positions are a table, of which the first token takes the row `first_position`."""

    max_position_embeddings: int
    hidden_act: str = "gelu"
    first_position: int = 0

    @property
    def positions(self) -> int:
        """How many tokens the table has rows for."""
        return self.max_position_embeddings - self.first_position


@dataclass(frozen=True)
class Names:
    """How a checkpoint names the parts of a layer, after `layer`, its number and a dot; BERT's own."""

    layer: str = "encoder.layer."
    query: str = "attention.self.query"
    key: str = "attention.self.key"
    value: str = "attention.self.value"
    attended: str = "attention.output.dense"
    attention_norm: str = "attention.output.LayerNorm"
    up: str = "intermediate.dense"
    down: str = "output.dense"
    norm: str = "output.LayerNorm"


def read_bert(config: Mapping[str, Any]) -> Learned:
    """Read and check the values of a model whose first token takes the table's first row."""
    return _read(config, 0)


def read_roberta(config: Mapping[str, Any]) -> Learned:
    """Read and check the values of a model whose first token takes the row after the padding token's id.

    Its own code gives the padding token, should a text spell it, the row of its id and no place among the others;
    here it is a token as any other.
    """
    return _read(config, first_position(config))


def read_untyped(config: Mapping[str, Any], first: int) -> Learned:
    """Read and check the values of a model whose tokens have no types, with the row of the first token's position."""
    return replace(_read({**config, "type_vocab_size": 1}, first), type_vocab_size=0)


def first_position(config: Mapping[str, Any]) -> int:
    """Return RoBERTa's row of the first token; raise CorruptModelError for a padding token that is none."""
    return values.whole(config, "pad_token_id", CONFIG, PAD, least=0) + 1


def with_positions(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return RoBERTa's config.json with as many positions as tokens can have, which is fewer than its table has."""
    stated = config.get("max_position_embeddings")
    if not isinstance(stated, int) or isinstance(stated, bool):
        return dict(config)
    return {**config, "max_position_embeddings": stated - first_position(config)}


def _read(config: Mapping[str, Any], first: int) -> Learned:
    names = [field.name for field in fields(Learned) if field.name not in COMPUTED]
    check_config(config, ALLOWED, names)
    own = {key: value for key, value in config.items() if key != "first_position"}
    found = replace(numbers(Learned, own), first_position=first)
    check_heads(found.hidden_size, found.num_attention_heads)
    if found.positions < 1:
        raise CorruptModelError(
            f"{CONFIG}: max_position_embeddings={found.max_position_embeddings} leaves no position from {first} on, "
            "where texts begin"
        )
    return found
