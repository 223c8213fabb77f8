"""Which class runs an engine, and where it lives: a table of lazy factories."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from functools import cache
from typing import Literal

from teola.runtime.errors import RunError

HostKind = Literal["process", "thread", "loop"]
GROUP = "teola.engines"


@dataclass(frozen=True, slots=True)
class EngineEntry:
    """An engine class and its home.

    ``factory`` is ``module:Class``; the class takes the engine's canonical config and imports
    heavy libraries in ``start``. ``weights``: the config names a model, fetched before it starts.
    ``settings``: for the compiler, the settings model of a plug-in's backend.
    """

    factory: str
    host: HostKind = "process"
    weights: bool = False
    settings: type[object] | None = None


_HERE = "teola.runtime.engines"

ENGINES: dict[tuple[str, str], EngineEntry] = {
    ("llm", "transformers"): EngineEntry(f"{_HERE}.transformers.llm:TransformersLLM", weights=True),
    ("llm", "vllm"): EngineEntry(f"{_HERE}.vllm.llm:VllmLLM", weights=True),
    ("llm", "openai"): EngineEntry(f"{_HERE}.openai.llm:OpenAILLM", host="loop"),
    ("embedder", "openai"): EngineEntry(f"{_HERE}.openai.embedder:OpenAIEmbedder", host="loop"),
    ("embedder", "sentence-transformers"): EngineEntry(
        f"{_HERE}.sentence_transformers:SentenceTransformersEmbedder", weights=True
    ),
    ("embedder", "vllm"): EngineEntry(f"{_HERE}.vllm.embedder:VllmEmbedder", weights=True),
    ("reranker", "maxsim"): EngineEntry(f"{_HERE}.maxsim:MaxSimReranker", weights=True),
    ("reranker", "cross-encoder"): EngineEntry(
        f"{_HERE}.cross_encoder:CrossEncoderReranker", weights=True
    ),
    ("reranker", "vllm"): EngineEntry(f"{_HERE}.vllm.reranker:VllmReranker", weights=True),
    ("store", "faiss"): EngineEntry(f"{_HERE}.faiss:FaissStore", host="thread"),
    ("store", "postgres"): EngineEntry(f"{_HERE}.postgres.store:PostgresStore", host="thread"),
    ("llm", "fake"): EngineEntry(f"{_HERE}.fakes.llm:FakeLLM", host="loop"),
    ("embedder", "fake"): EngineEntry(f"{_HERE}.fakes.embedder:FakeEmbedder", host="loop"),
    ("reranker", "fake"): EngineEntry(f"{_HERE}.fakes.reranker:FakeReranker", host="loop"),
    ("store", "fake"): EngineEntry(f"{_HERE}.fakes.store:FakeStore", host="loop"),
    ("llm", "simulated"): EngineEntry(f"{_HERE}.simulated.llm:SimulatedLLM", host="loop"),
    ("embedder", "simulated"): EngineEntry(
        f"{_HERE}.simulated.models:SimulatedEmbedder", host="loop"
    ),
    ("reranker", "simulated"): EngineEntry(
        f"{_HERE}.simulated.models:SimulatedReranker", host="loop"
    ),
    ("store", "simulated"): EngineEntry(f"{_HERE}.simulated.store:SimulatedStore", host="loop"),
}


def find_entry(kind: str, backend: str) -> EngineEntry:
    """The entry of an engine kind and backend: one of ours, else a plug-in's.

    Raises:
        RunError: there is none, or the plug-in's entry point does not load.
    """
    if own := ENGINES.get((kind, backend)):
        return own
    plugins = _plugins()
    if plugin := plugins.get(f"{kind}.{backend}"):
        return _load(plugin)
    known = [name for of_kind, name in ENGINES if of_kind == kind]
    known += [name.partition(".")[2] for name in plugins if name.startswith(f"{kind}.")]
    raise RunError(
        f"no backend {backend!r} for engines of kind {kind!r}: "
        + (f"there are {', '.join(sorted(known))}" if known else "the kind is unknown")
    )


@cache
def _plugins() -> dict[str, importlib.metadata.EntryPoint]:
    return {point.name: point for point in importlib.metadata.entry_points(group=GROUP)}


def _load(point: importlib.metadata.EntryPoint) -> EngineEntry:
    try:
        entry = point.load()
    except (ImportError, AttributeError) as error:
        raise RunError(f"engine plug-in {point.name} ({point.value}): {error}") from error
    if not isinstance(entry, EngineEntry):
        raise RunError(
            f"engine plug-in {point.name} ({point.value}) is a {type(entry).__name__}, "
            "not an EngineEntry"
        )
    return entry
