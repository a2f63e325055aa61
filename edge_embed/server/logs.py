"""The service's log on standard error: a line a request, as text or as JSON, and never what a caller sent."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import orjson

from .exchange import Exchange
from .settings import LogFormat

requests = logging.getLogger("edge_embed.server.requests")
LEVELS = {
    "edge_embed": logging.INFO,
    "edge_embed.llama_cpp": logging.WARNING,  # which tells a hundred lines of each model that is loaded
    "uvicorn.error": logging.WARNING,
    "py.warnings": logging.WARNING,
}
FIELDS = "edge_embed_fields"  # of a log record: what a request's line tells, by name


@contextmanager
def to_standard_error(form: LogFormat) -> Iterator[None]:
    """Send the service's loggers, uvicorn's and Python's warnings to standard error while the body runs."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Text())
    before = [(logger, logger.handlers, logger.propagate, logger.level) for logger in map(logging.getLogger, LEVELS)]
    logging.captureWarnings(True)
    for logger, *_ in before:
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(LEVELS[logger.name])
    try:
        yield
    finally:
        logging.captureWarnings(False)
        for logger, handlers, propagate, level in before:
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)


def request(exchange: Exchange) -> None:
    """Write a request's line."""
    computed = exchange.computed
    fields: dict[str, str | int | float] = {
        "status": exchange.status or "gone",
        "method": exchange.method,
        "route": exchange.route or "(unknown)",
        "ms": round(1e3 * exchange.seconds, 2),
        "request_id": exchange.request_id,
    }
    if exchange.model:
        fields |= {"model": exchange.model, "texts": exchange.texts}
    if computed is not None:
        times = computed.timings
        fields |= {
            "tokens": computed.tokens,
            "truncated": computed.truncated,
            "tokenize_ms": round(1e3 * times.tokenize, 2),
            "queue_ms": round(1e3 * times.queue, 2),
            "compute_ms": round(1e3 * times.compute, 2),
        }
    if exchange.reason:
        fields["reason"] = exchange.reason
    requests.info("request", extra={FIELDS: fields})


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Write `TIME LEVEL message`, or a request's fields as `name=value`."""
        fields = getattr(record, FIELDS, None)
        told = " ".join(f"{name}={value}" for name, value in fields.items()) if fields else super().format(record)
        return f"{_time(record)} {record.levelname.lower()} {told.strip()}"


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Write one object a line."""
        fields = getattr(record, FIELDS, None) or {"message": super().format(record).strip()}
        return orjson.dumps({"time": _time(record), "level": record.levelname.lower(), **fields}).decode()
