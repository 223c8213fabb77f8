"""A finished run, as ``teola run --json`` writes it: its sizes, and when its parts ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from teola.compiler.api import Compilation
from teola.compiler.cost.sizes import Sizes, measured_sizes
from teola.compiler.errors import CompileError
from teola.compiler.explain.explanation import Compared, RunFact
from teola.compiler.explain.prediction import Prediction
from teola.compiler.graph.pgraph import PGraph
from teola.compiler.passes.rewriting import is_hint

SECOND_MS = 1000.0


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """What a run measured: sizes, the whole time, and after how long each module and each primitive
    had ended.

    Ends are compared, not durations: what takes a stream begins with its first item, in the
    timeline of a run, and counts as busy while it waits for the next.
    """

    sizes: Sizes
    total_ms: float
    modules: Mapping[str, float]
    primitives: Mapping[str, float]

    def beside(self, prediction: Prediction) -> RunFact:
        """The run and its prediction, in total and for each module and primitive that both have."""
        modules: dict[str, float] = {}
        primitives: dict[str, float] = {}
        for task in prediction.egraph.tasks:
            if task.form not in ("hint", "join"):
                end = prediction.estimate.timings[task.id].end_ms
                modules[task.module] = max(modules.get(task.module, 0.0), end)
                primitives[task.primitive] = max(primitives.get(task.primitive, 0.0), end)
        return RunFact(
            Compared(prediction.estimate.total_ms, self.total_ms),
            _compared(modules, self.modules),
            _compared(primitives, self.primitives),
        )


def _compared(
    predicted: Mapping[str, float], measured: Mapping[str, float]
) -> Mapping[str, Compared]:
    return {
        name: Compared(end, measured[name]) for name, end in predicted.items() if name in measured
    }


def read_run(path: Path, compilation: Compilation) -> FinishedRun:
    """Read the result of a run of what was compiled.

    Raises:
        CompileError: the file cannot be read, holds no result, or one of another plan.
    """
    plain = _result(path)
    if (wrong := _mismatch(plain.get("plan"), compilation)) is not None:
        raise CompileError(f"{path}: {wrong}")
    return finished_run(plain, compilation.plan.graph)


def _mismatch(ran: object, compilation: Compilation) -> str | None:
    """Why a run that says this of its plan is none of what was compiled."""
    plan, options = compilation.plan, compilation.options
    if not isinstance(ran, dict) or not ran.keys() >= {"name", "options", "fingerprint"}:
        return "the run does not say of which plan it is: run the workflow again"
    if ran["name"] != plan.name:
        return f"a run of another workflow than {plan.name}: of {ran['name']}"
    if ran["fingerprint"] == plan.fingerprint:
        return None
    if ran["options"] != options:
        return (
            f"a run of another plan: it was made with {ran['options']}, this is {options}: give "
            "the options that the run was made with"
        )
    return (
        f"a run of another plan of {plan.name}, also of {options}: give the --set and --profile "
        "that the run was made with, or run the workflow again if it has changed since"
    )


def finished_run(plain: Mapping[str, Any], graph: PGraph) -> FinishedRun:
    """What a run of ``graph`` measured, from its result as JSON."""
    modules: dict[str, float] = {}
    primitives: dict[str, float] = {}
    for one in plain["timeline"]:
        node = graph.by_id.get(one["primitive"])
        if node is not None and not is_hint(node):
            end = SECOND_MS * one["ended_s"]
            modules[node.module] = max(modules.get(node.module, 0.0), end)
            primitives[node.id] = max(primitives.get(node.id, 0.0), end)
    total_ms = max(modules.values(), default=0.0)
    return FinishedRun(measured_sizes(plain, graph), total_ms, modules, primitives)


def _result(path: Path) -> dict[str, Any]:
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
    found: dict[str, Any] = plain
    return found


def _is_entry(entry: object) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("primitive"), str):
        return False
    return type(entry.get("ended_s")) in (int, float)
