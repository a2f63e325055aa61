"""All paths that the shapes serve: each file of `shapes/` says its own."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.routing import BaseRoute

from . import shapes
from .ask import Endpoint, Listing
from .indexes import Indexes
from .page import ROUTES
from .shapes import search


@dataclass(frozen=True, kw_only=True)
class Paths:
    """What the service answers: APIs for vectors, lists of models, and `open` routes, for which no key is asked."""

    endpoints: Sequence[Endpoint] = ()
    listings: Sequence[Listing] = ()
    open: Sequence[BaseRoute] = ()


def gather(indexes: Indexes | None = None) -> Paths:
    """Return what the files of `shapes/` list as ENDPOINTS and LISTINGS, what searches the indexes, and the page."""
    indexes = indexes or Indexes()
    endpoints: list[Endpoint] = search.endpoints(indexes)
    listings: list[Listing] = search.listings(indexes)
    for found in pkgutil.iter_modules(shapes.__path__):
        module = importlib.import_module(f"{shapes.__name__}.{found.name}")
        endpoints += getattr(module, "ENDPOINTS", ())
        listings += getattr(module, "LISTINGS", ())
    return Paths(endpoints=endpoints, listings=listings, open=ROUTES)
