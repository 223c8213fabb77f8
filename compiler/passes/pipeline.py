"""The one list of passes, the levels, and how a pipeline is run and written as text."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from time import perf_counter

from teola.compiler.errors import CompileError, GraphError, PassError
from teola.compiler.graph.pgraph import PGraph
from teola.compiler.graph.verify import verify
from teola.compiler.passes.base import Context, Pass
from teola.compiler.passes.decompose_stages import DecomposeStages
from teola.compiler.passes.deduplicate import Deduplicate
from teola.compiler.passes.pipeline_decode import PipelineDecode
from teola.compiler.passes.prune_order import PruneOrder
from teola.compiler.passes.remove_dead import RemoveDead
from teola.compiler.passes.report import PassReport
from teola.compiler.passes.split_prefill import SplitPrefill
from teola.compiler.spelling import nearest

DEFAULT_PIPELINE: tuple[Pass, ...] = (
    PruneOrder(),
    Deduplicate(),
    RemoveDead(),
    PipelineDecode(),
    DecomposeStages(),
    SplitPrefill(),
)
"""What ``-O2`` runs after ``decompose``."""

PASSES: dict[str, type[Pass]] = {step.name: type(step) for step in DEFAULT_PIPELINE}
"""Every pass by name."""

LEVELS: dict[str, tuple[Pass, ...]] = {
    "O0": (),
    "O1": (PruneOrder(), Deduplicate(), RemoveDead()),
    "O2": DEFAULT_PIPELINE,
}
"""Optimisation level -> passes after ``decompose``."""

DEFAULT_LEVEL = "O2"

Observer = Callable[[Pass, PGraph, PGraph], None]


@dataclass(frozen=True, slots=True)
class Step:
    """One pass that ran, with the graph before and after it (the same one: nothing changed)."""

    by: Pass
    before: PGraph
    after: PGraph


MAX_ROUNDS = 8
"""Rounds after which a pipeline that still rewrites is called diverging."""

_STEP = re.compile(r"\s*(?P<name>[a-z-]+)\s*(?:\{(?P<options>[^}]*)\})?\s*(?:,|$)")

_NUMBER = re.compile(r"-?[0-9]{1,9}")


def run_pipeline(
    graph: PGraph,
    pipeline: Sequence[Pass],
    context: Context | None = None,
    observe: Observer = lambda *_: None,
) -> tuple[PGraph, tuple[PassReport, ...]]:
    """Run the passes in order, round after round, until none has anything left to do: in later
    rounds, those that a rewrite may have given work (``Pass.woken_by``).

    The graph is verified first and after each pass that changed it. ``observe`` sees each pass that
    ran, with the graph before and after it.

    Raises:
        PassError: a pass broke the graph, raised, or the pipeline does not settle.
    """
    verify(graph)
    context = context or Context()
    reports: list[PassReport] = []
    waiting, changed = set(range(len(pipeline))), [""]
    for _ in range(MAX_ROUNDS):
        if not waiting:
            return graph, tuple(_merged(reports))
        changed = []
        for place, step in enumerate(pipeline):
            if place not in waiting:
                continue
            waiting.discard(place)
            result, report = _apply(graph, step, context)
            observe(step, graph, result)
            reports.append(report)
            if result is not graph:
                changed.append(step.name)
                waiting |= {n for n, other in enumerate(pipeline) if other.wakes_after(step)}
            graph = result
    names = ", ".join(changed)
    raise PassError(f"still changed after {MAX_ROUNDS} rounds, by the passes that diverge: {names}")


def _apply(graph: PGraph, step: Pass, context: Context) -> tuple[PGraph, PassReport]:
    start = perf_counter()
    try:
        result = step.apply(graph, context)
    except Exception as error:  # a defect of a pass fails the compilation, by name
        what = f"{type(error).__name__}: {error}"
        raise PassError(f"the pass {step.name} failed: {what}") from error
    if result is not graph:
        try:
            verify(result, known=graph)
        except GraphError as error:
            raise PassError(f"the pass {step.name} broke the graph: {error}") from error
    report = PassReport(
        step.name,
        result is not graph,
        len(graph.nodes),
        len(result.nodes),
        len(graph.edges),
        len(result.edges),
        perf_counter() - start,
    )
    return result, report


def _merged(reports: list[PassReport]) -> list[PassReport]:
    """The first round's reports, and those of later rounds that changed something."""
    seen: set[str] = set()
    kept = []
    for report in reports:
        if report.changed or report.name not in seen:
            kept.append(report)
        seen.add(report.name)
    return kept


def choose_passes(
    level: str, passes: Sequence[Pass] | None = None, disable: Collection[str] = ()
) -> tuple[Pass, ...]:
    """The passes of a level, or ``passes`` instead of them, without those that ``disable`` names.

    Raises:
        CompileError: there is no such level or pass.
    """
    if level not in LEVELS:
        raise CompileError(f"there is no level -{level}; there are: -{', -'.join(LEVELS)}")
    for name in disable:
        _kind(name)
    chosen = LEVELS[level] if passes is None else tuple(passes)
    return tuple(step for step in chosen if step.name not in disable)


def parse_pipeline(text: str) -> tuple[Pass, ...]:
    """Read ``prune-order,decompose-stages{max-group=32}``.

    Raises:
        CompileError: an unknown pass or option, naming those that exist.
    """
    steps: list[Pass] = []
    at = 0
    while at < len(text):
        match = _STEP.match(text, at)
        if not match:
            raise CompileError(f"cannot read the passes at {text[at:]!r}: write name{{option=1}},…")
        steps.append(_step(match["name"], match["options"] or ""))
        at = match.end()
    return tuple(steps)


def _step(name: str, options: str) -> Pass:
    kind = _kind(name)
    known = {option.name.replace("_", "-"): option.name for option in fields(kind)}
    values: dict[str, int | str] = {}
    for setting in filter(None, (part.strip() for part in options.split(","))):
        key, _, value = (part.strip() for part in setting.partition("="))
        if key not in known:
            have = ", ".join(known) or "none"
            hint = _hint(key, known)
            raise CompileError(f"the pass {name} has no option {key!r}; it has: {have}{hint}")
        if known[key] in values:
            raise CompileError(f"the pass {name}: {key} is given twice")
        values[known[key]] = int(value) if _NUMBER.fullmatch(value) else value
    return kind(**values)


def _kind(name: str) -> type[Pass]:
    if name not in PASSES:
        have, hint = ", ".join(PASSES), _hint(name, PASSES)
        raise CompileError(f"there is no pass {name!r}; there are: {have}{hint}")
    return PASSES[name]


def _hint(word: str, known: Iterable[str]) -> str:
    near = nearest(word, known)
    return f"; did you mean {near!r}?" if near else ""


def options_text(passes: Sequence[Pass]) -> str:
    """The shortest options that ask for these passes: ``-O2``, ``-O2 --disable split-prefill``,
    ``-p prune-order``."""
    texts = []
    for level, own in LEVELS.items():
        if tuple(passes) == tuple(step for step in own if step in passes):
            without = "".join(f" --disable {step.name}" for step in own if step not in passes)
            texts.append(f"-{level}{without}")
    texts.append(f"-p {','.join(map(_pass_text, passes))}")
    return min(texts, key=len)


def _pass_text(step: Pass) -> str:
    """A pass as ``parse_pipeline`` reads it, with the options that are not its default."""
    options = ",".join(
        f"{option.name.replace('_', '-')}={getattr(step, option.name)}"
        for option in fields(step)
        if getattr(step, option.name) != option.default
    )
    return f"{step.name}{{{options}}}" if options else step.name
