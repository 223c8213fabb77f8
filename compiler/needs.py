"""What calls need of an LLM beyond greedy text, and which backends have it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from teola.compiler.engine_settings import EngineSettings
from teola.compiler.engines import BACKENDS, settings_model
from teola.compiler.errors import CompileError

GREEDY: Mapping[str, object] = {"temperature": 0, "top_p": None, "stop": None, "seed": None}
"""Settings of ``sampling`` that not every backend has -> the value that asks for nothing."""
GRAMMARS: Mapping[str, str] = {
    "json": "json_schema",
    "json_list": "json_schema",
    "choice": "choices",
    "bool": "choices",
}
"""Shape of an output -> the grammar that holds an engine to it."""

Group = Literal["sampling", "grammars", "adapters"]


@dataclass(frozen=True, slots=True)
class Need:
    """``name`` of a ``group`` of what an engine says it can do; ``what`` it is called, ``path``
    where a module asks for it, under ``with``."""

    group: Group
    name: str
    what: str
    path: tuple[str, ...]


def needs(config: Mapping[str, object], engine: Mapping[str, object]) -> Iterator[Need]:
    """What a prefill or a decode with this config needs of an engine with these settings.

    Answers have no grammar where ``structured_outputs`` is none: they are checked only.
    """
    sampling, output = config.get("sampling"), config.get("output")
    if isinstance(sampling, Mapping):
        for name, nothing in GREEDY.items():
            if sampling.get(name, nothing) not in (nothing, []):
                yield Need("sampling", name, f"sampling.{name}", ("sampling", name))
    shape = str(output.get("shape")) if isinstance(output, Mapping) else ""
    if shape in GRAMMARS and engine.get("structured_outputs") != "none":
        yield Need("grammars", GRAMMARS[shape], f"grammar for output: {shape}", ("output",))
    if isinstance(output, Mapping) and output.get("probabilities"):
        yield Need("sampling", "logprobs", "probabilities of its tokens", ("output",))
    if (adapter := config.get("adapter")) is not None:
        yield Need("adapters", str(adapter), f"adapter '{adapter}'", ("adapter",))


def declared(engine: Mapping[str, object]) -> Mapping[Group, Collection[str] | None]:
    """What the backend of an engine has, by its settings; None: only the started engine knows."""
    try:
        model = settings_model(str(engine.get("kind")), str(engine.get("backend")))
    except CompileError:  # a broken plug-in: said where engines are read
        model = None
    if model is None:
        return {"sampling": None, "grammars": None, "adapters": None}
    adapters = engine.get("adapters")
    return {
        "sampling": model.sampling,
        "grammars": None if engine.get("structured_outputs") else model.grammars,
        "adapters": tuple(map(str, adapters)) if isinstance(adapters, Mapping) else (),
    }


def lacking(
    config: Mapping[str, object],
    engine: Mapping[str, object],
    has: Mapping[Group, Collection[str] | None],
) -> list[Need]:
    """The needs of a prefill or a decode that are not among what there is (None: it may be)."""
    return [
        need
        for need in needs(config, engine)
        if (there := has[need.group]) is not None and need.name not in there
    ]


def advice(need: Need, engine: Mapping[str, object]) -> str:
    """What to do where an engine with these settings lacks something."""
    backends = ", ".join(backends_with(need))
    own = settings_model(str(engine.get("kind")), str(engine.get("backend")))
    fields = own.model_fields if own is not None else {}
    if need.group == "adapters" and "adapters" in fields:
        there = engine.get("adapters")
        names = ", ".join(map(str, there)) if isinstance(there, Mapping) and there else "none"
        return f"adapters that it names: {names}"
    if need.group == "grammars" and "structured_outputs" in fields:
        return (
            "say what holds its answers to their shape, structured_outputs: json_schema, objects "
            f"or vllm; or none, and they are only checked (backends that have it: {backends})"
        )
    return f"backends that have it: {backends}"


def backends_with(need: Need) -> list[str]:
    """The backends of kind llm that come with Teola and have it."""
    return [
        backend
        for (kind, backend), settings in BACKENDS.items()
        if kind == "llm" and _has(settings, need)
    ]


def _has(settings: type[EngineSettings], need: Need) -> bool:
    if need.group == "adapters":
        return "adapters" in settings.model_fields
    there = settings.sampling if need.group == "sampling" else settings.grammars
    return need.name in (there or ())
