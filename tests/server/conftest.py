"""A service on the fake backend, shared by the tests of a file that leave it as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_embed import Embedder
from edge_embed.backends.fake import FakeBackend
from edge_embed.pipeline.tokenizer import TextTokenizer

from support.fake import SPEC
from support.service import Running, running


@pytest.fixture(scope="module")
def service(tiny_tokenizer: Path) -> Iterator[Running]:
    """Return a service that answers /vectors, with small limits."""
    with running(tiny_tokenizer, max_body=1 << 20, head_timeout=0.3, body_timeout=0.3) as found:
        yield found


@pytest.fixture(scope="module")
def embedder(tiny_tokenizer: Path) -> Iterator[Embedder]:
    """Return what the service's model is, in process."""
    tokenizer = TextTokenizer(tiny_tokenizer, SPEC.max_tokens, "text")
    with Embedder.from_parts(SPEC, tokenizer, FakeBackend(SPEC.dim)) as own:
        yield own
