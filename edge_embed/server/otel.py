"""OpenTelemetry, where its API is installed: a span a request by Starlette, and in it one a call for vectors.

Names are those of the GenAI conventions (open-telemetry/semantic-conventions-genai), which are in development and so
written out here. Nothing that a caller sent goes into a span but the model's name.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from starlette.middleware import Middleware

from .ask import Answer, Call

if TYPE_CHECKING:
    from .handler import Tracing

OPERATION, PROVIDER = "embeddings", "edge_embed"
QUIET = "/livez$,/readyz$,/health$,/metrics$"  # asked every few seconds, by machines


def installed() -> bool:
    """Whether the extra `otel` is here."""
    try:
        import opentelemetry.trace  # noqa: F401 - `opentelemetry` alone is a namespace that other packages leave behind
    except ImportError:
        return False
    return True


def middleware() -> list[Middleware]:
    """Return what makes a span of every request, below the caller's own; nothing without the API."""
    if not installed():
        return []
    from starlette.middleware.opentelemetry import OpenTelemetryMiddleware

    return [Middleware(OpenTelemetryMiddleware, excluded_urls=QUIET)]


def tracing() -> Tracing | None:
    """Return what notes answers, in spans and in the histogram of durations; None without the API."""
    if not installed():
        return None
    from opentelemetry import metrics, trace

    tracer = trace.get_tracer(PROVIDER)
    durations = metrics.get_meter(PROVIDER).create_histogram(
        "gen_ai.server.request.duration", unit="s", description="From a request's tokenising to its vectors"
    )

    def note(call: Call, answer: Answer) -> None:
        times, name = answer.computed.timings, answer.card.name
        took = times.tokenize + times.queue + times.compute
        about = {
            "gen_ai.operation.name": OPERATION,
            "gen_ai.provider.name": PROVIDER,
            "gen_ai.request.model": name,
        }
        details: dict[str, Any] = {
            "gen_ai.embeddings.dimension.count": int(answer.computed.vectors.shape[1]),
            "gen_ai.usage.input_tokens": answer.computed.tokens,
        }
        now = time.time_ns()
        span = tracer.start_span(
            f"{OPERATION} {name}", start_time=now - int(took * 1e9), attributes={**about, **details}
        )
        span.end(now)
        durations.record(took, about)

    return note
