"""Every backend that the suite is run against: one entry each, and nothing else to do.

``pytest tests/engines --engine '{kind: reranker, backend: mine, model: …}'`` adds one for a run: a
plug-in that is installed beside Teola, a model in a folder, a GPU. ``other`` and ``meaning`` may be
among the settings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from teola.compiler.engines import canonical
from teola.runtime.engines import find_entry
from teola.runtime.engines.protocol import Capabilities
from teola.runtime.engines.registry import EngineEntry

MINILM = {"model": "all-minilm-l6-v2", "dtype": "float32"}
SMOLLM = {"model": "smollm2-135m-instruct", "dtype": "float32"}
ON_VLLM = {"max_model_len": 2048, "kv_cache_gib": 0.25, "max_num_seqs": 8}
CRAMPED_VLLM = {"max_model_len": 1024, "kv_cache_gib": 0.05}
FAKE_TIMES = {"latency_ms": 10, "per_token_ms": 1}
CUT = {"truncate": True}
LIKE_VLLM = {"kind": "llm", "backend": "vllm", "max_model_len": 4096, "max_num_seqs": 8}
DIES = {"die_after": 1}
ADAPTERS = {"adapters": {"one": "tiny-one", "two": "tiny-two"}}
SERVED = {"model": "tiny", "structured_outputs": "vllm", "max_requests": 8}
OF_TOKENS = {**SERVED, "api": "completions", "warm_ups": True}
ON_SERVER = {"model": "served", "structured_outputs": "vllm", "max_requests": 8}
EMBEDS = {"model": "tiny", "limit_tokens": 512, "dimensions": 16}


@dataclass(frozen=True, eq=False)
class Backend:
    """An engine: ``settings`` as a workflow has them, weights in float32.

    ``other`` are settings of a second one that gives the same results: with little room for KV
    (not enough for two of its longest requests), or that cuts long texts. ``made`` names a fixture
    of the session that makes further settings: a folder of weights, the address of a server.
    ``needs`` is a marker. ``meaning``: results say something about the texts. ``dies`` are settings
    with which it dies in its second batch, where there is no process that could be killed.
    ``adapted`` are those of one with the adapters one and two. ``durable``: what a store has
    published outlives it. ``factory`` is a class of the suite's own in place of the backend's;
    ``lies`` are what is said of capabilities instead of the truth (`tests.engines.liars`).
    """

    kind: str
    backend: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    other: Mapping[str, Any] = field(default_factory=dict)
    made: str | None = None
    needs: str | None = None
    meaning: bool = False
    dies: Mapping[str, Any] | None = None
    adapted: Mapping[str, Any] | None = None
    durable: bool = False
    name: str = ""
    factory: str = ""
    lies: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)

    @property
    def real(self) -> bool:
        """Neither a fake nor a simulation."""
        return self.backend not in ("fake", "simulated")

    @property
    def simulated(self) -> bool:
        """Its results are made up; only times and sizes count."""
        return self.backend == "simulated"

    @property
    def mortal(self) -> bool:
        """Whether the suite knows how it dies."""
        return self.dies is not None or self.entry.host == "process"

    @property
    def served(self) -> bool:
        """Whether it is on a server of the suite's own, which may die."""
        return self.made in ("server", "server_of_tokens")

    @property
    def entry(self) -> EngineEntry:
        """What runs it."""
        found = find_entry(self.kind, self.backend)
        return replace(found, factory=self.factory) if self.factory else found

    def says(self, truth: Capabilities) -> Capabilities:
        """What it says that it can do."""
        told = {name: lie(getattr(truth, name)) for name, lie in self.lies.items()}
        return replace(truth, **told)

    def config(self, **more: Any) -> dict[str, Any]:
        """Canonical settings, as a started plan has them."""
        given = {"kind": self.kind, "backend": self.backend, **self.settings, **more}
        return dict(canonical(given))


BACKENDS = [
    Backend("llm", "fake", FAKE_TIMES, {"kv_tokens": 800}, dies=DIES, adapted=ADAPTERS),
    Backend("llm", "simulated", adapted=ADAPTERS),
    Backend(
        *("llm", "simulated", {"stands_for": LIKE_VLLM}),
        {"stands_for": {**LIKE_VLLM, "kv_tokens": 800}},
        name="simulated-vllm",
    ),
    Backend(
        *("llm", "transformers", {"dtype": "float32"}, {"kv_pages": 64}),
        made="smollm_of_2048",
        needs="models",
        meaning=True,
    ),
    Backend("llm", "vllm", {**SMOLLM, **ON_VLLM}, CRAMPED_VLLM, needs="vllm", meaning=True),
    Backend("llm", "openai", SERVED, made="server", adapted=ADAPTERS, name="openai-chat"),
    Backend(
        *("llm", "openai", OF_TOKENS),
        made="server_of_tokens",
        adapted=ADAPTERS,
        name="openai-tokens",
    ),
    Backend("llm", "openai", ON_SERVER, made="vllm_server", needs="vllm", name="openai-vllm-chat"),
    Backend(
        *("llm", "openai", {**ON_SERVER, "api": "completions", "warm_ups": True}),
        made="vllm_server_of_tokens",
        needs="vllm",
        name="openai-vllm-tokens",
    ),
    Backend("embedder", "fake", {"limit_tokens": 512}, dies=DIES),
    Backend("embedder", "simulated"),
    Backend("embedder", "sentence-transformers", MINILM, CUT, needs="models", meaning=True),
    Backend("embedder", "vllm", MINILM, CUT, needs="vllm", meaning=True),
    Backend("embedder", "openai", EMBEDS, made="server"),
    Backend(
        *("embedder", "openai", {"model": "served", "limit_tokens": 256}),
        made="vllm_server_of_embeddings",
        needs="vllm",
        meaning=True,
        name="openai-vllm",
    ),
    Backend("reranker", "fake", dies=DIES),
    Backend("reranker", "simulated"),
    Backend("reranker", "maxsim", MINILM, CUT, needs="models", meaning=True),
    Backend(
        "reranker", "cross-encoder", {"dtype": "float32"}, CUT, "tiny_cross_encoder", needs="models"
    ),
    Backend("reranker", "vllm", {"dtype": "float32"}, CUT, "tiny_cross_encoder", needs="vllm"),
    Backend("store", "fake", {"latency_ms": 10}),
    Backend("store", "faiss"),
    Backend("store", "faiss", made="folder", durable=True, name="faiss-folder"),
    Backend("store", "postgres", made="database", durable=True),
]


def backends(*kinds: str, **having: bool) -> list[Any]:
    """Parameters of a test: the backends of these kinds that have all of these traits, or lack
    those that are False."""
    chosen = [
        one
        for one in BACKENDS
        if one.kind in kinds
        and all(getattr(one, trait) is wanted for trait, wanted in having.items())
    ]
    return [
        pytest.param(
            one,
            id=f"{one.kind}-{one.name or one.backend}",
            marks=[getattr(pytest.mark, one.needs)] if one.needs else [],
        )
        for one in chosen
    ]
