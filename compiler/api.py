"""The compiler's front door: a workflow, a text-form graph or a plan file becomes a Plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from teola.compiler.check import check
from teola.compiler.errors import CompileError
from teola.compiler.graph.lowering import lower
from teola.compiler.graph.module_graph import ModuleGraph
from teola.compiler.graph.pgraph import PGraph
from teola.compiler.graph_file import read_graph
from teola.compiler.locations import find_workflow
from teola.compiler.passes.base import Pass
from teola.compiler.passes.pipeline import DEFAULT_LEVEL, LEVELS, run_pipeline
from teola.compiler.plan import Plan
from teola.compiler.rebind import rebind_engines
from teola.compiler.source import Source

__all__ = ["DEFAULT_LEVEL", "check_file", "compile_workflow"]


def compile_workflow(
    name: str | Path,
    *,
    level: str = DEFAULT_LEVEL,
    passes: Sequence[Pass] | None = None,
    sets: Sequence[str] = (),
) -> Plan:
    """Compile what ``name`` means: a workflow file (YAML), a p-graph in text form (``*.pgraph``),
    a plan file (``*.plan.json``, returned as it is), or the name of a packaged workflow.

    ``passes`` replaces the level's own; ``sets`` are ``path=value`` replacements
    of constants (of a plan or a text-form graph: of its engines).

    Raises:
        CompileError: the file is missing or not valid; ``diagnostics`` says where and why.
    """
    path = find_workflow(str(name))
    if path.suffix == ".json":
        return _load_plan(path, sets)
    if path.suffix == ".pgraph":
        graph = rebind_engines(read_graph(path), sets, str(path))
        return _optimise(graph, path, level, passes)
    modules = check_file(path, sets)
    return _optimise(lower(modules), path, level, passes, modules.deadline_s)


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
    plan = Plan.load(path)
    return replace(plan, graph=rebind_engines(plan.graph, sets, str(path)))
