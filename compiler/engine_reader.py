"""The ``engines:`` of a file: each entry becomes the settings of its kind and backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from teola.compiler.diagnostics import Diagnostics, nearest
from teola.compiler.engines import (
    KINDS,
    KNOWN_MODELS,
    EngineSettings,
    backends,
    default_backend,
    settings_model,
)
from teola.compiler.errors import CompileError
from teola.compiler.graph.pgraph import Json
from teola.compiler.hints import foreign
from teola.compiler.located import LocatedTree, TreePath
from teola.compiler.validation import Place, validate
from teola.compiler.values import described

_FOREIGN_KINDS = {
    **dict.fromkeys(("chat", "language_model", "generator", "lm", "model", "completion"), "llm"),
    **dict.fromkeys(("embedding", "embeddings", "encoder", "vectorizer"), "embedder"),
    **dict.fromkeys(("ranker", "rerank", "cross_encoder", "cross-encoder"), "reranker"),
    **dict.fromkeys(
        ("vector_store", "vectorstore", "vector_db", "vectordb", "db", "database", "index",
         "retriever"), "store",
    ),
}  # fmt: skip


def read_engines(
    tree: LocatedTree, diagnostics: Diagnostics
) -> tuple[dict[str, EngineSettings], bool]:
    """Read every engine; return those that are valid and whether all are."""
    data = tree.data
    declared = data.get("engines") if isinstance(data, Mapping) else None
    if not isinstance(declared, Mapping):
        return {}, declared is None
    found: dict[str, EngineSettings] = {}
    for name, entry in declared.items():
        settings = _read(tree, ("engines", name), name, entry, diagnostics)
        if settings is not None:
            found[name] = settings
    return found, len(found) == len(declared)


def _read(
    tree: LocatedTree, path: TreePath, name: str, entry: object, diagnostics: Diagnostics
) -> EngineSettings | None:
    if not isinstance(entry, Mapping):
        got = described(cast("Json", entry))
        diagnostics.error(
            "wrong-type",
            f"engine '{name}' must be a map, got {got}",
            tree.value_span(path),
            help=f"{name}: {_likely(name, entry)}",
        )
        return None
    kind = _kind(tree, path, name, entry, diagnostics)
    if kind is None:
        return None
    model = _model(tree, path, kind, entry, diagnostics)
    if model is None:
        return None
    filled = {**entry, "backend": entry.get("backend", default_backend(kind))}
    return validate(model, filled, Place(tree, path, foreign.hint), diagnostics)


def _likely(name: str, entry: object) -> str:
    """Write an engine that was given as a bare word."""
    kind = KNOWN_MODELS.get(str(entry)) or nearest(name, KINDS) or "llm"
    model = str(entry) if isinstance(entry, str) else "…"
    return f"{{kind: {kind}, model: {nearest(model, KNOWN_MODELS) or model}}}"


def _kind(
    tree: LocatedTree,
    path: TreePath,
    name: str,
    entry: Mapping[str, object],
    diagnostics: Diagnostics,
) -> str | None:
    kinds = f"kinds: {', '.join(KINDS)}"
    if "kind" not in entry:
        close = nearest(name, KINDS)
        diagnostics.error(
            "missing-key",
            f"engine '{name}' needs the key 'kind'",
            tree.key_span(path),
            notes=[kinds],
            help=f"kind: {close}" if close else None,
        )
        return None
    kind = entry["kind"]
    if isinstance(kind, str) and kind in KINDS:
        return kind
    close = None
    if isinstance(kind, str):
        close = _FOREIGN_KINDS.get(kind.lower()) or nearest(kind, KINDS)
    got = f"'{kind}'" if isinstance(kind, str) else described(cast("Json", kind))
    diagnostics.error(
        "unknown-kind",
        f"there is no kind of engine {got}",
        tree.value_span((*path, "kind")),
        notes=[kinds],
        help=f"did you mean '{close}'?" if close else None,
    )
    return None


def _model(
    tree: LocatedTree,
    path: TreePath,
    kind: str,
    entry: Mapping[str, object],
    diagnostics: Diagnostics,
) -> type[EngineSettings] | None:
    backend = entry.get("backend", default_backend(kind))
    span = tree.value_span((*path, "backend"))
    try:
        model = settings_model(kind, backend) if isinstance(backend, str) else None
    except CompileError as error:
        diagnostics.error("broken-plugin", str(error), span)
        return None
    if model is None:
        known = backends(kind)
        close = nearest(str(backend), known)
        got = f"'{backend}'" if isinstance(backend, str) else described(cast("Json", backend))
        diagnostics.error(
            "unknown-backend",
            f"engines of kind {kind} have no backend {got}",
            span,
            notes=[f"backends of {kind}: {', '.join(known)}"],
            help=f"did you mean '{close}'?" if close else None,
        )
    return model
