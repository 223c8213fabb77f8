"""Sampling beyond greedy decoding: what asks for it, and which backends have it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from teola.compiler.engines import BACKENDS, settings_model
from teola.compiler.errors import CompileError

GREEDY: Mapping[str, object] = {"temperature": 0, "top_p": None, "stop": None, "seed": None}
"""Settings of ``sampling`` that not every backend has -> the value that asks for nothing."""


def lacking(engine: Mapping[str, object], sampling: Mapping[str, object]) -> list[str]:
    """The settings that ``sampling`` asks for and the engine's backend is known not to have."""
    has = _has(str(engine.get("kind")), str(engine.get("backend")))
    return lacking_of(has, sampling) if has is not None else []


def lacking_of(has: Collection[str], sampling: Mapping[str, object]) -> list[str]:
    """The settings that ``sampling`` asks for and that are not among those that are there."""
    asked = (name for name in GREEDY if sampling.get(name, GREEDY[name]) not in (GREEDY[name], []))
    return [name for name in asked if name not in has]


def backends_with(name: str) -> list[str]:
    """The backends of kind llm that come with Teola and have a setting of ``sampling``."""
    return [
        backend
        for (kind, backend), settings in BACKENDS.items()
        if kind == "llm" and name in (settings.sampling or ())
    ]


def _has(kind: str, backend: str) -> frozenset[str] | None:
    try:
        model = settings_model(kind, backend)
    except CompileError:  # a broken plug-in: said where engines are read
        return None
    return model.sampling if model is not None else None
