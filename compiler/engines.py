"""Settings of each engine kind and backend: what ``engines:`` may say, and what it means.

Every backend is a frozen model whose fields are its settings with their defaults and units. Two
engines with equal canonical settings are one engine (``identity``). A plug-in adds a backend with
an entry point of group ``teola.engines`` named ``kind.backend``; what it loads has the settings
model as its attribute ``settings``. Plug-ins are looked up only for backends that are not ours.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError
from typing_extensions import Self

from teola.compiler.diagnostics import nearest
from teola.compiler.graph.pgraph import Json

HUB_PREFIX = "hub:"
"""``hub:organisation/name`` is a model of the Hugging Face hub."""

LOCAL = "local"
"""The model's name where ``path`` says where its weights are."""

KNOWN_MODELS: Mapping[str, str] = {
    "smollm2-135m-instruct": "llm",
    "all-minilm-l6-v2": "embedder",
}
"""Models that are known by name -> the kind of model they are."""

Dtype: TypeAlias = Literal["auto", "float32", "bfloat16", "float16"]
Device: TypeAlias = Literal["auto", "cpu", "cuda"]
Milliseconds: TypeAlias = Annotated[float, Field(ge=0)]
Count: TypeAlias = Annotated[int, Field(ge=1)]


class EngineSettings(BaseModel):
    """What every engine has: its kind and its backend."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    noun: ClassVar[str] = "an engine"

    kind: Annotated[str, Field(description="What the engine does")]
    backend: Annotated[str, Field(description="What does it")]


class ModelSettings(EngineSettings):
    """An engine that runs a model on this machine: ``model`` or ``path`` names its weights."""

    model_kind: ClassVar[str] = "embedder"

    model: Annotated[str | None, Field(description="A known model, or hub:organisation/name")] = (
        None
    )
    path: Annotated[str | None, Field(description="Local folder with the model")] = None
    dtype: Annotated[
        Dtype, Field(description="Number format; auto: what runs best on the device")
    ] = "auto"
    device: Annotated[Device, Field(description="Where the model runs")] = "auto"
    threads: Annotated[
        Count | None, Field(description="CPU threads; by default what the machine has")
    ] = None

    @model_validator(mode="after")
    def _name_weights(self) -> Self:
        if self.path is not None:
            _refuse_two_models(self.model)
        elif self.model is None:
            raise PydanticCustomError(
                "missing-key", "it is not said which model the engine runs", {"help": _models(self)}
            )
        else:
            _check_model(self, self.model)
        return self


class TransformersLLM(ModelSettings):
    """A language model on transformers' continuous batching."""

    noun: ClassVar[str] = "an engine of kind llm on transformers"
    model_kind: ClassVar[str] = "llm"

    kind: Literal["llm"]
    backend: Literal["transformers"] = "transformers"
    kv_pages: Annotated[Count, Field(description="Pages of the KV cache")] = 512
    kv_page_tokens: Annotated[Count, Field(description="Tokens of one page")] = 32
    batch_tokens: Annotated[Count, Field(description="Tokens of one step, at most")] = 1024


class SentenceTransformersEmbedder(ModelSettings):
    """An embedding model on sentence-transformers."""

    noun: ClassVar[str] = "an engine of kind embedder on sentence-transformers"

    kind: Literal["embedder"]
    backend: Literal["sentence-transformers"] = "sentence-transformers"
    batch_size: Annotated[Count, Field(description="Texts of one batch, at most")] = 32
    truncate: Annotated[
        bool, Field(description="Cut texts that are longer than the model's limit")
    ] = False


class MaxSimReranker(ModelSettings):
    """A reranker that compares the token embeddings of an embedding model (late interaction)."""

    noun: ClassVar[str] = "an engine of kind reranker on maxsim"

    kind: Literal["reranker"]
    backend: Literal["maxsim"] = "maxsim"
    batch_size: Annotated[Count, Field(description="Passages of one batch, at most")] = 32
    truncate: Annotated[
        bool, Field(description="Cut texts that are longer than the model's limit")
    ] = False


class FaissStore(EngineSettings):
    """A flat FAISS index in memory: exact search, gone when its pool closes."""

    noun: ClassVar[str] = "an engine of kind store on faiss"

    kind: Literal["store"]
    backend: Literal["faiss"] = "faiss"
    metric: Annotated[
        Literal["cosine", "inner_product", "l2"], Field(description="How embeddings are compared")
    ] = "cosine"


class FakeSettings(EngineSettings):
    """A deterministic engine for tests; its latencies pass on the event loop's clock."""

    backend: Literal["fake"]
    model: Annotated[str, Field(description="Any name; fakes of two names are two engines")] = (
        "fake"
    )
    latency_ms: Annotated[Milliseconds, Field(description="Time of each batch or step")] = 0
    per_item_ms: Annotated[Milliseconds, Field(description="Time of each item of a batch")] = 0


class FakeLLM(FakeSettings):
    """A fake language model: its answers depend on the prompt only."""

    noun: ClassVar[str] = "a fake engine of kind llm"

    kind: Literal["llm"]
    per_token_ms: Annotated[Milliseconds, Field(description="Time of each token of a prompt")] = 0
    context_tokens: Annotated[Count, Field(description="Prompt and answer, at most")] = 8192
    kv_tokens: Annotated[Count, Field(description="Tokens of all running requests")] = 65536
    max_requests: Annotated[Count, Field(description="Requests that run at once")] = 64


class FakeEmbedder(FakeSettings):
    """A fake embedder: embeddings from the words of a text."""

    noun: ClassVar[str] = "a fake engine of kind embedder"

    kind: Literal["embedder"]
    dimension: Annotated[Count, Field(description="Numbers of an embedding")] = 32
    limit_tokens: Annotated[Count | None, Field(description="Longest text")] = None
    batch_size: Annotated[Count, Field(description="Texts of one batch, at most")] = 32


class FakeReranker(FakeSettings):
    """A fake reranker: counts words that query and passage share."""

    noun: ClassVar[str] = "a fake engine of kind reranker"

    kind: Literal["reranker"]
    batch_size: Annotated[Count, Field(description="Passages of one batch, at most")] = 32


class FakeStore(FakeSettings):
    """A fake store: exact search in plain Python."""

    noun: ClassVar[str] = "a fake engine of kind store"

    kind: Literal["store"]
    metric: Annotated[
        Literal["cosine", "inner_product", "l2"], Field(description="How embeddings are compared")
    ] = "cosine"


BACKENDS: Mapping[tuple[str, str], type[EngineSettings]] = {
    ("llm", "transformers"): TransformersLLM,
    ("llm", "fake"): FakeLLM,
    ("embedder", "sentence-transformers"): SentenceTransformersEmbedder,
    ("embedder", "fake"): FakeEmbedder,
    ("reranker", "maxsim"): MaxSimReranker,
    ("reranker", "fake"): FakeReranker,
    ("store", "faiss"): FaissStore,
    ("store", "fake"): FakeStore,
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
    from teola.compiler.plugins import engine_settings  # noqa: PLC0415 - only unknown backends

    return engine_settings(kind, backend)


def canonical(config: EngineSettings | Mapping[str, object]) -> dict[str, Json]:
    """Return an engine's settings as plain data: every default filled in, nothing dropped.

    Raises:
        pydantic.ValidationError: a mapping that is no valid config.
        KeyError: a mapping of an unknown kind or backend.
    """
    settings = config if isinstance(config, EngineSettings) else _validated(config)
    found: dict[str, Json] = settings.model_dump(mode="json")
    if found.get("path") is not None:
        found["model"] = LOCAL
    return found


def identity(config: EngineSettings | Mapping[str, object]) -> str:
    """Return a hash that is equal for engines with equal canonical settings (32 hex digits)."""
    text = json.dumps(canonical(config), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def portable(config: EngineSettings | Mapping[str, object]) -> dict[str, Json]:
    """Return canonical settings as a plan holds them: a local folder is bound at run time."""
    found = canonical(config)
    return {**found, "path": None} if "path" in found else found


def _validated(config: Mapping[str, object]) -> EngineSettings:
    kind = str(config["kind"])
    backend = str(config.get("backend") or default_backend(kind))
    model = settings_model(kind, backend)
    if model is None:
        raise KeyError(f"{kind}.{backend}")
    return model.model_validate({**config, "backend": backend})


def _plugin_backends(kind: str) -> list[str]:
    from teola.compiler.plugins import engine_backends  # noqa: PLC0415 - only for error messages

    return engine_backends(kind)


def _models(settings: ModelSettings) -> str:
    known = [name for name, kind in KNOWN_MODELS.items() if kind == settings.model_kind]
    return f"model: {' | '.join(known)} | {HUB_PREFIX}organisation/name, or path: FOLDER"


def _refuse_two_models(model: str | None) -> None:
    if model not in (None, LOCAL):
        raise PydanticCustomError(
            "two-models",
            "'model' and 'path' both say where the weights are",
            {"at": "path", "help": f"leave one out, or write model: {LOCAL}"},
        )


def _check_model(settings: ModelSettings, model: str) -> None:
    """Refuse a model that neither we nor the hub can know, or one of another kind."""
    if model == LOCAL or model.startswith(HUB_PREFIX):
        _check_hub(model)
        return
    of_kind = KNOWN_MODELS.get(model)
    if of_kind == settings.model_kind:
        return
    if of_kind is not None:
        message = f"'{model}' is a model of kind {of_kind}, the engine needs one of kind "
        raise PydanticCustomError(
            "wrong-model", "{what}", {"at": "model", "what": message + settings.model_kind,
                                      "help": _models(settings)}
        )  # fmt: skip
    known = [name for name, kind in KNOWN_MODELS.items() if kind == settings.model_kind]
    close = nearest(model, known)
    if close is None and model.startswith((".", "/", "~")):
        help_text = f"a folder is given as path: {model}"
    elif close is None and "/" in model:
        help_text = f"a model of the hub is written {HUB_PREFIX}{model}"
    else:
        help_text = f"did you mean '{close}'?" if close else _models(settings)
    raise PydanticCustomError(
        "unknown-model", "there is no model '{model}'",
        {"at": "model", "model": model, "help": help_text, "note": "known: " + ", ".join(known)},
    )  # fmt: skip


def _check_hub(model: str) -> None:
    organisation, _, name = model.removeprefix(HUB_PREFIX).partition("/")
    if model != LOCAL and not (organisation and name and "/" not in name):
        raise PydanticCustomError(
            "unknown-model",
            "'{model}' is not a name of the hub",
            {"at": "model", "model": model, "help": f"write {HUB_PREFIX}organisation/name"},
        )
