"""All paths that the shapes serve: each file of `shapes/` says its own."""

from __future__ import annotations

import importlib
import pkgutil

from . import shapes
from .ask import Endpoint, Listing


def gather() -> tuple[list[Endpoint], list[Listing]]:
    """Return what the files of `shapes/` list as ENDPOINTS and LISTINGS."""
    endpoints: list[Endpoint] = []
    listings: list[Listing] = []
    for found in pkgutil.iter_modules(shapes.__path__):
        module = importlib.import_module(f"{shapes.__name__}.{found.name}")
        endpoints += getattr(module, "ENDPOINTS", ())
        listings += getattr(module, "LISTINGS", ())
    return endpoints, listings
