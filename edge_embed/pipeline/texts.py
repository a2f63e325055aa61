"""Which values are texts that a tokenizer can take."""

from __future__ import annotations

from collections.abc import Sequence

from edge_embed.errors import InputError


def check_texts(texts: Sequence[object], first: int = 0) -> list[str]:
    """Return the texts; raise InputError that names the first index that is not text a tokenizer can take."""
    for index, text in enumerate(texts, first):
        if fault := text_fault(text):
            raise InputError(f"input {index} {fault}")
    return texts  # type: ignore[return-value]


def text_fault(text: object) -> str | None:
    """Say what makes a value no text that a tokenizer can take, if that is so."""
    if not isinstance(text, str):
        return f"is {type(text).__name__} {text!r:.60}, expected str{_decode_hint(text)}"
    if "\0" in text:
        return f"has a NUL character at {text.index(chr(0))}, which is not text: remove it first"
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return (
            f"has a lone surrogate {text[error.start]!r} at {error.start}: decode the bytes "
            "with errors='replace', or use text.encode('utf-8', 'replace').decode()"
        )
    return None


def _decode_hint(value: object) -> str:
    return ": decode bytes first, as in data.decode('utf-8')" if isinstance(value, bytes | bytearray) else ""
