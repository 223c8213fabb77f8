"""Models by name: those that are known, those of the hub, and folders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import LiteralString

from pydantic_core import PydanticCustomError

from teola.compiler.spelling import nearest

HUB_PREFIX = "hub:"
"""``hub:organisation/name`` is a model of the Hugging Face hub."""

LOCAL = "local"
"""The model's name where ``path`` says where its weights are."""

KNOWN_MODELS: Mapping[str, str] = {
    "smollm2-135m-instruct": "llm",
    "all-minilm-l6-v2": "embedder",
}
"""Models that are known by name -> the kind of model they are."""

SPECIAL_TOKENS: Mapping[str, int] = {"smollm2-135m-instruct": 0, "all-minilm-l6-v2": 2}
"""Known models -> tokens that their tokenizer adds to each text."""

TEXT_LIMITS: Mapping[str, int] = {"all-minilm-l6-v2": 256}
"""Known embedders -> tokens of the longest text that they take, special ones included."""


def choices(kind: str) -> str:
    """Say how weights for a model of ``kind`` may be named."""
    models = " | ".join([*_known(kind), f"{HUB_PREFIX}organisation/name"])
    return f"model: {models}, or path: FOLDER"


def check_weights(kind: str, model: str | None, path: str | None) -> None:
    """Refuse settings that name no weights, two, or a model that is unknown or of another kind.

    Raises:
        PydanticCustomError: ``missing-key``, ``two-models``, ``unknown-model``, ``wrong-model``.
    """
    if path is not None and model not in (None, LOCAL):
        raise _wrong(
            "two-models",
            "'model' and 'path' both say where the weights are",
            help=f"leave one out, or write model: {LOCAL}",
            at="path",
        )
    if path is None and model is None:
        raise _wrong(
            "missing-key", "it is not said which model the engine runs", help=choices(kind)
        )
    if model is None or model == LOCAL:
        return
    if model.startswith(HUB_PREFIX):
        _check_hub(model)
    elif model not in KNOWN_MODELS:
        raise _unknown(kind, model)
    elif KNOWN_MODELS[model] != kind:
        raise _wrong(
            "wrong-model",
            f"'{model}' is a model of kind {KNOWN_MODELS[model]}, the engine needs kind {kind}",
            help=choices(kind),
            at="model",
        )


def _known(kind: str) -> list[str]:
    return [name for name, of_kind in KNOWN_MODELS.items() if of_kind == kind]


def _unknown(kind: str, model: str) -> PydanticCustomError:
    known = _known(kind)
    close = nearest(model, known)
    if close is None and model.startswith((".", "/", "~")):
        meant = f"a folder is given as path: {model}"
    elif close is None and "/" in model:
        meant = f"a model of the hub is written {HUB_PREFIX}{model}"
    else:
        meant = f"did you mean '{close}'?" if close else choices(kind)
    message = f"there is no model '{model}'"
    if not known:
        return _wrong("unknown-model", message, help=meant, at="model")
    note = f"known: {', '.join(known)}"
    return _wrong("unknown-model", message, help=meant, at="model", note=note)


def _check_hub(model: str) -> None:
    organisation, _, name = model.removeprefix(HUB_PREFIX).partition("/")
    if not (organisation and name and "/" not in name):
        raise _wrong(
            "unknown-model",
            f"'{model}' is not a name of the hub",
            help=f"write {HUB_PREFIX}organisation/name",
            at="model",
        )


def _wrong(code: LiteralString, message: str, **context: str) -> PydanticCustomError:
    return PydanticCustomError(code, "{what}", {"what": message, **context})
