"""A search whose query a running service embeds: neither an engine nor a tokeniser is imported."""

from __future__ import annotations

import contextlib
import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from edge_embed.device.own_socket import is_there, own_socket
from edge_embed.errors import BackendError, SearchIndexError

from .hits import SearchHit
from .reader import Question, Reader
from .remote import SECONDS, encode_query

SERVER = "EDGE_EMBED_SERVER"  # the variable that names a service
SOON = 5.0  # seconds in which the user's own service must answer: else the model is opened here
logger = logging.getLogger(__name__)


class Found(NamedTuple):
    """The hits; the passage that is nearest where nothing fits; the cosine of unrelated texts."""

    hits: list[SearchHit]
    nearest: SearchHit | None
    reference: float


def find(path: Path, query: str, question: Question, server: str | None = None) -> Found | None:
    """Search by a service: the one that is named, here or by $EDGE_EMBED_SERVER, else this user's own.

    None where none is named and this user's own is not there, does not answer, or has another model. Raises as
    Index.search does.
    """
    named = server or os.environ.get(SERVER)
    own = None if named else own_socket()
    if not named and (own is None or not is_there(own)):
        return None
    with contextlib.closing(Reader(path)) as reader:
        try:
            vector = encode_query(named or f"unix:{own}", query, reader.meta, SECONDS if named else SOON)
        except (BackendError, SearchIndexError) as error:
            if named:
                raise
            logger.info("the model is opened here, since %s", error)
            return None
        hits, meta = reader.search(vector, question)
        best = hits or reader.search(vector, replace(question, top=1, least=-1))[0]
        return Found(hits, best[0] if best else None, meta.reference)
