"""A service on the fake backend, shared by the tests of a file that leave it as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.service import Running, running


@pytest.fixture(scope="module")
def service(tiny_tokenizer: Path) -> Iterator[Running]:
    """Return a service that answers /vectors, with small limits."""
    with running(tiny_tokenizer, max_body=1 << 20, head_timeout=0.3, body_timeout=0.3) as found:
        yield found
