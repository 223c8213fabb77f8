"""``--set engines.…`` on a compiled graph: what a plan leaves to be bound at run time."""

from __future__ import annotations

import json
from collections.abc import Sequence

from teola.compiler.check.model_paths import locate_models
from teola.compiler.diagnostics import Diagnostics
from teola.compiler.engine_reader import read_engines
from teola.compiler.engines import canonical, orders_ingest
from teola.compiler.errors import CompileError
from teola.compiler.graph.pgraph import PGraph
from teola.compiler.overrides import apply_overrides
from teola.compiler.source import Source, load_yaml


def rebind_engines(graph: PGraph, sets: Sequence[str], name: str) -> PGraph:
    """The graph with settings of its engines replaced: ``engines.llm.path=models/mine``.

    Raises:
        CompileError: another part than ``engines`` is named (its passes have run), or a setting is
            not valid.
    """
    if not sets:
        return graph
    for text in sets:
        if not text.strip().startswith("engines."):
            raise CompileError(
                f"{name}: --set {text}: compiled already; only engines.… can be set now. "
                "Set anything else when compiling the workflow"
            )
    diagnostics = Diagnostics()
    engines = {key: _given(dict(config)) for key, config in graph.engines.items()}
    tree = load_yaml(Source(name, json.dumps({"engines": engines})), diagnostics)
    diagnostics.raise_if_errors()
    if tree is None:
        raise CompileError(f"{name}: its engines cannot be read")
    tree = apply_overrides(tree, sets, diagnostics)
    found, _ = read_engines(tree, diagnostics)
    found = locate_models(tree, found, None, diagnostics)
    diagnostics.raise_if_errors()
    for key, settings in found.items():
        if settings.orders_ingest and not orders_ingest(graph.engines[key]):
            raise CompileError(
                f"{name}: engines.{key}: its index is filled in groups, as compiled; such an index "
                "must be filled at once: set it when compiling the workflow"
            )
    return graph.with_(engines={key: canonical(settings) for key, settings in found.items()})


def _given(config: dict[str, object]) -> dict[str, object]:
    """The settings that say something (no setting has a meaning for null but its default)."""
    return {key: value for key, value in config.items() if value is not None}
