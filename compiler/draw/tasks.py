"""The e-graph as a picture: a box for each task of one query, a frame for each module."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise

from teola.compiler.cost.critical_path import critical_path
from teola.compiler.cost.estimate import estimate
from teola.compiler.cost.profile import Profiles
from teola.compiler.cost.sizes import Sizes
from teola.compiler.draw.view import Box, Engine, Frame, Line, View, joined
from teola.compiler.graph.egraph import EGraph, Task
from teola.compiler.graph.expand import expand
from teola.compiler.graph.pgraph import PGraph

MOST_ALIKE = 4
"""A longer run of equal tasks is drawn as one box."""


def task_view(graph: PGraph, sizes: Sizes | None = None, profiles: Profiles | None = None) -> View:
    """Draw every task of one query (of assumed sizes, where ``sizes`` says nothing), the path lit
    that is critical by ``profiles`` (those that are shipped)."""
    egraph = expand(graph, sizes)
    return egraph_view(egraph, critical_path(egraph, estimate(egraph, profiles)).tasks)


def egraph_view(egraph: EGraph, critical: frozenset[str] = frozenset()) -> View:
    """Draw every task, those of ``critical`` lit; where they are more than a few, equal ones as one
    box."""
    names = _names(egraph)
    counts = Counter(names[task.id] for task in egraph.tasks if task.form != "join")
    lit = {names[task] for task in critical}
    boxes: dict[str, Box] = {}
    for task in egraph.tasks:
        box_id = names[task.id]
        if box_id not in boxes:
            note = _note(task) if counts[box_id] <= 1 else f"{counts[box_id]} tasks"
            title = box_id.removeprefix(f"{task.module}.")
            engines = _engines(egraph, task)
            frame = f"module:{task.module}" if task.module else ""
            boxes[box_id] = Box(box_id, title, note, "work", engines, frame, lit=box_id in lit)
    ends = tuple(Box(f"out:{out}", out, role="output") for out in egraph.outputs)
    frames = tuple(
        Frame(f"module:{module}", module, egraph.graph.modules.get(module, ""), "module")
        for module in dict.fromkeys(task.module for task in egraph.tasks if task.module)
    )
    lines = joined(line for line in _lines(egraph, names, lit) if line.source != line.target)
    return View(egraph.graph.name, (*boxes.values(), *ends), frames, lines)


def _names(egraph: EGraph) -> dict[str, str]:
    """Task -> its box: its own, or that of a long run."""
    names = {task.id: task.id for task in egraph.tasks}
    for run in _runs(egraph):
        if len(run) > MOST_ALIKE:
            name = f"{run[0].id}..{run[-1].group}"
            names |= dict.fromkeys((task.id for task in run), name)
    return names


def _runs(egraph: EGraph) -> Iterator[list[Task]]:
    """Tasks of one primitive that follow each other: one ends where something else begins with it,
    so that what is streamed is still seen."""
    alike: dict[str, list[Task]] = {}
    waiting: dict[str, set[str]] = {task.id: set() for task in egraph.tasks}
    for task in egraph.tasks:
        if task.form != "join":
            alike.setdefault(_together(task), []).append(task)
    for task in egraph.tasks:
        many = len(alike.get(_together(task), ())) > MOST_ALIKE
        for other in task.after:
            waiting[other].add(_together(task) if many else task.id)
    for name, tasks in alike.items():
        run = tasks[:1]
        for before, task in pairwise(tasks):
            ended, ends = waiting[before.id] - {name}, waiting[task.id] - {name}
            if ended and ended != ends:
                yield run
                run = []
            run.append(task)
        yield run


def _together(task: Task) -> str:
    return "/".join((*task.path, task.primitive))


def _note(task: Task) -> str:
    if task.form == "join":
        return "all of these"
    what = f"{task.items} of {task.tokens} tokens" if task.tokens else f"{task.items} items"
    return what if task.operation in task.primitive else f"{task.operation}, {what}"


def _engines(egraph: EGraph, task: Task) -> tuple[Engine, ...]:
    if task.engine is None:
        return ()
    return (Engine(task.engine, str(egraph.graph.engines.get(task.engine, {}).get("kind", ""))),)


def _lines(egraph: EGraph, names: Mapping[str, str], lit: set[str]) -> Iterator[Line]:
    for task in egraph.tasks:
        for other in task.after:
            one, two = names[other], names[task.id]
            yield Line(one, two, "data", lit=one in lit and two in lit)
        for other in task.warmed_by:
            yield Line(names[other], names[task.id], "hint")
    for out, tasks in egraph.outputs.items():
        for last in tasks:
            yield Line(names[last], f"out:{out}", "data")
