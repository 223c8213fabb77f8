"""The page: every picture of a compilation, what each pass changed, and how to read it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from itertools import pairwise

from jinja2 import Environment, Template

from teola.compiler.api import Compilation
from teola.compiler.cost.critical_path import critical_path
from teola.compiler.cost.estimate import estimate
from teola.compiler.cost.sizes import Sizes
from teola.compiler.draw.marks import marked
from teola.compiler.draw.modules import module_view
from teola.compiler.draw.page.facts import (
    FactTable,
    Prediction,
    graph_facts,
    milliseconds,
    module_facts,
)
from teola.compiler.draw.page.picture import kind_of, pictures
from teola.compiler.draw.page.story import purpose, told
from teola.compiler.draw.page.timeline import timeline
from teola.compiler.draw.primitives import primitive_view
from teola.compiler.draw.text import SIGNS, steps_of
from teola.compiler.draw.view import MARKS, MEANINGS, Engine, Line, Style, View, lighted
from teola.compiler.graph.expand import expand
from teola.compiler.graph.pgraph import PGraph
from teola.compiler.passes.base import Context
from teola.compiler.version import VERSION


@dataclass(frozen=True, slots=True)
class Stage:
    """A graph between passes, and what the pass before it did."""

    name: str
    about: str
    graph: PGraph
    prediction: Prediction
    picture: str = ""
    story: tuple[tuple[str, str], ...] = ()

    @property
    def time(self) -> str:
        """How long one query takes, as predicted."""
        return milliseconds(self.prediction.estimate.total_ms)

    @property
    def steps(self) -> int:
        """How many primitives the longest chain has: the numbered rows of its picture."""
        view = primitive_view(self.graph)
        steps = steps_of(view)
        return max((steps[box.id] for box in view.boxes if box.role == "work"), default=0)


def draw_page(compilation: Compilation, sizes: Sizes | None = None) -> str:
    """One HTML file that shows a compilation: its modules, its primitives before and after the
    passes and after each one, and the tasks of one query of ``sizes`` on a time line.

    The same compilation gives the same bytes.

    Raises:
        CompileError: one query has too many tasks for these sizes.
    """
    table = FactTable()
    bare = _stages(compilation, sizes)
    stages = _drawn(bare, compilation.context, table)
    first, last = stages[0], stages[-1]
    whole = _whole(bare, compilation.context, table)
    until = max(first.prediction.estimate.total_ms, last.prediction.estimate.total_ms)
    times = [
        timeline(stage.prediction, until, table, f"{stage.name}: tasks over time")
        for stage in ((first, last) if len(stages) > 1 else (last,))
    ]
    style, script = _asset("page.css"), _asset("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _template().render(
        name=last.graph.name,
        options=compilation.options,
        version=VERSION,
        modules=whole[0],
        before=whole[1],
        after=whole[-1],
        stages=stages,
        passes=_passes(compilation, stages),
        first=first,
        last=last,
        gain=_gain(first, last),
        rough=last.prediction.estimate.structural,
        times=times,
        counts=(len({n.module for n in last.graph.nodes} - {""}), len(last.graph.nodes)),
        engines=_kinds(stages),
        lines=_styles(stages),
        marks=MARKS,
        signs=SIGNS,
        facts=_json(table.rows),
        style=style,
        script=script,
        digest=digest,
    )


def _stages(compilation: Compilation, sizes: Sizes | None) -> list[Stage]:
    """What the file says, and the graph after each pass that changed it."""
    context = compilation.context
    about = "One primitive after another, in the order of the file."
    found = [
        Stage("as written", about, compilation.source, _predict(compilation.source, context, sizes))
    ]
    for step in compilation.steps:
        if step.after is not step.before:
            prediction = _predict(step.after, context, sizes)
            found.append(Stage(step.by.name, purpose(step.by), step.after, prediction))
    return found


def _predict(graph: PGraph, context: Context, sizes: Sizes | None) -> Prediction:
    egraph = expand(graph, sizes)
    timed = estimate(egraph, context.profiles)
    return Prediction(egraph, timed, critical_path(egraph, timed))


def _drawn(stages: Sequence[Stage], context: Context, table: FactTable) -> list[Stage]:
    """The stages with their pictures, what is new in each marked."""
    views = [_lit(stages[0])]
    stories: list[tuple[tuple[str, str], ...]] = [()]
    for before, after in pairwise(stages):
        views.append(marked(primitive_view(before.graph), _lit(after)))
        said = told(before.graph, after.graph)
        stories.append(tuple((sentence, " ".join(boxes)) for sentence, boxes in said))
    numbers = [_numbers(stages[0], context, table)]
    for before, after in pairwise(stages):
        numbers.append(_numbers(before, context, table) | _numbers(after, context, table))
    drawn = pictures(views, numbers, [f"primitives: {stage.name}" for stage in stages])
    return [
        replace(stage, picture=picture, story=story)
        for stage, picture, story in zip(stages, drawn, stories, strict=True)
    ]


def _whole(stages: Sequence[Stage], context: Context, table: FactTable) -> list[str]:
    """The modules; the primitives before all passes, and after them."""
    first, last = stages[0], stages[-1]
    modules = _without_order(module_view(first.graph))
    facts = {
        name: table.number(rows)
        for name, rows in {
            **graph_facts(first.graph, context, first.prediction),
            **module_facts(last.graph, last.prediction),
        }.items()
    }
    ends = [_lit(first), _lit(last)]
    numbers = [_numbers(first, context, table), _numbers(last, context, table)]
    return pictures([modules], [facts], ["modules"]) + pictures(
        ends, numbers, ["primitives before the passes", "primitives after the passes"]
    )


def _without_order(view: View) -> View:
    """What feeds what: the order of the file is that of the modules."""
    return replace(view, lines=tuple(line for line in view.lines if line.style != "order"))


def _lit(stage: Stage) -> View:
    """The primitives of a stage with the critical path lit."""
    path = [segment.primitive for segment in stage.prediction.path.segments]
    return lighted(primitive_view(stage.graph), path)


def _numbers(stage: Stage, context: Context, table: FactTable) -> dict[str, int]:
    facts = graph_facts(stage.graph, context, stage.prediction)
    return {name: table.number(rows) for name, rows in facts.items()}


def _gain(first: Stage, last: Stage) -> float:
    """How many percent less time the last takes; less than one percent is none."""
    before, after = first.prediction.estimate.total_ms, last.prediction.estimate.total_ms
    gain = 100 * (before - after) / before if before else 0.0
    return gain if abs(gain) >= 1 else 0.0


def _passes(compilation: Compilation, stages: Sequence[Stage]) -> list[tuple[str, Stage | None]]:
    """Each pass in order, with its stage where it had something to do."""
    worked = iter(stages)
    first = next(worked)
    found: list[tuple[str, Stage | None]] = [(first.name, first)]
    for step in compilation.steps:
        changed = step.after is not step.before
        if changed or step.by.name not in dict(found):
            found.append((step.by.name, next(worked) if changed else None))
    return found


def _kinds(stages: Iterable[Stage]) -> dict[str, str]:
    """Colour class -> the engines that have it."""
    found: dict[str, dict[str, None]] = {}
    for stage in stages:
        for box in primitive_view(stage.graph).boxes:
            for engine in box.engines or (Engine("no engine", ""),) * (box.role == "work"):
                found.setdefault(kind_of(engine.kind), {})[_named(engine)] = None
    return {kind: ", ".join(names) for kind, names in found.items()}


def _named(engine: Engine) -> str:
    same = engine.name == engine.kind or not engine.kind
    return engine.name if same else f"{engine.name} ({engine.kind})"


def _styles(stages: Iterable[Stage]) -> dict[Style, str]:
    lines: list[Line] = []
    for stage in stages:
        lines += primitive_view(stage.graph).lines
    used = {line.style for line in lines}
    return {style: meaning for style, meaning in MEANINGS.items() if style in used}


def _json(rows: object) -> str:
    """JSON that cannot end the element it stands in."""
    text = json.dumps(rows, ensure_ascii=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


@lru_cache(maxsize=1)
def _template() -> Template:
    return Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        _asset("page.html")
    )


@lru_cache
def _asset(name: str) -> str:
    return files("teola.compiler.draw.page").joinpath(name).read_text("utf-8")


__all__ = ["draw_page"]
