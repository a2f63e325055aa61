"""JSON of other people's files: what is no JSON that a model needs is refused, and every value by its key."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from edge_embed.errors import CorruptModelError
from edge_embed.spec import values
from edge_embed.spec.image import ImageSpec, check
from edge_embed.spec.model import ModelSpec

SPEC = (
    '"format": 1, "name": "m", "architecture": "bert", "dim": 8, "max_tokens": 9, "pooling": "mean", "normalize": true'
)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff\xfe{}", "is not JSON: 'utf-8' codec can't decode"),
        ("[" * 100_000, "is not JSON: maximum recursion depth"),
        ("[" * 80 + "]" * 80, "is not JSON that a model needs: it is nested more than 64 deep"),
        ('{"a": "\\ud800"}', "is not JSON: .*surrogates not allowed"),
        ("1" * 5000, "is not JSON: Exceeds the limit"),
        ("[1]", "holds a list, not an object; fetch it again"),
    ],
)
def test_what_is_no_object_is_refused(data: str | bytes, message: str) -> None:
    with pytest.raises(CorruptModelError, match=rf"a\.json {message}"):
        values.parse_object(data, "a.json")


def test_pairs_of_surrogates_are_characters() -> None:
    assert values.parse_object('{"a": "\\ud83d\\ude00"}', "a.json") == {"a": "\U0001f600"}


@pytest.mark.parametrize(
    ("get", "value", "message"),
    [
        (values.whole, "7", "k='7' is not a whole number from 1 to 2,147,483,647"),
        (values.whole, 0, "k=0 is not a whole number from 1"),
        (values.whole, True, "k=True is not a whole number"),
        (values.whole, 1 << 31, "k=2147483648 is not a whole number"),
        (values.whole, None, "k=None is not a whole number"),
        (values.real, float("inf"), "k=inf is not a number from 0 on"),
        (values.real, 10**400, "k=1000.*is not a number"),
        (values.real, [1], r"k=\[1\] is not a number"),
        (values.text, "", "k='' is not a text"),
        (values.text, 3, "k=3 is not a text"),
        (values.section, [], r"k=\[\] is not an object"),
        (values.texts, {"a": 3}, "k: a=3 is not a text"),
    ],
)
def test_values_are_of_their_type(get: Callable[..., object], value: object, message: str) -> None:
    with pytest.raises(CorruptModelError, match=f"a.json: {message}"):
        get({"k": value}, "k", "a.json")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ('"image": {"size": [0, 0]}', "impossible value of 'size'"),
        ('"image": {"size": [8, 8], "std": [0, 1, 1]}', "impossible value of 'std'"),
        ('"image": {"size": [8, 8], "fill": 999}', "impossible value of 'fill'"),
        ('"image": {"size": [8, 8], "mean": [NaN, 0, 0]}', "image: mean: nan is not float"),
        ('"image": {"size": [8, 8], "pinpoints": [[8000, 8000]]}', "impossible value of 'pinpoints'"),
        (
            '"weights": [{"format": "onnx", "level": "int9", "files": [{"path": "a"}]}]',
            "impossible value of 'weights.lev",
        ),
        ('"golden_pictures": [{"seed": -1, "vector": ""}]', "impossible value of 'golden_pictures.seed'"),
        ('"max_tokens": 4294967296', "impossible value of 'max_tokens'"),
    ],
)
def test_what_edge_embed_json_cannot_say_is_refused(more: str, message: str) -> None:
    with pytest.raises(CorruptModelError, match=message):
        ModelSpec.from_json(f"{{{SPEC}, {more}}}")


def test_usual_pinpoints_are_taken() -> None:
    check(ImageSpec(size=(384, 384), pinpoints=((384, 2304), (2304, 2304))), "a.json")
