"""The engine kinds and backends that ``engines:`` may name, and when two engines are one.

Every backend is a frozen model whose fields are its settings (``engine_settings``). Two
engines with equal canonical settings are one engine (``identity``). A plug-in adds a backend with
an entry point of group ``teola.engines`` named ``kind.backend``; what it loads has the settings
model as its attribute ``settings``. Plug-ins are looked up only for backends that are not ours.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping

from teola.compiler.engine_settings import (
    EngineSettings,
    FakeEmbedder,
    FakeLLM,
    FakeReranker,
    FakeStore,
    MaxSimReranker,
    ModelSettings,
    SentenceTransformersEmbedder,
    SimulatedEmbedder,
    SimulatedLLM,
    SimulatedReranker,
    SimulatedStore,
    TransformersLLM,
)
from teola.compiler.engine_settings_openai import OpenAIEmbedder, OpenAILLM
from teola.compiler.engine_settings_rerankers import CrossEncoderReranker
from teola.compiler.engine_settings_stores import FaissStore, PostgresStore
from teola.compiler.engine_settings_vllm import VllmEmbedder, VllmLLM, VllmReranker
from teola.compiler.graph.pgraph import Json
from teola.compiler.model_names import HUB_PREFIX, KNOWN_MODELS, LOCAL

__all__ = [
    "BACKENDS",
    "HUB_PREFIX",
    "KINDS",
    "KNOWN_MODELS",
    "LOCAL",
    "EngineSettings",
    "backends",
    "canonical",
    "default_backend",
    "fingerprint",
    "identity",
    "orders_ingest",
    "portable",
    "settings_model",
]

BACKENDS: Mapping[tuple[str, str], type[EngineSettings]] = {
    ("llm", "transformers"): TransformersLLM,
    ("llm", "openai"): OpenAILLM,
    ("llm", "vllm"): VllmLLM,
    ("llm", "fake"): FakeLLM,
    ("llm", "simulated"): SimulatedLLM,
    ("embedder", "sentence-transformers"): SentenceTransformersEmbedder,
    ("embedder", "openai"): OpenAIEmbedder,
    ("embedder", "vllm"): VllmEmbedder,
    ("embedder", "fake"): FakeEmbedder,
    ("embedder", "simulated"): SimulatedEmbedder,
    ("reranker", "maxsim"): MaxSimReranker,
    ("reranker", "cross-encoder"): CrossEncoderReranker,
    ("reranker", "vllm"): VllmReranker,
    ("reranker", "fake"): FakeReranker,
    ("reranker", "simulated"): SimulatedReranker,
    ("store", "faiss"): FaissStore,
    ("store", "postgres"): PostgresStore,
    ("store", "fake"): FakeStore,
    ("store", "simulated"): SimulatedStore,
}
"""Every engine that comes with Teola: (kind, backend) -> its settings. The first of a kind is the
kind's default."""

KINDS: tuple[str, ...] = tuple(dict.fromkeys(kind for kind, _ in BACKENDS))
"""The engine kinds."""


def default_backend(kind: str) -> str:
    """Return the backend of an engine that names none."""
    return next(backend for of_kind, backend in BACKENDS if of_kind == kind)


def backends(kind: str) -> list[str]:
    """Return the names of a kind's backends, plug-ins included."""
    own = [backend for of_kind, backend in BACKENDS if of_kind == kind]
    return own + [name for name in _plugin_backends(kind) if name not in own]


def settings_model(kind: str, backend: str) -> type[EngineSettings] | None:
    """Return the settings of a backend, or None where there is no such backend.

    Raises:
        PluginError: the plug-in that names the backend cannot be used.
    """
    own = BACKENDS.get((kind, backend))
    if own is not None:
        return own
    from teola.compiler.plugins import engine_settings

    return engine_settings(kind, backend)


def canonical(config: EngineSettings | Mapping[str, object]) -> dict[str, Json]:
    """Return an engine's settings as plain data: every default filled in, nothing dropped.

    Raises:
        pydantic.ValidationError: a mapping that is no valid config.
        KeyError: a mapping of an unknown kind or backend.
    """
    settings = config if isinstance(config, EngineSettings) else _validated(config)
    found: dict[str, Json] = settings.model_dump(mode="json")
    if isinstance(settings, ModelSettings) and settings.path is not None:
        found["model"] = LOCAL
    return found


def identity(config: EngineSettings | Mapping[str, object]) -> str:
    """Return a hash that is equal for engines with equal canonical settings (32 hex digits).

    How many replicas they have does not count.
    """
    return _hash(config, {"replicas"})


def fingerprint(config: EngineSettings | Mapping[str, object]) -> str:
    """Return a hash that is equal for embedders that make the same vectors (32 hex digits), however
    they do it. Collections know by it what made their vectors."""
    return _hash(config, EngineSettings.incidental)


def _hash(config: EngineSettings | Mapping[str, object], without: Collection[str]) -> str:
    settings = {name: value for name, value in canonical(config).items() if name not in without}
    text = json.dumps(settings, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def orders_ingest(config: Mapping[str, object]) -> bool:
    """Return whether what is ingested into a store with these settings must be there as a whole."""
    return _validated(config).orders_ingest


def portable(config: EngineSettings | Mapping[str, object]) -> dict[str, Json]:
    """Return canonical settings as a plan holds them: a local folder is bound at run time. That
    there is one, an engine with weights tells by its ``model``, any other by an empty path; and an
    empty ``lora``, or an empty one of the ``adapters``, tells that there is an adapter."""
    settings = config if isinstance(config, EngineSettings) else _validated(config)
    found = canonical(settings)
    if isinstance(settings, VllmLLM):
        found["lora"] = settings.lora and ""
        found["adapters"] = dict.fromkeys(settings.adapters, "")
    if found.get("path") is None:
        return found
    return {**found, "path": None if "model" in found else ""}


def _validated(config: Mapping[str, object]) -> EngineSettings:
    kind = str(config["kind"])
    backend = str(config.get("backend") or default_backend(kind))
    model = settings_model(kind, backend)
    if model is None:
        raise KeyError(f"{kind}.{backend}")
    return model.model_validate({**config, "backend": backend})


def _plugin_backends(kind: str) -> list[str]:
    from teola.compiler.plugins import engine_backends

    return engine_backends(kind)
