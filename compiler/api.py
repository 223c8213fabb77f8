"""The compiler's front door: a workflow, a text-form graph or a plan file becomes a Plan."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from teola.compiler.check import check
from teola.compiler.errors import CompileError
from teola.compiler.graph.lowering import lower
from teola.compiler.graph.module_graph import ModuleGraph
from teola.compiler.graph.pgraph import PGraph
from teola.compiler.graph.text import parse_graph
from teola.compiler.locations import find_workflow
from teola.compiler.passes.base import Pass
from teola.compiler.passes.pipeline import LEVELS, run_pipeline
from teola.compiler.plan import Plan
from teola.compiler.source import Source

DEFAULT_LEVEL = "O1"


def compile_workflow(
    name: str | Path,
    *,
    level: str = DEFAULT_LEVEL,
    passes: Sequence[Pass] | None = None,
    sets: Sequence[str] = (),
) -> Plan:
    """Compile what ``name`` means: a workflow file (YAML), a p-graph in text form (``*.pgraph``),
    a plan file (``*.plan.json``, returned as it is), or the name of a packaged workflow.

    ``passes`` replaces the level's own; ``sets`` are ``path=value`` replacements of constants.

    Raises:
        CompileError: the file is missing or not valid; ``diagnostics`` says where and why.
    """
    path = find_workflow(str(name))
    if path.suffix == ".json":
        return _load_plan(path, sets)
    if path.suffix == ".pgraph":
        return _optimise(parse_graph(Source.read(path)), path, level, passes)
    graph = check_file(path, sets)
    return _optimise(lower(graph), path, level, passes, graph.deadline_s)


def check_file(path: Path, sets: Sequence[str] = ()) -> ModuleGraph:
    """Check a workflow file and return its module graph.

    Raises:
        CompileError: with every problem of the file.
    """
    graph, diagnostics = check(Source.read(path), sets=sets)
    diagnostics.raise_if_errors()
    if graph is None:
        raise CompileError(f"{path}: the workflow could not be checked")
    return graph


def _optimise(
    graph: PGraph,
    path: Path,
    level: str,
    passes: Sequence[Pass] | None,
    deadline_s: float | None = None,
) -> Plan:
    if level not in LEVELS:
        raise CompileError(f"there is no level -{level}; there are: -{', -'.join(LEVELS)}")
    graph, reports = run_pipeline(graph, LEVELS[level] if passes is None else passes)
    return Plan(graph, level, reports, deadline_s, path.resolve().parent)


def _load_plan(path: Path, sets: Sequence[str]) -> Plan:
    if sets:
        raise CompileError(
            f"{path}: --set changes a workflow, not a compiled plan: set it when compiling"
        )
    return Plan.load(path)
