"""The compiler's front door: a workflow, a text-form graph or a plan file becomes a Plan."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from teola.compiler.check import check
from teola.compiler.cost.profile import load_profiles
from teola.compiler.errors import CompileError
from teola.compiler.graph.lowering import lower
from teola.compiler.graph.module_graph import ModuleGraph
from teola.compiler.graph.pgraph import PGraph
from teola.compiler.graph_file import read_graph
from teola.compiler.locations import find_workflow
from teola.compiler.passes.base import Context, Pass
from teola.compiler.passes.pipeline import (
    DEFAULT_LEVEL,
    Step,
    choose_passes,
    options_text,
    run_pipeline,
)
from teola.compiler.plan import Plan
from teola.compiler.rebind import rebind_engines
from teola.compiler.source import Source

__all__ = ["DEFAULT_LEVEL", "Compilation", "check_file", "compilation", "compile_workflow"]


@dataclass(frozen=True, slots=True)
class Compilation:
    """A plan and how it came about: the graph that the passes began with, and each pass that ran
    with the graph before and after it. A plan file has no steps; ``until`` is the pass after which
    it was stopped, and ``plan`` is what there was by then."""

    plan: Plan
    source: PGraph
    steps: tuple[Step, ...] = ()
    context: Context = field(default_factory=Context)
    until: str | None = None

    @property
    def options(self) -> str:
        """The options that ask for the passes that ran: ``-O2``, ``-O2 --until prune-order``."""
        return self.plan.options + (f" --until {self.until}" if self.until else "")


def compile_workflow(
    name: str | Path,
    *,
    level: str = DEFAULT_LEVEL,
    passes: Sequence[Pass] | None = None,
    disable: Collection[str] = (),
    sets: Sequence[str] = (),
    profile: Path | None = None,
) -> Plan:
    """Compile what ``name`` means: a workflow file (YAML), a p-graph in text form (``*.pgraph``),
    a plan file (``*.plan.json``, returned as it is), or the name of a packaged workflow.

    ``passes`` replaces the level's own, ``disable`` names passes that are left out; ``sets`` are
    ``path=value`` replacements of constants (of a plan or a text-form graph: of its engines);
    ``profile`` is a file that ``teola profile`` has written, to go before the shipped ones.

    Raises:
        CompileError: the file is missing or not valid; ``diagnostics`` says where and why.
    """
    return compilation(
        name, level=level, passes=passes, disable=disable, sets=sets, profile=profile
    ).plan


def compilation(
    name: str | Path,
    *,
    level: str = DEFAULT_LEVEL,
    passes: Sequence[Pass] | None = None,
    disable: Collection[str] = (),
    sets: Sequence[str] = (),
    profile: Path | None = None,
) -> Compilation:
    """As ``compile_workflow``, with every step of it.

    Raises:
        CompileError: as ``compile_workflow``.
    """
    path = find_workflow(str(name))
    context = Context(load_profiles(profile))
    if path.suffix == ".json":
        plan = _load_plan(path, sets)
        return Compilation(plan, plan.graph, context=context)
    chosen = choose_passes(level, passes, disable)
    if path.suffix == ".pgraph":
        graph, deadline_s = rebind_engines(read_graph(path), sets, str(path)), None
    else:
        modules = check_file(path, sets)
        graph, deadline_s = lower(modules), modules.deadline_s
    steps: list[Step] = []
    result, reports = run_pipeline(graph, chosen, context, lambda *step: steps.append(Step(*step)))
    digest = context.profiles.digest
    plan = Plan(result, options_text(chosen), reports, deadline_s, path.resolve().parent, digest)
    return Compilation(plan, graph, tuple(steps), context)


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


def _load_plan(path: Path, sets: Sequence[str]) -> Plan:
    plan = Plan.load(path)
    return replace(plan, graph=rebind_engines(plan.graph, sets, str(path)))
