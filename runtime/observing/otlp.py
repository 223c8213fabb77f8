"""Spans to a collector, as OpenTelemetry's environment variables say."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from teola.runtime.observing.extra import require
from teola.runtime.observing.opentelemetry import OpenTelemetrySpans

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
HTTP = "http/protobuf"


def wanted() -> bool:
    """Whether the environment names a collector that is to get spans over HTTP."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    if os.environ.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        return False
    protocol = next((os.environ[name] for name in PROTOCOLS if os.environ.get(name)), HTTP)
    return protocol == HTTP and any(os.environ.get(name) for name in ENDPOINTS)


def collected_spans() -> tuple[OpenTelemetrySpans, Callable[[], None]]:
    """An observer whose spans go to the collector, and what sends the last of them and ends it.

    Raises:
        ModelError: the SDK or its exporter is not installed.
    """
    exporter = "opentelemetry-exporter-otlp-proto-http"
    require("opentelemetry.sdk.trace.export", "opentelemetry-sdk", "spans for a collector")
    require("opentelemetry.exporter.otlp.proto.http.trace_exporter", exporter, "spans by OTLP")
    provider = _provider()
    return OpenTelemetrySpans(provider), provider.shutdown


def _provider() -> TracerProvider:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    named = "OTEL_SERVICE_NAME" in os.environ
    facts = {} if named else {"service.name": "teola"}
    provider = TracerProvider(resource=Resource.create(facts))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
