"""Spans and the histogram of durations, where OpenTelemetry is installed; and that nothing needs it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edge_embed.server import otel

from support.service import running


def test_nothing_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)
    assert not otel.installed()
    assert otel.middleware() == []
    assert otel.tracing() is None


def test_a_span_for_each_request(tiny_tokenizer: Path) -> None:
    trace = pytest.importorskip("opentelemetry.trace")
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    trace.set_tracer_provider(provider)
    caller = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    with running(tiny_tokenizer) as service:
        assert service.ask(["tea", "a secret"], headers=caller)[0] == 200
        assert service.send("GET", "/livez")[0] == 200
    call, request = kept.get_finished_spans()
    assert (call.name, request.name) == ("embeddings fake", "POST /vectors")
    assert call.parent.span_id == request.context.span_id
    assert f"{request.context.trace_id:x}" == "af7651916cd43dd8448eb211c80319c"
    assert call.attributes["gen_ai.operation.name"] == "embeddings"
    assert call.attributes["gen_ai.provider.name"] == "edge_embed"
    assert call.attributes["gen_ai.request.model"] == "fake"
    assert call.attributes["gen_ai.embeddings.dimension.count"] == 16
    assert call.attributes["gen_ai.usage.input_tokens"] > 0
    assert "secret" not in call.to_json() + request.to_json()
