"""What the service counts, for Prometheus: base units, `edge_embed_` before every name, labels of bounded number."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from edge_embed.batching.batcher import EngineCall

from .exchange import Exchange
from .models import Models

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
TOKENS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
RATIOS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """A registry of its own, with what requests, engine calls and queues give."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # when each series began: three lines in ten
        self._registry = CollectorRegistry()
        self._requests = self._counter("requests", "Answered requests.", "route", "model", "status")
        self._rejected = self._counter("rejected", "Requests that were refused, by reason.", "reason")
        self._texts = self._counter("texts", "Inputs whose vectors were sent.", "model")
        self._tokens = self._counter("tokens", "Tokens that were computed for them.", "model")
        self._truncated = self._counter("truncated_texts", "Inputs that were cut to the model's length.", "model")
        self._duration = self._histogram("request_duration_seconds", "From a request's head to its answer.", SECONDS)
        self._tokenize = self._histogram("tokenize_duration_seconds", "Tokenising, by request.", SECONDS)
        self._queue = self._histogram("queue_duration_seconds", "Waiting for the engine, by request.", SECONDS)
        self._compute = self._histogram("compute_duration_seconds", "Engine calls, by request.", SECONDS)
        self._batch_texts = self._histogram("batch_texts", "Inputs of an engine call.", TEXTS)
        self._batch_tokens = self._histogram("batch_tokens", "Tokens of an engine call, without padding.", TOKENS)
        self._padding = self._histogram("batch_padding_ratio", "Padding's share of a call's tokens.", RATIOS)
        ProcessCollector(namespace="edge_embed", registry=self._registry)

    def watch(self, models: Models) -> None:
        """Tell of the models' queues as well."""
        self._registry.register(_Queues(models))

    def observe(self, call: EngineCall) -> None:
        """Count an engine call; in the engine's thread."""
        self._batch_texts.observe(call.texts)
        self._batch_tokens.observe(call.tokens)
        if call.padded:
            self._padding.observe(max(0.0, 1 - call.tokens / call.padded))

    def answered(self, exchange: Exchange) -> None:
        """Count a request that was answered, or whose client left."""
        status = str(exchange.status) if exchange.status else "gone"
        self._requests.labels(exchange.route, exchange.model, status).inc()
        if exchange.reason:
            self._rejected.labels(exchange.reason).inc()
        computed = exchange.computed
        if computed is None:
            return
        self._duration.observe(exchange.seconds)
        self._tokenize.observe(computed.timings.tokenize)
        self._queue.observe(computed.timings.queue)
        self._compute.observe(computed.timings.compute)
        self._texts.labels(exchange.model).inc(exchange.texts)
        self._tokens.labels(exchange.model).inc(computed.tokens)
        if computed.truncated:
            self._truncated.labels(exchange.model).inc(computed.truncated)

    def exposition(self) -> bytes:
        """Write all in Prometheus' text format."""
        return generate_latest(self._registry)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(name, what, labels, namespace="edge_embed", registry=self._registry)

    def _histogram(self, name: str, what: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, what, namespace="edge_embed", buckets=buckets, registry=self._registry)


class _Queues:
    """Asks the models when it is asked."""

    def __init__(self, models: Models) -> None:
        self._models = models

    def collect(self) -> Iterator[Metric]:
        """Give what waits now, what was abandoned, and which models are loaded."""
        loaded = list(self._models.loaded())
        queued = [engine.queued() for _, engine in loaded]
        texts, tokens = sum(one.texts for one in queued), sum(one.tokens for one in queued)
        yield GaugeMetricFamily("edge_embed_queue_texts", "Inputs that wait for an engine.", value=texts)
        yield GaugeMetricFamily("edge_embed_queue_tokens", "Tokens that wait for an engine.", value=tokens)
        abandoned = self._models.abandoned_before + sum(engine.abandoned for _, engine in loaded)
        yield CounterMetricFamily(
            "edge_embed_abandoned_texts", "Inputs dropped since their client had left.", value=abandoned
        )
        info = GaugeMetricFamily(
            "edge_embed_model_info", "Models that are loaded.", labels=("model", "level", "engine", "fingerprint")
        )
        for residence, _ in loaded:
            level = residence.level or ""
            fingerprint = residence.spec.fingerprint if residence.spec else None
            info.add_metric([residence.name, level, residence.backend, fingerprint or ""], 1)
        yield info
