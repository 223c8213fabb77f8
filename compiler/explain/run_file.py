"""A finished run, as ``teola run --json`` writes it: its sizes, and when its modules ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from teola.compiler.cost.sizes import Sizes, measured_sizes
from teola.compiler.errors import CompileError
from teola.compiler.explain.explanation import Compared, RunFact
from teola.compiler.explain.prediction import Prediction
from teola.compiler.graph.pgraph import PGraph
from teola.compiler.passes.rewriting import is_hint

SECOND_MS = 1000.0


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """What a run measured: sizes, the whole time, and after how long each module had ended.

    Ends are compared, not durations: what takes a stream begins with its first item, in the
    timeline of a run, and counts as busy while it waits for the next.
    """

    sizes: Sizes
    total_ms: float
    modules: Mapping[str, float]

    def beside(self, prediction: Prediction) -> RunFact:
        """The run and its prediction, in total and for each module that both have."""
        ends: dict[str, float] = {}
        for task in prediction.egraph.tasks:
            if task.form not in ("hint", "join"):
                end = prediction.estimate.timings[task.id].end_ms
                ends[task.module] = max(ends.get(task.module, 0.0), end)
        modules = {
            name: Compared(end, self.modules[name])
            for name, end in ends.items()
            if name in self.modules
        }
        return RunFact(Compared(prediction.estimate.total_ms, self.total_ms), modules)


def read_run(path: Path, graph: PGraph) -> FinishedRun:
    """Read the result of a run of ``graph``.

    Raises:
        CompileError: the file cannot be read, holds no result, or one of another workflow.
    """
    entries, plain = _timeline(path)
    known = [one for one in entries if one["primitive"] in graph.by_id]
    if not known:
        ran = ", ".join(dict.fromkeys(str(one["primitive"]) for one in entries[:4]))
        raise CompileError(
            f"{path}: a run of another workflow than {graph.name}: it ran {ran or 'nothing'}, …"
        )
    ends: dict[str, float] = {}
    for one in known:
        node = graph.by_id[one["primitive"]]
        if not is_hint(node):
            ends[node.module] = max(ends.get(node.module, 0.0), SECOND_MS * one["ended_s"])
    return FinishedRun(measured_sizes(plain, graph), max(ends.values(), default=0.0), ends)


def _timeline(path: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CompileError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise CompileError(
            f"{path}: no JSON: {error}; write a run with `teola run … --json > {path}`"
        ) from error
    entries = plain.get("timeline") if isinstance(plain, dict) else None
    if not isinstance(entries, list) or not all(map(_is_entry, entries)):
        raise CompileError(
            f"{path}: not the result of a run: it has no timeline; write one with "
            f"`teola run … --json > {path}`"
        )
    return entries, plain


def _is_entry(entry: object) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("primitive"), str):
        return False
    return type(entry.get("ended_s")) in (int, float)
